"""How functions are declared: typed parameters, converted and checked before the function sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert
from bakepy.bakefile.expression import Call
from bakepy.bakefile.node import Function, Scope
from bakepy.bakefile.number import Number
from bakepy.bakefile.values import ConvertError, Value


class FunctionError(Exception):
    """A function can not do what it was asked; `argument` is the position of the argument at fault, if it is one."""

    def __init__(self, what: str, argument: int | None = None) -> None:
        super().__init__(what)
        self.argument = argument


def declare(
    name: str,
    implement: Callable[..., Value],
    *parameters: v.Type,
    rest: v.Type | None = None,
    nulls: bool = False,
    scoped: bool = False,
) -> Function:
    """A function of `parameters`, and any number of `rest` after them.

    `implement` gets the converted values; with `scoped`, first the scope. Nulls are refused unless `nulls`.
    """

    def function(call: Call, scope: Scope) -> Value:
        given = call.evaluated(scope)
        count = len(parameters)
        if len(given) < count or (len(given) > count and rest is None):
            more = " or more" if rest is not None else ""
            plural = "" if count == 1 and not more else "s"
            raise call.error(f"{name}() takes {count}{more} argument{plural}, not {len(given)}")
        values: list[Value] = []
        for position, (node, value) in enumerate(given):
            want = parameters[position] if position < count else rest
            assert want is not None
            if value.raw is None and not nulls:
                raise node.error(f"an argument of {name}() can not be null")
            try:
                values.append(convert(value, want))
            except ConvertError as reason:
                raise node.error(f"{name}(): {reason}") from None
        try:
            return implement(scope, *values) if scoped else implement(*values)
        except FunctionError as error:
            place = call if error.argument is None else given[min(error.argument, len(given) - 1)][0]
            raise place.error(f"{name}(): {error}") from None
        except ConvertError as reason:
            raise call.error(f"{name}(): {reason}") from None
        except ArithmeticError as reason:
            raise call.error(f"{name}(): {reason}") from None

    return function


def whole(value: Value, argument: int, what: str = "a whole number is required") -> int:
    """A number as a machine integer."""
    number: Number = value.raw
    if number.fits(64):
        found = number.truncated()
        if -(1 << 63) <= found < 1 << 63:
            return found
    shown = str(number)
    raise FunctionError(f"{what}, not {shown if len(shown) <= 40 else shown[:30] + '…'}", argument)


def texts(items: Sequence[Any]) -> Value:
    """A list of strings."""
    return v.list_of([v.string(each) for each in items], v.STRING)


def sequence(items: Sequence[Value], like: Value) -> Value:
    """A list or tuple, as `like` is."""
    if isinstance(like.type, v.TupleType):
        return v.tuple_of(items)
    assert isinstance(like.type, v.CollectionType)
    return v.list_of(items, like.type.element)
