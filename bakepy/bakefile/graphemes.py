"""What people call a character: grapheme clusters, as far as bake files need them; and Unicode's white space."""

from __future__ import annotations

import unicodedata

_SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def strip_spaces(text: str, *, left: bool) -> str:
    """Without Unicode white space at one end."""
    return text.lstrip(_SPACES) if left else text.rstrip(_SPACES)


def trim_space(text: str) -> str:
    return text.strip(_SPACES)


def leading_spaces(text: str) -> int:
    return len(text) - len(strip_spaces(text, left=True))


def graphemes(text: str) -> list[str]:
    """The grapheme clusters of `text` (Unicode annex 29, extended clusters)."""
    if text.isascii() and "\r" not in text:
        return list(text)
    found: list[str] = []
    previous = ""
    flags = 0
    for character in text:
        kind = _kind(character)
        if found and _joins(previous, kind, found[-1], flags):
            found[-1] += character
            flags = flags + 1 if kind == "flag" else 0
        else:
            found.append(character)
            flags = 1 if kind == "flag" else 0
        previous = kind
    return found


def _kind(character: str) -> str:
    code = ord(character)
    if character == "\r":
        return "cr"
    if character == "\n":
        return "lf"
    if code == 0x200D:
        return "joiner"
    if 0x1F1E6 <= code <= 0x1F1FF:
        return "flag"
    if 0x1F3FB <= code <= 0x1F3FF:
        return "extend"
    category = unicodedata.category(character)
    if category in ("Mn", "Me") or code in (0x200C, 0xFF9E, 0xFF9F):
        return "extend"
    if category == "Mc":
        return "spacing"
    if category in ("Cc", "Zl", "Zp") or (category == "Cf" and not 0x600 <= code <= 0x605):
        return "control"
    if 0x1100 <= code <= 0x115F or 0xA960 <= code <= 0xA97C:
        return "L"
    if 0x1160 <= code <= 0x11A7 or 0xD7B0 <= code <= 0xD7C6:
        return "V"
    if 0x11A8 <= code <= 0x11FF or 0xD7CB <= code <= 0xD7FB:
        return "T"
    if 0xAC00 <= code <= 0xD7A3:
        return "LV" if (code - 0xAC00) % 28 == 0 else "LVT"
    if category == "So" or 0x1F000 <= code <= 0x1FAFF:
        return "picture"
    return "other"


def _joins(previous: str, kind: str, cluster: str, flags: int) -> bool:
    if previous == "cr" and kind == "lf":
        return True
    if previous in ("cr", "lf", "control") or kind in ("cr", "lf", "control"):
        return False
    if kind in ("extend", "joiner", "spacing"):
        return True
    if previous == "L" and kind in ("L", "V", "LV", "LVT"):
        return True
    if previous in ("LV", "V") and kind in ("V", "T"):
        return True
    if previous in ("LVT", "T") and kind == "T":
        return True
    if previous == "joiner" and kind == "picture":
        return _kind(cluster[0]) == "picture"
    return previous == "flag" and kind == "flag" and flags % 2 == 1
