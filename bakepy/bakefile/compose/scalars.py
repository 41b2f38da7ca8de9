"""Scalars of YAML as Go's YAML library takes them, which mixes the versions 1.1 and 1.2; and as it writes them."""

from __future__ import annotations

import binascii
import math
import re
from base64 import b64decode
from datetime import date
from decimal import Decimal
from typing import Any, Final

from bakepy.model.value import dataclass

_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INTEGER: Final = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)\Z")
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:([Tt]| +)(.+))?\Z")
_TIME: Final = re.compile(
    r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,]([0-9]+))?(?:(Z)|([-+])([01][0-9]|2[0-3]):([0-5][0-9]))?\Z"
)
_FOREIGN: Final = re.compile("[\ud800-\udfff]")
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys(("-0", "-0.0"), -0.0),
}
_KINDS: Final = {"null": type(None), "bool": bool, "int": int, "float": float}


class ScalarError(Exception):
    """Why a scalar is not what its tag says."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, with or without a time: where text is expected, it is none. `text`: as Go prints it; `standard`: in the
    form of RFC 3339."""

    text: str
    standard: str


SCALARS: Final = (str, int, float, bool, Moment)


def resolve_scalar(text: str) -> Any:
    """What a plain scalar means: null, bool, int, float, a date, text."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        return _float(text)
    if not (first.isdigit() or first in "+-"):
        return text
    if found := _moment(text):
        return found
    plain = text.replace("_", "")
    if whole := _INTEGER.match(plain):
        number = _integer(whole[1], whole[2])
        return text if number is None else number
    decimal = _float(plain)
    return decimal if isinstance(decimal, float) else text


def tagged_scalar(tag: str, text: str) -> Any:
    """What a scalar means whose tag is written down, `str` for `!!str`. Raises ScalarError."""
    if tag == "binary":
        return _binary(text)
    if tag != "timestamp" and tag not in _KINDS:
        return text
    found = resolve_scalar(text)
    if tag == "float" and type(found) is int:
        return float(found)
    if type(found) is not _KINDS.get(tag, Moment):
        raise ScalarError(f"{text!r} is no {tag}, as its tag !!{tag} says")
    return found


def scalar_text(value: Any) -> str:
    """A scalar as text, as Go writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<nil>"
    if isinstance(value, float):
        return _float_text(value)
    return value.text if isinstance(value, Moment) else str(value)


def _float(text: str) -> float | str:
    """A number; the text itself if it is none, or beyond all floats."""
    if not _FLOAT.match(text):
        return text
    number = float(text)
    return text if math.isinf(number) else number


def _integer(sign: str, digits: str) -> int | float | None:
    """A whole number; a float if it has more than 64 bits, None if it is no number then."""
    lower = digits.lower()
    decimal = len(lower) == 1 or lower[0] != "0"
    if decimal and len(lower) > 300:
        return None
    if lower[:2] in ("0x", "0b", "0o"):
        value = int(lower, 0)
    elif len(lower) > 1 and lower[0] == "0":
        value = int(lower, 8)
    else:
        value = int(lower)
    value = -value if sign == "-" else value
    if -(1 << 63) <= value < 1 << 64:
        return value
    return float(value) if decimal else None


def _moment(text: str) -> Moment | None:
    """A day; or a day and a time, after a `T` with a zone, after a blank without one."""
    found = _DATE.match(text)
    if not found:
        return None
    year, month, day = (int(found[position]) for position in (1, 2, 3))
    try:
        date(year or 2000, month, day)
    except ValueError:
        return None
    time, fraction, zone = "00:00:00", "", "Z"
    if found[5]:
        parts = _TIME.match(found[5])
        if not parts or (found[4][0] == " ") == bool(parts[5] or parts[6]):
            return None
        hour, minute, second = (int(parts[position]) for position in (1, 2, 3))
        if hour > 23 or minute > 59 or second > 59:
            return None
        time = f"{hour:02d}:{minute:02d}:{second:02d}"
        digits = (parts[4] or "")[:9].rstrip("0")
        fraction = f".{digits}" if digits else ""
        zone = f"{parts[6]}{parts[7]}:{parts[8]}" if parts[6] and int(parts[7] + parts[8]) else "Z"
    day_text = f"{year:04d}-{month:02d}-{day:02d}"
    offset = zone.replace(":", "")
    shown = "+0000 UTC" if zone == "Z" else f"{offset} {offset}"
    return Moment(f"{day_text} {time}{fraction} {shown}", f"{day_text}T{time}{fraction}{zone}")


def _binary(text: str) -> str:
    """Base64; a byte that is no UTF-8 becomes the character that stands for such."""
    try:
        data = b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        raise ScalarError("this is no base64, as its tag !!binary says") from None
    return _FOREIGN.sub("\ufffd", data.decode("utf-8", "surrogateescape"))


def _float_text(value: float) -> str:
    """The fewest digits that say it; with an exponent below 1e-4, and from a million on."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return repr(value).removesuffix(".0")
    sign, figures, power = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, figures))
    exponent = len(digits) - 1 + int(power)
    digits = digits.rstrip("0")
    mantissa = f"{digits[0]}.{digits[1:]}".removesuffix(".")
    return f"{'-' if sign else ''}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
