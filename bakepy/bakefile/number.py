"""Numbers of the bake language: binary floating point of any precision, 512 bits unless they come from elsewhere.

A number is `mantissa * 2**exponent`; results are rounded half to even to the larger precision of their operands,
products to 512 bits, of which as many are kept as they need.
Text is the shortest that reads back as the same number at its precision, never with an exponent.
"""

from __future__ import annotations

import math

LITERAL = 512
"""Bits of a number that was written in a file."""
INTEGER = 64
"""Bits of a number that was counted (`length`, list indices)."""
DOUBLE = 53
"""Bits of a number that came through a machine float (environment values, `pow`, `log`)."""

MOST_DIGITS = 1_000_000
"""Decimal digits of a number that is read, or written out exactly; it would take too long."""
_LONGEST_TEXT = 16_000_000
"""Characters of a number that is written as text, most of them zeros."""
_LARGEST_EXPONENT = (1 << 31) - 1
"""Beyond are infinity and zero; exponents are machine integers in buildx, too."""
_BITS = MOST_DIGITS * 10 // 3
_FAR = 4096
"""Binary places from which on text is made of the leading digits only."""
_GUARD = 128


class Number:
    """An immutable number.

    `infinite` is -1 or 1 for the infinities, else 0; `minus_zero` tells `-0` from `0`.
    """

    __slots__ = ("_text", "exponent", "infinite", "mantissa", "minus_zero", "precision")

    def __init__(
        self,
        mantissa: int,
        exponent: int = 0,
        precision: int = LITERAL,
        *,
        infinite: int = 0,
        minus_zero: bool = False,
    ) -> None:
        if mantissa:
            size = mantissa.bit_length()
            if size > precision:
                mantissa, exponent = _rounded(mantissa, exponent, size - precision)
            if not mantissa & 1:
                zeros = (mantissa & -mantissa).bit_length() - 1
                mantissa >>= zeros
                exponent += zeros
            if not -_LARGEST_EXPONENT - 1 <= exponent + mantissa.bit_length() <= _LARGEST_EXPONENT:
                if exponent > 0:
                    infinite = -1 if mantissa < 0 else 1
                minus_zero = mantissa < 0
                mantissa = exponent = 0
        else:
            exponent = 0
        self.mantissa = mantissa
        self.exponent = exponent
        self.precision = precision
        self.infinite = infinite
        self.minus_zero = minus_zero and not mantissa and not infinite
        self._text = ""

    @classmethod
    def of_int(cls, value: int) -> Number:
        return cls(value, 0, max(INTEGER, value.bit_length()))

    @classmethod
    def of_float(cls, value: float) -> Number:
        """Raises ValueError for NaN."""
        if value != value:
            raise ValueError("not a number")
        if value in (float("inf"), float("-inf")):
            return cls(0, 0, DOUBLE, infinite=1 if value > 0 else -1)
        top, bottom = value.as_integer_ratio()
        return cls(top, 1 - bottom.bit_length(), DOUBLE, minus_zero=str(value) == "-0.0")

    @classmethod
    def parse(cls, text: str, precision: int = LITERAL) -> Number:
        """A decimal number such as `12`, `-0.5`, `1e9`. Raises ValueError if it is none, or is beyond all measure."""
        body = text[1:] if text[:1] in ("+", "-") else text
        sign = -1 if text[:1] == "-" else 1
        digits, _, power = body.replace("E", "e").partition("e")
        whole, _, fraction = digits.partition(".")
        if (
            not (whole + fraction).isdecimal()
            or not (whole + fraction).isascii()
            or ("e" in body.lower() and not power)
        ):
            raise ValueError("not a number")
        if power and not power.lstrip("+-").isdecimal():
            raise ValueError("not a number")
        if len(power.lstrip("+-0")) > 19 or not -(1 << 63) <= (tens := int(power or "0")) < 1 << 63:
            raise ValueError("out of range")
        if len(whole) + len(fraction) > MOST_DIGITS:
            raise ValueError(f"more than {MOST_DIGITS:,} digits")
        value = sign * decimal_int(whole + fraction)
        tens -= len(fraction)
        if not value:
            return cls(0, 0, precision, minus_zero=sign < 0)
        if not -_LARGEST_EXPONENT - 1 <= value.bit_length() + tens <= _LARGEST_EXPONENT:
            raise ValueError("out of range")
        fives = _power_of_five(abs(tens), precision + 64)
        if fives.infinite:
            return cls(0, 0, precision, infinite=sign) if tens > 0 else cls(0, 0, precision, minus_zero=sign < 0)
        if tens >= 0:
            return cls(value * fives.mantissa, tens + fives.exponent, precision)
        return _quotient(value, tens, fives.mantissa, fives.exponent, precision)

    # -- arithmetic

    def __add__(self, other: Number) -> Number:
        precision = max(self.precision, other.precision)
        if self.infinite or other.infinite:
            if self.infinite and other.infinite and self.infinite != other.infinite:
                raise ArithmeticError("the sum of opposite infinities has no value")
            return Number(0, 0, precision, infinite=self.infinite or other.infinite)
        if not self.mantissa:
            if not other.mantissa:
                return Number(0, 0, precision, minus_zero=self.minus_zero and other.minus_zero)
            return Number(other.mantissa, other.exponent, precision)
        if not other.mantissa:
            return Number(self.mantissa, self.exponent, precision)
        large, small = (self, other) if self._top > other._top else (other, self)
        if small._top < large.exponent - precision - 3:  # too small to count, but for the direction of rounding
            total = (large.mantissa << precision + 3) + (1 if small.mantissa > 0 else -1)
            return Number(total, large.exponent - precision - 3, precision)
        low = min(self.exponent, other.exponent)
        total = (self.mantissa << (self.exponent - low)) + (other.mantissa << (other.exponent - low))
        return Number(total, low, precision)

    def __neg__(self) -> Number:
        return Number(
            -self.mantissa,
            self.exponent,
            self.precision,
            infinite=-self.infinite,
            minus_zero=not self.mantissa and not self.minus_zero,
        )

    def __sub__(self, other: Number) -> Number:
        return self + -other

    def __mul__(self, other: Number) -> Number:
        precision = max(self.precision, other.precision)
        negative = self.negative != other.negative
        if self.infinite or other.infinite:
            if self.is_zero or other.is_zero:
                raise ArithmeticError("zero times infinity has no value")
            return Number(0, 0, precision, infinite=-1 if negative else 1)
        product = Number(self.mantissa * other.mantissa, self.exponent + other.exponent, LITERAL, minus_zero=negative)
        product.precision = max(precision, product.mantissa.bit_length())
        return product

    def __truediv__(self, other: Number) -> Number:
        precision = max(self.precision, other.precision)
        negative = self.negative != other.negative
        if (self.is_zero and other.is_zero) or (self.infinite and other.infinite):
            raise ArithmeticError("zero by zero, or infinity by infinity, has no value")
        if self.infinite or other.is_zero:
            return Number(0, 0, precision, infinite=-1 if negative else 1)
        if other.infinite or self.is_zero:
            return Number(0, 0, precision, minus_zero=negative)
        return _quotient(self.mantissa, self.exponent, other.mantissa, other.exponent, precision)

    # -- order

    @property
    def _top(self) -> int:
        """The place of the first bit."""
        return self.exponent + self.mantissa.bit_length()

    @property
    def is_zero(self) -> bool:
        return not self.mantissa and not self.infinite

    @property
    def negative(self) -> bool:
        return self.mantissa < 0 or self.infinite < 0 or self.minus_zero

    def compare(self, other: Number) -> int:
        """-1, 0 or 1."""
        if self.infinite or other.infinite:
            return (self.infinite > other.infinite) - (self.infinite < other.infinite)
        signs = [(each.mantissa > 0) - (each.mantissa < 0) for each in (self, other)]
        if signs[0] != signs[1]:
            return 1 if signs[0] > signs[1] else -1
        if self._top != other._top:
            return signs[0] if self._top > other._top else -signs[0]
        low = min(self.exponent, other.exponent)
        mine, theirs = self.mantissa << (self.exponent - low), other.mantissa << (other.exponent - low)
        return (mine > theirs) - (mine < theirs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Number):
            return NotImplemented
        return (self.mantissa, self.exponent, self.infinite) == (other.mantissa, other.exponent, other.infinite)

    def __hash__(self) -> int:
        return hash((self.mantissa, self.exponent, self.infinite))

    def __lt__(self, other: Number) -> bool:
        return self.compare(other) < 0

    # -- other forms

    @property
    def is_whole(self) -> bool:
        return not self.infinite and self.exponent >= 0

    def truncated(self) -> int:
        """The whole part, cut towards zero. Raises OverflowError for an infinity, and if it is too large."""
        if self.infinite or self._top > _BITS:
            raise OverflowError("infinite" if self.infinite else f"a number of more than {MOST_DIGITS:,} digits")
        if self.exponent >= 0:
            return self.mantissa << self.exponent
        return abs(self.mantissa) >> -self.exponent if self.mantissa > 0 else -(-self.mantissa >> -self.exponent)

    def fits(self, bits: int) -> bool:
        """Whether it is a whole number of so many bits."""
        return self.is_whole and self._top <= bits

    def whole_part(self) -> Number:
        """Cut towards zero."""
        return self if self.exponent >= 0 else Number(self.truncated(), 0, self.precision)

    def __float__(self) -> float:
        if self.infinite:
            return self.infinite * float("inf")
        if self.minus_zero:
            return -0.0
        if abs(self._top) > _FAR:
            return math.copysign(0.0 if self._top < 0 else math.inf, self.mantissa)
        try:
            if self.exponent >= 0:
                return float(self.mantissa << self.exponent)
            return self.mantissa / (1 << -self.exponent)
        except OverflowError:
            return float("inf") if self.mantissa > 0 else float("-inf")

    def __str__(self) -> str:
        """For messages; `text` is what it is worth."""
        if not self.infinite and abs(self._top) > _FAR:
            return f"{'-' * self.negative}…e{_tens(self._top)}"
        return self.text()

    def text(self) -> str:
        """The value as text. Raises OverflowError if that is too long."""
        if not self._text:
            self._text = self._written()
        return self._text

    def _written(self) -> str:
        if self.infinite:
            return "+Inf" if self.infinite > 0 else "-Inf"
        if not self.mantissa:
            return "-0" if self.minus_zero else "0"
        sign, mantissa = ("-", -self.mantissa) if self.mantissa < 0 else ("", self.mantissa)
        size = mantissa.bit_length()
        if self.exponent >= 0 and size + self.exponent <= self.precision:
            return sign + int_text(mantissa << self.exponent)
        if _tens(abs(self._top)) > _LONGEST_TEXT:
            raise OverflowError(f"a number of more than {_LONGEST_TEXT:,} digits")
        if abs(self._top) > _FAR and self.precision <= _FAR:
            return sign + _far_text(mantissa, self.exponent, self.precision)
        return sign + _shortest(mantissa, self.exponent, self.precision)

    def __repr__(self) -> str:
        return f"Number({self})"


