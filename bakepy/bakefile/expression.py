"""Expressions: literals, templates, lists and objects, conditions and calls. What else there is: operators.py,
traversal.py, loops.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import unify
from bakepy.bakefile.node import NO_NAMES, Node, References, Scope, attempt
from bakepy.bakefile.source import Text
from bakepy.bakefile.traversal import Reference
from bakepy.bakefile.values import Value
from bakepy.errors import nearest


class Literal(Node):
    """A number, `true`, `false`, `null`, or text without interpolation."""

    __slots__ = ("literal", "word")

    def __init__(self, text: Text, start: int, end: int, literal: Value, word: str = "") -> None:
        super().__init__(text, start, end)
        self.literal = literal
        self.word = word

    def value(self, scope: Scope) -> Value:
        return self.literal

    def keyword(self) -> str:
        return self.word


class Template(Node):
    """Text with interpolations. `null` can not be part of it."""

    __slots__ = ("parts",)

    def __init__(self, text: Text, start: int, end: int, parts: Sequence[Node]) -> None:
        super().__init__(text, start, end)
        self.parts = tuple(parts)

    def value(self, scope: Scope) -> Value:
        pieces: list[str] = []
        for part in self.parts:
            each = part.value(scope)
            raw = each.raw
            if raw is None:
                raise part.error("null can not be part of a string")
            if each.type is v.NUMBER:
                try:
                    raw = raw.text()
                except OverflowError as reason:
                    raise part.error(str(reason)) from None
            elif each.type is not v.STRING:
                raw = part.converted(each, v.STRING, "can not be part of a string").raw
            pieces.append(raw)
        return join(self, pieces)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        for part in self.parts:
            part.collect(found, bound)


def join(node: Node, pieces: list[str]) -> Value:
    if sum(map(len, pieces)) > v.LONGEST:
        raise node.error(f"this text is longer than {v.LONGEST:,} characters")
    return v.string("".join(pieces))


class Wrapped(Node):
    """`(x)`, or a string that is one interpolation only: `"${x}"`, which keeps the type of `x`."""

    __slots__ = ("inner", "parentheses")

    def __init__(self, text: Text, start: int, end: int, inner: Node, parentheses: bool) -> None:
        super().__init__(text, start, end)
        self.inner = inner
        self.parentheses = parentheses

    def value(self, scope: Scope) -> Value:
        return self.inner.value(scope)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.inner.collect(found, bound)


class Tuple(Node):
    """`[a, b]`."""

    __slots__ = ("items",)

    def __init__(self, text: Text, start: int, end: int, items: Sequence[Node]) -> None:
        super().__init__(text, start, end)
        self.items = tuple(items)

    def value(self, scope: Scope) -> Value:
        return v.tuple_of([each.value(scope) for each in self.items])

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        for each in self.items:
            each.collect(found, bound)


class ObjectKey(Node):
    """A key in `{…}`: a bare word is a name, anything else is computed."""

    __slots__ = ("inner",)

    def __init__(self, inner: Node) -> None:
        super().__init__(inner.text, inner.start, inner.end)
        self.inner = inner

    def value(self, scope: Scope) -> Value:
        if word := self.inner.keyword():
            return v.string(word)
        if isinstance(self.inner, Reference):
            raise self.error(
                "this key is ambiguous", hint="put it in quotes for a name with dots, in parentheses for its value"
            )
        return self.inner.value(scope)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        if not self.inner.keyword():
            self.inner.collect(found, bound)


class Object(Node):
    """`{a = 1, b = 2}`. Of equal keys the last one counts, unless `distinct`."""

    __slots__ = ("distinct", "items", "names")

    def __init__(
        self, text: Text, start: int, end: int, items: Sequence[tuple[Node, Node]], *, distinct: bool = False
    ) -> None:
        super().__init__(text, start, end)
        self.items = tuple(items)
        self.distinct = distinct
        self.names = tuple([_known_name(key) for key, _ in items])

    def value(self, scope: Scope) -> Value:
        found: dict[str, Value] = {}
        for name, (key_node, value_node) in zip(self.names, self.items, strict=True):
            key = key_node.value(scope) if not name else None
            value = value_node.value(scope)
            if key is not None:
                if key.raw is None:
                    raise key_node.error("null can not be a key")
                name = key_node.converted(key, v.STRING, "not a key").raw
            if self.distinct and name in found:
                raise key_node.error(f"the key {name!r} is already set")
            found[name] = value
        return v.object_of(found)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        for key, value in self.items:
            key.collect(found, bound)
            value.collect(found, bound)


def _known_name(key: Node) -> str:
    """What a key says, if that needs no evaluation; else empty."""
    if isinstance(key, ObjectKey):
        word = key.inner.keyword()
        return word if word.isascii() else ""
    return key.literal.raw or "" if isinstance(key, Literal) and key.literal.type is v.STRING else ""


class Conditional(Node):
    """`condition ? yes : no`. Both sides must fit one type; the side that is not taken may fail."""

    __slots__ = ("condition", "no", "yes")

    def __init__(self, text: Text, start: int, end: int, condition: Node, yes: Node, no: Node) -> None:
        super().__init__(text, start, end)
        self.condition = condition
        self.yes = yes
        self.no = no

    def value(self, scope: Scope) -> Value:
        yes, yes_failed = attempt(self.yes, scope)
        no, no_failed = attempt(self.no, scope)
        want = self._common_type(yes, no)
        if want is None:
            raise self.error(
                "the two results do not fit one type: "
                f"{v.article(yes.type) if yes else '?'} and {v.article(no.type) if no else '?'}"
            )
        condition = self.condition.value(scope)
        if condition.raw is None:
            raise self.condition.error("the condition is null")
        taken = bool(self.condition.converted(condition, v.BOOL, "the condition").raw)
        node, result, failed = (self.yes, yes, yes_failed) if taken else (self.no, no, no_failed)
        if failed is not None:
            raise failed
        assert result is not None
        return node.converted(result, want, "the result")

    @staticmethod
    def _common_type(yes: Value | None, no: Value | None) -> v.Type | None:
        """The type of the result; None if there is none. A side that failed has no say."""
        if yes is None or no is None:
            return v.DYNAMIC
        if yes.type is v.DYNAMIC:
            return no.type
        if no.type is v.DYNAMIC:
            return yes.type
        if yes.type == no.type:
            return yes.type
        return unify((yes.type, no.type))

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        for each in (self.condition, self.yes, self.no):
            each.collect(found, bound)


class Call(Node):
    """`name(arguments)`; with `expand`, the last argument is a list of further arguments."""

    __slots__ = ("arguments", "expand", "name")

    def __init__(
        self, text: Text, start: int, end: int, name: str, arguments: Sequence[Node], expand: bool = False
    ) -> None:
        super().__init__(text, start, end)
        self.name = name
        self.arguments = tuple(arguments)
        self.expand = expand

    LIMIT: ClassVar[int] = 100_000
    """More arguments than this are not expanded."""

    def value(self, scope: Scope) -> Value:
        function = scope.globals.find_function(self.name)
        if function is None:
            place = Node(self.text, self.start, self.start + len(self.name))
            known = scope.globals.function_names()
            if self.name in known:
                raise place.error(f"{self.name}() is a function of the files, which can not be called here")
            raise place.error(f"there is no function {self.name!r}", hint=nearest(self.name, known))
        return function(self, scope)

    def evaluated(self, scope: Scope) -> list[tuple[Node, Value]]:
        """The arguments' values, with the nodes to blame for them."""
        if not self.expand:
            return [(node, node.value(scope)) for node in self.arguments]
        *plain, last = self.arguments
        found = [(node, node.value(scope)) for node in plain]
        return found + [(last, each) for each in self._expanded(last, scope)]

    def nodes(self, scope: Scope) -> Sequence[Node]:
        """The arguments before they are evaluated, but for a list that is expanded."""
        if not self.expand:
            return self.arguments
        *plain, last = self.arguments
        return plain + [Literal(self.text, last.start, last.end, each) for each in self._expanded(last, scope)]

    def _expanded(self, node: Node, scope: Scope) -> Sequence[Value]:
        value = node.value(scope)
        if value.raw is None:
            raise node.error("null can not be expanded to arguments")
        if not isinstance(value.type, (v.TupleType, v.ListType, v.SetType)):
            raise node.error(f"only a list can be expanded to arguments, not {v.article(value.type)}")
        items: Sequence[Value] = value.raw
        return items

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        found.functions.append(self.name)
        for each in self.arguments:
            each.collect(found, bound)
