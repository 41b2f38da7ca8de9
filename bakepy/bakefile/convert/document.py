"""A bake file between two syntaxes: values, expressions as text, and comments, in the order they were written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """A part of a template that is no text: `${text}` or, with the mark `%`, a directive."""

    text: str
    mark: str = "$"

    @property
    def sequence(self) -> str:
        """As it stands in a template."""
        end = "\n" if "<<" in self.text else ""  # a heredoc ends with its line
        return f"{self.mark}{{{self.text}{end}}}" if self.mark == "$" else f"%{{ {self.text}{end or ' '}}}"


@dataclass(frozen=True, slots=True)
class Plain:
    """A number, true or false, as all syntaxes write it."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A string: texts, unescaped, and code between them."""

    parts: tuple[str | Code, ...]

    @property
    def literal(self) -> str | None:
        """The text, if there is no code in it."""
        return "".join(part for part in self.parts if isinstance(part, str)) if self.is_literal else None

    @property
    def is_literal(self) -> bool:
        return all(isinstance(part, str) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that gives a value of any type."""

    text: str


@dataclass(frozen=True, slots=True)
class Syntax:
    """An expression that is not evaluated: a type, the name of a parameter."""

    text: str


@dataclass(slots=True)
class Comments:
    """Comments of an item: above it (None for an empty line) and behind it."""

    above: list[str | None] = field(default_factory=list)
    behind: str = ""

    def __bool__(self) -> bool:
        return bool(self.above or self.behind)


@dataclass(slots=True)
class Item:
    """An element of a list."""

    value: Value
    comments: Comments = field(default_factory=Comments)


@dataclass(slots=True)
class Items:
    """A list."""

    items: list[Item]


@dataclass(slots=True)
class Field:
    """A key and a value of an object."""

    key: Text
    value: Value
    comments: Comments = field(default_factory=Comments)


@dataclass(slots=True)
class Fields:
    """An object. No key is there twice."""

    fields: list[Field]


Value = Plain | Text | Expression | Syntax | Items | Fields
NULL: Final = Expression("null")


@dataclass(slots=True)
class Setting:
    """`name = value`."""

    name: str
    value: Value
    comments: Comments = field(default_factory=Comments)


@dataclass(slots=True)
class Section:
    """A block: `target "app" {…}`; without a label, a rule of a variable or the `pools` of bake.toml."""

    kind: str
    label: str
    settings: list[Setting] = field(default_factory=list)
    rules: list[Section] = field(default_factory=list)
    comments: Comments = field(default_factory=Comments)
    closing: list[str | None] = field(default_factory=list)
    """Comments at its end."""


@dataclass(slots=True)
class Document:
    """A file. `notes` is what people should know: what was left out, because it means nothing."""

    content: list[Setting | Section] = field(default_factory=list)
    closing: list[str | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def sections(self) -> Iterator[Section]:
        return (each for each in self.content if isinstance(each, Section))


def template_source(parts: tuple[str | Code, ...]) -> str:
    """The text of a template, as JSON and TOML hold it and heredocs do, `${` and `%{` of texts doubled.

    A `$` right before code can not be doubled, that would be an escape sequence; it becomes code itself.
    """
    written: list[str] = []
    for position, part in enumerate(parts):
        if isinstance(part, Code):
            written.append(part.sequence)
            continue
        text = part
        following = parts[position + 1] if position + 1 < len(parts) else None
        tail = ""
        if isinstance(following, Code) and text.endswith(following.mark):
            text, tail = text[:-1], f'${{"{following.mark}"}}'
            while text.endswith("$"):
                text, tail = text[:-1], '${"$"}' + tail
        written.append(text.replace("${", "$${").replace("%{", "%%{") + tail)
    return "".join(written)
