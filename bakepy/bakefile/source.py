"""Texts with places in them: offsets while reading, lines and columns only when somebody asks.

Classes of this room that are made at every start are plain ones: a dataclass takes half a millisecond to be made, and
two dozen of them would be felt in `--print`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from bakepy.errors import DefinitionError
from bakepy.model.location import Position, SourceFile, SourceRange


class Text:
    """A source file that turns offsets into ranges."""

    __slots__ = ("_starts", "file")

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self._starts: list[int] | None = None

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def text(self) -> str:
        return self.file.text

    def position(self, offset: int) -> Position:
        if self._starts is None:
            self._starts = [0]
            found = self.text.find("\n")
            while found >= 0:
                self._starts.append(found + 1)
                found = self.text.find("\n", found + 1)
        line = bisect_right(self._starts, offset) - 1
        return Position(line + 1, offset - self._starts[line] + 1)

    def range(self, start: int, end: int) -> SourceRange:
        return SourceRange(self.file, self.position(start), self.position(max(end, start + 1)))


class Span:
    """A piece of a text, by offsets. `where()` gives it lines and columns."""

    __slots__ = ("end", "start", "text")

    def __init__(self, text: Text, start: int, end: int) -> None:
        self.text = text
        self.start = start
        self.end = end

    def where(self) -> SourceRange:
        return self.text.range(self.start, self.end)

    def error(self, what: str, *, hint: str = "", path: str = "", detail: Sequence[str] = ()) -> DefinitionError:
        return DefinitionError(what, where=self.where(), path=path, hint=hint, detail=detail)
