"""TOML 1.0 with the place of every key and value, which no library for Python tells.

Strings are templates of the bake language later on; numbers keep their exact decimal value. Dates are the one thing of
TOML that has no meaning in a bake file. Several errors of a file are found in one go, each in a line of its own.
"""

from __future__ import annotations

import re
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.data_body import Array, Data, DataBody, Entry, Scalar, Table
from bakepy.bakefile.number import Number
from bakepy.bakefile.parser import MOST_VALUES, Offsets
from bakepy.bakefile.source import Span, Text
from bakepy.errors import DefinitionError

NESTING: Final = 200
_BLANK = re.compile(r"[ \t]*")
_SPACE = re.compile(r"(?:[ \t\n]|\r\n|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'[^"\\\x00-\x08\x0a-\x1f\x7f]*')
_LITERAL = re.compile(r"[^'\x00-\x08\x0a-\x1f\x7f]*")
_WORD = re.compile(r"[A-Za-z0-9_+.:-]+(?: [0-9][0-9:.Zz+-]*)?")
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?\Z")
_BASED = re.compile(r"0(?:x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|o[0-7](?:_?[0-7])*|b[01](?:_?[01])*)\Z")
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d")
_HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}

# How a table came to be, which decides what may be added to it.
_IMPLICIT, _HEADED, _DOTTED, _CLOSED = range(4)


class _OpenTable(Table):
    """A table that is still being read."""

    __slots__ = ("index", "state")

    def __init__(self, text: Text, start: int, end: int, state: int) -> None:
        super().__init__(text, start, end, [])
        self.index: dict[str, Entry] = {}
        self.state = state

    def add(self, name: str, span: Span, data: Data, offsets: Offsets | None) -> None:
        entry = Entry(name, span, data, offsets)
        self.index[name] = entry
        self.value.append(entry)


class _TableArray(Array):
    """`[[name]]`."""

    __slots__ = ()


Key = tuple[str, Span, "Offsets | None"]


def parse_toml(text: Text) -> DataBody:
    """The body of a TOML file. Raises DefinitionError; `toml_errors` finds all of them."""
    body, errors = read_toml(text)
    if errors:
        raise errors[0]
    return body


def read_toml(text: Text) -> tuple[DataBody, list[DefinitionError]]:
    """The body, as far as it can be read, and what is wrong with the file."""
    reader = _Reader(text)
    reader.document()
    return DataBody(reader.root, strict=True), reader.errors


