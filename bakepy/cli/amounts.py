"""How much of what, for people."""

from __future__ import annotations

from collections.abc import Mapping

_PLURALS = {"repository": "repositories"}


def counted(counts: Mapping[str, int]) -> str:
    """`3 repositories, 1 tree`, or `nothing`."""
    parts = [
        f"{number} {kind if number == 1 else _PLURALS.get(kind, f'{kind}s')}"
        for kind, number in sorted(counts.items())
        if number
    ]
    return ", ".join(parts) or "nothing"


def size_text(size: int) -> str:
    """Bytes for people, in powers of 1000: `3.2 MB`."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"
