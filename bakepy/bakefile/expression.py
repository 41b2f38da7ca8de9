"""The expression tree: what an expression means, node by node.

Every node knows its place and how to compute its value in a `Scope`. `collect` lists what it refers to, so that the
evaluator can see to these first. Errors are `DefinitionError`s that point at the node at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert, unify
from bakepy.bakefile.source import Span, Text
from bakepy.bakefile.values import ConvertError, Value
from bakepy.errors import DefinitionError, nearest

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
    """A part of an expression, at `start` up to `end` of `text`."""

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
        return _joined(self, pieces)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        for part in self.parts:
            part.collect(found, bound)


def _joined(node: Node, pieces: list[str]) -> Value:
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


class Joined(Node):
    """A `%{for}` in a template: the texts of all rounds, one after another."""

    __slots__ = ("rounds",)

    def __init__(self, text: Text, start: int, end: int, rounds: Node) -> None:
        super().__init__(text, start, end)
        self.rounds = rounds

    def value(self, scope: Scope) -> Value:
        pieces = []
        for each in self.rounds.value(scope).raw:
            if each.raw is None:
                raise self.error("null can not be part of a string")
            pieces.append(self.converted(each, v.STRING, "can not be part of a string").raw)
        return _joined(self, pieces)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.rounds.collect(found, bound)


class Step:
    """`.name`, or `[key]` with a key that is known when the file is read."""

    __slots__ = ("attribute", "end", "key", "start")

    def __init__(self, key: Value, attribute: bool, start: int, end: int) -> None:
        self.key = key
        self.attribute = attribute
        self.start = start
        self.end = end


class Reference(Node):
    """A variable and the constant steps into it: `target.app.tags[0]`."""

    __slots__ = ("name", "steps")

    def __init__(self, text: Text, start: int, end: int, name: str, steps: Sequence[Step] = ()) -> None:
        super().__init__(text, start, end)
        self.name = name
        self.steps = tuple(steps)

    def value(self, scope: Scope) -> Value:
        value = scope.find(self.name)
        taken = 0
        if value is None:
            value = scope.globals.find(self.name)
        if value is None:
            block = scope.globals.find_block(self)
            if block is not None:
                value, taken = block
        if value is None:
            raise Node(self.text, self.start, self.start + len(self.name)).error(
                f"there is no variable {self.name!r}", hint=nearest(self.name, scope.names())
            )
        for step in self.steps[taken:]:
            value = take_step(self.text, value, step)
        return value

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        if self.name not in bound:
            found.variables.append(self)

    def keyword(self) -> str:
        return "" if self.steps else self.name


class Relative(Node):
    """Constant steps into something that is no plain variable: `f(x).name`."""

    __slots__ = ("source", "steps")

    def __init__(self, text: Text, start: int, end: int, source: Node, steps: Sequence[Step]) -> None:
        super().__init__(text, start, end)
        self.source = source
        self.steps = tuple(steps)

    def value(self, scope: Scope) -> Value:
        value = self.source.value(scope)
        for step in self.steps:
            value = take_step(self.text, value, step)
        return value

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.source.collect(found, bound)


def take_step(text: Text, value: Value, step: Step) -> Value:
    place = Span(text, step.start, step.end)
    if not step.attribute:
        return take_index(place, value, step.key)
    name = step.key.raw
    if value.raw is None:
        raise place.error(f"null has no attribute {name!r}")
    if not isinstance(value.raw, dict):
        raise place.error(f"{v.article(value.type)} has no attribute {name!r}")
    if name not in value.raw:
        raise place.error(f"there is no attribute {name!r} here", hint=nearest(name, value.raw))
    found: Value = value.raw[name]
    return found


def take_index(place: Span, value: Value, key: Value) -> Value:
    """`value[key]`."""
    if value.raw is None:
        raise place.error("null has no elements")
    if key.raw is None:
        raise place.error("null can not be an index")
    if isinstance(value.raw, dict):
        try:
            name = convert(key, v.STRING).raw
        except ConvertError as reason:
            raise place.error(f"the key of {v.article(value.type)} must be a string: {reason}") from None
        if name not in value.raw:
            raise place.error(f"there is no element {name!r} here", hint=nearest(name, value.raw))
        found: Value = value.raw[name]
        return found
    if not v.is_sequence(value.type):
        raise place.error(f"{v.article(value.type)} has no elements that can be reached by an index")
    try:
        position = convert(key, v.NUMBER).raw
    except ConvertError as reason:
        raise place.error(f"the index of {v.article(value.type)} must be a number: {reason}") from None
    if not position.is_whole:
        raise place.error(f"an index must be a whole number, not {position}")
    if not position.fits(64) or not 0 <= position.truncated() < len(value.raw):
        raise place.error(f"there is no element {position}: there are {len(value.raw)}, counted from 0")
    item: Value = value.raw[position.truncated()]
    return item


class Index(Node):
    """`source[key]` with a computed key."""

    __slots__ = ("key", "source")

    def __init__(self, text: Text, start: int, end: int, source: Node, key: Node) -> None:
        super().__init__(text, start, end)
        self.source = source
        self.key = key

    def value(self, scope: Scope) -> Value:
        source = self.source.value(scope)
        return take_index(self.key.span, source, self.key.value(scope))

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.source.collect(found, bound)
        self.key.collect(found, bound)


_SPLAT_ITEM = "*"


class SplatItem(Node):
    """The element at hand inside a splat. Its name can not be written, so nothing hides it but an inner splat."""

    __slots__ = ()

    def value(self, scope: Scope) -> Value:
        found = scope.find(_SPLAT_ITEM)
        assert found is not None, "a splat binds its item"
        return found


class Splat(Node):
    """`source[*]…` and `source.*…`: `each` for every element; a lone value counts as one element, null as none."""

    __slots__ = ("each", "source")

    def __init__(self, text: Text, start: int, end: int, source: Node, each: Node) -> None:
        super().__init__(text, start, end)
        self.source = source
        self.each = each

    def value(self, scope: Scope) -> Value:
        source = self.source.value(scope)
        sequence = isinstance(source.type, (v.TupleType, v.ListType, v.SetType))
        if source.raw is None:
            if sequence:
                raise self.source.error("a splat can not go through null")
            return v.EMPTY_TUPLE
        items = [self.each.value(scope.child({_SPLAT_ITEM: item})) for item in (source.raw if sequence else (source,))]
        if isinstance(source.type, (v.ListType, v.SetType)):
            if not items:
                return v.list_of((), source.type.element if isinstance(self.each, SplatItem) else v.DYNAMIC)
            if all(item.type == items[0].type for item in items):
                return v.list_of(items, items[0].type)
        return v.tuple_of(items)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.source.collect(found, bound)
        self.each.collect(found, bound)


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


class For(Node):
    """`[for k, v in source : item if condition]` and `{for … : key => item…}`."""

    __slots__ = ("condition", "grouped", "item", "key", "key_name", "source", "value_name")

    def __init__(
        self,
        text: Text,
        start: int,
        end: int,
        *,
        key_name: str,
        value_name: str,
        source: Node,
        key: Node | None,
        item: Node,
        condition: Node | None = None,
        grouped: bool = False,
    ) -> None:
        super().__init__(text, start, end)
        self.key_name = key_name
        self.value_name = value_name
        self.source = source
        self.key = key
        self.item = item
        self.condition = condition
        self.grouped = grouped

    def value(self, scope: Scope) -> Value:
        source = self.source.value(scope)
        if source.raw is None:
            raise self.source.error("null has no elements to go through")
        if not v.can_iterate(source):
            raise self.source.error(f"{v.article(source.type)} has no elements to go through")
        scope.globals.spend(len(source.raw))
        if not source.raw and self.condition is not None and self._is_constant(self.condition):
            self._included(scope)  # it can not be right for any element
        items: list[Value] = []
        named: dict[str, Value] = {}
        groups: dict[str, list[Value]] = {}
        for key, value in v.elements(source):
            bound = {self.value_name: value}
            if self.key_name:
                bound = {self.key_name: key, self.value_name: value}
            inner = scope.child(bound)
            if self.condition is not None and not self._included(inner):
                continue
            if self.key is None:
                items.append(self.item.value(inner))
                continue
            name = self.key.value(inner)
            if name.raw is None:
                raise self.key.error("null can not be a key")
            word = self.key.converted(name, v.STRING, "not a key").raw
            result = self.item.value(inner)
            if self.grouped:
                groups.setdefault(word, []).append(result)
            elif word in named:
                raise self.key.error(
                    f"two elements give the key {word!r}", hint="write `...` after the value to group by key"
                )
            else:
                named[word] = result
        if self.key is None:
            return v.tuple_of(items)
        if self.grouped:
            named = {word: v.tuple_of(found) for word, found in groups.items()}
        return v.object_of(named)

    def _is_constant(self, node: Node) -> bool:
        """Whether `node` has nothing to do with the element."""
        found = References()
        node.collect(found)
        return all(each.name not in (self.key_name, self.value_name) for each in found.variables)

    def _included(self, scope: Scope) -> bool:
        assert self.condition is not None
        value = self.condition.value(scope)
        if value.raw is None:
            raise self.condition.error("the condition is null")
        return bool(self.condition.converted(value, v.BOOL, "the condition").raw)

    def collect(self, found: References, bound: frozenset[str] = NO_NAMES) -> None:
        self.source.collect(found, bound)
        inner = bound | {self.key_name, self.value_name}
        for each in (self.key, self.item, self.condition):
            if each is not None:
                each.collect(found, inner)


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


def attempt(node: Node, scope: Scope) -> tuple[Value | None, DefinitionError | None]:
    """The value, or why there is none."""
    try:
        return node.value(scope), None
    except DefinitionError as error:
        return None, error


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
