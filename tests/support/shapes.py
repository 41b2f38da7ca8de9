"""What was read, without the places it was read from: equal shapes mean the same."""

from __future__ import annotations

from typing import Any

from bakepy.bakefile.data_body import Array, Data, Scalar, Table
from bakepy.bakefile.hcl_reader import BodyParser, NativeBody
from bakepy.bakefile.node import Node
from bakepy.bakefile.source import Text
from bakepy.bakefile.toml_reader import parse_toml
from bakepy.bakefile.traversal import Step
from bakepy.model.location import SourceFile

_PLACES = ("text", "start", "end")


def shape(thing: Any) -> Any:
    """An expression tree as nested tuples."""
    if isinstance(thing, (Node, Step)):
        names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        return type(thing).__name__, tuple((n, shape(getattr(thing, n))) for n in sorted(names) if n not in _PLACES)
    if isinstance(thing, (tuple, list)):
        return tuple(shape(each) for each in thing)
    return repr(thing) if type(thing).__name__ == "Value" else thing


def native_shape(text: str) -> Any:
    """A file in native syntax."""
    return _body(BodyParser(Text(SourceFile("x.hcl", text))).file())


def _body(body: NativeBody) -> Any:
    blocks = []
    for block in body.blocks:
        assert isinstance(block.body, NativeBody)
        blocks.append((block.type, block.labels, _body(block.body)))
    return {name: shape(each.node) for name, each in body.attributes.items()}, blocks


def toml_shape(text: str) -> Any:
    """A TOML file; the order of keys counts."""
    return _data(parse_toml(Text(SourceFile("bake.toml", text))).data)


def _data(data: Data) -> Any:
    match data:
        case Table():
            return [(entry.name, _data(entry.data)) for entry in data.value]
        case Array():
            return ["array", *(_data(each) for each in data.value)]
    assert isinstance(data, Scalar)
    return str(data.value.type), str(data.value.raw)
