"""Texts with places in them: offsets while reading, lines and columns only when somebody asks.

Classes of this room that are made at every start are plain ones: a dataclass takes half a millisecond to be made, and
two dozen of them would be felt in `--print`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

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


# -- text that was no UTF-8 comes with surrogates in the place of its bytes

_FOREIGN: Final = re.compile("[\ud800-\udfff]")


def check_text(text: Text, *, comments: bool = True) -> None:
    """Raises DefinitionError for text that is not UTF-8. Without `comments`, those of native syntax, which has been
    read before, may be in another encoding."""
    if text.text.isascii():
        return
    found = _FOREIGN.search(text.text)
    if found and not comments:
        from bakepy.bakefile.format.hcl_tokens import COMMENT, tokens

        said = (each for each in tokens(text.text) if each.kind != COMMENT and _FOREIGN.search(each.text))
        first = next(said, None)
        found = _FOREIGN.search(text.text, first.start) if first else None
    if found:
        raise Span(text, found.start(), found.end()).error("this is not UTF-8")


def without_foreign(text: Text) -> Text:
    """As buildx reads JSON: a byte that is no UTF-8 becomes the character that stands for such."""
    if text.text.isascii():
        return text
    return Text(SourceFile(text.name, _FOREIGN.sub("\ufffd", text.text)))
