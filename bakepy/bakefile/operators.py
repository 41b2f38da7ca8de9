"""Operators of the bake language: arithmetic, order, equality and logic."""

from __future__ import annotations

from typing import Any

from bakepy.bakefile import values as v
from bakepy.bakefile.node import NO_NAMES, Node, References, Scope, attempt
from bakepy.bakefile.source import Text
from bakepy.bakefile.values import Value
from bakepy.errors import DefinitionError


class Unary(Node):
    """`-x` and `!x`."""

    __slots__ = ("operand", "operator")

    def __init__(self, text: Text, start: int, end: int, operator: str, operand: Node) -> None:
        super().__init__(text, start, end)
        self.operator = operator
        self.operand = operand

    def value(self, scope: Scope) -> Value:
        want = v.NUMBER if self.operator == "-" else v.BOOL
        value = self.operand.converted(self.operand.value(scope), want, f"the operand of {self.operator}")
        if value.raw is None:
            raise self.operand.error(f"the operand of {self.operator} is null")
        return v.number(-value.raw) if self.operator == "-" else v.boolean(not value.raw)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.operand.collect(found, bound)


class Binary(Node):
    """`a + b`, `a == b`, `a && b`, …"""

    __slots__ = ("left", "operator", "right")

    def __init__(self, text: Text, start: int, end: int, operator: str, left: Node, right: Node) -> None:
        super().__init__(text, start, end)
        self.operator = operator
        self.left = left
        self.right = right

    def value(self, scope: Scope) -> Value:
        if self.operator in ("&&", "||"):
            return self._logical(scope)
        if self.operator in ("==", "!="):
            left, right = self.left.value(scope), self.right.value(scope)
            return v.boolean(equal(left, right) == (self.operator == "=="))
        left, right = self._operand(self.left, scope), self._operand(self.right, scope)
        return calculate(self, self.operator, left, right)

    def _operand(self, node: Node, scope: Scope) -> Value:
        value = node.converted(node.value(scope), v.NUMBER, f"an operand of {self.operator}")
        if value.raw is None:
            raise node.error(f"an operand of {self.operator} is null")
        return value

    def _logical(self, scope: Scope) -> Value:
        """One side may decide alone, even if the other one fails or is null."""
        decisive = self.operator == "||"
        sides: list[Value | None] = []
        failed: DefinitionError | None = None
        for node in (self.left, self.right):
            value, error = attempt(node, scope)
            if value is not None:
                value = node.converted(value, v.BOOL, f"an operand of {self.operator}")
            sides.append(value)
            failed = failed or error
        for value in sides:
            if value is not None and (value.raw is True) == decisive and (value.raw is not None or not decisive):
                return v.boolean(decisive)
        if failed is not None:
            raise failed
        for node, value in zip((self.left, self.right), sides, strict=True):
            if value is None or value.raw is None:
                raise node.error(f"an operand of {self.operator} is null")
        return v.boolean(not decisive)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.left.collect(found, bound)
        self.right.collect(found, bound)


def equal(left: Value, right: Value) -> bool:
    """`==`: nothing is converted; a null equals any null; a list never equals a tuple."""
    if left.raw is None or right.raw is None:
        return left.raw is None and right.raw is None
    if type(left.type) is not type(right.type) or (left.type in v.PRIMITIVES and left.type is not right.type):
        return False
    if left.type in v.PRIMITIVES:
        return bool(left.raw == right.raw)
    if isinstance(left.raw, dict):
        if isinstance(left.type, v.MapType) and left.type != right.type:
            return False
        return left.raw.keys() == right.raw.keys() and all(equal(left.raw[key], right.raw[key]) for key in left.raw)
    if isinstance(left.type, v.CollectionType) and left.type != right.type:
        return False
    return len(left.raw) == len(right.raw) and all(
        equal(mine, theirs) for mine, theirs in zip(left.raw, right.raw, strict=True)
    )


def calculate(place: Node, operator: str, left: Value, right: Value) -> Value:
    """Arithmetic and order of two numbers."""
    one, two = left.raw, right.raw
    try:
        match operator:
            case "+":
                return v.number(one + two)
            case "-":
                return v.number(one - two)
            case "*":
                return v.number(one * two)
            case "/":
                return v.number(one / two)
            case "%":
                return v.number(remainder(one, two))
    except ArithmeticError as reason:
        raise place.error(str(reason)) from None
    order = one.compare(two)
    return v.boolean({"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator])


def remainder(one: Any, two: Any) -> Any:
    """What is left of `one` after taking `two` as often as it goes; it has the sign of `one`."""
    if two.is_zero:
        return one
    if one.infinite or two.infinite:
        raise ArithmeticError("infinity and what is left of a division do not go together")
    number, precision = type(one), one.precision
    times = (one / two).whole_part()
    times = number(times.mantissa, times.exponent, precision)
    return one - number(two.mantissa * times.mantissa, two.exponent + times.exponent, precision)
