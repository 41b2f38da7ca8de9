"""Words with quotes, escapes and variables: `$x`, `${x:-word}`, `${x#pattern}`, `${x/pattern/text}`.

Only the language of Dockerfiles: what a shell in a RUN does is not its business. One `Lexer` holds the few switches;
`expand` gives the text, its words, and which variables were found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from bakepy.dockerfile.glob import first_match, longest_suffix, replace_all
from bakepy.dockerfile.text import SPACE, quote
from bakepy.model.value import dataclass

_T = TypeVar("_T")
_DEPTH = 150
"""Nested `${…}` beyond this are refused; nobody writes them by hand."""
MAX_EXPANSION = 1 << 22
"""Characters that the variables of one word may come to. Files that double a value line by line end here."""


class ExpansionError(Exception):
    """Why a word can not be expanded; the caller knows the place. `unmatched` are the variables without value that
    were looked up before."""

    unmatched: tuple[str, ...] = ()

    @property
    def hint(self) -> str:
        text = str(self)
        if "unsupported modifier" in text:
            return "the forms are ${x}, ${x:-word}, ${x:+word}, ${x:?message}, ${x#start}, ${x%end} and ${x/this/that}"
        if "${}" in text:
            return "as in ${x/this/that}"
        return "close what is open, or write a backslash before it" if "missing" in text or "matching" in text else ""

    def of(self, text: str) -> str:
        """The whole complaint about `text`, which is shown up to a length."""
        return f"failed to process {quote(text if len(text) <= 60 else text[:57] + '...')}: {self}"


@dataclass(frozen=True, slots=True)
class Expanded:
    """`matched` and `unmatched` are the variables that were looked up, in order."""

    text: str
    words: tuple[str, ...]
    matched: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lexer:
    """`raw_quotes` keeps quotes, `raw_escapes` keeps escapes, `plain_quotes` gives quotes no meaning at all;
    `keep_unset` leaves variables that are not set as they were written."""

    escape: str = "\\"
    raw_quotes: bool = False
    raw_escapes: bool = False
    plain_quotes: bool = False
    keep_unset: bool = False

    def expand(self, text: str, env: Mapping[str, str]) -> Expanded:
        """Raises ExpansionError."""
        if self.is_plain(text) and not _BLANK.search(text):
            return Expanded(text, (text,) if text else ())
        if not _INVOLVED.search(text) and (found := self._simply(text, env)) is not None:
            return found
        scan = _Scan(self, text.removeprefix(_MARK), env)
        try:
            pieces = scan.until("", self.raw_escapes)
        except ExpansionError as error:
            error.unmatched = tuple(scan.unmatched)
            raise
        return Expanded(
            "".join(piece for piece, _ in pieces if piece is not None),
            tuple(_split(pieces)),
            tuple(scan.matched),
            tuple(scan.unmatched),
        )

    def _simply(self, text: str, env: Mapping[str, str]) -> Expanded | None:
        """The usual case, `$x` and `${x}` in plain text, in one pass. None if it comes to too much."""
        matched: dict[str, None] = {}
        unmatched: dict[str, None] = {}
        pieces: list[str] = []
        position, room = 0, MAX_EXPANSION
        for variable in _VARIABLE.finditer(text):
            name = variable[1] or variable[2]
            value = env.get(name)
            if value is None:
                unmatched[name] = None
                value = variable[0] if self.keep_unset else ""
            else:
                matched[name] = None
                room -= len(value)
                if room < 0:
                    return None
            pieces += (text[position : variable.start()], value)
            position = variable.end()
        whole = "".join([*pieces, text[position:]])
        return Expanded(whole, tuple(_WORD.findall(whole)), tuple(matched), tuple(unmatched))

    def word(self, text: str, env: Mapping[str, str]) -> str:
        """Just the text."""
        return text if self.is_plain(text) else self.expand(text, env).text

    @staticmethod
    def is_plain(text: str) -> bool:
        """Whether nothing in the text has a meaning, so that it expands to itself."""
        return text.isalnum() or not _SPECIAL.search(text)


_MARK = "\ufeff"
"""A byte order mark in front of a word is no part of it."""
_SPECIAL = re.compile(rf"\A{_MARK}|[$'\"\\`<]")
_BLANK = re.compile(f"[{SPACE}]")
_WORD = re.compile(f"[^{SPACE}]+")
_VARIABLE = re.compile(r"\$(?:([^\W\d]\w*)|\{([^\W\d]\w*)\})")
_INVOLVED = re.compile(rf"\A{_MARK}|['\"\\`<]|\$(?![^\W\d]|\{{[^\W\d]\w*\}})")
"""What is more than text, `$x` and `${x}`."""

_Piece = tuple[str | None, bool]
"""Text and whether blanks in it separate words. A None forgets the word begun so far: the default word of an
expansion does that to the text before it (`80${X:-80}` has the words `80`, not `8080`)."""


def _split(pieces: list[_Piece]) -> list[str]:
    words: list[str] = []
    current = ""
    for text, splits in pieces:
        if text is None:
            current = ""
        elif not splits:
            current += text
        else:
            for char in text:
                if char not in SPACE:
                    current += char
                elif current:
                    words.append(current)
                    current = ""
    return [*words, current] if current else words


class _Scan:
    """One pass over one text."""

    __slots__ = ("depth", "end", "env", "lexer", "matched", "pos", "room", "text", "unmatched")

    def __init__(self, lexer: Lexer, text: str, env: Mapping[str, str]) -> None:
        self.lexer = lexer
        self.text = text
        self.env = env
        self.pos = 0
        self.end = len(text)
        self.depth = 0
        self.room = MAX_EXPANSION
        self.matched: dict[str, None] = {}
        self.unmatched: dict[str, None] = {}

    def peek(self) -> str:
        return self.text[self.pos] if self.pos < self.end else ""

    def next(self) -> str:
        char = self.peek()
        self.pos += len(char)
        return char

    def lookup(self, name: str) -> str | None:
        value = self.env.get(name)
        if value is None:
            self.unmatched[name] = None
            return None
        self.matched[name] = None
        self.room -= len(value)
        if self.room < 0:
            raise ExpansionError(f"the expansion is longer than {MAX_EXPANSION} characters")
        return value

    def until(self, stop: str, raw_escapes: bool) -> list[_Piece]:
        """Up to `stop` (consumed), or up to the end if that is empty."""
        escape = self.lexer.escape
        quotes = "" if self.lexer.plain_quotes else "'\""
        special = _runs(stop + escape + quotes)
        pieces: list[_Piece] = []
        while self.pos < self.end:
            if match := special.match(self.text, self.pos):
                self.pos = match.end()
                pieces.append((match[0], True))
                continue
            char = self.text[self.pos]
            if char == stop:
                self.pos += 1
                return pieces
            if char == "$":
                text, reset = self.dollar(raw_escapes)
                if reset:
                    pieces.append((None, True))
                pieces.append((text, True))
            elif char == "<":
                pieces.append((self.heredoc_mark(), False))
            elif char == "'" and quotes:
                pieces.append((self.single_quoted(), False))
            elif char == '"' and quotes:
                text, reset = self.double_quoted(raw_escapes)
                if reset:
                    pieces.append((None, False))
                pieces.append((text, False))
            else:  # the escape character; at the very end it means nothing
                self.pos += 1
                following = self.next()
                pieces.append(((char if raw_escapes else "") + following, False))
        if stop:
            raise ExpansionError(_missing(stop))
        return pieces

    def joined(self, stop: str, raw_escapes: bool) -> str:
        return "".join(piece for piece, _ in self.until(stop, raw_escapes) if piece is not None)

    def single_quoted(self) -> str:
        close = self.text.find("'", self.pos + 1)
        if close < 0:
            raise ExpansionError("unexpected end of statement while looking for matching single-quote")
        inner = self.text[self.pos : close + 1] if self.lexer.raw_quotes else self.text[self.pos + 1 : close]
        self.pos = close + 1
        return inner

    def double_quoted(self, raw_escapes: bool) -> tuple[str, bool]:
        """What is in the quotes, and whether an expansion in it forgets the word begun before."""
        escape = self.lexer.escape
        quote = '"' if self.lexer.raw_quotes else ""
        out = [quote]
        reset = False
        self.pos += 1
        while self.pos < self.end:
            char = self.text[self.pos]
            if char == '"':
                self.pos += 1
                out.append(quote)
                return "".join(out), reset
            if char == "$":
                value, forgets = self.dollar(raw_escapes)
                out.append(value)
                reset = reset or forgets
                continue
            self.pos += 1
            if char == escape:
                if raw_escapes:
                    out.append(char)
                if self.peek() in ('"', "$", escape):
                    char = self.next()
            out.append(char)
        raise ExpansionError("unexpected end of statement while looking for matching double-quote")

    def heredoc_mark(self) -> str:
        """`<<` and the blanks after it belong to one word with what follows."""
        start = self.pos
        self.pos += 1
        if self.peek() == "<":
            self.pos += 1
            while self.peek() in ("\t", "\r", " ") and self.peek():
                self.pos += 1
        return self.text[start : self.pos]

    def name(self) -> str:
        """A variable's name: letters, digits, `_`; or a number; or one of the special parameters."""
        match = _NAME.match(self.text, self.pos)
        name = match[0] if match else ""
        self.pos += len(name)
        return name

    def dollar(self, raw_escapes: bool) -> tuple[str, bool]:
        """The value of the expansion at `$`, and whether it forgets the word begun before it."""
        self.pos += 1
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$", False
            value = self.lookup(name)
            return (f"${name}" if self.lexer.keep_unset else "") if value is None else value, False
        self.depth += 1
        if self.depth > _DEPTH:
            raise ExpansionError(f"variables are nested more than {_DEPTH} deep")
        try:
            return self.braced()
        finally:
            self.depth -= 1

    def braced(self) -> tuple[str, bool]:
        self.pos += 1
        if not self.peek():
            raise ExpansionError(_missing("}"))
        if self.peek() in "{}:":
            raise ExpansionError("syntax error: bad substitution: a name is expected after '${'")
        name = self.name()
        mark = self.next()
        if mark == "}":
            value = self.lookup(name)
            return (f"${{{name}}}" if self.lexer.keep_unset else "") if value is None else value, False
        if mark == "/":
            return self.substitute(name), True
        colon = mark == ":"
        operator = self.next() if colon else mark
        written = ":" + operator if colon else operator
        if not operator:
            raise ExpansionError(_missing("}"))
        if not (colon or operator in "+-?#%") or (colon and operator in "#%"):
            raise ExpansionError(f"unsupported modifier ({written}) in substitution of '{name}'")
        word = self.joined("}", operator in "#%")
        value = self.lookup(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}{written}{word}}}", True
        return self.modified(name, value, operator, colon, word), True

    def modified(self, name: str, value: str | None, operator: str, colon: bool, word: str) -> str:
        absent = value is None or (colon and not value)
        match operator:
            case "-":
                return word if absent else value or ""
            case "+":
                return "" if absent else word
            case "?":
                if absent:
                    state = "unset" if value is None else "empty"
                    raise ExpansionError(f"{name}: {word or f'is not allowed to be {state}'}")
                return value or ""
            case "#" | "%":
                greedy = word.startswith(operator)
                return self.trimmed(value or "", word[greedy:], greedy, operator == "%")
        raise ExpansionError(f"unsupported modifier (:{operator}) in substitution of '{name}'")

    def trimmed(self, value: str, pattern: str, greedy: bool, at_end: bool) -> str:
        if at_end:
            start = self.pattern(longest_suffix, pattern, value, greedy)
            return value if start is None else value[:start]
        span = self.pattern(first_match, pattern, value, greedy, True)
        return value[span[1] :] if span else value

    def substitute(self, name: str) -> str:
        every = self.peek() == "/"
        self.pos += every
        pattern = self.joined("/", True)
        replacement = self.joined("}", True)
        value = self.lookup(name)
        if value is None and self.lexer.keep_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        if every:
            return self.pattern(replace_all, pattern, value or "", replacement)
        span = self.pattern(first_match, pattern, value or "", True, False)
        return (value or "")[: span[0]] + replacement + (value or "")[span[1] :] if span else value or ""

    @staticmethod
    def pattern(function: Callable[..., _T], pattern: str, *args: object) -> _T:
        try:
            return function(pattern, *args)
        except ValueError as error:
            raise ExpansionError(f"invalid pattern ({pattern}) in substitution: {error}") from error


def _missing(stop: str) -> str:
    return f"syntax error: missing '{stop}'" + (" in ${}" if stop == "/" else "")


_NAME = re.compile(r"[^\W\d]\w*|\d+|[@*#?$!-]")
_RUNS: dict[str, re.Pattern[str]] = {}


def _runs(stops: str) -> re.Pattern[str]:
    """What needs no attention: everything up to `$`, `<` or one of `stops`."""
    pattern = _RUNS.get(stops)
    if pattern is None:
        pattern = _RUNS.setdefault(stops, re.compile(f"[^$<{re.escape(stops)}]+"))
    return pattern
