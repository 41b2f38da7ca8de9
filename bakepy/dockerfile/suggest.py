"""The nearest name for warnings whose text other tools compare: at most two edits away, the first of the nearest."""

from __future__ import annotations

from collections.abc import Collection, Iterable

_MOST_WARNINGS = 250
_MOST_NAMES = 2000


def guess(name: str, options: Collection[str], warned: int) -> str:
    """The suggestion, unless there are so many warnings, or names, that nobody waits for more guesses."""
    return "" if warned > _MOST_WARNINGS or len(options) > _MOST_NAMES else suggestion(name, options)


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
