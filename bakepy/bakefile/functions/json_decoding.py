"""JSON text as values of the language: of whatever type it has, or of a wanted one."""

from __future__ import annotations

import re
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert, without_optional
from bakepy.bakefile.data_body import Array, Data, Entry, Scalar, Table
from bakepy.bakefile.functions.json_encoding import JSONError
from bakepy.bakefile.json_reader import read_json
from bakepy.bakefile.source import Text, legible
from bakepy.bakefile.values import ConvertError, Value
from bakepy.errors import DefinitionError
from bakepy.model.location import SourceFile

_FIRST: Final = re.compile(
    r'[ \t\r\n]*(?:"(?:[^"\\]|\\.)*"'
    r"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++|(?!\.))(?:[eE][+-]?[0-9]++|(?![eE]))"
    r"|true|false|null)",
    re.DOTALL,
)
"""The value that JSON text begins with, if it is a simple one. A point or an exponent that is begun must be ended."""


def _read(text: str) -> Data:
    try:
        return read_json(Text(SourceFile("json", legible(text))))
    except DefinitionError as error:
        where = error.where.label().partition(":")[2] if error.where else ""
        raise JSONError(f"no JSON: {error.what} (at {where})") from None


def decode(text: str) -> Value:
    """JSON as objects, tuples, strings, numbers, bools and nulls. Of equal keys the last one counts."""
    return _value(_read(text))


def _value(data: Data) -> Value:
    match data:
        case Table():
            items: dict[str, Value] = {}
            for entry in data.value:
                items[entry.name] = _value(entry.data)
            return v.object_of(items)
        case Array():
            return v.tuple_of(_value(each) for each in data.value)
    assert isinstance(data, Scalar)
    return data.value


def decode_typed(text: str, want: v.Type) -> Value:
    """JSON of a given type: attributes that are not in it are null, further ones are errors."""
    if want in v.PRIMITIVES and (first := _FIRST.match(text)):
        text = first[0]  # as buildx does it: what comes behind a simple value is not looked at
    return _typed(_read(text), want)


def _typed(data: Data, want: v.Type) -> Value:
    if isinstance(data, Scalar) and data.value.raw is None:
        return Value(without_optional(want), None)
    if want is v.DYNAMIC:
        return _dynamic(data)
    if want in v.PRIMITIVES:
        return _primitive(data, want)
    if isinstance(want, (v.ListType, v.SetType)):
        items = [_typed(each, want.element) for each in _items(data)]
        return v.set_of(items, want.element) if isinstance(want, v.SetType) else v.list_of(items, want.element)
    if isinstance(want, v.TupleType):
        parts = _items(data)
        if len(parts) != len(want.elements):
            raise JSONError(f"expected {len(want.elements)} elements, found {len(parts)}")
        return v.tuple_of(_typed(each, type) for each, type in zip(parts, want.elements, strict=True))
    if not isinstance(data, Table):
        raise JSONError(f"expected an object, found {data.kind()}")
    if isinstance(want, v.MapType):
        return v.map_of({entry.name: _typed(entry.data, want.element) for entry in data.value}, want.element)
    assert isinstance(want, v.ObjectType)
    return _object(data.value, want)


def _object(entries: list[Entry], want: v.ObjectType) -> Value:
    items: dict[str, Value] = {}
    for entry in entries:
        if entry.name not in want.attributes:
            raise JSONError(f"there is no attribute {entry.name!r} in {want.constraint}")
        items[entry.name] = _typed(entry.data, want.attributes[entry.name])
    for name, type in want.attributes.items():
        items.setdefault(name, Value(without_optional(type), None))
    return v.object_of(items)


def _items(data: Data) -> list[Data]:
    if not isinstance(data, Array):
        raise JSONError(f"expected an array, found {data.kind()}")
    return data.value


def _primitive(data: Data, want: v.Type) -> Value:
    if not isinstance(data, Scalar):
        raise JSONError(f"expected {v.article(want)}, found {data.kind()}")
    if want is v.STRING and data.value.type is v.NUMBER:
        return v.string(data.text.text[data.start : data.end])  # as it is written: 1.50
    try:
        return convert(data.value, want)
    except ConvertError as reason:
        raise JSONError(str(reason)) from None


def _dynamic(data: Data) -> Value:
    """`{"value": …, "type": …}`: a value with its type."""
    entries = {entry.name: entry.data for entry in data.value} if isinstance(data, Table) else {}
    if set(entries) != {"value", "type"}:
        raise JSONError('expected an object with "value" and "type"')
    return _typed(entries["value"], type_from(entries["type"]))


def type_from(data: Data) -> v.Type:
    """A type in its JSON form: `"string"`, `["list","string"]`, `["object",{…}]`."""
    if isinstance(data, Scalar):
        found = {"string": v.STRING, "number": v.NUMBER, "bool": v.BOOL, "dynamic": v.DYNAMIC}.get(str(data.value.raw))
        if found is not None:
            return found
    if isinstance(data, Array) and len(data.value) >= 2 and isinstance(data.value[0], Scalar):
        kind, inner = data.value[0].value.raw, data.value[1]
        match kind:
            case "list":
                return v.ListType(type_from(inner))
            case "set":
                return v.SetType(type_from(inner))
            case "map":
                return v.MapType(type_from(inner))
            case "tuple":
                return v.TupleType([type_from(each) for each in _items(inner)])
            case "object" if isinstance(inner, Table):
                return v.ObjectType({entry.name: type_from(entry.data) for entry in inner.value})
    raise JSONError("expected a type")
