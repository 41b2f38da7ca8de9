"""Templates: the texts inside quotes and heredocs, with `${…}` and `%{…}`, from their pieces to a node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.node import Node
from bakepy.bakefile.spaces import leading_spaces, strip_spaces
from bakepy.errors import DefinitionError, nearest

if TYPE_CHECKING:
    from bakepy.bakefile.parser import ExpressionParser

NESTING: Final = 200
"""Brackets, templates and operators may be nested this deep."""

_BLANKS: Final = r"[\t\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]*"
"""What may stand around the word that closes a heredoc: white space as Go has it, but for the end of line."""

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}


def heredoc_closing(marker: str) -> re.Pattern[str]:
    """The line that ends a heredoc. It has an end of line, too: a file that stops there is not complete."""
    return re.compile(rf"^{_BLANKS}{re.escape(marker)}{_BLANKS}(?=\n)", re.MULTILINE)


class Piece:
    """A part of a template: `literal` text, an `interpolation`, or a `directive` (if, else, endif, for, endfor)."""

    __slots__ = ("end", "kind", "names", "node", "start", "text", "trimmable")

    def __init__(self, kind: str, start: int, end: int, *, text: str = "", node: Node | None = None) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.text = text
        self.node = node
        self.names: tuple[str, str] = ("", "")


class TemplateReader:
    """Splits a template into pieces; `~` has been done away with."""

    def __init__(self, parser: ExpressionParser, *, quoted: bool, closing: re.Pattern[str] | None = None) -> None:
        self.parser = parser
        self.source = parser.source
        self.quoted = quoted
        self.closing = closing
        self.found: list[Piece] = []
        self.trim_next = False

    def parts(self) -> list[Piece]:
        parser = self.parser
        while True:
            self._literal()
            if self.closing is None and not self.quoted and parser.position >= len(self.source):
                break
            if not self.source.startswith(("${", "%{"), parser.position):
                break
            self._sequence()
        return self.found

    def _literal(self) -> None:
        """Text up to the next sequence or the end; in a heredoc, one piece for each line."""
        parser, source = self.parser, self.source
        start, pieces = parser.position, list[str]()
        position = start
        end = len(source)
        if self.closing is not None and self._line_begins(position) and self.closing.match(source, position):
            return
        while position < end:
            character = source[position]
            if character in "$%" and source.startswith(character + "{", position + 1):
                pieces.append(character + "{")
                position += 3
            elif character in "$%" and source.startswith("{", position + 1):
                break
            elif self.quoted and character in '"\n\r':
                if character != '"':
                    raise parser.error(
                        "a string in quotes can not go over several lines", position, hint="write \\n, or use <<EOT"
                    )
                break
            elif self.quoted and character == "\\":
                text, position = self._escape(position)
                pieces.append(text)
            elif character == "\n" and self.closing is not None:
                pieces.append(character)
                position += 1
                self._add_literal("".join(pieces), start, position)
                start, pieces = position, []
                if self.closing.match(source, position):
                    parser.position = position
                    return
            else:
                stop = position + 1
                while stop < end and source[stop] not in '$%\\"\n\r':
                    stop += 1
                pieces.append(source[position:stop])
                position = stop
        parser.position = position
        if pieces:
            self._add_literal("".join(pieces), start, position)

    def _line_begins(self, position: int) -> bool:
        return position == 0 or self.source[position - 1] == "\n"

    def _add_literal(self, text: str, start: int, end: int) -> None:
        if self.trim_next:
            text = strip_spaces(text, left=True)
            self.trim_next = False
        self.found.append(Piece("literal", start, end, text=text))

    def _escape(self, position: int) -> tuple[str, int]:
        parser, source = self.parser, self.source
        letter = source[position + 1 : position + 2]
        if letter in _ESCAPES and letter:
            return _ESCAPES[letter], position + 2
        if letter in ("u", "U"):
            digits = source[position + 2 : position + (6 if letter == "u" else 10)]
            if len(digits) == (4 if letter == "u" else 8) and re.fullmatch(r"[0-9a-fA-F]+", digits):
                code = int(digits, 16)
                if code < 0x110000 and not 0xD800 <= code < 0xE000:
                    return chr(code), position + 2 + len(digits)
            width = 4 if letter == "u" else 8
            raise parser.error(
                f"\\{letter} must be followed by {width} hexadecimal digits of a character", position, position + 2
            )
        raise parser.error(
            f"there is no escape sequence '\\{letter}'",
            position,
            position + 2,
            hint='\\n, \\r, \\t, \\", \\\\, \\uNNNN and \\UNNNNNNNN are known; write \\\\ for a backslash',
        )

    def _sequence(self) -> None:
        """`${…}` or `%{…}`."""
        parser, source = self.parser, self.source
        start = parser.position
        parser.position += 2
        if source.startswith("~", parser.position):
            parser.position += 1
            if self.found and self.found[-1].kind == "literal":
                self.found[-1].text = strip_spaces(self.found[-1].text, left=False)
        self.trim_next = False
        previous, parser.newlines = parser.newlines, False
        parser.deeper()
        if source[start] == "$":
            piece = Piece("interpolation", start, start, node=parser.expression())
        else:
            piece = self._directive(start)
        parser.skip()
        if parser.take("~}"):
            self.trim_next = True
        elif not parser.take("}"):
            raise parser.error(
                f"this is not closed: expected '}}', found {self._shown()}",
                start,
                max(parser.position, start + 2),
                hint="to write it as it is, double the first character: " + source[start] * 2 + "{",
            )
        parser.depth -= 1
        parser.newlines = previous
        piece.end = parser.position
        self.found.append(piece)

    def _shown(self) -> str:
        here = self.source[self.parser.position : self.parser.position + 1]
        return f"'{here}'" if here else "the end"

    def _directive(self, start: int) -> Piece:
        parser = self.parser
        word = parser.name()
        piece = Piece(word, start, start)
        match word:
            case "if":
                piece.node = parser.expression()
            case "for":
                piece.names = parser._for_names("for")
                piece.node = parser.expression()
            case "else" | "endif" | "endfor":
                pass
            case _:
                raise parser.error(
                    f"there is no template directive {word!r}" if word else "expected a template directive",
                    start,
                    max(parser.position, start + 2),
                    hint=nearest(word, ("if", "else", "endif", "for", "endfor")) or "if, else, endif, for and endfor",
                )
        return piece


def unindent(parts: list[Piece]) -> None:
    """Takes off the smallest indentation of all lines, as `<<-` asks for."""
    smallest: int | None = None
    adjust: list[Piece] = []
    begins = True
    for part in parts:
        if begins:
            begins = False
            if part.kind == "literal":
                spaces = leading_spaces(part.text)
                blank = not strip_spaces(part.text, left=True) and part.text.endswith("\n")
                if not blank:
                    adjust.append(part)
                    smallest = spaces if smallest is None else min(smallest, spaces)
            else:
                smallest = 0
        if part.kind == "literal" and part.text.endswith("\n"):
            begins = True
    for part in adjust:
        part.text = part.text[smallest or 0 :]


def assemble(parser: ExpressionParser, parts: list[Piece], start: int) -> Node:
    """The node of a template from its pieces."""
    place = parser.place(start)
    if not parts:
        return tree.Literal(*place, v.string(""))
    if len(parts) == 1:
        only = parts[0]
        if only.kind == "literal":
            return tree.Literal(*place, v.string(only.text))
        if only.kind == "interpolation":
            assert only.node is not None
            return tree.Wrapped(*place, only.node, False)
    if all(part.kind == "literal" for part in parts):
        return tree.Literal(*place, v.string("".join(part.text for part in parts)))
    builder = _Assembler(parser, parts)
    nodes, stop = builder.until(())
    if stop is not None:
        raise parser.error(f"'{stop.kind}' without its beginning", stop.start, stop.end)
    return tree.Template(*place, nodes)


class _Assembler:
    """Pairs the directives of a template."""

    def __init__(self, parser: ExpressionParser, parts: list[Piece]) -> None:
        self.parser = parser
        self.parts = parts
        self.next = 0
        self.depth = 0

    def until(self, ends: tuple[str, ...]) -> tuple[list[Node], Piece | None]:
        """Nodes up to a closing directive, which is taken and given too; None at the end of the template."""
        nodes: list[Node] = []
        literal: list[Piece] = []

        def settle() -> None:
            if literal:
                place = self.parser.place(literal[0].start, literal[-1].end)
                nodes.append(tree.Literal(*place, v.string("".join(each.text for each in literal))))
                literal.clear()

        while self.next < len(self.parts):
            part = self.parts[self.next]
            self.next += 1
            if part.kind == "literal":
                literal.append(part)
                continue
            settle()
            match part.kind:
                case "interpolation":
                    assert part.node is not None
                    nodes.append(part.node)
                case "if":
                    nodes.append(self._if(part))
                case "for":
                    nodes.append(self._for(part))
                case _:
                    return nodes, part
        settle()
        return nodes, None

    def _deeper(self, opened: Piece) -> None:
        self.depth += 1
        if self.depth > NESTING:
            raise self.parser.error(f"this is nested too deep: more than {NESTING} levels", opened.start, opened.end)

    def _if(self, opened: Piece) -> Node:
        assert opened.node is not None
        self._deeper(opened)
        yes, stop = self.until(("else", "endif"))
        no: list[Node] = []
        if stop is not None and stop.kind == "else":
            no, stop = self.until(("endif",))
        if stop is None or stop.kind != "endif":
            raise self._unpaired(opened, stop, "endif")
        self.depth -= 1
        place = self.parser.place(opened.start, stop.end)
        return tree.Conditional(*place, opened.node, tree.Template(*place, yes), tree.Template(*place, no))

    def _for(self, opened: Piece) -> Node:
        from bakepy.bakefile.loops import For, Joined  # few files have one

        assert opened.node is not None
        self._deeper(opened)
        inner, stop = self.until(("endfor",))
        if stop is None or stop.kind != "endfor":
            raise self._unpaired(opened, stop, "endfor")
        self.depth -= 1
        place = self.parser.place(opened.start, stop.end)
        key_name, value_name = opened.names
        rounds = For(
            *place,
            key_name=key_name,
            value_name=value_name,
            source=opened.node,
            key=None,
            item=tree.Template(*place, inner),
        )
        return Joined(*place, rounds)

    def _unpaired(self, opened: Piece, stop: Piece | None, wanted: str) -> DefinitionError:
        if stop is None:
            return self.parser.error(f"'{opened.kind}' without '{wanted}'", opened.start, opened.end)
        return self.parser.error(f"expected '{wanted}', found '{stop.kind}'", stop.start, stop.end)
