"""Functions of lists, sets, maps and objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert, unify
from bakepy.bakefile.functions.declare import FunctionError, declare, sequence, texts, whole
from bakepy.bakefile.node import Function
from bakepy.bakefile.number import Number
from bakepy.bakefile.operators import equal
from bakepy.bakefile.values import ConvertError, Value

_SEQUENCES: Final = (v.TupleType, v.ListType)
_PRODUCT_LIMIT: Final = 1_000_000


def _listed(value: Value, argument: int = 0, *, sets: bool = False) -> Sequence[Value]:
    """The elements of a list or tuple."""
    if not isinstance(value.type, (*_SEQUENCES, v.SetType) if sets else _SEQUENCES):
        raise FunctionError(f"a list is required, not {v.article(value.type)}", argument)
    items: Sequence[Value] = value.raw
    return items


def _chunklist(items: Value, size: Value) -> Value:
    count = whole(size, 1)
    if count < 0:
        raise FunctionError("the size can not be negative", 1)
    chunks = [items.raw] if count == 0 else [items.raw[at : at + count] for at in range(0, len(items.raw), count)]
    if not items.raw:
        chunks = []
    return v.list_of([Value(items.type, tuple(each)) for each in chunks], items.type)


def _coalesce(*given: Value) -> Value:
    want = unify([each.type for each in given])
    if want is None:
        raise FunctionError("all arguments must have the same type")
    for each in given:
        if each.raw is not None:
            return convert(each, want)
    raise FunctionError("all arguments are null")


def _coalescelist(*given: Value) -> Value:
    if not given:
        raise FunctionError("at least one argument is required")
    for position, each in enumerate(given):
        if not isinstance(each.type, _SEQUENCES):
            raise FunctionError(f"a list is required, not {v.article(each.type)}", position)
    for each in given:
        if each.raw:
            return each
    raise FunctionError("all lists are empty")


def _compact(items: Value) -> Value:
    return v.list_of([each for each in items.raw if each.raw], v.STRING)


def _concat(*given: Value) -> Value:
    if not given:
        raise FunctionError("at least one argument is required")
    if all(isinstance(each.type, v.ListType) for each in given):
        want = unify([each.type for each in given])
        if isinstance(want, v.ListType):
            items = [item for each in given for item in convert(each, want).raw]
            return v.list_of(items, want.element)
    return v.tuple_of(item for position, each in enumerate(given) for item in _listed(each, position))


def _contains(items: Value, wanted: Value) -> Value:
    return v.boolean(any(equal(each, wanted) for each in _listed(items, sets=True)))


def _distinct(items: Value) -> Value:
    return Value(items.type, tuple(dict.fromkeys(items.raw)))


def _element(items: Value, index: Value) -> Value:
    elements = _listed(items)
    position = whole(index, 1)
    if not elements:
        raise FunctionError("the list is empty", 0)
    return elements[position % len(elements)]


def _flatten(value: Value) -> Value:
    found: list[Value] = []

    def add(items: Sequence[Value]) -> None:
        for each in items:
            if each.raw is not None and isinstance(each.type, (*_SEQUENCES, v.SetType)):
                add(each.raw)
            else:
                found.append(each)

    add(_listed(value, sets=True))
    return v.tuple_of(found)


def _hasindex(collection: Value, key: Value) -> Value:
    if not isinstance(collection.type, (*_SEQUENCES, v.MapType)):
        raise FunctionError(f"a list or a map is required, not {v.article(collection.type)}", 0)
    if isinstance(collection.raw, dict):
        return v.boolean(key.type is v.STRING and key.raw in collection.raw)
    if key.type is not v.NUMBER or not key.raw.is_whole:
        return v.FALSE
    return v.boolean(key.raw.fits(64) and 0 <= key.raw.truncated() < len(collection.raw))


def _index(collection: Value, key: Value) -> Value:
    if isinstance(collection.type, v.MapType):
        if key.type is not v.STRING:
            raise FunctionError("the key of a map must be a string", 1)
        if key.raw not in collection.raw:
            raise FunctionError(f"there is no element {key.raw!r}", 1)
        found: Value = collection.raw[key.raw]
        return found
    items = _listed(collection)
    if key.type is not v.NUMBER:
        raise FunctionError("the index of a list must be a number", 1)
    position = whole(key, 1)
    if not 0 <= position < len(items):
        raise FunctionError(f"there is no element {position}: there are {len(items)}, counted from 0", 1)
    return items[position]


def _indexof(items: Value, wanted: Value) -> Value:
    elements = _listed(items)
    if not elements:
        raise FunctionError("the list is empty", 0)
    for position, each in enumerate(elements):
        if each.raw is None and each.type is v.DYNAMIC:
            raise FunctionError(f"element {position} is null", 0)
        if equal(each, wanted):
            return v.number(position)
    raise FunctionError("there is no such element", 1)


def _keys(value: Value) -> Value:
    if not v.is_mapping(value.type):
        raise FunctionError(f"a map or an object is required, not {v.article(value.type)}", 0)
    names = [v.string(name) for name in sorted(value.raw)]
    return v.list_of(names, v.STRING) if isinstance(value.type, v.MapType) else v.tuple_of(names)


def _length(value: Value) -> Value:
    if not isinstance(value.type, (*_SEQUENCES, v.SetType, v.MapType)):
        raise FunctionError(f"a list, a set or a map is required, not {v.article(value.type)}", 0)
    return v.number(len(value.raw))


def _lookup(value: Value, key: Value, default: Value) -> Value:
    if not v.is_mapping(value.type):
        raise FunctionError(f"a map or an object is required, not {v.article(value.type)}", 0)
    if isinstance(value.type, v.MapType):
        try:
            default = convert(default, value.type.element)
        except ConvertError:
            raise FunctionError(
                f"the default must be {v.article(value.type.element)}, as the elements are", 2
            ) from None
    found: Value = value.raw.get(key.raw, default)
    return found


def _merge(*given: Value) -> Value:
    merged: dict[str, Value] = {}
    for position, each in enumerate(given):
        if each.type is v.DYNAMIC:
            continue
        if not v.is_mapping(each.type):
            raise FunctionError(f"a map or an object is required, not {v.article(each.type)}", position)
        merged.update(each.raw or {})
    if given and isinstance(given[0].type, v.MapType) and all(each.type == given[0].type for each in given):
        return v.map_of(merged, given[0].type.element)
    kinds = {each.type for each in given}
    if len(kinds) == 1 and not merged and any(isinstance(each, v.ObjectType) and each.attributes for each in kinds):
        raise FunctionError("all arguments are null")
    return v.object_of(merged)


def _range(*given: Value) -> Value:
    numbers = [each.raw for each in given]
    zero, one = Number.of_int(0), Number.of_int(1)
    match numbers:
        case [end]:
            start, step = zero, -one if end < zero else one
        case [start, end]:
            step = -one if end < start else one
        case [start, end, step]:
            pass
        case _:
            raise FunctionError("one, two or three numbers are required")
    if step.is_zero:
        raise FunctionError("the step can not be zero", 2)
    down = step.negative
    if start.compare(end) == (-1 if down else 1):
        raise FunctionError("the step leads away from the end", 2)
    found: list[Value] = []
    while (start.compare(end) > 0) if down else (start.compare(end) < 0):
        if len(found) >= 1024:
            raise FunctionError("more than 1024 numbers: take a larger step, or start nearer to the end")
        found.append(v.number(start))
        start = start + step
    return v.list_of(found, v.NUMBER)


def _reverselist(value: Value) -> Value:
    return sequence(tuple(reversed(_listed(value, sets=True))), value)


def _slice(items: Value, start: Value, end: Value) -> Value:
    elements = _listed(items)
    first, last = whole(start, 1), whole(end, 2)
    if first < 0 or first > len(elements):
        raise FunctionError(f"the start must be between 0 and {len(elements)}, not {first}", 1)
    if last < 0 or last > len(elements):
        raise FunctionError(f"the end must be between 0 and {len(elements)}, not {last}", 2)
    if first > last:
        raise FunctionError("the start is after the end", 1)
    return sequence(tuple(elements[first:last]), items)


def _sort(items: Value) -> Value:
    for position, each in enumerate(items.raw):
        if each.raw is None:
            raise FunctionError(f"element {position} is null", 0)
    return texts(sorted(each.raw for each in items.raw))


def _values(value: Value) -> Value:
    if not v.is_mapping(value.type):
        raise FunctionError(f"a map or an object is required, not {v.article(value.type)}", 0)
    found = v.element_values(value)
    if isinstance(value.type, v.MapType):
        return v.list_of(found, value.type.element)
    return v.tuple_of(found)


def _zipmap(keys: Value, values: Value) -> Value:
    items = _listed(values, 1)
    if len(keys.raw) != len(items):
        raise FunctionError(f"there are {len(keys.raw)} keys for {len(items)} values", 1)
    for position, each in enumerate(keys.raw):
        if each.raw is None:
            raise FunctionError(f"key {position} is null", 0)
    found = {key.raw: value for key, value in zip(keys.raw, items, strict=True)}
    if isinstance(values.type, v.ListType):
        return v.map_of(found, values.type.element)
    return v.object_of(found)


# -- sets


def _sethaselement(items: Value, wanted: Value) -> Value:
    return v.boolean(wanted in items.raw)


def _set_operation(combine: Callable[[list[Value], list[Value]], list[Value]]) -> Callable[..., Value]:
    def implement(*given: Value) -> Value:
        known = [each.type.element for each in given if each.raw or each.type.element is not v.DYNAMIC]  # type: ignore[attr-defined]
        element = unify(known) if known else v.DYNAMIC
        if element is None:
            raise FunctionError("the elements of the sets must fit one type")
        want = v.SetType(element)
        found = list(convert(given[0], want).raw)
        for each in given[1:]:
            found = combine(found, list(convert(each, want).raw))
        return v.set_of(found, element)

    return implement


def _setproduct(*given: Value) -> Value:
    if len(given) < 2:
        raise FunctionError("at least two arguments are required")
    kinds: list[v.Type] = []
    for position, each in enumerate(given):
        items = _listed(each, position, sets=True)
        if isinstance(each.type, v.CollectionType):
            kinds.append(each.type.element)
            continue
        kind = unify([item.type for item in items]) if items else v.DYNAMIC
        if kind is None:
            raise FunctionError("all elements must have the same type", position)
        kinds.append(kind)
    rows: list[tuple[Value, ...]] = [()]
    for each, kind in zip(given, kinds, strict=True):
        if len(rows) * len(each.raw) > _PRODUCT_LIMIT:
            raise FunctionError(f"the product has more than {_PRODUCT_LIMIT} elements")
        rows = [(*row, convert(item, kind)) for row in rows for item in each.raw]
    element = v.TupleType(kinds)
    found = [v.tuple_of(row) for row in rows]
    if any(isinstance(each.type, v.SetType) for each in given):
        return v.set_of(found, element)
    return v.list_of(found, element)


_D, _S, _N = v.DYNAMIC, v.STRING, v.NUMBER
_LIST, _SET = v.ListType(v.DYNAMIC), v.SetType(v.DYNAMIC)

FUNCTIONS: Final[dict[str, Function]] = {
    "chunklist": declare("chunklist", _chunklist, _LIST, _N),
    "coalesce": declare("coalesce", _coalesce, rest=_D, nulls=True),
    "coalescelist": declare("coalescelist", _coalescelist, rest=_D, nulls=True),
    "compact": declare("compact", _compact, v.ListType(_S)),
    "concat": declare("concat", _concat, rest=_D),
    "contains": declare("contains", _contains, _D, _D),
    "distinct": declare("distinct", _distinct, _LIST),
    "element": declare("element", _element, _D, _N),
    "flatten": declare("flatten", _flatten, _D),
    "hasindex": declare("hasindex", _hasindex, _D, _D),
    "index": declare("index", _index, _D, _D),
    "indexof": declare("indexof", _indexof, _D, _D),
    "keys": declare("keys", _keys, _D),
    "length": declare("length", _length, _D),
    "lookup": declare("lookup", _lookup, _D, _S, _D),
    "merge": declare("merge", _merge, rest=_D, nulls=True),
    "range": declare("range", _range, rest=_N),
    "reverselist": declare("reverselist", _reverselist, _D),
    "sethaselement": declare("sethaselement", _sethaselement, _SET, _D),
    "setintersection": declare(
        "setintersection", _set_operation(lambda one, two: [each for each in one if each in two]), _SET, rest=_SET
    ),
    "setproduct": declare("setproduct", _setproduct, rest=_D),
    "setsubtract": declare(
        "setsubtract", _set_operation(lambda one, two: [each for each in one if each not in two]), _SET, _SET
    ),
    "setsymmetricdifference": declare(
        "setsymmetricdifference",
        _set_operation(
            lambda one, two: [each for each in one if each not in two] + [each for each in two if each not in one]
        ),
        _SET,
        rest=_SET,
    ),
    "setunion": declare("setunion", _set_operation(lambda one, two: one + two), _SET, rest=_SET),
    "slice": declare("slice", _slice, _D, _N, _N),
    "sort": declare("sort", _sort, v.ListType(_S)),
    "values": declare("values", _values, _D),
    "zipmap": declare("zipmap", _zipmap, v.ListType(_S), _D),
}
