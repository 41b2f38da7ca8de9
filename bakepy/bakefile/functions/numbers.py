"""Arithmetic, comparison and logic as functions."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.functions.declare import FunctionError, declare, whole
from bakepy.bakefile.functions.floats import logarithm, power
from bakepy.bakefile.node import Function
from bakepy.bakefile.number import INTEGER, MOST_DIGITS, Number
from bakepy.bakefile.operators import equal, remainder
from bakepy.bakefile.values import Value

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _arithmetic(operate: Callable[[Number, Number], Number]) -> Callable[[Value, Value], Value]:
    return lambda left, right: v.number(operate(left.raw, right.raw))


def _order(holds: Callable[[int], bool]) -> Callable[[Value, Value], Value]:
    return lambda left, right: v.boolean(holds(left.raw.compare(right.raw)))


def _rounded(number: Number, whole_part: int) -> Value:
    return v.number(Number(whole_part, 0, max(number.precision, INTEGER)))


def _int(value: Value) -> Value:
    number: Number = value.raw
    if number.infinite:
        raise FunctionError("infinity has no whole part", 0)
    return value if number.is_whole else v.number(Number.of_int(number.truncated()))


def _ceil(value: Value) -> Value:
    number: Number = value.raw
    if number.infinite or (number.is_whole and not number.minus_zero):
        return value
    return _rounded(number, number.truncated() + (1 if number.mantissa > 0 else 0))


def _floor(value: Value) -> Value:
    number: Number = value.raw
    if number.infinite or (number.is_whole and not number.minus_zero):
        return value
    return _rounded(number, number.truncated() - (1 if number.mantissa < 0 else 0))


def _absolute(value: Value) -> Value:
    return v.number(-value.raw) if value.raw.negative else value


def _extreme(wanted: int) -> Callable[..., Value]:
    def implement(*numbers: Value) -> Value:
        if not numbers:
            raise FunctionError("at least one number is required")
        best = numbers[0]
        for each in numbers[1:]:
            if each.raw.compare(best.raw) == wanted:
                best = each
        return best

    return implement


def _from_float(value: float) -> Value:
    try:
        return v.number(Number.of_float(value))
    except ValueError:
        raise FunctionError("the result is no number") from None


def _float(value: Value, argument: int) -> float:
    found = float(value.raw)
    if math.isinf(found) and not value.raw.infinite:
        raise FunctionError(f"the number must be between {-sys.float_info.max} and {sys.float_info.max}", argument)
    return found


def _log(value: Value, base: Value) -> Value:
    top, bottom = logarithm(_float(value, 0)), logarithm(_float(base, 1))
    if math.isnan(top) or math.isnan(bottom):
        raise FunctionError("a negative number has no logarithm")
    if bottom == 0:
        if top == 0:
            raise FunctionError("the result is no number")
        return _from_float(math.copysign(math.inf, top))
    return _from_float(top / bottom)


def _pow(value: Value, exponent: Value) -> Value:
    try:
        return _from_float(power(_float(value, 0), _float(exponent, 1)))
    except ValueError:
        raise FunctionError("the result is no number") from None


def _signum(value: Value) -> Value:
    number = whole(value, 0)
    return v.number((number > 0) - (number < 0))


def _whole_number(digits: list[int], radix: int) -> int | None:
    """None if a digit is none. Halves are put together, which takes less time than digit by digit."""
    if len(digits) > 64:
        middle = len(digits) // 2
        high, low = _whole_number(digits[:middle], radix), _whole_number(digits[middle:], radix)
        return None if high is None or low is None else high * int(radix ** (len(digits) - middle)) + low
    total = 0
    for digit in digits:
        if not 0 <= digit < radix:
            return None
        total = total * radix + digit
    return total


def _parseint(value: Value, base: Value) -> Value:
    if value.type is not v.STRING:
        raise FunctionError(f"the first argument must be a string, not {v.article(value.type)}", 0)
    radix = whole(base, 1)
    if not 2 <= radix <= 62:
        raise FunctionError(f"the base must be between 2 and 62, not {radix}", 1)
    text: str = value.raw
    digits = text[1:] if text[:1] in ("+", "-") else text
    if radix <= 36:
        digits = digits.lower()
    if len(digits) > MOST_DIGITS:
        raise FunctionError(f"the text has more than {MOST_DIGITS:,} digits", 0)
    total = _whole_number([_DIGITS.find(character) for character in digits], radix)
    if not digits or total is None:
        raise FunctionError(f"{text!r} is no whole number in base {radix}", 0)
    return v.number(Number.of_int(-total if text[0] == "-" else total))


_N, _B, _D = v.NUMBER, v.BOOL, v.DYNAMIC

FUNCTIONS: Final[dict[str, Function]] = {
    "absolute": declare("absolute", _absolute, _N),
    "add": declare("add", _arithmetic(lambda left, right: left + right), _N, _N),
    "and": declare("and", lambda left, right: v.boolean(left.raw and right.raw), _B, _B),
    "ceil": declare("ceil", _ceil, _N),
    "divide": declare("divide", _arithmetic(lambda left, right: left / right), _N, _N),
    "equal": declare("equal", lambda left, right: v.boolean(equal(left, right)), _D, _D, nulls=True),
    "floor": declare("floor", _floor, _N),
    "greaterthan": declare("greaterthan", _order(lambda order: order > 0), _N, _N),
    "greaterthanorequalto": declare("greaterthanorequalto", _order(lambda order: order >= 0), _N, _N),
    "int": declare("int", _int, _N),
    "lessthan": declare("lessthan", _order(lambda order: order < 0), _N, _N),
    "lessthanorequalto": declare("lessthanorequalto", _order(lambda order: order <= 0), _N, _N),
    "log": declare("log", _log, _N, _N),
    "max": declare("max", _extreme(1), rest=_N),
    "min": declare("min", _extreme(-1), rest=_N),
    "modulo": declare("modulo", _arithmetic(remainder), _N, _N),
    "multiply": declare("multiply", _arithmetic(lambda left, right: left * right), _N, _N),
    "negate": declare("negate", lambda value: v.number(-value.raw), _N),
    "not": declare("not", lambda value: v.boolean(not value.raw), _B),
    "notequal": declare("notequal", lambda left, right: v.boolean(not equal(left, right)), _D, _D, nulls=True),
    "or": declare("or", lambda left, right: v.boolean(left.raw or right.raw), _B, _B),
    "parseint": declare("parseint", _parseint, _D, _N),
    "pow": declare("pow", _pow, _N, _N),
    "signum": declare("signum", _signum, _N),
    "subtract": declare("subtract", _arithmetic(lambda left, right: left - right), _N, _N),
}
