"""The tokens of a file in native syntax, for laying it out and for keeping comments.

Strings and heredocs are one token each, whatever is inside. The file must have been read without errors before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bakepy.bakefile.template import heredoc_closing

SPACE, NEWLINE, COMMENT, NAME, NUMBER, STRING, HEREDOC, SIGN = (
    "space", "newline", "comment", "name", "number", "string", "heredoc", "sign",
)  # fmt: skip

Ranges = list[tuple[int, int]]

_PATTERNS: Final = (
    (SPACE, re.compile(r"[ \t]+|\ufeff|\r(?!\n)")),
    (NEWLINE, re.compile(r"\r?\n")),
    (COMMENT, re.compile(r"(?:\#|//)[^\n]*|/\*.*?\*/", re.DOTALL)),
    (NAME, re.compile(r"[^\W\d][\w-]*")),
    (NUMBER, re.compile(r"[0-9](?:(?:[0-9.]|[eE][+-]?[0-9])*(?:[0-9]|[eE][+-]?[0-9]))?")),
)
_HEREDOC: Final = re.compile(r"<<-?([^\W\d][\w-]*)\r?\n")
_SIGN: Final = re.compile(r"\.\.\.|\|\||&&|==|!=|>=|<=|=>|::|.", re.DOTALL)
_PLAIN: Final = re.compile(r'[^"\\$%]*')
_MARKED: Final = re.compile(r"[^$%]*")


class Token:
    """A piece of the text and where it begins."""

    __slots__ = ("kind", "start", "text")

    def __init__(self, kind: str, text: str, start: int) -> None:
        self.kind = kind
        self.text = text
        self.start = start

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def __repr__(self) -> str:
        return f"{self.kind} {self.text!r}"


def tokens(source: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The tokens from `start` to `end`, blanks left out; ends of lines are tokens."""
    position = start
    stop = len(source) if end is None else end
    while position < stop:
        token = next_token(source, position)
        if token.kind == COMMENT:
            token.text = token.text.rstrip(" \t\r")
        if token.kind != SPACE:
            yield token
        position = token.end


def comments(source: str) -> list[tuple[int, int]]:
    """Where comments begin and end, in order; those inside of strings and heredocs, in `${…}`, too."""
    found: Ranges = []
    position = 0
    while position < len(source):
        token = next_token(source, position, found)
        position = token.end
        if token.kind == COMMENT:
            found.append((token.start, token.end))
    return found


def next_token(source: str, position: int, inner: Ranges | None = None) -> Token:
    """The token that begins at `position`, which is before the end. Comments inside of it are added to `inner`."""
    if source[position] == '"':
        return Token(STRING, source[position : _string_end(source, position + 1, inner)], position)
    if found := _HEREDOC.match(source, position):
        return Token(HEREDOC, source[position : _heredoc_end(source, found, inner)], position)
    for kind, pattern in _PATTERNS:
        if found := pattern.match(source, position):
            return Token(kind, found[0], position)
    found = _SIGN.match(source, position)
    assert found is not None, "any character is a sign"
    return Token(SIGN, found[0], position)


def _string_end(source: str, position: int, inner: Ranges | None) -> int:
    """Where the string ends whose text begins at `position`, behind its closing quote."""
    while position < len(source):
        found = _PLAIN.match(source, position)
        assert found is not None, "the pattern matches nothing, too"
        position = found.end()
        character = source[position : position + 1]
        if character == '"':
            return position + 1
        if character == "\\":
            position += 2
        else:
            position = _sign_end(source, position, inner)
    return len(source)


def _heredoc_end(source: str, opening: re.Match[str], inner: Ranges | None) -> int:
    closing = heredoc_closing(opening[1])
    position = opening.end()
    while position < len(source):
        if (position == 0 or source[position - 1] == "\n") and (found := closing.match(source, position)):
            return found.end()
        line = source.find("\n", position)
        line = len(source) if line < 0 else line + 1
        found = _MARKED.match(source, position, line)
        assert found is not None, "the pattern matches nothing, too"
        position = found.end() if found.end() == line else _sign_end(source, found.end(), inner)
    return len(source)


def _sign_end(source: str, position: int, inner: Ranges | None) -> int:
    """Behind a `$` or `%`, which may begin a sequence or its escape."""
    character = source[position : position + 1]
    if source.startswith(character + "{", position + 1):
        return position + 3
    if source.startswith("{", position + 1):
        return _sequence_end(source, position + 2, inner)
    return position + 1


def _sequence_end(source: str, position: int, inner: Ranges | None) -> int:
    """Behind the brace that closes the sequence whose inside begins at `position`."""
    depth = 0
    while position < len(source):
        token = next_token(source, position, inner)
        position = token.end
        if token.kind == COMMENT and inner is not None:
            inner.append((token.start, token.end))
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            if depth == 0:
                return position
            depth -= 1
    return len(source)
