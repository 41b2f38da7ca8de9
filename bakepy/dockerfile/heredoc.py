"""Here-documents: recognising `<<NAME` in a line, and their content."""

from __future__ import annotations

import re
from dataclasses import replace

from bakepy.dockerfile.expansion import ExpansionError, Lexer
from bakepy.model.value import dataclass

_MARK = re.compile(r"(\d*)<<(-?)[\t\n\f\r ]*([^<]*)\Z", re.ASCII)
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)
_WORD = Lexer(keep_unset=True)
_RAW_WORD = Lexer(keep_unset=True, raw_quotes=True)
_LINE = Lexer(keep_unset=True, raw_quotes=True, raw_escapes=True)


@dataclass(frozen=True, slots=True)
class Heredoc:
    """`name` ends the document; `expand`: variables in it are replaced; `chomp` (`<<-`): leading tabs are removed."""

    name: str
    expand: bool
    chomp: bool
    content: str = ""

    def with_content(self, content: str) -> Heredoc:
        return replace(self, content=content)

    @property
    def text(self) -> str:
        """The content as the document means it."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content

    def is_end(self, line: str) -> bool:
        line = line.rstrip("\r\n")
        return (line.lstrip("\t") if self.chomp else line) == self.name


def parse_heredoc(word: str) -> Heredoc | None:
    """The document that a word begins, if it is `<<NAME`. Any quote in the name turns expansion off.

    Raises ExpansionError for a name whose quotes are not closed.
    """
    match = _MARK.match(word)
    if not match or not match[3]:
        return None
    words = _WORD.expand(match[3], {}).words
    if len(words) != 1:
        return None
    raw = _RAW_WORD.expand(match[3], {}).words
    quotes = [sum(text.count(mark) for mark in "'\"") for text in (words[0], "".join(raw))]
    return Heredoc(words[0], expand=quotes[0] == quotes[1], chomp=match[2] == "-")


def find_heredoc(word: str) -> Heredoc | None:
    """As `parse_heredoc`, with None for malformed names."""
    try:
        return parse_heredoc(word)
    except ExpansionError:
        return None


def heredocs_of(line: str) -> list[Heredoc]:
    """The documents that an instruction announces. A line whose quotes are not closed announces none."""
    if "<<" not in line:
        return []
    try:
        words = _LINE.expand(line, {}).words
    except ExpansionError:
        return []
    return [doc for word in words if (doc := parse_heredoc(word)) is not None]
