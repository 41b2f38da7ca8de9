"""From a body, in whatever syntax, to a `Document`."""

from __future__ import annotations

import re
from typing import Final, TypeVar

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.body import Attribute, Block, Body, Schema
from bakepy.bakefile.convert.document import (
    NULL,
    Code,
    Comments,
    Document,
    Expression,
    Field,
    Fields,
    Item,
    Items,
    Plain,
    Section,
    Setting,
    Syntax,
    Text,
    Value,
)
from bakepy.bakefile.convert.own import POOLS, pools_of, spread
from bakepy.bakefile.convert.remarks import Remarks
from bakepy.bakefile.data_body import Array, Data, DataAttribute, DataBody, Entry, Scalar, Table
from bakepy.bakefile.fields import GROUP_FIELDS, NATIVE_NAMES, STRUCTURAL, TOML_NAMES
from bakepy.bakefile.format.hcl_tokens import COMMENT, HEREDOC, NEWLINE, STRING, tokens
from bakepy.bakefile.hcl_reader import NativeBody
from bakepy.bakefile.node import Node
from bakepy.bakefile.operators import Unary
from bakepy.bakefile.own import OWN
from bakepy.bakefile.parser import HEREDOC_BEGIN, ExpressionParser
from bakepy.bakefile.source import Span
from bakepy.bakefile.source import Text as Source
from bakepy.bakefile.template import Piece, TemplateReader, heredoc_closing, unindent
from bakepy.errors import DefinitionError
from bakepy.model.location import SourceFile

