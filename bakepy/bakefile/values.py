"""Values and types of the bake language, and how they convert: string, number, bool, list, set, map, tuple, object.

The rules are those of cty, the type system of HCL: tuples and objects are what `[…]` and `{…}` make, lists, sets and
maps have elements of one type, and every value may be null. There are no unknown values here: what can not be
evaluated is an error.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cmp_to_key
from typing import Any, Final

from bakepy.bakefile.number import Number
from bakepy.errors import DefinitionError


class ConvertError(Exception):
    """A value has not the type that is wanted; the text says what is required."""


class Type:
    """A type. Compare with `==`; `str()` is its name for people."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def constraint(self) -> str:
        """The type as it is written in a file: `list(string)`."""
        return self.name

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<{self.constraint}>"


STRING: Final = Type("string")
NUMBER: Final = Type("number")
BOOL: Final = Type("bool")
HEAVIEST: Final = 2_000_000
"""More parts than this a value can not have."""
LONGEST: Final = 16_000_000
"""More characters than this a text that is put together can not have."""
DYNAMIC: Final = Type("any")
"""The type of a bare `null`, and a wish for any type."""
PRIMITIVES: Final = (STRING, NUMBER, BOOL)


class CollectionType(Type):
    """`list`, `set` or `map` of one element type."""

    __slots__ = ("element",)

    def __init__(self, name: str, element: Type) -> None:
        super().__init__(name)
        self.element = element

    @property
    def constraint(self) -> str:
        return f"{self.name}({self.element.constraint})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.element == other.element

    def __hash__(self) -> int:
        return hash((self.name, self.element))

    def __str__(self) -> str:
        return f"{self.name} of {self.element}"


class ListType(CollectionType):
    __slots__ = ()

    def __init__(self, element: Type) -> None:
        super().__init__("list", element)


class SetType(CollectionType):
    __slots__ = ()

    def __init__(self, element: Type) -> None:
        super().__init__("set", element)


class MapType(CollectionType):
    __slots__ = ()

    def __init__(self, element: Type) -> None:
        super().__init__("map", element)


class TupleType(Type):
    """A fixed number of elements, each of its own type."""

    __slots__ = ("_hash", "elements")

    def __init__(self, elements: Iterable[Type]) -> None:
        super().__init__("tuple")
        self.elements = tuple(elements)
        self._hash: int | None = None

    @property
    def constraint(self) -> str:
        return f"tuple([{', '.join(each.constraint for each in self.elements)}])"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TupleType) and self.elements == other.elements

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.elements)
        return self._hash


class ObjectType(Type):
    """Named attributes, each of its own type; `optional` ones may be left out when something is converted to it."""

    __slots__ = ("attributes", "optional")

    def __init__(self, attributes: Mapping[str, Type], optional: Iterable[str] = ()) -> None:
        super().__init__("object")
        self.attributes = dict(attributes)
        self.optional = frozenset(optional)

    @property
    def constraint(self) -> str:
        inner = ", ".join(
            f"{name}={f'optional({each.constraint})' if name in self.optional else each.constraint}"
            for name, each in sorted(self.attributes.items())
        )
        return f"object({{{inner}}})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectType) and self.attributes == other.attributes and self.optional == other.optional

    def __hash__(self) -> int:
        return hash(frozenset(self.attributes))


class Value:
    """A value: its type and its raw form.

    `raw` is None (null), str, bool, `Number`, a tuple of values (list, set, tuple), or a dict (map, object).
    `weight` counts all parts. Values share their parts, so that a few lines can make a value that has more of them
    than there is memory to write them down; such a value is refused when it is made, by a DefinitionError.
    """

    __slots__ = ("raw", "type", "weight")

    def __init__(self, type: Type, raw: Any) -> None:
        self.type = type
        self.raw = raw
        self.weight = 1
        if raw.__class__ is tuple:
            self.weight += sum([each.weight for each in raw])
        elif raw.__class__ is dict:
            self.weight += sum([each.weight for each in raw.values()])
        if self.weight > HEAVIEST:
            raise DefinitionError(f"a value has more than {HEAVIEST:,} parts")

    @property
    def is_null(self) -> bool:
        return self.raw is None

    def __eq__(self, other: object) -> bool:
        """The same type and the same value; nulls of one type are equal."""
        if not isinstance(other, Value):
            return NotImplemented
        return self.type == other.type and bool(self.raw == other.raw)

    def __hash__(self) -> int:
        raw = self.raw
        return hash(tuple(sorted(raw.items(), key=lambda item: item[0])) if isinstance(raw, dict) else raw)

    def __repr__(self) -> str:
        return f"Value({self.type!r}, {self.raw!r})"


