"""Bodies: attributes and blocks, whatever syntax they were written in.

The native syntax says itself what is an attribute and what a block. JSON and TOML do not: there, the reader says what
it takes for blocks (`Schema`), as in HCL's JSON syntax.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.parser import ExpressionParser, Offsets
from bakepy.bakefile.source import Span, Text
from bakepy.errors import DefinitionError, nearest


class Attribute:
    """`name = value`."""

    __slots__ = ("name", "name_span")

    def __init__(self, name: str, name_span: Span) -> None:
        self.name = name
        self.name_span = name_span

    @property
    def node(self) -> tree.Node:
        """The value, to be evaluated."""
        raise NotImplementedError

    @property
    def static(self) -> tree.Node:
        """The value as syntax that is looked at, not evaluated: a type, a list of parameter names."""
        return self.node

    @property
    def span(self) -> Span:
        return Span(self.name_span.text, self.name_span.start, max(self.node.end, self.name_span.end))


class NativeAttribute(Attribute):
    __slots__ = ("_node",)

    def __init__(self, name: str, name_span: Span, node: tree.Node) -> None:
        super().__init__(name, name_span)
        self._node = node

    @property
    def node(self) -> tree.Node:
        return self._node


class Block:
    """`type "label" { body }`. `span` is its header."""

    __slots__ = ("body", "label_spans", "labels", "span", "type")

    def __init__(
        self, type: str, labels: tuple[str, ...], label_spans: tuple[Span, ...], body: Body, span: Span
    ) -> None:
        self.type = type
        self.labels = labels
        self.label_spans = label_spans
        self.body = body
        self.span = span


class Schema:
    """What to look for in a body: attributes by name, blocks by type with the names of their labels."""

    __slots__ = ("attributes", "blocks")

    def __init__(
        self, attributes: frozenset[str] = frozenset(), blocks: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self.attributes = attributes
        self.blocks: Mapping[str, tuple[str, ...]] = blocks or {}


class Content:
    """What a schema found in a body."""

    __slots__ = ("attributes", "blocks")

    def __init__(self, attributes: dict[str, Attribute] | None = None) -> None:
        self.attributes: dict[str, Attribute] = {} if attributes is None else attributes
        self.blocks: list[Block] = []


class Body:
    """What stands between braces, or in a whole file."""

    span: Span
    strict = False
    """Whether unknown names are errors (TOML) or skipped (HCL, JSON, as buildx does)."""

    def content(self, schema: Schema) -> Content:
        """The attributes and blocks that the schema knows; others are left alone."""
        raise NotImplementedError

    def all_attributes(self, besides: frozenset[str] = frozenset()) -> dict[str, Attribute]:
        """Every attribute but those named `besides`; blocks are left out."""
        raise NotImplementedError

    def unknown(self, schema: Schema) -> list[tuple[str, Span]]:
        """The names that the schema does not know."""
        return []


class NativeBody(Body):
    """A body in native syntax."""

    def __init__(self, span: Span, attributes: dict[str, Attribute], blocks: list[Block]) -> None:
        self.span = span
        self.attributes = attributes
        self.blocks = blocks

    def content(self, schema: Schema) -> Content:
        found = Content({name: each for name, each in self.attributes.items() if name in schema.attributes})
        for block in self.blocks:
            wanted = schema.blocks.get(block.type)
            if wanted is None:
                continue
            if len(block.labels) > len(wanted):
                where = block.label_spans[len(wanted)]
                names = " and ".join(wanted) or "no label"
                raise where.error(f"too many labels for a block {block.type!r}: it takes {names}")
            if len(block.labels) < len(wanted):
                raise block.span.error(f"a block {block.type!r} needs a label: its {wanted[len(block.labels)]}")
            found.blocks.append(block)
        return found

    def unknown(self, schema: Schema) -> list[tuple[str, Span]]:
        known = {*schema.attributes, *schema.blocks}
        return [
            *((name, each.name_span) for name, each in self.attributes.items() if name not in known),
            *((each.type, each.span) for each in self.blocks if each.type not in known),
        ]

    def all_attributes(self, besides: frozenset[str] = frozenset()) -> dict[str, Attribute]:
        return {name: each for name, each in self.attributes.items() if name not in besides}


# -- reading the native syntax

_ATTRIBUTE: Final = re.compile(r"([^\W\d][\w-]*)[ \t]*=(?!=)")
_TOP_LEVEL: Final = re.compile(r"^[^\W\d][\w-]*", re.MULTILINE)


class BodyParser(ExpressionParser):
    """Reads a whole file of blocks and attributes."""

    def __init__(self, text: Text) -> None:
        super().__init__(text)
        if self.source.startswith("\ufeff"):
            self.position = 1
        self.errors: list[DefinitionError] = []

    def file(self) -> NativeBody:
        """The file's body. Raises the first error; `errors` then holds all that were found."""
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        while True:
            try:
                self._items(attributes, blocks, closing=False)
                break
            except DefinitionError as error:
                self.errors.append(error)
                self.depth, self.newlines = 0, True
                following = _TOP_LEVEL.search(self.source, self._next_line())
                if following is None or len(self.errors) >= 20:
                    break
                self.position = following.start()
        if self.errors:
            raise self.errors[0]
        return NativeBody(Span(self.text, 0, 0), attributes, blocks)

    def _next_line(self) -> int:
        found = self.source.find("\n", self.position)
        return len(self.source) if found < 0 else found + 1

    def _items(self, attributes: dict[str, Attribute], blocks: list[Block], *, closing: bool) -> None:
        """Up to the end of the file, or the closing brace, which is taken."""
        start = self.position
        while True:
            self.blank_lines()
            if closing and self.take("}"):
                return
            if not self.peek():
                if closing:
                    raise self.error("this block is not closed: expected '}' before the end", max(0, start - 1))
                return
            self._item(attributes, blocks, closing)

    def _item(self, attributes: dict[str, Attribute], blocks: list[Block], closing: bool) -> None:
        start = self.position
        if found := _ATTRIBUTE.match(self.source, start):  # most lines
            self.position = found.end()
            self._attribute(attributes, found[1], start)
            self._end_attribute()
            return
        name = self.name()
        if not name:
            if self.next_is('"'):
                raise self.error("names are written without quotes here", start)
            raise self.unexpected(
                "expected an attribute, a block or '}'" if closing else "expected an attribute or a block"
            )
        if self.next_is("=") and not self.next_is("=="):
            self.position += 1
            self._attribute(attributes, name, start)
            self._end_attribute()
        elif self.peek() in ('"', "{") or self.peek().isidentifier():
            blocks.append(self._block(name, start))
            if self.peek() and not self._newline():
                raise self.unexpected("expected a new line after the block")
        else:
            raise self.error(f"expected '=' or a block after {name!r}, found {self._found()}", start, start + len(name))

    def _end_attribute(self) -> None:
        if self.peek() and not self._newline():
            if self.next_is(","):
                raise self.error("attributes are separated by new lines, not by commas")
            raise self.unexpected("expected a new line after the attribute")

    def _found(self) -> str:
        here = self.peek()
        return "the end of the line" if here in ("\n", "\r") else f"'{here}'" if here else "the end of the file"

    def _attribute(self, attributes: dict[str, Attribute], name: str, start: int) -> None:
        """The position is behind the equals sign."""
        span = Span(self.text, start, start + len(name))
        node = self.expression()
        if name in attributes:
            line = attributes[name].name_span.where().start.line
            raise span.error(f"{name!r} is already set in line {line}")
        attributes[name] = NativeAttribute(name, span, node)

    def _block(self, name: str, start: int) -> Block:
        labels: list[str] = []
        spans: list[Span] = []
        end = start + len(name)
        while not self.next_is("{"):
            here = self.begin()
            if self.next_is('"'):
                labels.append(self._label())
            elif word := self.name():
                labels.append(word)
            else:
                raise self.unexpected("expected a label in quotes or '{'")
            end = self.position
            spans.append(Span(self.text, here, end))
        header = Span(self.text, start, end)
        self.position += 1
        self.deeper()
        attributes: dict[str, Attribute] = {}
        blocks: list[Block] = []
        if self.peek() and self.peek() not in "\r\n}":
            self._single(attributes)
        else:
            self._items(attributes, blocks, closing=True)
        self.depth -= 1
        body = NativeBody(Span(self.text, start, self.position), attributes, blocks)
        return Block(name, tuple(labels), tuple(spans), body, header)

    def _single(self, attributes: dict[str, Attribute]) -> None:
        """`{ name = value }`: one attribute on the line of the braces."""
        start = self.begin()
        name = self.name()
        if not name or not self.next_is("="):
            raise self.unexpected("expected one attribute or a new line after '{'")
        self.position += 1
        self._attribute(attributes, name, start)
        if self.next_is(","):
            raise self.error("a block on one line holds one attribute only", hint="write each on a line of its own")
        self.expect("}", "'}' on the same line")

    def _label(self) -> str:
        start = self.position
        node = self.quoted()
        if not isinstance(node, tree.Literal):
            raise self.error("a label can not have interpolations", start, self.position)
        return str(node.literal.raw)