T = TypeVar("T")
KINDS: Final = ("variable", "function", "group", "target")
_BLOCKS: Final = dict.fromkeys(KINDS, ("name",))
_KNOWN: Final = {
    "variable": Schema(frozenset({"default", "type", "description", "sensitive", "nullable"}), {"validation": ()}),
    "validation": Schema(frozenset({"condition", "error_message"})),
    "function": Schema(frozenset({"params", "variadic_params", "result"})),
    "group": Schema(frozenset(GROUP_FIELDS)),
    "target": Schema(NATIVE_NAMES | set(STRUCTURAL) | {OWN}),
    POOLS: Schema(),
}
_STATIC: Final = frozenset({("variable", "type"), ("function", "params"), ("function", "variadic_params")})
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class DocumentReader:
    """Reads one file."""

    def __init__(self, text: Source, body: Body, remarks: Remarks) -> None:
        self.text = text
        self.body = body
        self.remarks = remarks
        self.document = Document()

    def read(self) -> Document:
        """Raises DefinitionError."""
        toml = self.body.strict
        content = self.body.content(Schema(frozenset(), {**_BLOCKS, **({"locals": ()} if toml else {})}))
        items: list[tuple[int, Attribute | Block]] = []
        if toml:
            for block in content.blocks:
                if block.type == "locals":
                    items += [(0, each) for each in block.body.all_attributes().values()]
            self._refuse_includes()
            items += [(0, each) for each in self.body.content(Schema(blocks={POOLS: ()})).blocks]
        else:
            items += [(each.name_span.start, each) for each in self.body.all_attributes(frozenset(KINDS)).values()]
        items += [(_start(block), block) for block in content.blocks if block.type != "locals"]
        if isinstance(self.body, NativeBody):
            items.sort(key=lambda item: item[0])
            for block in self.body.blocks:
                if block.type not in KINDS:
                    self._left_out(f"the block {block.type!r}", block.span)
        for _, item in items:
            if isinstance(item, Block):
                self.document.content.append(self._section(item))
            elif item.name == OWN:
                self.document.content.append(self._written_out(pools_of(self._setting(item, "")), item))
            else:
                self.document.content.append(self._setting(item, ""))
        self.document.closing = self.remarks.rest(0, len(self.text.text))
        return self.document

    def _refuse_includes(self) -> None:
        attribute = self.body.content(Schema(frozenset({"include"}))).attributes.get("include")
        if attribute is not None and not (isinstance(attribute.node, tree.Tuple) and not attribute.node.items):
            raise attribute.name_span.error(
                "only bake.toml can include files", hint="convert each file on its own, and name all of them with -f"
            )

    def _written_out(self, found: T | None, attribute: Attribute) -> T:
        """What an object of bakepy's own keys came to."""
        if found is None:
            hint = "write the keys and their values into it, as in x-bakepy = { retry = 2 }"
            raise attribute.name_span.error(f"what {OWN} holds has to be computed", hint=hint)
        return found

    def _left_out(self, what: str, span: Span) -> None:
        where = span.where()
        self.document.notes.append(
            f"{where.file.name}:{where.start.line}: {what} is left out: it is unknown to bake, which skips it"
        )

    # -- blocks

    def _section(self, block: Block) -> Section:
        body = block.body
        schema = _KNOWN[block.type]
        if block.type == "target" and body.strict:
            schema = Schema(TOML_NAMES | set(STRUCTURAL))
        if block.type == POOLS:
            schema = Schema(frozenset(body.all_attributes()))
        content = body.content(schema)
        section = Section(block.type, block.labels[0] if block.labels else "")
        start = _start(block)
        section.comments = self.remarks.of(start, self._head_end(block))
        attributes = content.attributes
        for name, attribute in attributes.items():
            assert name == attribute.name
            setting = self._setting(attribute, block.type)
            section.settings += self._written_out(spread(setting), attribute) if name == OWN else [setting]
        for rule in content.blocks:
            section.rules.append(self._section(rule))
        if isinstance(body, NativeBody):
            section.closing = self.remarks.rest(body.span.start, body.span.end)
            for name, attribute in body.attributes.items():
                if name not in schema.attributes:
                    self._left_out(f"{block.type}.{section.label}.{name}", attribute.name_span)
            for inner in body.blocks:
                if inner.type not in schema.blocks:
                    self._left_out(f"the block {inner.type!r} in {block.type}.{section.label}", inner.span)
        else:
            for name, span in body.unknown(schema):
                self._left_out(f"{block.type}.{section.label}.{name}", span)
        return section

    def _head_end(self, block: Block) -> int:
        """Behind the line that begins a block."""
        if isinstance(block.body, NativeBody):
            found = self.text.text.find("{", block.span.end - 1)
            return found + 1 if found >= 0 else block.span.end
        assert isinstance(block.body, DataBody)
        return block.body.data.end

    def _setting(self, attribute: Attribute, kind: str) -> Setting:
        static = (kind, attribute.name) in _STATIC
        if isinstance(attribute, DataAttribute):
            value, end = self._data(attribute.data, static=static), attribute.data.end
            start = attribute.name_span.start
            if isinstance(attribute.data, Table) and self.text.text.startswith("[", attribute.data.start):
                start = attribute.data.start
        else:
            node = attribute.node
            start, end = attribute.name_span.start, node.start + len(_slice(node))
            value = self._static(node) if static else self._node(node)
        return Setting(attribute.name, value, self.remarks.of(start, end))

    # -- values in native syntax

    def _static(self, node: Node) -> Value:
        if isinstance(node, tree.Tuple):
            return Items([Item(Syntax(_slice(each))) for each in node.items])
        return Syntax(_slice(node))

    def _node(self, node: Node) -> Value:
        source = self.text.text
        if isinstance(node, tree.Literal) and node.literal.type is not v.STRING:
            return _plain(node.literal, _slice(node))
        if isinstance(node, Unary) and node.operator == "-" and isinstance(node.operand, tree.Literal):
            raw = node.operand.literal.raw
            if node.operand.literal.type is v.NUMBER and not raw.is_zero:
                return _plain(v.number(-raw), "-" + _slice(node.operand))
        if source.startswith(('"', "<<"), node.start) and _is_one_string(_slice(node)):
            self.remarks.skip(node.start, node.end)
            return _template(self.text, node.start)
        if isinstance(node, tree.Tuple):
            return Items([self._item(each) for each in node.items])
        if isinstance(node, tree.Object):
            fields = self._fields(node)
            if fields is not None:
                return fields
        text = _slice(node)
        self.remarks.skip(node.start, node.start + len(text))
        return Expression(_dedented(text))

    def _item(self, node: Node) -> Item:
        value = self._node(node)
        return Item(value, self.remarks.of(node.start, node.start + len(_slice(node))))

    def _fields(self, node: tree.Object) -> Fields | None:
        """None if a key has to be computed and could be equal to another one."""
        keys = [self._key(key) for key, _ in node.items]
        if any(key is None or (not key.is_literal and len(keys) > 1) for key in keys):
            return None
        found: dict[Text, Field] = {}
        for key, (key_node, value_node) in zip(keys, node.items, strict=True):
            assert key is not None
            value = self._node(value_node)
            comments = self.remarks.of(key_node.start, value_node.start + len(_slice(value_node)))
            found[key] = Field(key, value, comments)  # of equal keys, the last one counts
        return Fields(list(found.values()))

    def _key(self, node: Node) -> Text | None:
        inner = node.inner if isinstance(node, tree.ObjectKey) else node
        if isinstance(node, tree.ObjectKey) and (word := inner.keyword()):
            return Text((word,))
        if self.text.text.startswith('"', inner.start) and _is_one_string(_slice(inner)):
            value = _template(self.text, inner.start)
            return value if isinstance(value, Text) else Text((Code(value.text),))
        return None

    # -- values in JSON and TOML

    def _data(self, data: Data, *, static: bool = False) -> Value:
        if isinstance(data, Array):
            return Items([self._data_item(each, static) for each in data.value])
        if isinstance(data, Table):
            return Fields([self._data_field(entry) for entry in data.value])
        assert isinstance(data, Scalar)
        raw = data.value.raw
        if data.value.type is not v.STRING or raw is None:
            return _plain(data.value, self.text.text[data.start : data.end])
        if static:
            data.static()
            return Syntax(raw)
        data.node()  # what is wrong is reported with its place in the file
        return _template(Source(SourceFile(self.text.name, raw)), None)

    def _data_item(self, data: Data, static: bool) -> Item:
        return Item(self._data(data, static=static), self.remarks.of(data.start, data.end))

    def _data_field(self, entry: Entry) -> Field:
        Table._key(entry)
        key: Text | Expression = Text((entry.name,))
        if "${" in entry.name or "%{" in entry.name:
            key = _template(Source(SourceFile(self.text.name, entry.name)), None)
        value = self._data(entry.data)
        comments: Comments = self.remarks.of(entry.span.start, entry.data.end)
        return Field(key if isinstance(key, Text) else Text((Code(key.text),)), value, comments)


