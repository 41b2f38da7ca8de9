"""Characters and numbers as the Dockerfile language counts them (Go's notions, which differ from Python's)."""

from __future__ import annotations

import re

from bakepy.model.quoted import quote as quote

SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680"
    "\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's White_Space property; `str.isspace` has the four ASCII separators in addition."""

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def split_blanks(text: str, limit: int = 0) -> list[str]:
    """Splits at runs of ASCII blanks; at most `limit` parts if that is not 0."""
    return _BLANKS.split(text, maxsplit=limit - 1 if limit else 0)


def parse_bool(text: str) -> bool | None:
    """`1 t T TRUE true True` and their opposites; None for everything else."""
    return True if text in _TRUE else False if text in _FALSE else None


def parse_int(text: str, base: int = 10, bits: int = 64) -> int | None:
    """A signed decimal or octal number that fits `bits`; None if `text` is none."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    allowed = "01234567" if base == 8 else "0123456789"
    if not digits or len(digits) > 40 or digits.strip(allowed):
        return None
    value = int(text, base)
    return value if -(1 << bits - 1) <= value < 1 << bits - 1 else None


def number_fault(text: str) -> str:
    """Why `text` is no number for `parse_int`."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    cause = "value out of range" if digits and not digits.strip("0123456789") else "invalid syntax"
    return f"parsing {quote(text)}: {cause}"


def parse_unsigned(text: str, base: int = 10, bits: int = 32) -> int | None:
    """An unsigned number without a sign; None if `text` is none or does not fit."""
    if text[:1] in ("+", "-"):
        return None
    value = parse_int(text, base)
    return value if value is not None and value < 1 << bits else None