NULL: Final = Value(DYNAMIC, None)
TRUE: Final = Value(BOOL, True)
FALSE: Final = Value(BOOL, False)
EMPTY_TUPLE: Final = Value(TupleType(()), ())


def string(text: str) -> Value:
    """A string value; text is brought to Unicode's normal form NFC."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return Value(STRING, text)


def number(value: int | Number) -> Value:
    return Value(NUMBER, Number.of_int(value) if isinstance(value, int) else value)


def boolean(value: bool) -> Value:
    return TRUE if value else FALSE


def tuple_of(items: Iterable[Value]) -> Value:
    kept = tuple(items)
    return Value(TupleType([each.type for each in kept]), kept)


def object_of(items: Mapping[str, Value]) -> Value:
    return Value(ObjectType({name: each.type for name, each in items.items()}), dict(items))


def list_of(items: Iterable[Value], element: Type) -> Value:
    return Value(ListType(element), tuple(items))


def map_of(items: Mapping[str, Value], element: Type) -> Value:
    return Value(MapType(element), dict(items))


def set_of(items: Iterable[Value], element: Type) -> Value:
    """A set: each value once, in the order of the values."""
    return Value(SetType(element), tuple(sorted(dict.fromkeys(items), key=cmp_to_key(_set_order))))


def _set_order(left: Value, right: Value) -> int:
    if left.is_null or right.is_null:
        return left.is_null - right.is_null
    if isinstance(left.raw, Number) and isinstance(right.raw, Number):
        return left.raw.compare(right.raw)
    plain = isinstance(left.raw, str)
    mine, theirs = (str(each.raw) if plain else _order_key(each) for each in (left, right))
    return (mine > theirs) - (mine < theirs)


def _order_key(value: Value) -> str:
    """What orders values that have no order of their own (cty: `set_internals.go`)."""
    raw = value.raw
    match raw:
        case None:
            return "~"
        case bool():
            return "T" if raw else "F"
        case Number():
            return format(float(raw), ".10g")
        case str():
            import json

            return json.dumps(raw, ensure_ascii=False)
    if isinstance(value.type, MapType):
        return "{" + "".join(f"{_order_key(string(name))}:{_order_key(raw[name])};" for name in sorted(raw)) + "}"
    items = "".join(_order_key(each) + ";" for each in element_values(value))
    return f"<{items}>" if isinstance(value.type, (TupleType, ObjectType)) else f"[{items}]"


# -- looking inside


def is_sequence(type: Type) -> bool:
    return isinstance(type, (ListType, TupleType))


def is_mapping(type: Type) -> bool:
    return isinstance(type, (MapType, ObjectType))


def can_iterate(value: Value) -> bool:
    return value.raw is not None and isinstance(value.raw, (tuple, dict))


def elements(value: Value) -> Iterator[tuple[Value, Value]]:
    """Keys and values in order: positions, or names in the order of their bytes; a set's keys are its values."""
    raw = value.raw
    if isinstance(raw, dict):
        for name in sorted(raw):
            yield string(name), raw[name]
    elif isinstance(value.type, SetType):
        for each in raw:
            yield each, each
    else:
        for position, each in enumerate(raw):
            yield number(position), each


def element_values(value: Value) -> list[Value]:
    raw = value.raw
    return [raw[name] for name in sorted(raw)] if isinstance(raw, dict) else list(raw)


def article(type: Type) -> str:
    name = str(type)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
