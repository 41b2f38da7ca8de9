"""Functions that decide what to evaluate: `try`, `can`, `convert`."""

from __future__ import annotations

from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert
from bakepy.bakefile.expression import Call
from bakepy.bakefile.node import Function, Scope
from bakepy.bakefile.values import ConvertError, Value
from bakepy.bakefile.variables import parse_type
from bakepy.errors import DefinitionError


def _try(call: Call, scope: Scope) -> Value:
    arguments = call.nodes(scope)
    if not arguments:
        raise call.error("try() takes at least one argument")
    failures: list[DefinitionError] = []
    for node in arguments:
        try:
            return node.value(scope)
        except DefinitionError as error:
            failures.append(error)
    causes = [f"- {error.what}" for error in failures]
    raise call.span.error("none of the expressions could be evaluated", detail=causes)


def _can(call: Call, scope: Scope) -> Value:
    arguments = call.nodes(scope)
    if len(arguments) != 1:
        raise call.error(f"can() takes 1 argument, not {len(arguments)}")
    try:
        arguments[0].value(scope)
    except DefinitionError:
        return v.FALSE
    return v.TRUE


def _convert(call: Call, scope: Scope) -> Value:
    arguments = call.nodes(scope)
    if len(arguments) != 2:
        raise call.error(f"convert() takes a value and a type, not {len(arguments)} arguments")
    value = arguments[0].value(scope)
    want = parse_type(arguments[1])
    if want is None:
        raise arguments[1].error("expected a type, such as list(string)")
    try:
        return convert(value, want)
    except ConvertError as reason:
        raise arguments[0].error(f"convert(): {reason}") from None


FUNCTIONS: Final[dict[str, Function]] = {"try": _try, "can": _can, "convert": _convert}