def _start(block: Block) -> int:
    if isinstance(block.body, DataBody):
        return block.body.data.start
    return block.span.start


def _plain(value: v.Value, written: str) -> Value:
    if value.raw is None:
        return NULL
    if value.type is v.BOOL:
        return Plain("true" if value.raw else "false")
    if _NUMBER.fullmatch(written):
        return Plain(written)
    try:
        return Plain(value.raw.text())
    except OverflowError as reason:
        raise DefinitionError(f"{reason} can not be converted") from None


def _slice(node: Node) -> str:
    """What an expression was read from, without blanks and comments behind it."""
    end = 0
    source = node.text.text
    for token in tokens(source, node.start, node.end):
        if token.kind not in (COMMENT, NEWLINE):
            end = token.end
    return source[node.start : end]


def _is_one_string(text: str) -> bool:
    first = next(tokens(text), None)
    return first is not None and first.kind in (STRING, HEREDOC) and first.end == len(text)


def _dedented(text: str) -> str:
    """An expression over several lines, moved to the left; not if that could move what stands in a string."""
    if "\n" not in text or any("\n" in each.text for each in tokens(text) if each.kind in (STRING, HEREDOC)):
        return text
    first, *rest = text.splitlines()
    width = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first, *(line[width:].rstrip() for line in rest)])


def _template(text: Source, start: int | None) -> Text | Expression:
    """A string: all of `text`, or the one in quotes or the heredoc that begins at `start`."""
    parser = ExpressionParser(text)
    if start is None:
        pieces = TemplateReader(parser, quoted=False).parts()
    elif text.text[start] == '"':
        parser.position = start + 1
        pieces = TemplateReader(parser, quoted=True).parts()
    else:
        opening = HEREDOC_BEGIN.match(text.text, start)
        assert opening is not None, "it was read as a heredoc before"
        parser.position = opening.end()
        pieces = TemplateReader(parser, quoted=False, closing=heredoc_closing(opening[2])).parts()
        if opening[1]:
            unindent(pieces)
    if len(pieces) == 1 and pieces[0].kind == "interpolation":
        code = _part(pieces[0])
        assert isinstance(code, Code)
        return Expression(code.text)
    parts: list[str | Code] = []
    for piece in pieces:
        part = _part(piece)
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += part
        elif part != "":
            parts.append(part)
    return Text(tuple(parts))


def _part(piece: Piece) -> str | Code:
    match piece.kind:
        case "literal":
            return piece.text
        case "interpolation":
            assert piece.node is not None
            return Code(_slice(piece.node))
        case "if":
            assert piece.node is not None
            return Code(f"if {_slice(piece.node)}", "%")
        case "for":
            assert piece.node is not None
            names = ", ".join(name for name in piece.names if name)
            return Code(f"for {names} in {_slice(piece.node)}", "%")
    return Code(piece.kind, "%")
