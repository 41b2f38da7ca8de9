"""Sets of characters: ranges of codes, their other cases, and the classes that have names."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from functools import cache
from typing import Final

LAST: Final = 0x10FFFF
INHABITED: Final = ((0, 0x3FFFF), (0xE0000, 0xE0FFF))
"""What is beyond is not assigned, or for private use."""
CASED: Final = 0x1F000
"""From here on no character has cases."""
_FOLDED_TO: Final = {"k": "\u212a", "s": "\u017f"}
"""What else counts as an ASCII letter."""
_TURKISH: Final = (0x130, 0x131)
"""Their other cases are those of other letters; they fold to themselves."""

Range = tuple[int, int]
"""The first and the last of some characters, by their codes."""

PERL: Final[dict[str, list[Range]]] = {
    "d": [(48, 57)],
    "s": [(9, 10), (12, 13), (32, 32)],
    "w": [(48, 57), (65, 90), (95, 95), (97, 122)],
}
POSIX: Final[dict[str, list[Range]]] = {
    "alnum": [(48, 57), (65, 90), (97, 122)],
    "alpha": [(65, 90), (97, 122)],
    "ascii": [(0, 127)],
    "blank": [(9, 9), (32, 32)],
    "cntrl": [(0, 31), (127, 127)],
    "digit": [(48, 57)],
    "graph": [(33, 126)],
    "lower": [(97, 122)],
    "print": [(32, 126)],
    "punct": [(33, 47), (58, 64), (91, 96), (123, 126)],
    "space": [(9, 13), (32, 32)],
    "upper": [(65, 90)],
    "word": [(48, 57), (65, 90), (95, 95), (97, 122)],
    "xdigit": [(48, 57), (65, 70), (97, 102)],
}


def normalized(ranges: list[Range], negated: bool) -> list[Range]:
    """Sorted, without overlaps."""
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    if not negated:
        return merged
    gaps: list[Range] = []
    start = 0
    for low, high in merged:
        if low > start:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        gaps.append((start, LAST))
    return gaps


def folded(ranges: list[Range]) -> list[Range]:
    """With the other cases of every character."""
    added = list(ranges)
    if all(high < 128 for _, high in ranges):
        letters = {chr(code) for low, high in ranges for code in range(low, high + 1) if chr(code).isalpha()}
        added += [
            (ord(each), ord(each))
            for letter in letters
            for each in letter.swapcase() + _FOLDED_TO.get(letter.lower(), "")
        ]
        return added
    cased, orbits = _orbits()
    for low, high in ranges:
        for code in cased[bisect_left(cased, low) : bisect_right(cased, high)]:
            added += [(other, other) for other in orbits[code]]
    return added


@cache
def _orbits() -> tuple[list[int], dict[int, tuple[int, ...]]]:
    """The characters with cases, in order, and all that count as the same as each: what their upper and lower cases,
    if they are one character each, lead to (Go: `unicode.SimpleFold`)."""
    orbit: dict[int, set[int]] = {}
    for code in range(CASED):
        character = chr(code)
        lower, upper = character.lower(), character.upper()
        if (lower == character == upper) or code in _TURKISH:
            continue
        for other in (lower, upper):
            if len(other) == 1 and other != character:
                joined = orbit.setdefault(code, {code}) | orbit.setdefault(ord(other), {ord(other)})
                orbit.update(dict.fromkeys(joined, joined))
    return sorted(orbit), {code: tuple(sorted(found)) for code, found in orbit.items()}


@cache
def property_ranges(name: str) -> list[Range] | None:
    """A general category such as `L` or `Lu`, or a script such as `Greek` (by the names of its characters)."""
    if name == "Any":
        return [(0, LAST)]
    if len(name) <= 2 and name[:1] in "CLMNPSZ" and name:
        pattern = re.compile(f"(?:{re.escape(name)})+" if len(name) == 2 else f"(?:{name}[a-z])+")
        found = [
            (first + run.start() // 2, first + run.end() // 2 - 1)
            for first, last in ([(0, LAST)] if name[0] == "C" else INHABITED)
            for run in pattern.finditer(_categories(first, last))
        ]
        return found or None
    if not (name and name[0].isupper() and name.replace("_", "").isalpha()):
        return None
    word = {"Han": "CJK"}.get(name, name.upper().replace("_", " "))
    codes = [
        code
        for first, last in INHABITED
        for code in range(first, last + 1)
        if unicodedata.name(chr(code), "").startswith(f"{word} ") and unicodedata.category(chr(code))[0] in "LMN"
    ]
    return normalized([(code, code) for code in codes], False) if codes else None


@cache
def _categories(first: int, last: int) -> str:
    """The categories of characters, two letters each."""
    return "".join(map(unicodedata.category, map(chr, range(first, last + 1))))


def within(ranges: list[Range], code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)
