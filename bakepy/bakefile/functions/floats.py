"""Powers and logarithms of machine floats, to the last bit as buildx prints them.

C libraries round some of them otherwise. The logarithm is that of Sun's fdlibm (`e_log.c`, as in FreeBSD and Go); a
power is multiplied together by squaring, mantissa and exponent apart, and only its fraction goes through `exp`.
"""

from __future__ import annotations

import math
from typing import Final

_LN2_HIGH: Final = 6.93147180369123816490e-01
_LN2_LOW: Final = 1.90821492927058770002e-10
_EVEN: Final = (1.531383769920937332e-01, 2.222219843214978396e-01, 3.999999999940941908e-01)
_ODD: Final = (1.479819860511658591e-01, 1.818357216161805012e-01, 2.857142874366239149e-01, 6.666666666666735130e-01)
"""Coefficients of the series in s², s = f / (2 + f), the highest power first."""
_FAR: Final = 4096
"""Binary exponents beyond overflow or vanish whatever follows."""


def logarithm(number: float) -> float:
    """The natural logarithm; minus infinity for zero, NaN below."""
    if number <= 0:
        return -math.inf if number == 0 else math.nan
    if math.isinf(number):
        return number
    mantissa, exponent = math.frexp(number)
    if mantissa < math.sqrt(0.5):
        mantissa, exponent = mantissa * 2, exponent - 1
    fraction = mantissa - 1
    ratio = fraction / (2 + fraction)
    square = ratio * ratio
    fourth = square * square
    series = square * _polynomial(_ODD, fourth) + fourth * _polynomial(_EVEN, fourth)
    half = 0.5 * fraction * fraction
    return exponent * _LN2_HIGH - ((half - (ratio * (half + series) + exponent * _LN2_LOW)) - fraction)


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    total = coefficients[0]
    for each in coefficients[1:]:
        total = each + x * total
    return total


def power(base: float, exponent: float) -> float:
    """`base` to the `exponent`; infinity beyond all floats. Raises ValueError where it has no value."""
    if abs(exponent) == 0.5 and base > 0:
        return math.sqrt(base) if exponent > 0 else 1 / math.sqrt(base)
    if base == 0 or exponent == 0 or math.isinf(base) or math.isinf(exponent) or abs(exponent) >= 2.0**53:
        return _edge(base, exponent)
    fraction, whole = math.modf(abs(exponent))
    if fraction and base < 0:
        raise ValueError("no power")
    if fraction > 0.5:
        fraction, whole = fraction - 1, whole + 1
    result = math.exp(fraction * logarithm(base)) if fraction else 1.0
    shift = 0
    factor, factor_shift = math.frexp(base)
    rest = int(whole)
    while rest:
        if abs(factor_shift) > _FAR:
            shift += factor_shift
            break
        if rest & 1:
            result, shift = result * factor, shift + factor_shift
        factor, factor_shift = factor * factor, factor_shift * 2
        if factor < 0.5:
            factor, factor_shift = factor * 2, factor_shift - 1
        rest >>= 1
    if exponent < 0:
        result, shift = 1 / result, -shift
    try:
        return math.ldexp(result, shift)
    except OverflowError:
        return math.copysign(math.inf, result)


def _edge(base: float, exponent: float) -> float:
    """Zeros, infinities and exponents that are whole whatever they are."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        if base == 0:
            return math.copysign(math.inf, base) if exponent % 2 == 1 else math.inf
        raise
