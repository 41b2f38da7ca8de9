"""Bodies: attributes and blocks, whatever syntax they were written in.

The native syntax says itself what is an attribute and what a block. JSON and TOML do not: there, the reader says what
it takes for blocks (`Schema`), as in HCL's JSON syntax.
"""

from __future__ import annotations

from collections.abc import Mapping

from bakepy.bakefile import values as v
from bakepy.bakefile.node import Node
from bakepy.bakefile.source import Span
from bakepy.errors import DefinitionError, nearest


class Attribute:
    """`name = value`."""

    __slots__ = ("name", "name_span")

    def __init__(self, name: str, name_span: Span) -> None:
        self.name = name
        self.name_span = name_span

    @property
    def node(self) -> Node:
        """The value, to be evaluated."""
        raise NotImplementedError

    @property
    def static(self) -> Node:
        """The value as syntax that is looked at, not evaluated: a type, a list of parameter names."""
        return self.node

    @property
    def scalar(self) -> v.Value | None:
        """What stands here, if it is one value of a file of data: a string may be a template."""
        return None

    @property
    def span(self) -> Span:
        return Span(self.name_span.text, self.name_span.start, max(self.node.end, self.name_span.end))


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
    tells_blocks = False
    """Whether blocks can not be taken for attributes of the same name."""

    def content(self, schema: Schema) -> Content:
        """The attributes and blocks that the schema knows; others are left alone."""
        raise NotImplementedError

    def all_attributes(self, besides: frozenset[str] = frozenset()) -> dict[str, Attribute]:
        """Every attribute but those named `besides`; blocks are left out."""
        raise NotImplementedError

    def unknown(self, schema: Schema) -> list[tuple[str, Span]]:
        """The names that the schema does not know."""
        return []


def unknown_name(name: str, span: Span, known: list[str], path: str) -> DefinitionError:
    """What is said about a key that nothing knows."""
    return span.error(
        f"unknown key {name!r}", path=path, hint=nearest(name, known) or f"known here: {', '.join(sorted(known))}"
    )
