"""Kinds of target fields: how a value is decoded, merged, normalised, printed and described in the schema.

A field's value is plain Python while targets are put together: `str`, `bool`, a tuple, a dict, or None for “not
given”.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bakepy.bakefile import entries as e
from bakepy.bakefile import values as v
from bakepy.bakefile.conversion import convert, without_optional
from bakepy.bakefile.entries import EntryError
from bakepy.bakefile.values import ConvertError, Value
from bakepy.errors import DefinitionError


class FieldError(Exception):
    """A value does not fit its field; the text says what is required. `element`: which one of a list, if known."""

    def __init__(self, what: str, element: int | None = None) -> None:
        super().__init__(what)
        self.element = element


def _converted(value: Value, want: v.Type) -> Value:
    try:
        return convert(value, want)
    except ConvertError as reason:
        raise FieldError(str(reason)) from None


class Kind:
    """What values a field takes and how they behave. This one replaces: what is given last counts."""

    name = ""
    adds = False
    """Whether what is given later is added to what was there."""
    empty_is_absent = True
    """Whether an empty value is as good as none."""

    def decode(self, value: Value) -> Any:
        """The plain form; None for null. Raises FieldError."""
        raise NotImplementedError

    def to_value(self, plain: Any) -> Value:
        """What a reference such as `target.a.tags` sees; `plain` may be None."""
        raise NotImplementedError

    def merge(self, old: Any, new: Any) -> Any:
        """`new` over `old`; `new` is given, `old` may be None."""
        return new

    def normalize(self, plain: Any) -> Any:
        return plain

    def printed(self, plain: Any) -> Any:
        """The form in the JSON of `--print`; None leaves the field out."""
        return plain

    def schema(self) -> dict[str, Any]:
        """The JSON schema of a value in bake.toml."""
        raise NotImplementedError


class TextKind(Kind):
    name = "string"
    empty_is_absent = False

    def __init__(self, *, escaped: bool = False) -> None:
        self.escaped = escaped

    def decode(self, value: Value) -> str | None:
        plain: str | None = _converted(value, v.STRING).raw
        return plain

    def to_value(self, plain: str | None) -> Value:
        return Value(v.STRING, plain)

    def printed(self, plain: str) -> str:
        return escape(plain) if self.escaped else plain

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "number", "boolean"]}


class DescriptionKind(TextKind):
    """Text that is empty rather than absent."""

    empty_is_absent = True

    def decode(self, value: Value) -> str | None:
        plain = super().decode(value)
        if plain is None:
            raise FieldError("null is not allowed here; leave it out")
        return plain or None

    def to_value(self, plain: str | None) -> Value:
        return v.string(plain or "")


class FlagKind(Kind):
    name = "bool"
    empty_is_absent = False

    def decode(self, value: Value) -> bool | None:
        plain: bool | None = _converted(value, v.BOOL).raw
        return plain

    def to_value(self, plain: bool | None) -> Value:
        return Value(v.BOOL, plain)

    def schema(self) -> dict[str, Any]:
        return {"type": ["boolean", "string"]}


class TextsKind(Kind):
    """A list of strings. `appends`: merging adds instead of replacing."""

    name = "list of strings"

    def __init__(self, *, appends: bool = False, escaped: bool = False, unique: bool = True) -> None:
        self.adds = appends
        self.escaped = escaped
        self.unique = unique

    def decode(self, value: Value) -> tuple[str, ...] | None:
        found = _converted(value, v.ListType(v.STRING)).raw
        if found is None:
            return None
        for position, each in enumerate(found):
            if each.raw is None:
                raise FieldError(f"element {position} is null", position)
        return tuple(each.raw for each in found)

    def to_value(self, plain: tuple[str, ...] | None) -> Value:
        return Value(v.ListType(v.STRING), None if plain is None else tuple(Value(v.STRING, each) for each in plain))

    def merge(self, old: Any, new: Any) -> Any:
        return (*(old or ()), *new) if self.adds else new

    def normalize(self, plain: Any) -> Any:
        return e.unique_texts(plain) if self.unique else plain

    def printed(self, plain: tuple[str, ...]) -> list[str] | None:
        return [escape(each) if self.escaped else each for each in plain] or None

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": ["string", "number", "boolean"]}}


class TextMapKind(Kind):
    """Strings by name; merged by name. `nullable`: null is taken, and neither sets nor removes."""

    name = "map of strings"
    adds = True

    def __init__(self, *, nullable: bool = True, escaped: bool = False, empty_removes: bool = False) -> None:
        self.nullable = nullable
        self.escaped = escaped
        self.empty_removes = empty_removes

    def decode(self, value: Value) -> dict[str, str | None] | None:
        found = _converted(value, v.MapType(v.STRING)).raw
        if found is None:
            return None
        for name in sorted(found):
            if found[name].raw is None and not self.nullable:
                raise FieldError(f"{name!r} is null")
        return {name: found[name].raw for name in found}

    def to_value(self, plain: Mapping[str, str | None] | None) -> Value:
        items = None if plain is None else {name: Value(v.STRING, each) for name, each in plain.items()}
        return Value(v.MapType(v.STRING), items)

    def merge(self, old: Any, new: Any) -> Any:
        added = {name: each for name, each in new.items() if each is not None}
        return {**old, **added} if old else added or old

    def normalize(self, plain: Any) -> Any:
        if self.empty_removes:
            return {name: each for name, each in plain.items() if each} or None
        if None in plain.values():
            return {name: each for name, each in plain.items() if each is not None} or None
        return plain

    def printed(self, plain: Mapping[str, str | None]) -> dict[str, str | None] | None:
        found = {name: plain[name] for name in sorted(plain)}
        if self.escaped:
            found = {name: each if each is None else escape(each) for name, each in found.items()}
        return found or None

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}


class EntriesKind(Kind):
    """A list of entries that have a form of their own."""

    def __init__(
        self,
        name: str,
        parse: Callable[[Value], list[Any]],
        element: v.Type,
        to_element: Callable[[Any], dict[str, Any]],
        *,
        appends: bool,
        unique: Callable[[Any], tuple[Any, ...]],
        print_entry: Callable[[Any], Any],
        properties: tuple[str, ...] = (),
        open_properties: bool = True,
    ) -> None:
        self.name = f"list of {name}"
        self.parse = parse
        self.element = element
        self.to_element = to_element
        self.adds = appends
        self.unique = unique
        self.print_entry = print_entry
        self.properties = properties
        self.open_properties = open_properties

    def decode(self, value: Value) -> tuple[Any, ...]:
        try:
            return e.entries_from(value, self.parse)
        except EntryError as error:
            raise FieldError(str(error), error.element) from None

    def to_value(self, plain: tuple[Any, ...] | None) -> Value:
        return v.list_of(
            [convert(_plain_value(self.to_element(each)), self.element) for each in plain or ()],
            without_optional(self.element),
        )

    def merge(self, old: Any, new: Any) -> Any:
        return self.normalize((*(old or ()), *new)) if self.adds else new

    def normalize(self, plain: Any) -> Any:
        return self.unique(plain) or None

    def printed(self, plain: tuple[Any, ...]) -> list[Any] | None:
        return [self.print_entry(each) for each in plain] or None

    def schema(self) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "object"}
        scalar = {"type": ["string", "number", "boolean"]}
        if self.properties:
            item["properties"] = dict.fromkeys(self.properties, scalar)
        item["additionalProperties"] = scalar if self.open_properties else False
        if "paths" in self.properties:
            item["properties"]["paths"] = {"type": "array", "items": {"type": "string"}}
        return {"type": "array", "items": {"anyOf": [{"type": "string"}, item]}}


class PolicyKind(EntriesKind):
    """Policies are added to and never made unique."""

    MOST = 100_000
    """Of one target: parents that are named twice on every level double them."""

    def normalize(self, plain: Any) -> Any:
        return plain

    def merge(self, old: Any, new: Any) -> Any:
        if len(old or ()) + len(new) > self.MOST:
            raise DefinitionError(
                f"a target has more than {self.MOST:,} policies: its parents add them again and again"
            )
        return (*(old or ()), *new)


class ParsedKind(Kind):
    """A value of a form of its own, which replaces; nothing can refer to it."""

    def __init__(self, name: str, parse: Callable[[Value], Any], shape: dict[str, Any]) -> None:
        self.name = name
        self.parse = parse
        self.shape = shape

    def decode(self, value: Value) -> Any:
        if value.raw is None:
            return None
        try:
            return self.parse(value)
        except EntryError as error:
            raise FieldError(str(error)) from None

    def schema(self) -> dict[str, Any]:
        return self.shape


class ResourcesKind(Kind):
    name = "resource limits"
    adds = True
    empty_is_absent = False

    def decode(self, value: Value) -> dict[str, str | int]:
        if value.raw is None:
            raise FieldError("null is not allowed here; leave it out")
        try:
            return e.resources_from(value)
        except EntryError as error:
            raise FieldError(str(error)) from None

    def to_value(self, plain: Mapping[str, Any] | None) -> Value:
        want = v.ObjectType(e.RESOURCES, e.RESOURCES)
        if plain is None:
            return Value(without_optional(want), None)
        return convert(_plain_value(dict(plain)), want)

    def merge(self, old: Any, new: Any) -> Any:
        return {**(old or {}), **new}

    def printed(self, plain: Mapping[str, Any]) -> dict[str, Any]:
        return {name: plain[name] for name in e.RESOURCES if name in plain}

    def schema(self) -> dict[str, Any]:
        numbers = {name: {"type": ["integer", "string"]} for name, each in e.RESOURCES.items() if each is v.NUMBER}
        texts = {name: {"type": ["string", "integer"]} for name, each in e.RESOURCES.items() if each is v.STRING}
        return {"type": "object", "properties": texts | numbers, "additionalProperties": False}


def escape(text: str) -> str:
    """Text as a template that gives it again."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _plain_value(plain: Any) -> Value:
    match plain:
        case None:
            return v.NULL
        case bool():
            return v.boolean(plain)
        case str():
            return v.string(plain)
        case int():
            return v.number(plain)
        case tuple() | list():
            return v.tuple_of(_plain_value(each) for each in plain)
    return v.object_of({name: _plain_value(each) for name, each in plain.items()})


def by_name(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain[name] for name in sorted(plain)}


STRINGS: Final = v.MapType(v.STRING)
