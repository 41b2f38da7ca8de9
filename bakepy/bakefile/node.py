"""What every part of an expression is, and where the names in it are looked up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert
from bakepy.bakefile.source import Span, Text
from bakepy.bakefile.values import ConvertError, Value
from bakepy.errors import DefinitionError

if TYPE_CHECKING:
    from bakepy.bakefile.expression import Call
    from bakepy.bakefile.traversal import Reference

Function = Callable[["Call", "Scope"], Value]
"""A function takes the call itself, so that some (`try`, `convert`) can decide what to evaluate."""


class Globals:
    """Where names are looked up that no inner scope binds. The evaluator fills and extends it."""

    def find(self, name: str) -> Value | None:
        return None

    def find_block(self, reference: Reference) -> tuple[Value, int] | None:
        """The value that a reference into a block (`target.x.context`) leads to, and how many steps that took."""
        return None

    def find_function(self, name: str) -> Function | None:
        return None

    def now(self) -> float:
        """Unix time."""
        raise NotImplementedError

    def random(self, size: int) -> bytes:
        raise NotImplementedError

    def home(self) -> str:
        """The user's home folder."""
        raise NotImplementedError

    def names(self) -> list[str]:
        return []

    def function_names(self) -> list[str]:
        return []

    def spend(self, steps: int) -> None:
        """Counts rounds of loops; raises DefinitionError when there were too many of them in all."""


class Scope:
    """Names bound by an enclosing `for`, matrix or function, then those outside it."""

    __slots__ = ("bound", "globals", "parent")

    def __init__(self, globals: Globals, bound: Mapping[str, Value] | None = None, parent: Scope | None = None) -> None:
        self.globals = globals
        self.bound: Mapping[str, Value] = bound or {}
        self.parent = parent

    def child(self, bound: Mapping[str, Value]) -> Scope:
        return Scope(self.globals, bound, self)

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bound:
                return scope.bound[name]
            scope = scope.parent
        return None

    def names(self) -> list[str]:
        found = self.globals.names()
        scope: Scope | None = self
        while scope is not None:
            found += scope.bound
            scope = scope.parent
        return found


class References:
    """What an expression refers to: variables with the steps that follow them, and functions."""

    __slots__ = ("functions", "variables")

    def __init__(self) -> None:
        self.variables: list[Reference] = []
        self.functions: list[str] = []


NO_NAMES: frozenset[str] = frozenset()


class Node:
    """A part of an expression, at `start` up to `end` of `text`.

    It computes its value in a `Scope`; `collect` lists what it refers to, so that the evaluator can see to these first.
    Errors are `DefinitionError`s that point at the node at fault.
    """

    __slots__ = ("end", "start", "text")

    def __init__(self, text: Text, start: int, end: int) -> None:
        self.text = text
        self.start = start
        self.end = end

    @property
    def span(self) -> Span:
        return Span(self.text, self.start, self.end)

    def error(self, what: str, *, hint: str = "") -> DefinitionError:
        return self.span.error(what, hint=hint)

    def value(self, scope: Scope) -> Value:
        raise NotImplementedError

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        """Adds what this node refers to; names in `bound` are not references."""

    def keyword(self) -> str:
        """The name, if this is nothing but a name; else empty."""
        return ""

    def converted(self, value: Value, want: v.Type, role: str) -> Value:
        try:
            return convert(value, want)
        except ConvertError as reason:
            raise self.error(f"{role}: {reason}") from None


def attempt(node: Node, scope: Scope) -> tuple[Value | None, DefinitionError | None]:
    """The value, or why there is none."""
    try:
        return node.value(scope), None
    except DefinitionError as error:
        return None, error
