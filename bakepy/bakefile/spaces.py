"""Unicode's white space, at the ends of texts."""

from __future__ import annotations

from typing import Final

_SPACES: Final = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def strip_spaces(text: str, *, left: bool) -> str:
    """Without Unicode white space at one end."""
    return text.lstrip(_SPACES) if left else text.rstrip(_SPACES)


def trim_space(text: str) -> str:
    return text.strip(_SPACES)


def leading_spaces(text: str) -> int:
    return len(text) - len(strip_spaces(text, left=True))
