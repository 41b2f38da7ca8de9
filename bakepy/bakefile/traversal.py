"""Ways into values: variables and the steps that follow them, computed indexes, splats."""

from __future__ import annotations

from collections.abc import Sequence

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert
from bakepy.bakefile.node import NO_NAMES, Node, References, Scope
from bakepy.bakefile.source import Span, Text
from bakepy.bakefile.values import ConvertError, Value
from bakepy.errors import nearest


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
