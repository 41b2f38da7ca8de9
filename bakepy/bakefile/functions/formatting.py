"""`format`: verbs as in C's printf and Go's fmt, for the values of the language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert
from bakepy.bakefile.functions.declare import FunctionError
from bakepy.bakefile.functions.json_encoding import JSONError, encode, quote
from bakepy.bakefile.graphemes import graphemes
from bakepy.bakefile.number import MOST_DIGITS, Number, int_text
from bakepy.bakefile.values import ConvertError, Value

_VERB: Final = re.compile(r"%([0#+\- ]*)([1-9][0-9]*)?(?:\.([0-9]*))?(?:\[([1-9][0-9]*)\])?([a-zA-Z])", re.ASCII)
_WIDEST: Final = 100_000


class _Spec:
    """One verb with its flags."""

    def __init__(self, found: re.Match[str]) -> None:
        self.raw = found[0]
        self.zero, self.sharp, self.plus = "0" in found[1], "#" in found[1], "+" in found[1]
        self.minus, self.space = "-" in found[1], " " in found[1]
        self.width = int(found[2][:9]) if found[2] else -1
        self.precision = int(found[3][:9] or "0") if found[3] is not None else -1
        self.mode = found[5]
        if max(self.width, self.precision) > _WIDEST:
            raise FunctionError(f"{self.raw!r}: more than {_WIDEST} characters", 0)

    def pad(self, text: str) -> str:
        """Filled up to the width, with zeros if these are asked for."""
        lacking = self.width - len(graphemes(text))
        if lacking <= 0:
            return text
        fill = ("0" if self.zero else " ") * lacking
        return text + fill if self.minus else fill + text


def format_text(form: str, arguments: Sequence[Value]) -> str:
    """Raises FunctionError; also if there are too many arguments."""
    pieces: list[str] = []
    position, following, highest = 0, 1, 0
    while True:
        percent = form.find("%", position)
        if percent < 0:
            pieces.append(form[position:])
            break
        pieces.append(form[position:percent])
        if form.startswith("%%", percent):
            pieces.append("%")
            position = percent + 2
            continue
        found = _VERB.match(form, percent)
        if not found:
            raise FunctionError(f"{form[percent : percent + 8]!r} is no verb", 0)
        number = int(found[4][:9]) if found[4] else following
        if number > len(arguments):
            raise FunctionError(f"{found[0]!r} asks for argument {number}, there are {len(arguments)}", 0)
        highest = max(highest, number)
        following = number + 1
        pieces.append(_formatted(_Spec(found), arguments[number - 1]))
        position = found.end()
    if highest < len(arguments):
        raise FunctionError(f"there are {len(arguments)} arguments, the format uses {highest}", 0)
    return "".join(pieces)


def _formatted(spec: _Spec, value: Value) -> str:
    if spec.mode != "v" and value.raw is None:
        raise FunctionError(f"{spec.raw!r} can not write null", 0)
    try:
        match spec.mode:
            case "v":
                return spec.pad(_as_it_is(spec, value))
            case "t":
                return "true" if convert(value, v.BOOL).raw else "false"
            case "s" | "q":
                return _text(spec, convert(value, v.STRING).raw)
            case "b" | "d" | "o" | "x" | "X":
                return _integer(spec, convert(value, v.NUMBER).raw)
            case "e" | "E" | "f" | "g" | "G":
                return _decimal(spec, convert(value, v.NUMBER).raw)
    except ConvertError as reason:
        raise FunctionError(f"{spec.raw!r}: {reason}", 0) from None
    raise FunctionError(f"there is no verb {spec.mode!r}", 0)


def _as_it_is(spec: _Spec, value: Value) -> str:
    if not spec.sharp and value.raw is not None:
        if value.type is v.STRING:
            return str(value.raw)
        if value.type is v.NUMBER:
            number: Number = value.raw
            return number.text() if number.infinite else general(*digits_of(number, None), None)
    try:
        return encode(value)
    except JSONError as error:
        raise FunctionError(f"{spec.raw!r}: {error}", 0) from None


def _text(spec: _Spec, text: str) -> str:
    if spec.precision > 0:
        text = "".join(graphemes(text)[: spec.precision])
    return spec.pad(quote(text) if spec.mode == "q" else text)


def _integer(spec: _Spec, number: Number) -> str:
    if not number.is_whole:
        raise FunctionError(f"{spec.raw!r}: a whole number is required, not {number}", 0)
    value = number.truncated()
    size = abs(value)
    digits = {"b": f"{size:b}", "o": f"{size:o}", "x": f"{size:x}", "X": f"{size:X}", "d": ""}[spec.mode] or int_text(
        size
    )
    if spec.precision >= 0:
        digits = "" if spec.precision == 0 and not size else digits.rjust(spec.precision, "0")
    prefix = {"b": "0b", "o": "0", "x": "0x", "X": "0X", "d": ""}[spec.mode] if spec.sharp else ""
    sign = "-" if value < 0 else "+" if spec.plus else " " if spec.space else ""
    return _signed(spec, sign + prefix, digits, zeros=spec.precision < 0)


def _signed(spec: _Spec, sign: str, digits: str, *, zeros: bool = True) -> str:
    """Zeros go between the sign and the digits."""
    lacking = spec.width - len(sign) - len(digits)
    if lacking <= 0:
        return sign + digits
    if spec.minus:
        return sign + digits + " " * lacking
    if spec.zero and zeros:
        return sign + "0" * lacking + digits
    return " " * lacking + sign + digits


def _decimal(spec: _Spec, number: Number) -> str:
    sign = "-" if number.negative else "+" if spec.plus else " " if spec.space else ""
    if number.infinite:
        return _signed(spec, sign or "+", "Inf", zeros=False)
    size = -number if number.negative else number
    precision = spec.precision
    match spec.mode:
        case "f":
            digits = fixed(size, 6 if precision < 0 else precision)
        case "e" | "E":
            digits = exponential(
                *digits_of(size, (6 if precision < 0 else precision) + 1), 6 if precision < 0 else precision
            )
        case _:
            wanted = None if precision < 0 else max(precision, 1)
            digits = general(*digits_of(size, wanted), wanted)
    return _signed(spec, sign, digits.upper() if spec.mode in "EG" else digits)


# -- decimal digits of binary numbers


def fixed(number: Number, places: int) -> str:
    """With so many digits after the point, rounded half to even."""
    if number.exponent >= 0:
        whole = int_text(number.truncated())
        return whole + ("." + "0" * places if places else "")
    if number.exponent + number.mantissa.bit_length() < -4 * places - 8:
        return f"0.{'0' * places}" if places else "0"
    kept, rest = divmod(number.mantissa * 10**places, 1 << -number.exponent)
    half = 1 << (-number.exponent - 1)
    if rest > half or (rest == half and kept & 1):
        kept += 1
    text = int_text(kept).rjust(places + 1, "0")
    return f"{text[:-places]}.{text[-places:]}" if places else text


def digits_of(number: Number, count: int | None) -> tuple[str, int]:
    """Significant digits without trailing zeros, and where the point stands before them (`0.ddd * 10**point`).

    `count`: how many digits; None for the shortest that read back as the same number.
    """
    if number.is_zero:
        return "", 1
    sign = "-" if number.negative else ""
    text = number.text().lstrip("-") if count is None else _exact(number)
    whole, _, fraction = text.partition(".")
    stripped = (whole + fraction).lstrip("0")
    point = len(whole) - (len(whole + fraction) - len(stripped))
    if count is not None and len(stripped) > count:
        kept, rest = stripped[:count], stripped[count:]
        half = "5" + "0" * (len(rest) - 1)
        if rest > half or (rest == half and int(kept[-1]) % 2):
            kept = int_text(int(kept) + 1)
            if len(kept) > count:
                point += 1
        stripped = kept
    return sign + stripped.rstrip("0"), point


def _exact(number: Number) -> str:
    mantissa = abs(number.mantissa)
    if number.exponent >= 0:
        return int_text(abs(number.truncated()))
    if -number.exponent > MOST_DIGITS:
        raise OverflowError(f"a number of more than {MOST_DIGITS:,} digits")
    places = -number.exponent
    text = int_text(mantissa * 5**places).rjust(places + 1, "0")
    return f"{text[:-places]}.{text[-places:]}"


def exponential(digits: str, point: int, places: int) -> str:
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    power = point - 1 if digits else 0
    digits = digits.ljust(places + 1, "0")
    fraction = f".{digits[1 : places + 1]}" if places > 0 else ""
    return f"{sign}{digits[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"


def general(digits: str, point: int, precision: int | None) -> str:
    """With an exponent if that is below -4 or not below the precision; else without."""
    sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
    if not digits:
        return sign + "0"
    limit = 6
    if precision is not None:
        limit = len(digits) if precision > len(digits) >= point else precision
    if point - 1 < -4 or point - 1 >= limit:
        return sign + exponential(digits, point, len(digits) - 1)
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    if len(digits) <= point:
        return sign + digits.ljust(point, "0")
    return f"{sign}{digits[:point]}.{digits[point:]}"
