"""What native syntax and TOML write alike: comments, lists, and which form which value has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final

from bakepy.bakefile.convert.document import Comments, Expression, Fields, Item, Plain, Syntax, Text, Value

WIDTH: Final = 100


class Writer(ABC):
    """Collects lines, which are laid out afterwards. A syntax says how it writes strings, expressions and keys."""

    gap: ClassVar[str] = " "
    """Before a comment behind something."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @abstractmethod
    def text(self, text: Text) -> str:
        """A string."""

    @abstractmethod
    def expression(self, value: Expression | Syntax) -> str:
        """What is computed, or what is no value at all."""

    @abstractmethod
    def key(self, key: Text) -> str:
        """A key of an object."""

    def element(self, text: str) -> str:
        """An element of a list on a line of its own."""
        return text + ","

    def comment(self, lines: Sequence[str | None]) -> None:
        self.lines += ["" if line is None else f"#{line}".rstrip() for line in lines]

    def line(self, text: str, comments: Comments) -> None:
        """What the comments are behind of."""
        self.lines.append(text + self._behind(comments))

    def fields(self, fields: Fields) -> None:
        """A line for each key."""
        for each in fields.fields:
            self.comment(each.comments.above)
            self.line(f"{self.key(each.key)} = {self.value(each.value)}", each.comments)

    def value(self, value: Value) -> str:
        match value:
            case Plain():
                return value.text
            case Text():
                return self.text(value)
            case Expression() | Syntax():
                return self.expression(value)
            case Fields():
                inner = ", ".join(f"{self.key(each.key)} = {self.value(each.value)}" for each in value.fields)
                return f"{{ {inner} }}" if inner else "{}"
        return self._items(value.items)

    def _items(self, items: list[Item]) -> str:
        texts = [self.value(each.value) for each in items]
        line = "[" + ", ".join(texts) + "]"
        if "\n" not in line and len(line) <= WIDTH and not any(each.comments for each in items):
            return line
        before, self.lines = self.lines, ["["]
        for item, text in zip(items, texts, strict=True):
            self.comment(item.comments.above)
            self.line(self.element(text), item.comments)
        found, self.lines = self.lines, before
        return "\n".join([*found, "]"])

    def _behind(self, comments: Comments) -> str:
        return f"{self.gap}#{comments.behind}" if comments.behind else ""
