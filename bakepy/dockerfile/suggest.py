"""The nearest name for warnings whose text other tools compare: at most two edits away, the first of the nearest."""

from __future__ import annotations

from collections.abc import Iterable


def suggestion(name: str, options: Iterable[str]) -> str:
    """Empty if nothing is near, or if `name` itself is among the options."""
    best, distance = "", 3
    for option in options:
        if option == name:
            return ""
        if abs(len(option) - len(name)) < distance and (edits := _edits(name, option, distance)) < distance:
            best, distance = option, edits
    return best


def _edits(one: str, other: str, limit: int) -> int:
    """Levenshtein distance; any number not below `limit` means too many."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
        if min(row) >= limit:
            return limit
    return row[-1]
