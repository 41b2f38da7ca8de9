"""How values of one type become values of another, and the type that several have in common: the rules of cty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bakepy.bakefile.number import Number
from bakepy.bakefile.values import (
    BOOL,
    DYNAMIC,
    FALSE,
    NUMBER,
    PRIMITIVES,
    STRING,
    TRUE,
    CollectionType,
    ConvertError,
    ListType,
    MapType,
    ObjectType,
    SetType,
    TupleType,
    Type,
    Value,
    article,
    list_of,
    map_of,
    object_of,
    set_of,
    tuple_of,
)

Conversion = Callable[[Value], Value]


def convert(value: Value, want: Type) -> Value:
    """`value` as a `want`. Raises ConvertError."""
    if value.type == want or want is DYNAMIC:
        return value
    simple = _simply(value, want)
    if simple is not None:
        return simple
    conversion = find_conversion(value.type, want)
    if conversion is None:
        raise ConvertError(mismatch(value.type, want))
    return conversion(value)


def _simply(value: Value, want: Type) -> Value | None:
    """The usual cases of `find_conversion` without its ways: primitives, and lists and maps of primitives. None: it is
    another case, or there is no way."""
    raw = value.raw
    if want in PRIMITIVES:
        way = _SAFE.get((value.type, want)) or _UNSAFE.get((value.type, want))
        if way is None:
            return None
        return way(value) if raw is not None else Value(want, None)
    if raw is None or not isinstance(want, CollectionType) or (element := want.element) not in PRIMITIVES:
        return None
    if isinstance(want, ListType) and isinstance(value.type, TupleType):
        items = [each if each.type is element else _simply(each, element) for each in raw]
        return Value(want, tuple(items)) if all(items) else None
    if isinstance(want, MapType) and isinstance(value.type, ObjectType):
        named = {name: each if each.type is element else _simply(each, element) for name, each in raw.items()}
        return Value(want, named) if all(named.values()) else None
    return None


def mismatch(have: Type, want: Type) -> str:
    """Why there is no way from one type to the other."""
    if want is DYNAMIC:
        return "incompatible types"
    if isinstance(have, ObjectType) and isinstance(want, ObjectType):
        for name in sorted(want.attributes):
            if name not in have.attributes and name not in want.optional:
                return f"attribute {name!r} is required"
            if name in have.attributes and find_conversion(have.attributes[name], want.attributes[name]) is None:
                return f"attribute {name!r}: {mismatch(have.attributes[name], want.attributes[name])}"
    if isinstance(have, TupleType) and isinstance(want, TupleType) and len(have.elements) != len(want.elements):
        return f"a tuple of {len(want.elements)} elements is required, not of {len(have.elements)}"
    if isinstance(want, (ListType, SetType)) and isinstance(have, TupleType):
        for position, each in enumerate(have.elements):
            if want.element is not DYNAMIC and find_conversion(each, want.element) is None:
                return f"element {position}: {mismatch(each, want.element)}"
        return "all elements must have the same type"
    if isinstance(want, MapType) and isinstance(have, ObjectType):
        for name in sorted(have.attributes):
            each = have.attributes[name]
            if want.element is not DYNAMIC and find_conversion(each, want.element) is None:
                return f"element {name!r}: {mismatch(each, want.element)}"
        return "all elements must have the same type"
    return f"{article(want)} is required, not {article(have)}"


def find_conversion(have: Type, want: Type, unsafe: bool = True) -> Conversion | None:
    """The way from one type to another, or None. Unsafe ways may fail for some values (string to number)."""
    inner = _known_conversion(have, want, unsafe)
    if inner is None:
        return None

    def checked(value: Value) -> Value:
        if want is DYNAMIC:
            return value
        if value.raw is None:
            return Value(without_optional(_dynamic_replaced(have, want)), None)
        return inner(value)

    return checked


def _known_conversion(have: Type, want: Type, unsafe: bool) -> Conversion | None:
    if want is DYNAMIC:
        return _same
    if have is DYNAMIC:
        return (lambda value: convert(value, want)) if unsafe else None
    if have in PRIMITIVES and want in PRIMITIVES:
        return _SAFE.get((have, want)) or (_UNSAFE.get((have, want)) if unsafe else None)
    if isinstance(want, ObjectType):
        if isinstance(have, ObjectType):
            return _object_to_object(have, want, unsafe)
        if isinstance(have, MapType) and unsafe:
            return _map_to_object(have, want)
        return None
    if isinstance(want, TupleType):
        return _tuple_to_tuple(have, want, unsafe) if isinstance(have, TupleType) else None
    if isinstance(want, (ListType, SetType)):
        if isinstance(have, (ListType, SetType)):
            if isinstance(want, SetType) and isinstance(have, ListType) and not unsafe:
                return None
            return _collection_to_sequence(have, want, unsafe)
        return _tuple_to_sequence(have, want, unsafe) if isinstance(have, TupleType) else None
    if isinstance(want, MapType):
        if isinstance(have, MapType):
            return _map_to_map(have, want, unsafe)
        return _object_to_map(have, want, unsafe) if isinstance(have, ObjectType) else None
    return None


def _same(value: Value) -> Value:
    return value


def _string_to_number(value: Value) -> Value:
    try:
        return Value(NUMBER, Number.parse(value.raw))
    except ValueError:
        raise ConvertError(f"a number is required, not {_quoted(value.raw)}") from None


def _number_to_string(value: Value) -> Value:
    try:
        return Value(STRING, value.raw.text())
    except OverflowError as reason:
        raise ConvertError(str(reason)) from None


def _string_to_bool(value: Value) -> Value:
    if value.raw in ("true", "1"):
        return TRUE
    if value.raw in ("false", "0"):
        return FALSE
    hint = f"; write '{value.raw.lower()}'" if value.raw.lower() in ("true", "false") else ""
    raise ConvertError(f"a bool is required, not {_quoted(value.raw)}{hint}")


def _quoted(text: str) -> str:
    """A string as messages show it: no more of it than tells which one it is."""
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


_SAFE: dict[tuple[Type, Type], Conversion] = {
    (STRING, STRING): _same,
    (NUMBER, NUMBER): _same,
    (BOOL, BOOL): _same,
    (NUMBER, STRING): _number_to_string,
    (BOOL, STRING): lambda value: Value(STRING, "true" if value.raw else "false"),
}
_UNSAFE: dict[tuple[Type, Type], Conversion] = {(STRING, NUMBER): _string_to_number, (STRING, BOOL): _string_to_bool}


def _inner(have: Type, want: Type, unsafe: bool) -> Conversion | None:
    return _same if have == want else find_conversion(have, want, unsafe)


def _object_to_object(have: ObjectType, want: ObjectType, unsafe: bool) -> Conversion | None:
    ways: dict[str, Conversion] = {}
    for name, each in want.attributes.items():
        if name not in have.attributes:
            if name in want.optional:
                continue
            return None
        way = _inner(have.attributes[name], each, unsafe)
        if way is None:
            return None
        ways[name] = way

    def apply(value: Value) -> Value:
        items = {name: way(value.raw[name]) for name, way in ways.items()}
        for name in want.optional:
            items.setdefault(name, Value(without_optional(want.attributes[name]), None))
        return object_of(items)

    return apply


def _map_to_object(have: MapType, want: ObjectType) -> Conversion | None:
    ways: dict[str, Conversion | None] = {}
    for name, each in want.attributes.items():
        ways[name] = _inner(have.element, each, True)
        if ways[name] is None and name not in want.optional:
            return None

    def apply(value: Value) -> Value:
        items = {}
        for name, each in want.attributes.items():
            if name in value.raw:
                way = ways[name]
                if way is None:
                    raise ConvertError(f"element {name!r}: {mismatch(have.element, each)}")
                items[name] = way(value.raw[name])
            elif name in want.optional:
                items[name] = Value(without_optional(each), None)
            else:
                raise ConvertError(f"element {name!r} is required")
        return object_of(items)

    return apply


def _tuple_to_tuple(have: TupleType, want: TupleType, unsafe: bool) -> Conversion | None:
    if len(have.elements) != len(want.elements):
        return None
    ways = [_inner(mine, theirs, unsafe) for mine, theirs in zip(have.elements, want.elements, strict=True)]
    if any(way is None for way in ways):
        return None
    return lambda value: tuple_of(way(each) for way, each in zip(ways, value.raw, strict=True) if way is not None)


def _sequence(want: CollectionType, items: Sequence[Value], have_element: Type) -> Value:
    """`items`, converted one by one, as the wanted list or set; their types must agree."""
    element = want.element
    if not items:
        element = without_optional(have_element if element is DYNAMIC else element)
    else:
        element = items[0].type
        if any(each.type != element for each in items):
            raise ConvertError("all elements must have the same type")
    return set_of(items, element) if isinstance(want, SetType) else list_of(items, element)


def _collection_to_sequence(have: CollectionType, want: CollectionType, unsafe: bool) -> Conversion | None:
    way = _inner(have.element, want.element, unsafe)
    if way is None:
        return None
    return lambda value: _sequence(want, [way(each) for each in value.raw], have.element)


def _tuple_to_sequence(have: TupleType, want: CollectionType, unsafe: bool) -> Conversion | None:
    element = want.element
    if have.elements and element is DYNAMIC:
        unified = unify(have.elements, unsafe)
        if unified is None or (unified is DYNAMIC and any(each is not DYNAMIC for each in have.elements)):
            return None
        element = unified
    ways = [_inner(each, element, unsafe) for each in have.elements]
    if any(way is None for way in ways):
        return None

    def apply(value: Value) -> Value:
        items = [way(each) for way, each in zip(ways, value.raw, strict=True) if way is not None]
        if items and isinstance(want, ListType):
            items = unify_values(items)
        return _sequence(want, items, element)

    return apply


def _map_to_map(have: MapType, want: MapType, unsafe: bool) -> Conversion | None:
    way = _inner(have.element, want.element, unsafe)
    if way is None:
        return None
    return lambda value: _mapping(want, {name: way(each) for name, each in value.raw.items()}, have.element)


def _object_to_map(have: ObjectType, want: MapType, unsafe: bool) -> Conversion | None:
    element = want.element
    if have.attributes and element is DYNAMIC:
        unified = unify(list(have.attributes.values()), unsafe)
        if unified is None:
            return None
        element = unified
    ways = {name: _inner(each, element, unsafe) for name, each in have.attributes.items()}
    if any(way is None for way in ways.values()):
        return None

    def apply(value: Value) -> Value:
        items = {name: way(value.raw[name]) for name, way in ways.items() if way is not None}
        return _mapping(MapType(element), items, element)

    return apply


def _mapping(want: MapType, items: dict[str, Value], have_element: Type) -> Value:
    if not items:
        return map_of({}, without_optional(have_element if want.element is DYNAMIC else want.element))
    if isinstance(want.element, (CollectionType, ObjectType)):
        items = dict(zip(items, unify_values(list(items.values())), strict=True))
    element = next(iter(items.values())).type
    if any(each.type != element for each in items.values()):
        raise ConvertError("all elements must have the same type")
    return map_of(items, element)


def without_optional(type: Type) -> Type:
    """The type that values have: without the note which attributes may be left out."""
    if isinstance(type, ObjectType):
        return ObjectType({name: without_optional(each) for name, each in type.attributes.items()})
    if isinstance(type, TupleType):
        return TupleType([without_optional(each) for each in type.elements])
    if isinstance(type, ListType):
        return ListType(without_optional(type.element))
    if isinstance(type, SetType):
        return SetType(without_optional(type.element))
    if isinstance(type, MapType):
        return MapType(without_optional(type.element))
    return type


def _dynamic_replaced(have: Type, want: Type) -> Type:
    """`want`, where the parts that leave the type open take the type of `have`."""
    if want is DYNAMIC:
        return have
    if isinstance(want, CollectionType) and isinstance(have, CollectionType):
        return type(want)(_dynamic_replaced(have.element, want.element))  # type: ignore[call-arg,arg-type]
    return want


# -- unification: one type for several values


def unify(types: Sequence[Type], unsafe: bool = True) -> Type | None:
    """A type that all of `types` convert to, or None if there is none (or none is given)."""
    if not types:
        return None
    first = types[0]
    if all(each == first for each in types):
        return first
    found = _unify_alike(types, unsafe)
    if found is not False:
        return found  # type: ignore[return-value]
    for want in _by_generality(types):
        if all(each == want or find_conversion(each, want, unsafe) is not None for each in types):
            return want
    return None


def _unify_alike(types: Sequence[Type], unsafe: bool) -> Type | bool | None:
    """Types of one kind may have a common type that is none of them. False: no rule of this kind applies."""
    dynamic = any(each is DYNAMIC for each in types)
    kinds = {type(each) for each in types if each is not DYNAMIC}
    for kind in (MapType, ListType, SetType):
        if kinds == {kind}:
            if dynamic:
                return DYNAMIC
            element = unify([each.element for each in types], unsafe)  # type: ignore[attr-defined]
            return None if element is None else kind(element)
    if kinds == {ObjectType}:
        return DYNAMIC if dynamic else _unify_objects(types, unsafe)  # type: ignore[arg-type]
    if kinds == {TupleType}:
        return DYNAMIC if dynamic else _unify_tuples(types, unsafe)  # type: ignore[arg-type]
    if kinds == {MapType, ObjectType}:
        mapped = _as_map([each for each in types if isinstance(each, ObjectType)], unsafe)
        if mapped is not None:
            found = unify([mapped if isinstance(each, ObjectType) else each for each in types], unsafe)
            if isinstance(found, MapType):
                return found
    if kinds == {ListType, TupleType}:
        listed = _as_list([each for each in types if isinstance(each, TupleType)], unsafe)
        if listed is not None:
            found = unify([listed if isinstance(each, TupleType) else each for each in types], unsafe)
            if isinstance(found, ListType):
                return found
    if ObjectType in kinds and TupleType in kinds:
        return None
    return False


def _unify_objects(types: Sequence[ObjectType], unsafe: bool) -> Type | None:
    names = set(types[0].attributes)
    if all(set(each.attributes) == names for each in types):
        unified: dict[str, Type] = {}
        for name in types[0].attributes:
            found = unify([each.attributes[name] for each in types], unsafe)
            if found is None:
                return None
            unified[name] = found
        want = ObjectType(unified)
        if all(each == want or find_conversion(each, want, unsafe) for each in types):
            return want
    return _as_map(types, unsafe)


def _as_map(types: Sequence[ObjectType], unsafe: bool) -> Type | None:
    element = unify([inner for each in types for inner in each.attributes.values()], unsafe)
    if element is None:
        return None
    mapped = MapType(element)
    return mapped if all(find_conversion(each, mapped, unsafe) for each in types) else None


def _unify_tuples(types: Sequence[TupleType], unsafe: bool) -> Type | None:
    if all(len(each.elements) == len(types[0].elements) for each in types):
        unified = []
        for position in range(len(types[0].elements)):
            found = unify([each.elements[position] for each in types], unsafe)
            if found is None:
                return None
            unified.append(found)
        want = TupleType(unified)
        if all(each == want or find_conversion(each, want, unsafe) for each in types):
            return want
    return _as_list(types, unsafe)


def _as_list(types: Sequence[TupleType], unsafe: bool) -> Type | None:
    element = unify([inner for each in types for inner in each.elements], unsafe)
    if element is None:
        return None
    listed = ListType(element)
    return listed if all(find_conversion(each, listed, unsafe) for each in types) else None


def _by_generality(types: Sequence[Type]) -> list[Type]:
    """Distinct types, the most general first: a string before a number or bool, a list before a tuple, both before a
    set. Those that nothing says about keep their order (cty sorts them so, topologically)."""
    distinct = list(dict.fromkeys(types))
    narrower: list[list[int]] = [[] for _ in distinct]
    above = [0] * len(distinct)
    for left in range(len(distinct)):
        for right in range(left + 1, len(distinct)):
            order = _more_general(distinct[left], distinct[right])
            if order:
                first, second = (left, right) if order > 0 else (right, left)
                narrower[first].append(second)
                above[second] += 1
    ready = [position for position, count in enumerate(above) if not count]
    for position in ready:
        for each in narrower[position]:
            above[each] -= 1
            if not above[each]:
                ready.append(each)
    return [distinct[position] for position in ready]


_KINDS: Final = {ListType: 3, TupleType: 2, SetType: 1}


def _more_general(left: Type, right: Type) -> int:
    """1 if `left` takes more than `right`, -1 the other way round, 0 if nothing can be said."""
    if left is DYNAMIC or right is DYNAMIC:
        return (left is not DYNAMIC) - (right is not DYNAMIC)
    if left in PRIMITIVES and right in PRIMITIVES:
        return (left is STRING) - (right is STRING)
    if isinstance(left, CollectionType) and type(left) is type(right):
        return _more_general(left.element, right.element)
    kinds = _KINDS.get(type(left)), _KINDS.get(type(right))
    if kinds[0] and kinds[1] and kinds[0] != kinds[1]:
        return 1 if kinds[0] > kinds[1] else -1
    if isinstance(left, MapType) and isinstance(right, ObjectType):
        return 1
    if isinstance(left, ObjectType) and isinstance(right, MapType):
        return -1
    orders: set[int] = set()
    if isinstance(left, ObjectType) and isinstance(right, ObjectType):
        if left.attributes.keys() == right.attributes.keys():
            orders = {_more_general(each, right.attributes[name]) for name, each in left.attributes.items()}
    elif isinstance(left, TupleType) and isinstance(right, TupleType) and len(left.elements) == len(right.elements):
        orders = {_more_general(mine, theirs) for mine, theirs in zip(left.elements, right.elements, strict=True)}
    return 0 if {1, -1} <= orders else next((order for order in orders if order), 0)


def unify_values(items: Sequence[Value]) -> list[Value]:
    """`items`, all of one type. Raises ConvertError."""
    want = unify([each.type for each in items])
    if want is None:
        raise ConvertError("all elements must have the same type")
    return [convert(each, want) for each in items]
