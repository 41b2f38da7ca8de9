"""Functions that bake files define themselves."""

from __future__ import annotations

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.body import Content
from bakepy.bakefile.node import Function, Node, Scope
from bakepy.bakefile.traversal import Reference
from bakepy.bakefile.values import Value


class FunctionBlock:
    """A function as its block has it: `parameters`, the name for further arguments (`rest`, or empty), the result."""

    def __init__(self, name: str, content: Content) -> None:
        """Raises DefinitionError."""
        self.name = name
        parameters = content.attributes["params"].static
        if not isinstance(parameters, tree.Tuple):
            raise parameters.error("expected a list of parameter names")
        self.parameters = [_parameter(each) for each in parameters.items]
        self.rest = ""
        if variadic := content.attributes.get("variadic_params"):
            self.rest = _parameter(variadic.static)
        self.result = content.attributes["result"].node

    @property
    def bound(self) -> frozenset[str]:
        """The names that have a meaning inside only."""
        return frozenset({*self.parameters, self.rest} if self.rest else self.parameters)

    def function(self, root: Scope) -> Function:
        """What is called; `root` has the names outside."""
        name, parameters, rest, result = self.name, self.parameters, self.rest, self.result

        def function(call: tree.Call, scope: Scope) -> Value:
            root.globals.spend(1)
            given = call.evaluated(scope)
            if len(given) < len(parameters) or (len(given) > len(parameters) and not rest):
                raise call.error(f"{name}() takes {_count(len(parameters), bool(rest))}, not {len(given)}")
            for node, value in given:
                if value.raw is None:
                    raise node.error(f"{name}() takes no null")
            variables = {each: value for each, (_, value) in zip(parameters, given, strict=False)}
            if rest:
                variables[rest] = v.tuple_of(value for _, value in given[len(parameters) :])
            return result.value(root.child(variables))

        return function


def _parameter(node: Node) -> str:
    if isinstance(node, Reference) and not node.steps:
        return node.name
    if isinstance(node, tree.Literal) and node.word:
        return node.word
    raise node.error("a parameter must be a name", hint="without quotes" if isinstance(node, tree.Literal) else "")


def _count(number: int, more: bool) -> str:
    return f"{number}{' or more' if more else ''} argument{'s' if number != 1 or more else ''}"
