"""YAML as compose files use it: values with the scalars that Go's YAML reads, places, `!reset` and `!override`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any, Final

import yaml

from bakepy.bakefile.compose.flow import Marks
from bakepy.bakefile.compose.scalars import ScalarError, resolve_scalar, tagged_scalar
from bakepy.bakefile.source import Span, Text
from bakepy.errors import DefinitionError
from bakepy.model.value import dataclass

Path = tuple[str, ...]

VALUE: Final = "\0value"
"""Ends the path of what stands behind a key; the path alone is that of the key."""
_NODES: Final = 200_000
"""More nodes than this, aliases counted each time, are refused."""
_SLASH: Final = re.compile(r"(?<!\\)(?:\\\\)*(\\/)")
"""An escape sequence that the library knows, but Go's YAML does not."""
_STANDARD: Final = "tag:yaml.org,2002:"
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NESTING: Final = 1_000
"""Levels. The loader goes down by C calls, which would end the process."""


class _TooMuch(yaml.MarkedYAMLError):
    pass


class _Loader(_LOADER):  # type: ignore[misc]
    """The loader, with limits. What is overridden is called for each node, and of use for tags by path alone."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._depth = self._count = 0

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        self._depth += 1
        if self._depth > _NESTING:
            raise _TooMuch(problem="the file is nested too deep", problem_mark=current_node.start_mark)
        self._count += 1
        if self._count > _NODES:
            mark = current_node.start_mark if current_node else None
            raise _TooMuch(problem=f"the file has more than {_NODES} nodes", problem_mark=mark)

    def ascend_resolver(self) -> None:
        self._depth -= 1


class _AgainLoader(yaml.composer.Composer, _Loader):
    """For anchors that are given again, of which the last one before an alias counts. It is slower."""

    def __init__(self, source: str) -> None:
        _Loader.__init__(self, source)
        yaml.composer.Composer.__init__(self)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if not self.check_event(yaml.AliasEvent):
            self.anchors.pop(self.peek_event().anchor, None)
        return super().compose_node(parent, index)


def dotted(path: Path) -> str:
    """A path as people read it: `services.app.ports[0]`."""
    return ".".join(path).replace(".[", "[")


@dataclass(slots=True)
class Document:
    """One document: its value, where keys and values stand, and the paths that forget what files before it set."""

    value: Any
    places: dict[Path, Span] = field(default_factory=dict)
    resets: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """A compose file as it was read."""

    text: Text
    documents: tuple[Document, ...]


def read_compose(text: Text) -> ComposeFile:
    """Raises DefinitionError for what is no YAML."""
    return ComposeFile(text, tuple(parse_yaml(text)))


def parse_yaml(text: Text) -> list[Document]:
    """Every document of a file. Raises DefinitionError."""
    source = text.text.removeprefix("\ufeff")
    marks = Marks(source)
    if marks.needed:
        try:
            return _documents(text, marks.text, marks)
        except DefinitionError:
            pass  # then the text as it is tells what is wrong, unless the marks were
    return _documents(text, source, None)


def _documents(text: Text, source: str, marks: Marks | None) -> list[Document]:
    try:
        return _composed(text, source, marks, _Loader(source))
    except yaml.composer.ComposerError as error:
        if error.problem != "second occurrence":
            raise _no_yaml(text, error) from None
    try:
        return _composed(text, source, marks, _AgainLoader(source))
    except yaml.composer.ComposerError as error:
        raise _no_yaml(text, error) from None


def _composed(text: Text, source: str, marks: Marks | None, loader: Any) -> list[Document]:
    builder = _Builder(text, loader)
    found: list[Document] = []
    try:
        while loader.check_node():
            node = loader.get_node()
            if marks is not None:
                marks.restore(node, loader)
            found.append(builder.document(node))
    except yaml.composer.ComposerError:
        raise
    except yaml.MarkedYAMLError as error:
        raise _no_yaml(text, error) from None
    except yaml.YAMLError as error:
        raise Span(text, 0, 1).error(f"no YAML: {error}") from None
    finally:
        loader.dispose()
    return found


def _no_yaml(text: Text, error: yaml.MarkedYAMLError) -> DefinitionError:
    mark = error.problem_mark or error.context_mark
    if error.context_mark and error.problem == "could not find expected ':'":
        mark = error.context_mark  # where the key begins that is none
    start = _offset(text, mark.line, mark.column) if mark else 0
    problem = (error.problem or "a mistake").strip()
    return Span(text, start, start + 1).error(problem if isinstance(error, _TooMuch) else f"no YAML: {problem}")


def _offset(text: Text, line: int, column: int) -> int:
    position = 0
    for _ in range(line):
        position = text.text.find("\n", position) + 1
        if position == 0:
            return len(text.text)
    return position + column


class _Builder:
    """Makes values of nodes. Nodes are counted over all documents."""

    def __init__(self, text: Text, loader: Any) -> None:
        self.text = text
        self.loader = loader
        self.places: dict[Path, Span] = {}
        self.resets: list[Path] = []
        self.count = 0
        self.slashes = "\\/" in text.text
        self._starts = [0]
        position = text.text.find("\n")
        while position >= 0:
            self._starts.append(position + 1)
            position = text.text.find("\n", position + 1)

    def document(self, node: Any) -> Document:
        self.places, self.resets = {}, []
        value = self._value(node, (), [])
        return Document(value, self.places, self.resets)

    def span(self, node: Any) -> Span:
        return Span(self.text, self._at(node.start_mark), self._at(node.end_mark))

    def _at(self, mark: Any) -> int:
        return int(self._starts[min(mark.line, len(self._starts) - 1)] + mark.column)

    def error(self, node: Any, what: str, hint: str = "") -> DefinitionError:
        start = self._at(node.start_mark)
        end = self._at(node.end_mark) if node.end_mark.line == node.start_mark.line else start + 1
        return Span(self.text, start, end).error(what, hint=hint)

    def _value(self, node: Any, path: Path, inside: list[Any]) -> Any:
        self.count += 1
        if self.count > _NODES:
            raise self.error(node, f"the file has more than {_NODES} nodes")
        if any(node is each for each in inside):
            raise self.error(node, "an alias leads back into its own anchor")
        if node.tag == "!reset":
            self.resets.append(path)
            return _Removed
        if node.tag == "!override":
            self.resets.append(path)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        inside.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, path, inside)
            return self._mapping(node, path, inside)
        finally:
            inside.pop()

    def _sequence(self, node: Any, path: Path, inside: list[Any]) -> list[Any]:
        items: list[Any] = []
        for position, each in enumerate(node.value):
            place = (*path, f"[{position}]")
            self.places[place] = self.span(each)
            value = self._value(each, place, inside)
            if value is not _Removed:
                items.append(value)
        return items

    def _mapping(self, node: Any, path: Path, inside: list[Any]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be text")
            name = key_node.value
            if name in seen:
                line = seen[name].start_mark.line + 1
                raise self.error(key_node, f"the key {name!r} is already set in line {line}")
            seen[name] = key_node
            if name == "<<" and key_node.style in (None, ""):
                for each in self._merged(value_node):
                    for inner, value in self._mapping(each, path, inside).items():
                        merged.setdefault(inner, value)
                continue
            key = self._scalar(key_node)
            if not isinstance(key, str):
                raise self.error(key_node, f"a key must be text, not {name}", hint=f'put it in quotes: "{name}"')
            value = self._value(value_node, (*path, key), inside)
            self.places[(*path, key)] = self.span(key_node)
            if isinstance(value_node, yaml.ScalarNode) and value_node.start_mark.line == value_node.end_mark.line:
                span = self.span(value_node)
                if span.end > span.start:
                    self.places[(*path, key, VALUE)] = span
            if value is not _Removed:
                own[key] = value
        return {**merged, **own} if merged else own

    def _merged(self, node: Any) -> Iterator[Any]:
        if isinstance(node, yaml.MappingNode):
            yield node
        elif isinstance(node, yaml.SequenceNode) and all(isinstance(each, yaml.MappingNode) for each in node.value):
            yield from node.value
        else:
            raise self.error(node, "'<<' takes a mapping, or a list of them")

    def _scalar(self, node: Any) -> Any:
        plain = node.style in (None, "")
        if self.slashes and node.style == '"':
            span = self.span(node)
            if found := _SLASH.search(self.text.text, span.start, span.end):
                raise Span(self.text, found.start(1), found.end()).error(
                    "no YAML: there is no escape sequence '\\/'", hint="write / alone"
                )
        if node.tag != self.loader.resolve(yaml.ScalarNode, node.value, (plain, not plain)):
            try:
                return tagged_scalar(node.tag.removeprefix(_STANDARD), node.value)
            except ScalarError as error:
                raise self.error(node, str(error)) from None
        return resolve_scalar(node.value) if plain else node.value


class _Removed:
    """Stands for what `!reset` took away."""
