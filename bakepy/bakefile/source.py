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
_BROKEN: Final = re.compile(
    "((?:[\udcc0-\udcdf][\udc80-\udcbf]|[\udce0-\udcef][\udc80-\udcbf]{2}|[\udcf0-\udcf7][\udc80-\udcbf]{3})+)"
    "|[\ud800-\udfff]"
)
"""A byte that is no UTF-8. The group is what has at least its form, such as half of a pair of UTF-16 or a character
that is written longer than needed: HCL's scanner looks at no more than the form."""


def check_text(text: Text) -> None:
    """Raises DefinitionError for text that is not UTF-8."""
    found = None if text.text.isascii() else _FOREIGN.search(text.text)
    if found:
        raise Span(text, found.start(), found.end()).error("this is not UTF-8")


def check_native(text: Text) -> None:
    """Raises DefinitionError for a file in native syntax, which has been read before, that is not UTF-8. Comments may
    be in another encoding; what has the form of UTF-8 may stand in texts."""
    if text.text.isascii():
        return
    broken = [found.start() for found in _BROKEN.finditer(text.text) if not found[1]]
    if not broken:
        return
    from bakepy.bakefile.format.hcl_tokens import comments

    left_out = comments(text.text)
    for offset in broken:
        at = bisect_right(left_out, (offset, len(text.text))) - 1
        if at < 0 or offset >= left_out[at][1]:
            raise Span(text, offset, offset + 1).error("this is not UTF-8")


def legible(text: str) -> str:
    """As buildx reads JSON: a byte that is no UTF-8 becomes the character that stands for such."""
    return text if text.isascii() else _FOREIGN.sub("\ufffd", text)


def without_foreign(text: Text) -> Text:
    return text if text.text.isascii() else Text(SourceFile(text.name, legible(text.text)))


def octets(text: str) -> bytes:
    """The bytes that a text was written with."""
    return text.encode("utf-8", "surrogateescape")
