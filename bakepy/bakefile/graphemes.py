"""What people call a character: grapheme clusters, as far as bake files need them."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import cache
from typing import Final

_EXTENDED: Final = r"(?:e|z(?:pe*)?)*"
_HANGUL: Final = r"(?:L+(?:(?:D?V+|S)T*|D?)|DV*T*|V+T*|ST*|T+)" + _EXTENDED
_CLUSTER: Final = rf"{_HANGUL}|p{_EXTENDED}|ff?{_EXTENDED}|z[ze]*|[oe][ez]*"
_CLUSTERS: Final = re.compile(rf"rn|a+(?:{_CLUSTER})?|{_CLUSTER}|.")
"""Over the kinds of characters. This is Unicode annex 29 but for corners, where it is what bake's HCL does: signs that
are drawn as one are joined only behind pictures, Hangul and flags."""

_PICTURES: Final = (
    "a9 ae 203c 2049 2122 2139 2194-2199 21a9-21aa 231a-231b 2328 2388 23cf 23e9-23f3 23f8-23fa 24c2 25aa-25ab 25b6 "
    "25c0 25fb-25fe 2600-2605 2607-2612 2614-2685 2690-2705 2708-2712 2714 2716 271d 2721 2728 2733-2734 2744 2747 "
    "274c 274e 2753-2755 2757 2763-2767 2795-2797 27a1 27b0 27bf 2934-2935 2b05-2b07 2b1b-2b1c 2b50 2b55 3030 303d "
    "3297 3299 1f000-1f0ff 1f10d-1f10f 1f12f 1f16c-1f171 1f17e-1f17f 1f18e 1f191-1f19a 1f1ad-1f1e5 1f201-1f20f "
    "1f21a 1f22f 1f232-1f23a 1f23c-1f23f 1f249-1f3fa 1f400-1f53d 1f546-1f64f 1f680-1f6ff 1f774-1f77f 1f7d5-1f7ff "
    "1f80c-1f80f 1f848-1f84f 1f85a-1f85f 1f888-1f88f 1f8ae-1f8ff 1f90c-1f93a 1f93c-1f945 1f947-1faff 1fc00-1fffd"
)
_TABLE: Final = (
    ("a", "600-605 6dd 70f 890-891 8e2 d4e 110bd 110cd 111c2-111c3 1193f 11941 11a3a 11a84-11a89 11d46 11f02"),
    ("c", "2065 fff0-fff8 fffd 13430-1343f e0000-e001f e0080-e00ff e01f0-e0fff"),
    ("e", "200c ff9e-ff9f 1f3fb-1f3ff e0020-e007f e0100-e01ef e33 eb3"),
    ("e", "cf3 ece 10efd-10eff 11241 11f00-11f01 11f03 11f34-11f3a 11f3e-11f42 13440 13447-13455 1e08f 1e4ec-1e4ef"),
    ("o", "102b-102c 1038 1062-1064 1067-106d 1083 1087-108c 108f 109a-109c 1a61 1a63-1a64 aa7b aa7d 11720-11721"),
    ("f", "1f1e6-1f1ff"),
    ("z", "200d"),
    ("r", "d"),
    ("n", "a"),
    ("L", "1100-115f a960-a97c"),
    ("V", "1160-11a7 d7b0-d7c6"),
    ("T", "11a8-11ff d7cb-d7fb"),
    ("p", _PICTURES),
)
"""Kinds that the category does not tell, as Unicode 15 has them (the second row of `e`: assigned after Unicode 14):
what comes before a letter (a), control (c), extends (e), flags (f), joiner (z), Hangul (L, V, T), pictures (p)."""
_FOREIGN: Final = re.compile(
    "([\udcc0-\udcdf][\udc80-\udcbf]|[\udce0-\udcef][\udc80-\udcbf]{2}|[\udcf0-\udcf7][\udc80-\udcbf]{3})|.", re.DOTALL
)
"""The group: bytes that have the form of UTF-8, which count as one character."""


def graphemes(text: str) -> list[str]:
    """The grapheme clusters of `text`."""
    if text.isascii() and "\r" not in text:
        return list(text)
    units = [found[0] for found in _FOREIGN.finditer(text)]
    kinds = "".join([_kind(unit) for unit in units])
    return ["".join(units[found.start() : found.end()]) for found in _CLUSTERS.finditer(kinds)]


@cache
def _ranges() -> tuple[list[int], list[tuple[int, str]]]:
    """Where ranges begin; and where they end, with the kind."""
    found = []
    for kind, text in _TABLE:
        for each in text.split():
            first, _, last = each.partition("-")
            found.append((int(first, 16), int(last or first, 16), kind))
    found.sort()
    return [first for first, _, _ in found], [(last, kind) for _, last, kind in found]


def _kind(unit: str) -> str:
    """A letter; `o` for all that is nothing else."""
    if len(unit) > 1:
        return "o"
    code = ord(unit)
    starts, ends = _ranges()
    at = bisect_right(starts, code) - 1
    if at >= 0 and code <= ends[at][0]:
        return ends[at][1]
    if 0xAC00 <= code <= 0xD7A3:
        return "S" if (code - 0xAC00) % 28 else "D"
    category = unicodedata.category(unit)
    if category in ("Mn", "Me", "Mc"):
        return "e"
    return "c" if category in ("Cc", "Cf", "Zl", "Zp", "Cs") else "o"
