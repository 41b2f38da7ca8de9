"""Places in source text: file, line, column; and how they are shown under an error."""

from __future__ import annotations

from dataclasses import field

from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A named text. `name` is what the user wrote to name it (a path as given, `<stdin>`, ...)."""

    name: str
    text: str = field(repr=False, compare=False)

    def line(self, number: int) -> str:
        """The text of line `number`, counted from 1, without its end; empty beyond the last line."""
        lines = self.text.split("\n")
        return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else ""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Line and column (in characters), both counted from 1."""

    line: int
    column: int = 1


@dataclass(frozen=True, slots=True)
class SourceRange:
    """From `start` up to, not including, `end`. Implements `errors.Where`."""

    file: SourceFile
    start: Position
    end: Position

    @classmethod
    def at(cls, file: SourceFile, line: int, column: int = 1, width: int = 1) -> SourceRange:
        """A range of `width` characters on one line."""
        return cls(file, Position(line, column), Position(line, column + width))

    @classmethod
    def of_line(cls, file: SourceFile, line: int) -> SourceRange:
        """The whole text of one line, without its indentation."""
        text = file.line(line)
        indent = len(text) - len(text.lstrip())
        return cls.at(file, line, indent + 1, max(1, len(text.strip())))

    def label(self) -> str:
        return f"{self.file.name}:{self.start.line}:{self.start.column}"

    def excerpt(self) -> str:
        """The first line of the range with carets under it, of an empty range under the whole line. Long lines are
        cut to a window round the caret."""
        text = self.file.line(self.start.line).replace("\t", " ")
        if not text.strip():
            return ""
        if self.start == self.end:
            return SourceRange.of_line(self.file, self.start.line).excerpt()
        begin = self.start.column - 1
        stop = self.end.column - 1 if self.end.line == self.start.line else len(text)
        cut = max(0, begin - 60)
        window = text[cut : cut + 120]
        width = max(1, min(stop, cut + len(window)) - begin)
        return f"{window}\n{' ' * (begin - cut)}{'^' * width}"
