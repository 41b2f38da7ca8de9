"""Numbers of the bake language: binary floating point of any precision, 512 bits unless they come from elsewhere.

A number is `mantissa * 2**exponent`; results are rounded half to even to the larger precision of their operands.
Text is the shortest that reads back as the same number at its precision, never with an exponent.
"""

from __future__ import annotations

LITERAL = 512
"""Bits of a number that was written in a file."""
INTEGER = 64
"""Bits of a number that was counted (`length`, list indices)."""
DOUBLE = 53
"""Bits of a number that came through a machine float (environment values, `pow`, `log`)."""

_LARGEST_EXPONENT = 18_000
_LARGEST_BINARY_EXPONENT = 60_000


class Number:
    """An immutable number, up to 18,000 decimal places; beyond, OverflowError is raised.

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
            if not -_LARGEST_BINARY_EXPONENT < exponent + size < _LARGEST_BINARY_EXPONENT:
                raise OverflowError("this number is beyond all measure")
            if size > precision:
                mantissa, exponent = _rounded(mantissa, exponent, size - precision)
            if not mantissa & 1:
                zeros = (mantissa & -mantissa).bit_length() - 1
                mantissa >>= zeros
                exponent += zeros
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
        tens = int(power) if power else 0
        if abs(tens) > _LARGEST_EXPONENT or len(whole) + len(fraction) > _LARGEST_EXPONENT:
            raise ValueError("out of range")
        value = sign * decimal_int(whole + fraction)
        tens -= len(fraction)
        if not value:
            return cls(0, 0, precision, minus_zero=sign < 0)
        try:
            if tens >= 0:
                return cls(value * 10**tens, 0, precision)
            return _quotient(value, 0, 10**-tens, 0, precision)
        except OverflowError:
            raise ValueError("out of range") from None

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
        product = self.mantissa * other.mantissa
        return Number(product, self.exponent + other.exponent, precision, minus_zero=negative)

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
    def is_zero(self) -> bool:
        return not self.mantissa and not self.infinite

    @property
    def negative(self) -> bool:
        return self.mantissa < 0 or self.infinite < 0 or self.minus_zero

    def compare(self, other: Number) -> int:
        """-1, 0 or 1."""
        if self.infinite or other.infinite:
            return (self.infinite > other.infinite) - (self.infinite < other.infinite)
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
        """The whole part, cut towards zero. Raises OverflowError for an infinity."""
        if self.infinite:
            raise OverflowError("infinite")
        if self.exponent >= 0:
            return self.mantissa << self.exponent
        return abs(self.mantissa) >> -self.exponent if self.mantissa > 0 else -(-self.mantissa >> -self.exponent)

    def __float__(self) -> float:
        if self.infinite:
            return self.infinite * float("inf")
        if self.minus_zero:
            return -0.0
        try:
            if self.exponent >= 0:
                return float(self.mantissa << self.exponent)
            return self.mantissa / (1 << -self.exponent)
        except OverflowError:
            return float("inf") if self.mantissa > 0 else float("-inf")

    def __str__(self) -> str:
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
        return sign + _shortest(mantissa, self.exponent, self.precision)

    def __repr__(self) -> str:
        return f"Number({self})"


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
    half = value.bit_length() * 3 // 20
    high, low = divmod(abs(value), 10**half)
    return ("-" if value < 0 else "") + int_text(high) + int_text(low).rjust(half, "0")


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


def _multiple_within(exact: int, step: int, low: int, high: int, inclusive: bool) -> int | None:
    """The multiple of `step` that is nearest to `exact` and in the interval, if there is one."""
    down = exact - exact % step
    fits = [
        each for each in (down, down + step) if each > 0 and (low < each < high or (inclusive and each in (low, high)))
    ]
    return min(fits, key=lambda each: abs(each - exact), default=None)
