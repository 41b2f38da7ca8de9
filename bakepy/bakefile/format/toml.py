"""The layout of TOML: no indentation but in arrays, one empty line before each section, comments kept.

Lines stay lines: an array that goes over several lines has the same items in each line afterwards, and a comma behind
the last one. Strings are left as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from bakepy.bakefile.format.lines import Line, join_lines, line_end

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t]+|\ufeff)
    |(?P<newline>\r?\n)
    |(?P<comment>\#[^\n]*)
    |(?P<value>\"{3}(?:[^"\\]|\\.|"(?!""))*"{3,5}|'{3}(?:[^']|'(?!''))*'{3,5}|"(?:[^"\\]|\\.)*"|'[^']*'
       |[A-Za-z0-9_+:-]+)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
INDENT: Final = "  "
SPACE, NEWLINE, COMMENT, VALUE, SIGN = "space", "newline", "comment", "value", "sign"

Token = tuple[str, str]
"""Its kind and its text."""


def format_toml(text: str) -> str:
    """`text`, which must be readable, laid out."""
    lines: list[Line] = []
    reader = _Reader(text)
    while (line := reader.line()) is not None:
        lines += line
    return join_lines(_with_empty(lines), 2, line_end(text))


def toml_tokens(text: str) -> list[Token]:
    """All tokens but blanks."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        assert kind is not None, "each alternative has a name"
        if kind == COMMENT:
            found.append((kind, match[0].rstrip()))
        elif kind != SPACE:
            found.append((kind, match[0]))
    return found


def _with_empty(lines: Sequence[Line]) -> list[Line]:
    """One empty line before each section and the comments above it; nowhere more than one."""
    kept: list[Line] = []
    for position, line in enumerate(lines):
        if line.code or line.comment:
            if kept and (kept[-1].code or kept[-1].comment) and _begins_section(lines, position) and kept[-1].code:
                kept.append(Line(""))
            kept.append(line)
        elif kept and (kept[-1].code or kept[-1].comment):
            kept.append(line)
    while kept and not kept[-1].code and not kept[-1].comment:
        kept.pop()
    return kept


def _begins_section(lines: Sequence[Line], position: int) -> bool:
    """Whether this line is a header, or the first of the comments right above one."""
    while position < len(lines) and not lines[position].code and lines[position].comment:
        position += 1
    return position < len(lines) and lines[position].indent == 0 and lines[position].code.startswith("[")


class _Reader:
    """Goes through the tokens and gives lines."""

    def __init__(self, text: str) -> None:
        self.tokens = toml_tokens(text)
        self.position = 0

    def _next(self) -> Token:
        if self.position >= len(self.tokens):
            return NEWLINE, ""
        return self.tokens[self.position]

    def _take(self) -> str:
        self.position += 1
        return self.tokens[self.position - 1][1]

    def line(self) -> list[Line] | None:
        """The next line, with the lines that its value takes; None at the end."""
        if self.position >= len(self.tokens):
            return None
        pieces: list[Line] = [Line("")]
        while self._next()[0] not in (NEWLINE, COMMENT):
            kind, text = self._next()
            if text == "=" and kind == SIGN:
                self._take()
                pieces[-1].code += " = "
                self._value(pieces, 0)
            else:
                pieces[-1].code += self._take()
        if self._next()[0] == COMMENT:
            pieces[-1].comment = self._take()
        if self._next()[0] == NEWLINE and self.position < len(self.tokens):
            self._take()
        return pieces

    def _value(self, pieces: list[Line], depth: int) -> None:
        """Adds a value to the last line, and lines if it takes several; these are indented by `depth`."""
        match self._next():
            case (kind, "[") if kind == SIGN:
                self._array(pieces, depth)
            case (kind, "{") if kind == SIGN:
                self._table(pieces, depth)
            case _:
                while self._next()[0] == VALUE or self._next()[1] == ".":
                    text = self._take()
                    pieces[-1].code += text
                    pieces[-1].rigid |= "\n" in text

    def _table(self, pieces: list[Line], depth: int) -> None:
        self._take()
        pieces[-1].code += "{"
        filled = False
        while self._next()[1] != "}":
            kind, text = self._next()
            if text == "=" and kind == SIGN:
                self._take()
                pieces[-1].code += " = "
                self._value(pieces, depth)
            elif text == "," and kind == SIGN:
                self._take()
                pieces[-1].code += ", "
            else:
                pieces[-1].code += ("" if filled else " ") + self._take()
                filled = True
        self._take()
        pieces[-1].code += " }" if filled else "}"

    def _array(self, pieces: list[Line], depth: int) -> None:
        several = self._array_is_broken()
        self._take()
        pieces[-1].code += "["
        if not several:
            self._flat(pieces, depth)
            return
        if self._next()[0] == COMMENT:
            pieces[-1].comment = self._take()
        if self._next()[0] == NEWLINE:
            self._take()
        pieces[-1].rigid = True
        inner = INDENT * (depth + 1)
        row = Line("", indent=depth + 1)
        rows = [row]
        while self._next()[1] != "]" or self._next()[0] != SIGN:
            kind, text = self._next()
            if kind == NEWLINE:
                self._take()
                row = Line("", indent=depth + 1)
                rows.append(row)
            elif kind == COMMENT:
                row.comment = self._take() if row.code else inner + self._take()
            elif text == "," and kind == SIGN:
                self._take()
            else:
                if row.code:
                    row.code += " "
                else:
                    row.code = inner
                self._value(rows, depth + 1)
                row = rows[-1]
                row.code += ","
        self._take()
        pieces += _without_empty(rows)
        pieces.append(Line(INDENT * depth + "]", indent=depth))

    def _flat(self, pieces: list[Line], depth: int) -> None:
        """The rest of an array that stands on one line, as far as its items do."""
        first = True
        while self._next()[1] != "]" or self._next()[0] != SIGN:
            if self._next() == (SIGN, ","):
                self._take()
                continue
            if not first:
                pieces[-1].code += ", "
            first = False
            self._value(pieces, depth)
        self._take()
        pieces[-1].code += "]"

    def _array_is_broken(self) -> bool:
        """Whether the array that begins here has an end of line between its own items."""
        depth = 0
        for position in range(self.position, len(self.tokens)):
            kind, text = self.tokens[position]
            if kind == SIGN and text in "[{":
                depth += 1
            elif kind == SIGN and text in "]}":
                depth -= 1
                if depth == 0:
                    return False
            elif kind in (NEWLINE, COMMENT) and depth == 1:
                return True
        return False


def _without_empty(rows: Sequence[Line]) -> list[Line]:
    kept: list[Line] = []
    for row in rows:
        if row.code or row.comment or (kept and (kept[-1].code or kept[-1].comment)):
            kept.append(row)
    while kept and not kept[-1].code and not kept[-1].comment:
        kept.pop()
    return kept


def comment_places(text: str) -> list[tuple[int, int]]:
    """Where the comments of a file begin and end."""
    return [
        (match.start(), match.start() + len(match[0].rstrip()))
        for match in _TOKEN.finditer(text)
        if match.lastgroup == COMMENT
    ]