class _Reader:
    def __init__(self, text: Text) -> None:
        self.text = text
        self.source = text.text
        self.count = 0
        self.position = 1 if text.text.startswith("\ufeff") else 0
        self.root = _OpenTable(text, 0, 0, _HEADED)
        self.current = self.root
        self.errors: list[DefinitionError] = []

    def error(self, what: str, start: int | None = None, end: int | None = None, *, hint: str = "") -> DefinitionError:
        start = self.position if start is None else start
        return Span(self.text, start, end or start + 1).error(what, hint=hint)

    # -- lines

    def document(self) -> None:
        while len(self.errors) < 20:
            try:
                self._lines()
                return
            except DefinitionError as error:
                self.errors.append(error)
                # After a mistake the rest of the section is not trusted: what stands there may be half a value.
                found = self.source.find("\n", self.position)
                following = _HEADER.search(self.source, found + 1) if found >= 0 else None
                if following is None:
                    return
                self.position = following.start()

    def _lines(self) -> None:
        while True:
            self.space()
            if self.position >= len(self.source):
                return
            start = self.position
            if self.source.startswith("[[", start):
                self._table_array_header(start)
            elif self.source.startswith("[", start):
                self._table_header(start)
            else:
                self._pair(self.current, 0)
            self.blank()
            if self.position < len(self.source) and self.source[self.position] not in "\r\n#":
                raise self.error("expected the end of the line", hint="one key and its value stand on a line")

    def space(self) -> None:
        found = _SPACE.match(self.source, self.position)
        assert found is not None
        self.position = found.end()

    def blank(self) -> None:
        found = _BLANK.match(self.source, self.position)
        assert found is not None
        self.position = found.end()

    def next_is(self, word: str) -> bool:
        return self.source.startswith(word, self.position)

    # -- keys

    def _key(self) -> list[Key]:
        """A key with dots."""
        parts: list[Key] = []
        while True:
            self.blank()
            start = self.position
            if self.next_is('"') or self.next_is("'"):
                if self.source.startswith(('"""', "'''"), start):
                    raise self.error("a key can not be a text of several lines")
                name, offsets = self._string()
                parts.append((name, Span(self.text, start, self.position), offsets))
            elif found := _BARE.match(self.source, start):
                self.position = found.end()
                parts.append((found[0], Span(self.text, start, found.end()), None))
            else:
                here = self.source[start : start + 1]
                shown = "the end of the line" if here in "\r\n" else f"'{here}'"
                raise self.error(
                    f"expected a key, found {shown}",
                    hint="keys of other characters than letters, digits, - and _ are put in quotes",
                )
            self.blank()
            if not self.next_is("."):
                return parts
            self.position += 1
            if len(parts) > NESTING:
                raise self.error(f"this key has more than {NESTING} parts", start)

    def _table_header(self, start: int) -> None:
        self.position += 1
        key = self._key()
        if not self.next_is("]"):
            raise self.error("expected ']' after the name of the table")
        self.position += 1
        parent = self._parent(key)
        name, span, offsets = key[-1]
        found = parent.index.get(name)
        if found is None:
            table = _OpenTable(self.text, start, self.position, _HEADED)
            parent.add(name, span, table, offsets)
        else:
            if not isinstance(found.data, _OpenTable) or found.data.state != _IMPLICIT:
                raise self._again(name, span, found)
            table = found.data
            table.state = _HEADED
            table.start, table.end = start, self.position
            found.span = span
        self.current = table

    def _table_array_header(self, start: int) -> None:
        self.position += 2
        key = self._key()
        if not self.next_is("]]"):
            raise self.error("expected ']]' after the name of the table")
        self.position += 2
        parent = self._parent(key)
        name, span, offsets = key[-1]
        found = parent.index.get(name)
        if found is None:
            array = _TableArray(self.text, start, self.position, [])
            parent.add(name, span, array, offsets)
        elif isinstance(found.data, _TableArray):
            array = found.data
        else:
            raise self._again(name, span, found)
        self.current = _OpenTable(self.text, start, self.position, _HEADED)
        array.value.append(self.current)

    def _parent(self, key: list[Key]) -> _OpenTable:
        """The table that holds the last part of a header's key."""
        table = self.root
        for name, span, offsets in key[:-1]:
            found = table.index.get(name)
            if found is None:
                inner = _OpenTable(self.text, span.start, span.end, _IMPLICIT)
                table.add(name, span, inner, offsets)
                table = inner
                continue
            data = found.data
            if isinstance(data, _TableArray):
                data = data.value[-1]
            if not isinstance(data, _OpenTable) or data.state == _CLOSED:
                raise self._again(name, span, found)
            table = data
        return table

    def _again(self, name: str, span: Span, found: Entry) -> DefinitionError:
        return span.error(f"{name!r} is already set in line {found.span.where().start.line}")

    def _pair(self, table: _OpenTable, depth: int) -> None:
        key = self._key()
        if not self.next_is("="):
            raise self.error(f"expected '=' after the key {key[-1][0]!r}")
        self.position += 1
        self.blank()
        for name, span, offsets in key[:-1]:
            found = table.index.get(name)
            if found is None:
                inner = _OpenTable(self.text, span.start, span.end, _DOTTED)
                table.add(name, span, inner, offsets)
                table = inner
            elif isinstance(found.data, _OpenTable) and found.data.state == _DOTTED:
                table = found.data
            else:
                raise self._again(name, span, found)
        name, span, offsets = key[-1]
        value = self._value(depth)
        if name in table.index:
            raise self._again(name, span, table.index[name])
        table.add(name, span, value, offsets)

    # -- values

    def _value(self, depth: int) -> Data:
        if depth > NESTING:
            raise self.error(f"this is nested too deep: more than {NESTING} levels")
        self.count += 1
        if self.count > MOST_VALUES:
            error = self.error(f"the file has more than {MOST_VALUES:,} values")
            self.position = len(self.source)  # what follows is not looked at for further mistakes
            raise error
        start = self.position
        match self.source[start : start + 1]:
            case '"' | "'":
                text, offsets = self._string()
                return Scalar(self.text, start, self.position, v.string(text), offsets)
            case "[":
                return self._array(depth)
            case "{":
                return self._inline(depth)
            case "" | "\n" | "\r" | "#":
                raise self.error("expected a value after '='", max(start - 1, 0))
        found = _WORD.match(self.source, start)
        if not found:
            raise self.error(f"expected a value, found {self.source[start]!r}")
        word = found[0].partition(" ")[0] if not _DATE.match(found[0]) else found[0]
        self.position = start + len(word)
        return Scalar(self.text, start, self.position, self._word(word, start))

    def _word(self, word: str, start: int) -> v.Value:
        if word in ("true", "false"):
            return v.boolean(word == "true")
        if _DECIMAL.match(word):
            try:
                return v.number(Number.parse(word.replace("_", "")))
            except ValueError as reason:
                raise self.error(f"this number can not be used: {reason}", start, self.position) from None
        if _BASED.match(word):
            return v.number(int(word.replace("_", ""), 0))
        if _DATE.match(word):
            raise self.error("a date means nothing here", start, self.position, hint=f'put it in quotes: "{word}"')
        if word.lstrip("+-") in ("inf", "nan"):
            raise self.error(f"{word} is no number that can be used", start, self.position)
        raise self.error(f"expected a value, found {word!r}", start, self.position, hint=_hint(word))

    def _array(self, depth: int) -> Array:
        start = self.position
        self.position += 1
        items: list[Data] = []
        while True:
            self.space()
            if self.next_is("]"):
                self.position += 1
                return Array(self.text, start, self.position, items)
            if self.position >= len(self.source):
                raise self.error("this array is not closed", start)
            items.append(self._value(depth + 1))
            self.space()
            if self.next_is(","):
                self.position += 1
            elif not self.next_is("]"):
                if self.position >= len(self.source) or self.source[self.position] == "[":
                    raise self.error("this array is not closed", start)
                raise self.error("expected ',' or ']'")

    def _inline(self, depth: int) -> Table:
        start = self.position
        table = _OpenTable(self.text, start, start, _HEADED)
        self.position += 1
        self.blank()
        if not self.next_is("}"):
            while True:
                self._pair(table, depth + 1)
                self.blank()
                if self.next_is("}"):
                    break
                if not self.next_is(","):
                    if self.position >= len(self.source) or self.source[self.position] in "\r\n#":
                        raise self.error(
                            "a table in braces ends on its line", start, hint="write it as a section [name]"
                        )
                    raise self.error("expected ',' or '}'")
                self.position += 1
                self.blank()
                if self.next_is("}"):
                    raise self.error("expected a key after ','", hint="leave out the last comma")
        self.position += 1
        table.end = self.position
        _close(table)
        return table

    # -- strings

    def _string(self) -> tuple[str, Offsets]:
        start = self.position
        quote = self.source[start]
        if self.source.startswith(quote * 3, start):
            return self._long_string(start, quote)
        pattern = _BASIC if quote == '"' else _LITERAL
        plain = pattern.match(self.source, start + 1)
        assert plain is not None
        if self.source.startswith(quote, plain.end()):
            self.position = plain.end() + 1
            return plain[0], Offsets(start + 1)
        return self._pieces(start, start + 1, quote, several=False)

    def _long_string(self, start: int, quote: str) -> tuple[str, Offsets]:
        begin = start + 3
        if self.source.startswith("\r\n", begin):
            begin += 2
        elif self.source.startswith("\n", begin):
            begin += 1
        return self._pieces(start, begin, quote * 3, several=True)

    def _pieces(self, start: int, begin: int, quote: str, *, several: bool) -> tuple[str, Offsets]:
        """The rest of a string, bit by bit."""
        source, position = self.source, begin
        pieces: list[str] = []
        places: list[int] = []
        pattern = _BASIC if quote[0] == '"' else _LITERAL
        while True:
            if source.startswith(quote, position):
                end = position + len(quote)
                while several and end < position + 5 and source.startswith(quote[0], end):
                    end += 1  # up to two quotes may stand before the closing three
                extra = source[position : end - len(quote)]
                pieces.append(extra)
                places.extend(range(position, position + len(extra) + 1))
                self.position = end
                return "".join(pieces), Offsets(0, places)
            character = source[position : position + 1]
            if not character or (character in "\r\n" and not several):
                raise self.error(
                    "this string does not end", start, hint="" if several else 'write """ for several lines'
                )
            if character == "\\" and quote[0] == '"':
                text, following = self._escape(position, several)
            elif character == "\n" or source.startswith("\r\n", position):
                text, following = "\n", position + (1 if character == "\n" else 2)
            elif character == quote[0]:
                text, following = character, position + 1
            else:
                found = pattern.match(source, position)
                assert found is not None
                if found.end() == position:
                    raise self.error("control characters must be written as escape sequences", position)
                pieces.append(found[0])
                places.extend(range(position, found.end()))
                position = found.end()
                continue
            pieces.append(text)
            places.extend([position] * len(text))
            position = following

    def _escape(self, position: int, several: bool) -> tuple[str, int]:
        source = self.source
        letter = source[position + 1 : position + 2]
        if letter in _ESCAPES and letter:
            return _ESCAPES[letter], position + 2
        if letter in ("u", "U"):
            width = 4 if letter == "u" else 8
            digits = source[position + 2 : position + 2 + width]
            if len(digits) == width and re.fullmatch(r"[0-9a-fA-F]+", digits):
                code = int(digits, 16)
                if code < 0x110000 and not 0xD800 <= code < 0xE000:
                    return chr(code), position + 2 + width
            raise self.error(f"\\{letter} needs {width} hexadecimal digits of a character", position, position + 2)
        if several and (found := re.compile(r"[ \t]*\r?\n[ \t\r\n]*").match(source, position + 1)):
            return "", found.end()
        raise self.error(
            f"there is no escape sequence '\\{letter}'",
            position,
            position + 2,
            hint="write \\\\ for a backslash, or put the text in single quotes",
        )


def _close(table: _OpenTable) -> None:
    """Nothing can be added to a table in braces, nor to those inside."""
    table.state = _CLOSED
    for entry in table.value:
        if isinstance(entry.data, _OpenTable):
            _close(entry.data)


def _hint(word: str) -> str:
    if word.lower() in ("true", "false"):
        return f"write {word.lower()}"
    if word[0].isdigit() or word[0] in "+-":
        return f'put it in quotes if it is text: "{word}"'
    return f'put text in quotes: "{word}", and names in "${{…}}"'
