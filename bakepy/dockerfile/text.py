"""Characters and numbers as the Dockerfile language counts them (Go's notions, which differ from Python's)."""

from __future__ import annotations

import re

from bakepy.model.quoted import quote as quote
from bakepy.model.space import SPACE as SPACE

_UNDECODABLE = re.compile("[\udc80-\udcff]")
_BLANKS = re.compile(r"[\t\v\f\r ]+")
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def decodable(text: str) -> str:
    """With the replacement character for each byte of the file that is not UTF-8, as JSON and variables have it."""
    return text if text.isascii() else _UNDECODABLE.sub("\ufffd", text)


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
