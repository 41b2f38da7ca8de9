"""Bodies made of data: JSON and TOML, where the reader's schema says what is a block."""

from __future__ import annotations

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.body import Attribute, Block, Body, Content, Schema
from bakepy.bakefile.node import Node
from bakepy.bakefile.parser import ExpressionParser, Offsets
from bakepy.bakefile.source import Span, Text


class Data:
    """A value in a JSON or TOML file, with its place. `value`: dict of entries, list, str, number, bool or None."""

    __slots__ = ("end", "offsets", "start", "text", "value")

    def __init__(
        self,
        text: Text,
        start: int,
        end: int,
        value: list[Entry] | list[Data] | v.Value | None,
        offsets: Offsets | None = None,
    ) -> None:
        self.text = text
        self.start = start
        self.end = end
        self.value = value
        self.offsets = offsets

    @property
    def span(self) -> Span:
        return Span(self.text, self.start, self.end)

    def node(self) -> Node:
        """The expression that this is: strings are templates, keys too."""
        raise NotImplementedError

    def static(self) -> Node:
        """As syntax: a string is an expression, not a template."""
        return self.node()

    def kind(self) -> str:
        raise NotImplementedError


class Entry:
    """A key and its value. `offsets`: where the characters of the key stand, if it was written with escapes."""

    __slots__ = ("data", "name", "offsets", "span")

    def __init__(self, name: str, span: Span, data: Data, offsets: Offsets | None = None) -> None:
        self.name = name
        self.span = span
        self.data = data
        self.offsets = offsets


class Scalar(Data):
    """A string, number, bool or null."""

    __slots__ = ()
    value: v.Value

    def node(self) -> Node:
        if self.value.type is v.STRING and self.value.raw is not None:
            return self._parser().template()
        return tree.Literal(self.text, self.start, self.end, self.value)

    def static(self) -> Node:
        if self.value.type is not v.STRING or self.value.raw is None:
            return self.node()
        parser = self._parser()
        parser.newlines = False
        found = parser.expression()
        if parser.peek():
            raise parser.unexpected("expected nothing more")
        return found

    def _parser(self) -> ExpressionParser:
        return ExpressionParser(self.text, self.value.raw, self.offsets)

    def kind(self) -> str:
        return "null" if self.value.raw is None else str(self.value.type)


class Array(Data):
    """`[…]`."""

    __slots__ = ()
    value: list[Data]

    def node(self) -> Node:
        return tree.Tuple(self.text, self.start, self.end, [each.node() for each in self.value])

    def static(self) -> Node:
        return tree.Tuple(self.text, self.start, self.end, [each.static() for each in self.value])

    def kind(self) -> str:
        return "array"


class Table(Data):
    """`{…}`, or a TOML table."""

    __slots__ = ()
    value: list[Entry]

    def node(self) -> Node:
        items = [(self._key(each), each.data.node()) for each in self.value]
        return tree.Object(self.text, self.start, self.end, items, distinct=True)

    @staticmethod
    def _key(entry: Entry) -> Node:
        if "${" not in entry.name and "%{" not in entry.name:
            return tree.Literal(entry.span.text, entry.span.start, entry.span.end, v.string(entry.name))
        return ExpressionParser(entry.span.text, entry.name, entry.offsets or Offsets(entry.span.start)).template()

    def kind(self) -> str:
        return "object"


class DataAttribute(Attribute):
    """An attribute whose value is data; it becomes an expression when it is first needed."""

    __slots__ = ("_node", "data")

    def __init__(self, entry: Entry) -> None:
        super().__init__(entry.name, entry.span)
        self.data = entry.data
        self._node: Node | None = None

    @property
    def node(self) -> Node:
        if self._node is None:
            self._node = self.data.node()
        return self._node

    @property
    def static(self) -> Node:
        return self.data.static()

    @property
    def scalar(self) -> v.Value | None:
        return self.data.value if isinstance(self.data, Scalar) else None

    @property
    def span(self) -> Span:
        return Span(self.name_span.text, self.name_span.start, max(self.data.end, self.name_span.end))


class DataBody(Body):
    """A JSON object (or an array of objects, which are one body), or a TOML table."""

    def __init__(self, data: Data, *, strict: bool = False) -> None:
        self.data = data
        self.strict = strict
        self.span = data.span

    def content(self, schema: Schema) -> Content:
        found = Content()
        for entry in self._entries(self.data, "to hold attributes and blocks"):
            if entry.name in schema.attributes:
                if entry.name in found.attributes:
                    line = found.attributes[entry.name].name_span.where().start.line
                    raise entry.span.error(f"{entry.name!r} is already set in line {line}")
                found.attributes[entry.name] = DataAttribute(entry)
            elif entry.name in schema.blocks:
                self._unpack(entry, entry.name, entry.data, schema.blocks[entry.name], (), (), found.blocks)
        return found

    def all_attributes(self, besides: frozenset[str] = frozenset()) -> dict[str, Attribute]:
        found: dict[str, Attribute] = {}
        if not isinstance(self.data, Table):
            raise self.data.span.error(f"expected an object, found {self.data.kind()}")
        for entry in self.data.value:
            if entry.name == "//" or entry.name in besides:
                continue
            if entry.name in found:
                line = found[entry.name].name_span.where().start.line
                raise entry.span.error(f"{entry.name!r} is already set in line {line}")
            found[entry.name] = DataAttribute(entry)
        return found

    def unknown(self, schema: Schema) -> list[tuple[str, Span]]:
        known = {*schema.attributes, *schema.blocks, "//"}
        return [(entry.name, entry.span) for entry in self._entries(self.data, "here") if entry.name not in known]

    def _entries(self, data: Data, what: str) -> list[Entry]:
        if isinstance(data, Table):
            return data.value
        if isinstance(data, Array):
            found: list[Entry] = []
            for each in data.value:
                if not isinstance(each, Table):
                    raise each.span.error(f"expected an object {what}, found {each.kind()}")
                found += each.value
            return found
        if isinstance(data, Scalar) and data.value.raw is None:
            return []
        raise data.span.error(f"expected {'a table' if self.strict else 'an object'} {what}, found {data.kind()}")

    def _unpack(
        self,
        entry: Entry,
        kind: str,
        data: Data,
        wanted: tuple[str, ...],
        labels: tuple[str, ...],
        spans: tuple[Span, ...],
        blocks: list[Block],
    ) -> None:
        if wanted:
            entries = self._entries(data, f"whose keys are the {wanted[0]}s of {kind}")
            if not entries and not self.strict:
                raise data.span.error(f"expected at least one {wanted[0]} of {kind}")
            for each in entries:
                self._unpack(each, kind, each.data, wanted[1:], (*labels, each.name), (*spans, each.span), blocks)
            return
        if isinstance(data, Scalar) and data.value.raw is None:
            return
        if isinstance(data, Table):
            blocks.append(Block(kind, labels, spans, DataBody(data, strict=self.strict), entry.span))
        elif isinstance(data, Array):
            for item in data.value:
                blocks.append(Block(kind, labels, spans, DataBody(item, strict=self.strict), entry.span))
        else:
            name = ".".join((kind, *labels))
            raise data.span.error(
                f"expected {'a table' if self.strict else 'an object'} for {name}, found {data.kind()}"
            )
