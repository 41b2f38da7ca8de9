"""The layout of native syntax: two blanks for each level, `=` of neighbouring lines below each other.

Lines stay lines: none is broken or joined, but more than one empty line in a row is one. What stands in strings and
heredocs is left alone. The rules are those that people know from `terraform fmt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bakepy.bakefile.format.hcl_tokens import COMMENT, HEREDOC, NAME, NEWLINE, NUMBER, SIGN, STRING, Token, tokens
from bakepy.bakefile.format.lines import Line, join_lines, line_end

_OPENING: Final = frozenset("([{")
_CLOSING: Final = frozenset(")]}")
_WORDS_BEFORE_VALUES: Final = frozenset({"in", "if"})
INDENT: Final = "  "


def format_hcl(text: str) -> str:
    """`text`, which must be readable, laid out."""
    rows = _rows(text)
    lines: list[Line] = []
    aligned: list[tuple[int, str, str]] = []
    """Lines that share one column for `=`: their position, and what stands before and behind it."""
    opened: list[int] = []
    """For each bracket that is open, the number of the line that opened it."""

    def settle() -> None:
        width = max((len(lead) for _, lead, _ in aligned), default=0)
        for position, lead, rest in aligned:
            lines[position].code = lead.ljust(width) + " " + rest
        aligned.clear()

    for number, row in enumerate(rows):
        indent = _indent(row, opened)
        opened_before = len(opened)
        lowest = _follow(row, opened, number)
        comment = row[-1].text if len(row) > 1 and row[-1].kind == COMMENT else ""
        code = row[:-1] if comment else row
        flat = len(opened) == opened_before == lowest and not any("\n" in token.text for token in row)
        text_of = INDENT * indent + spaced(code) if code else ""
        equals = _assignment(code)
        if not (flat and equals) or (aligned and lines[aligned[-1][0]].indent != indent):
            settle()
        if flat and equals:
            aligned.append((len(lines), INDENT * indent + spaced(code[:equals]), spaced(code[equals:])))
        lines.append(Line(text_of, comment, indent, rigid=not flat))
    settle()
    return join_lines(_without_empty(lines), 1, line_end(text))


def _rows(text: str) -> list[list[Token]]:
    """Tokens line by line."""
    rows: list[list[Token]] = [[]]
    for token in tokens(text):
        if token.kind == NEWLINE:
            rows.append([])
        else:
            rows[-1].append(token)
    return rows


def _without_empty(lines: Sequence[Line]) -> list[Line]:
    """At most one empty line in a row, none at the beginning and the end."""
    kept: list[Line] = []
    for line in lines:
        if line.code or (kept and kept[-1].code):
            kept.append(line)
    while kept and not kept[-1].code:
        kept.pop()
    return kept


def _indent(row: Sequence[Token], opened: Sequence[int]) -> int:
    """Levels of this line: one for each earlier line with brackets that are open, but those that it begins to close."""
    closing = 0
    for token in row:
        if token.kind != SIGN or token.text not in _CLOSING:
            break
        closing += 1
    return len(set(opened[: max(0, len(opened) - closing)]))


def _follow(row: Sequence[Token], opened: list[int], number: int) -> int:
    """Opens and closes the brackets of a line; gives the fewest that were open."""
    lowest = len(opened)
    for token in row:
        if token.kind == SIGN and token.text in _OPENING:
            opened.append(number)
        elif token.kind == SIGN and token.text in _CLOSING and opened:
            opened.pop()
            lowest = min(lowest, len(opened))
    return lowest


def _assignment(row: Sequence[Token]) -> int:
    """The position of the `=` of a line that sets one name; else 0."""
    depth, found = 0, 0
    for position, token in enumerate(row):
        if token.kind != SIGN:
            continue
        if token.text in _OPENING:
            depth += 1
        elif token.text in _CLOSING:
            depth -= 1
        elif token.text == "=" and depth == 0:
            if found:
                return 0
            found = position
    return found


def spaced(row: Sequence[Token]) -> str:
    """The tokens of a line with blanks between them where they belong."""
    pieces: list[str] = []
    for position, token in enumerate(row):
        if position and _parted(row, position):
            pieces.append(" ")
        pieces.append(token.text)
    return "".join(pieces)


def _parted(row: Sequence[Token], position: int) -> bool:
    """Whether a blank stands before the token at `position`."""
    before, token = row[position - 1], row[position]
    if before.kind == COMMENT or token.kind == COMMENT:
        return True
    if token.kind == SIGN:
        match token.text:
            case "," | "." | "..." | ")" | "]" | "::":
                return False
            case "}":
                return before.text != "{"
            case "(" if before.kind == NAME:
                return before.text in _WORDS_BEFORE_VALUES
            case "[" if _ends_value(row, position - 1):
                return False
    if before.kind == SIGN:
        match before.text:
            case "." | "(" | "[" | "::" | "!":
                return False
            case "-":
                return _ends_value(row, position - 2)
    return True


def _ends_value(row: Sequence[Token], position: int) -> bool:
    """Whether the token at `position` can be the end of an operand: what follows is no operand then."""
    if position < 0:
        return False
    token = row[position]
    if token.text == "*":
        return position > 0 and row[position - 1].text in (".", "[")
    return token.text in _CLOSING or (
        token.kind in (NAME, NUMBER, STRING, HEREDOC) and token.text not in _WORDS_BEFORE_VALUES
    )
