"""JSON with places: what HCL's JSON syntax is made of. No comments, but keys may come twice."""

from __future__ import annotations

import re
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.data_body import Array, Data, DataBody, Entry, Scalar, Table
from bakepy.bakefile.number import Number
from bakepy.bakefile.parser import MOST_VALUES, Offsets
from bakepy.bakefile.source import Span, Text
from bakepy.errors import DefinitionError

NESTING: Final = 500
_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])")
_WORD = re.compile(r"[A-Za-z_]+")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": v.TRUE, "false": v.FALSE, "null": v.NULL}


def parse_json(text: Text) -> DataBody:
    """The body of a JSON file. Raises DefinitionError."""
    data = read_json(text)
    if not isinstance(data, Table):
        raise data.span.error(f"expected an object, found {data.kind()}")
    return DataBody(data)


def read_json(text: Text) -> Data:
    """Any JSON value. Raises DefinitionError."""
    reader = _Reader(text)
    reader.space()
    data = reader.value(0)
    reader.space()
    if reader.position < len(reader.source):
        raise reader.error("expected nothing more after the value")
    return data


class _Reader:
    def __init__(self, text: Text) -> None:
        self.text = text
        self.source = text.text
        self.count = 0
        self.position = 0

    def error(self, what: str, start: int | None = None, end: int | None = None) -> DefinitionError:
        start = self.position if start is None else start
        return Span(self.text, start, end or start + 1).error(what)

    def space(self) -> str:
        """Over white space; gives the next character."""
        found = _SPACE.match(self.source, self.position)
        assert found is not None
        self.position = found.end()
        return self.source[self.position : self.position + 1]

    def value(self, depth: int) -> Data:
        if depth > NESTING:
            raise self.error(f"this is nested too deep: more than {NESTING} levels")
        self.count += 1
        if self.count > MOST_VALUES:
            raise self.error(f"the file has more than {MOST_VALUES:,} values")
        start = self.position
        match self.source[start : start + 1]:
            case "{":
                return self._table(depth)
            case "[":
                return self._array(depth)
            case '"':
                string, offsets = self._string()
                return Scalar(self.text, start, self.position, v.string(string), offsets)
            case "":
                raise self.error("the text ends here: expected a value", max(0, start - 1))
        if found := _NUMBER.match(self.source, start):
            self.position = found.end()
            try:
                number = Number.parse(found[0])
            except ValueError as reason:
                raise self.error(f"this number can not be used: {reason}", start, found.end()) from None
            return Scalar(self.text, start, self.position, v.number(number))
        word = _WORD.match(self.source, start)
        if word and word[0] in _WORDS:
            self.position = word.end()
            return Scalar(self.text, start, self.position, _WORDS[word[0]])
        if self.source.startswith(("//", "/*", "#"), start):
            raise self.error("JSON has no comments", start, start + 2)
        raise self.error(f"expected a value, found {self.source[start]!r}", start, word.end() if word else None)

    def _table(self, depth: int) -> Table:
        start = self.position
        self.position += 1
        entries: list[Entry] = []
        if self.space() == "}":
            self.position += 1
            return Table(self.text, start, self.position, entries)
        while True:
            here = self.position
            if self.space() != '"':
                raise self.error("expected a key in double quotes")
            here = self.position
            name, offsets = self._string()
            span = Span(self.text, here, self.position)
            if self.space() != ":":
                raise self.error("expected ':' after the key")
            self.position += 1
            self.space()
            entries.append(Entry(name, span, self.value(depth + 1), offsets))
            match self.space():
                case ",":
                    self.position += 1
                case "}":
                    self.position += 1
                    return Table(self.text, start, self.position, entries)
                case "":
                    raise self.error("this object is not closed", start)
                case _:
                    raise self.error("expected ',' or '}'")

    def _array(self, depth: int) -> Array:
        start = self.position
        self.position += 1
        items: list[Data] = []
        if self.space() == "]":
            self.position += 1
            return Array(self.text, start, self.position, items)
        while True:
            self.space()
            items.append(self.value(depth + 1))
            match self.space():
                case ",":
                    self.position += 1
                case "]":
                    self.position += 1
                    return Array(self.text, start, self.position, items)
                case "":
                    raise self.error("this array is not closed", start)
                case _:
                    raise self.error("expected ',' or ']'")

    def _string(self) -> tuple[str, Offsets]:
        """A string, and where its characters stand."""
        start = self.position
        plain = _PLAIN.match(self.source, start + 1)
        assert plain is not None
        if self.source.startswith('"', plain.end()):
            self.position = plain.end() + 1
            return plain[0], Offsets(start + 1)
        pieces: list[str] = [plain[0]]
        places = list(range(start + 1, plain.end()))
        position = plain.end()
        while True:
            character = self.source[position : position + 1]
            if character == '"':
                places.append(position)
                self.position = position + 1
                return "".join(pieces), Offsets(0, places)
            if character == "\\":
                text, following = self._escape(position)
                pieces.append(text)
                places.extend([position] * len(text))
                position = following
            elif not character or character in "\r\n":
                raise self.error("this string does not end", start)
            elif character < " ":
                raise self.error("control characters must be written as escape sequences", position)
            else:
                found = _PLAIN.match(self.source, position)
                assert found is not None
                pieces.append(found[0])
                places.extend(range(position, found.end()))
                position = found.end()

    def _escape(self, position: int) -> tuple[str, int]:
        letter = self.source[position + 1 : position + 2]
        if letter in _ESCAPES and letter:
            return _ESCAPES[letter], position + 2
        code = self._hexadecimal(position)
        if code is None:
            raise self.error(f"there is no escape sequence '\\{letter}'", position, position + 2)
        if 0xD800 <= code < 0xDC00:
            low = self._hexadecimal(position + 6)
            if low is not None and 0xDC00 <= low < 0xE000:
                return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), position + 12
        return ("\ufffd" if 0xD800 <= code < 0xE000 else chr(code)), position + 6

    def _hexadecimal(self, position: int) -> int | None:
        digits = self.source[position + 2 : position + 6]
        if self.source.startswith("\\u", position) and re.fullmatch(r"[0-9a-fA-F]{4}", digits):
            return int(digits, 16)
        return None