def _tens(bits: int) -> int:
    """How many decimal places so many bits are."""
    return bits * 301_029_995_664 // 10**12


def decimal_int(digits: str) -> int:
    """`int(digits)` for any length: Python refuses more than 4,300 digits, as a guard that is not needed here."""
    if len(digits) <= 4000:
        return int(digits or "0")
    middle = len(digits) // 2
    shift: int = 10 ** (len(digits) - middle)
    return decimal_int(digits[:middle]) * shift + decimal_int(digits[middle:])


def int_text(value: int) -> str:
    """`str(value)` for any length."""
    if value.bit_length() <= 13_000:
        return str(value)
    import decimal  # whose products of long numbers take less time

    powers: dict[int, decimal.Decimal] = {}

    def power(bits: int) -> decimal.Decimal:
        if bits not in powers:
            powers[bits] = decimal.Decimal(1 << bits) if bits <= 512 else power(bits >> 1) * power(bits - (bits >> 1))
        return powers[bits]

    def converted(part: int, bits: int) -> decimal.Decimal:
        if bits <= 512:
            return decimal.Decimal(part)
        half = bits >> 1
        return converted(part >> half, bits - half) * power(half) + converted(part & ((1 << half) - 1), half)

    context = decimal.Context(decimal.MAX_PREC, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[decimal.Inexact])
    with decimal.localcontext(context):
        return f"{'-' * (value < 0)}{converted(abs(value), value.bit_length()):f}"


