"""Types of variables, and values for them from outside: the environment and `--var`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.entries import EntryError, csv_fields, parse_bool
from bakepy.bakefile.node import Node
from bakepy.bakefile.number import DOUBLE, Number
from bakepy.bakefile.values import Value
from bakepy.errors import nearest

_PRIMITIVE: Final = {"string": v.STRING, "number": v.NUMBER, "bool": v.BOOL, "any": v.DYNAMIC}
_COLLECTION: Final = {"list": v.ListType, "set": v.SetType, "map": v.MapType}
_TYPES: Final = (*_PRIMITIVE, *_COLLECTION, "object", "tuple")


class TypeError_(Exception):
    """A text can not become a value of the type that is wanted."""


# -- types


def parse_type(node: Node) -> v.Type | None:
    """A type constraint such as `list(string)`. None for `null`, which is no type. Raises DefinitionError."""
    if isinstance(node, tree.Literal) and node.literal.raw is None:
        return None
    return _type(node, optional=True)


def _type(node: Node, *, optional: bool) -> v.Type:
    if isinstance(node, tree.Wrapped) and node.parentheses:
        return _type(node.inner, optional=optional)
    word = node.keyword()
    if word:
        if word in _PRIMITIVE:
            return _PRIMITIVE[word]
        if word in (*_COLLECTION, "object", "tuple"):
            raise node.error(f"the type {word!r} needs an argument", hint=_example(word))
        raise node.error(f"there is no type {word!r}", hint=nearest(word, _TYPES) or ", ".join(_TYPES))
    if isinstance(node, tree.Call):
        return _call(node, optional)
    raise node.error("expected a type", hint="such as string, or list(string), without quotes")


def _example(word: str) -> str:
    examples = {"object": "object({name=string})", "tuple": "tuple([string, number])"}
    return f"such as {examples.get(word, f'{word}(string)')}"


def _call(node: tree.Call, optional: bool) -> v.Type:
    if node.name in _PRIMITIVE:
        raise node.error(f"the type {node.name!r} takes no argument")
    if len(node.arguments) != 1 or node.expand:
        if node.name in (*_COLLECTION, "object", "tuple"):
            raise node.error(f"the type {node.name!r} takes one argument", hint=_example(node.name))
        raise node.error(f"there is no type {node.name!r}", hint=nearest(node.name, _TYPES))
    argument = node.arguments[0]
    if node.name in _COLLECTION:
        return _COLLECTION[node.name](_type(argument, optional=optional))
    if node.name == "tuple":
        if not isinstance(argument, tree.Tuple):
            raise argument.error("expected a list of types", hint=_example("tuple"))
        return v.TupleType([_type(each, optional=optional) for each in argument.items])
    if node.name == "object":
        return _object(argument, optional)
    raise node.error(f"there is no type {node.name!r}", hint=nearest(node.name, _TYPES))


def _object(argument: Node, optional: bool) -> v.Type:
    if not isinstance(argument, tree.Object):
        raise argument.error("expected the attributes and their types", hint=_example("object"))
    attributes: dict[str, v.Type] = {}
    omissible: set[str] = set()
    for key, value in argument.items:
        name = _attribute_name(key)
        if isinstance(value, tree.Call) and value.name == "optional":
            if not optional or len(value.arguments) != 1:
                raise value.error("optional() takes one type here")
            omissible.add(name)
            value = value.arguments[0]
        attributes[name] = _type(value, optional=optional)
    return v.ObjectType(attributes, omissible)


def _attribute_name(key: Node) -> str:
    inner = key.inner if isinstance(key, tree.ObjectKey) else key
    if word := inner.keyword():
        return word
    raise key.error("an attribute's name must be a word", hint="write it without quotes")


# -- values from outside


class Override:
    """A text for a variable, under the name it was found."""

    __slots__ = ("json", "name", "text")

    def __init__(self, name: str, text: str, json: bool = False) -> None:
        self.name = name
        self.text = text
        self.json = json

    @classmethod
    def find(
        cls, name: str, lookup: Callable[[str], str | None], declared: Callable[[str], bool], *, typed: bool
    ) -> Override | None:
        """`NAME`, or `NAME_JSON`, which goes first if the variable has a type and is none itself."""
        text = lookup(name)
        if (text is None or typed) and not declared(f"{name}_JSON"):
            other = lookup(f"{name}_JSON")
            if other is not None:
                return cls(f"{name}_JSON", other, json=True)
        return None if text is None else cls(name, text)


def convert_override(override: Override, declared: v.Type | None, default: Value | None) -> Value:
    """The value of a variable of type `declared`, else of the type of its default. Raises TypeError_, ConvertError."""
    text = override.text
    if declared is not None:
        if override.json:
            from bakepy.bakefile.functions.json_decoding import decode_typed
            from bakepy.bakefile.functions.json_encoding import JSONError

            try:
                return decode_typed(text, declared)
            except JSONError as error:
                raise TypeError_(str(error)) from None
        if isinstance(declared, (v.ListType, v.SetType, v.TupleType, v.MapType)):
            return _from_csv(text, declared)
        if declared in v.PRIMITIVES:
            return _primitive(text, declared)
        raise TypeError_(f"a value of type {declared.constraint} can only be given as JSON, in {override.name}_JSON")
    if default is None or default.type is v.DYNAMIC:
        return v.string(text)
    if default.type in v.PRIMITIVES:
        return _primitive(text, default.type)
    raise TypeError_(f"the default is {v.article(default.type)}: give the variable a type, such as list(string)")


def _primitive(text: str, want: v.Type) -> Value:
    if want is v.STRING:
        return v.string(text)
    if want is v.BOOL:
        try:
            return v.boolean(parse_bool(text))
        except EntryError as error:
            raise TypeError_(str(error)) from None
    if want is v.NUMBER:
        return v.number(_machine_number(text))
    raise TypeError_(f"{want.constraint} is no simple type")


def _machine_number(text: str) -> Number:
    """A number as machine floats are read: `1e2` and `1_000` pass, `0x10`, blanks, NaN and infinities do not."""
    try:
        if not text.isascii() or text != text.strip():
            raise ValueError
        if text.lower().lstrip("+-").startswith("0x"):
            found = float.fromhex(text) if "p" in text.lower() else None
            if found is None:
                raise ValueError
        else:
            found = float(text)
        number = Number.of_float(found)
    except (ValueError, OverflowError):
        raise TypeError_(f"expected a number, found {text!r}") from None
    if number.infinite:
        raise TypeError_(f"{text!r} is beyond all numbers")
    return Number(number.mantissa, number.exponent, DOUBLE, minus_zero=number.minus_zero)


def _from_csv(text: str, want: v.Type) -> Value:
    """Lists and tuples: one CSV record. Maps: a record of `key:value`."""
    try:
        fields = csv_fields(text)
        if isinstance(want, v.TupleType):
            if len(fields) != len(want.elements):
                raise TypeError_(f"expected {len(want.elements)} values, found {len(fields)}")
            return v.tuple_of(_primitive(each, type) for each, type in zip(fields, want.elements, strict=True))
        assert isinstance(want, v.CollectionType)
        if want.element not in v.PRIMITIVES:
            raise TypeError_(f"a value of type {want.constraint} can only be given as JSON")
        if isinstance(want, v.MapType):
            items = {}
            for each in fields:
                pair = csv_fields(each, ":")
                if len(pair) != 2:
                    raise TypeError_(f"expected key:value, found {each!r}")
                items[pair[0]] = _primitive(pair[1], want.element)
            return v.map_of(items, want.element)
        found = [_primitive(each, want.element) for each in fields]
        return v.set_of(found, want.element) if isinstance(want, v.SetType) else v.list_of(found, want.element)
    except EntryError as error:
        raise TypeError_(str(error)) from None