def parse_native(text: Text) -> NativeBody:
    """The body of an HCL file. Raises DefinitionError."""
    return BodyParser(text).file()


# -- bodies made of data: JSON and TOML


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

    def node(self) -> tree.Node:
        """The expression that this is: strings are templates, keys too."""
        raise NotImplementedError

    def static(self) -> tree.Node:
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

    def node(self) -> tree.Node:
        if self.value.type is v.STRING and self.value.raw is not None:
            return self._parser().template()
        return tree.Literal(self.text, self.start, self.end, self.value)

    def static(self) -> tree.Node:
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

    def node(self) -> tree.Node:
        return tree.Tuple(self.text, self.start, self.end, [each.node() for each in self.value])

    def static(self) -> tree.Node:
        return tree.Tuple(self.text, self.start, self.end, [each.static() for each in self.value])

    def kind(self) -> str:
        return "array"


class Table(Data):
    """`{…}`, or a TOML table."""

    __slots__ = ()
    value: list[Entry]

    def node(self) -> tree.Node:
        items = [(self._key(each), each.data.node()) for each in self.value]
        return tree.Object(self.text, self.start, self.end, items, distinct=True)

    @staticmethod
    def _key(entry: Entry) -> tree.Node:
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
        self._node: tree.Node | None = None

    @property
    def node(self) -> tree.Node:
        if self._node is None:
            self._node = self.data.node()
        return self._node

    @property
    def static(self) -> tree.Node:
        return self.data.static()

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


def unknown_name(name: str, span: Span, known: list[str], path: str) -> DefinitionError:
    """What is said about a key that nothing knows."""
    return span.error(
        f"unknown key {name!r}", path=path, hint=nearest(name, known) or f"known here: {', '.join(sorted(known))}"
    )