def _power_of_five(exponent: int, precision: int) -> Number:
    """5**exponent, rounded at each step as Go's big floats are."""
    if exponent <= 27:
        return Number(5**exponent, 0, precision)
    found, factor = Number(5**27, 0, precision), Number(5, 0, precision + 64)
    exponent -= 27
    while exponent:
        if exponent & 1:
            if factor.infinite:
                return factor
            found = Number(found.mantissa * factor.mantissa, found.exponent + factor.exponent, precision)
        factor = Number(factor.mantissa**2, factor.exponent * 2, precision + 64) if not factor.infinite else factor
        exponent >>= 1
    return found


def _rounded(mantissa: int, exponent: int, drop: int) -> tuple[int, int]:
    """`mantissa` without its lowest `drop` bits, rounded half to even."""
    sign, mantissa = (-1, -mantissa) if mantissa < 0 else (1, mantissa)
    kept, rest = mantissa >> drop, mantissa & ((1 << drop) - 1)
    half = 1 << (drop - 1)
    if rest > half or (rest == half and kept & 1):
        kept += 1
    return sign * kept, exponent + drop


def _quotient(top: int, top_exponent: int, bottom: int, bottom_exponent: int, precision: int) -> Number:
    sign = -1 if (top < 0) != (bottom < 0) else 1
    top, bottom = abs(top), abs(bottom)
    shift = max(0, precision + 3 + bottom.bit_length() - top.bit_length())
    whole, rest = divmod(top << shift, bottom)
    sticky = (whole << 1) | (1 if rest else 0)
    return Number(sign * sticky, top_exponent - bottom_exponent - shift - 1, precision)


