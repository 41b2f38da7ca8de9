"""HCL files: bodies in native syntax, which says itself what is an attribute and what a block."""

from __future__ import annotations

import re
from typing import Final

from bakepy.bakefile import expression as tree
from bakepy.bakefile.body import Attribute, Block, Body, Content, Schema
from bakepy.bakefile.node import Node
from bakepy.bakefile.parser import ExpressionParser
from bakepy.bakefile.source import Span, Text
from bakepy.errors import DefinitionError

_ATTRIBUTE: Final = re.compile(r"([^\W\d][\w-]*)[ \t]*=(?!=)")
_TOP_LEVEL: Final = re.compile(r"^[^\W\d][\w-]*", re.MULTILINE)


class NativeAttribute(Attribute):
    __slots__ = ("_node",)

    def __init__(self, name: str, name_span: Span, node: Node) -> None:
        super().__init__(name, name_span)
        self._node = node

    @property
    def node(self) -> Node:
        return self._node


class NativeBody(Body):
    """A body in native syntax."""

    tells_blocks = True

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