def _shortest(mantissa: int, exponent: int, precision: int) -> str:
    """The shortest decimal between the middles to the neighbours of `mantissa * 2**exponent` at this precision."""
    # One bit more than the precision, so that the neighbours' middles are one off; then everything times 10**places.
    shift = precision + 1 - mantissa.bit_length()
    mantissa, exponent = (mantissa << shift, exponent - shift) if shift >= 0 else (mantissa >> -shift, exponent - shift)
    inclusive = not mantissa & 2
    scale, places = (1 << exponent, 0) if exponent >= 0 else (5**-exponent, -exponent)
    exact, margin = mantissa * scale, scale
    low, high = exact - margin, exact + margin
    digits = len(int_text(exact))
    # Find the largest power of ten whose multiple lies in the interval, by bisection: fitting at 10**n implies n - 1.
    lower, upper = 0, digits
    while lower < upper:
        middle = (lower + upper + 1) // 2
        if _multiple_within(exact, 10**middle, low, high, inclusive) is None:
            upper = middle - 1
        else:
            lower = middle
    found = _multiple_within(exact, 10**lower, low, high, inclusive)
    text = int_text(found if found is not None else exact).rjust(places + 1, "0")
    if not places:
        return text
    fraction = text[-places:].rstrip("0")
    return f"{text[:-places]}.{fraction}" if fraction else text[:-places]


def _far_text(mantissa: int, exponent: int, precision: int) -> str:
    """As `_shortest`, for numbers far from 1: of their leading digits, all others are zeros."""
    size = mantissa.bit_length()
    figures = precision // 3 + 10
    unit = _tens(exponent + size) - figures  # digits below 10**unit are of no concern
    fives = _power_of_five(abs(unit), precision + 8 * _GUARD)

    def in_units(top: int, exponent: int) -> int:
        """`top * 2**exponent / 10**unit`, times 2**_GUARD."""
        if unit >= 0:
            return (top << exponent - unit - fives.exponent + _GUARD) // fives.mantissa
        return top * fives.mantissa >> -(exponent - unit + fives.exponent + _GUARD)

    exact, margin = in_units(mantissa, exponent), in_units(1, exponent + size - precision - 1)
    low, high, lower, upper = exact - margin, exact + margin, 0, figures + 5
    while lower < upper:
        middle = (lower + upper + 1) // 2
        if _multiple_within(exact, 10**middle << _GUARD, low, high, False) is None:
            upper = middle - 1
        else:
            lower = middle
    found = _multiple_within(exact, 10**lower << _GUARD, low, high, False)
    assert found is not None, "there are figures to spare"
    text = int_text(found >> _GUARD)
    if unit >= 0:
        return text + "0" * unit
    text = text.rjust(1 - unit, "0")
    fraction = text[unit:].rstrip("0")
    return f"{text[:unit]}.{fraction}" if fraction else text[:unit]


def _multiple_within(exact: int, step: int, low: int, high: int, inclusive: bool) -> int | None:
    """The multiple of `step` that is nearest to `exact` and in the interval, if there is one; of two the even one."""
    down = exact - exact % step
    fits = [
        each for each in (down, down + step) if each > 0 and (low < each < high or (inclusive and each in (low, high)))
    ]
    return min(fits, key=lambda each: (abs(each - exact), each // step & 1), default=None)
