"""From text to expression trees: the native syntax of HCL. What is inside strings: template.py; bodies: body.py.

There is no separate lexer: what a character means depends on where it stands (in a template, a bracket, a body), so
the parser reads the text directly. Errors are `DefinitionError`s; a body reports several of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from bakepy.bakefile import expression as tree
from bakepy.bakefile import values as v
from bakepy.bakefile.node import Node
from bakepy.bakefile.number import Number
from bakepy.bakefile.operators import Binary, Unary
from bakepy.bakefile.source import Span, Text
from bakepy.bakefile.template import NESTING, TemplateReader, assemble, heredoc_closing, unindent
from bakepy.bakefile.traversal import Index, Reference, Relative, Splat, SplatItem, Step
from bakepy.errors import DefinitionError

MOST_VALUES: Final = 1_000_000
"""Of one file, in every syntax but YAML."""

_STEPS: Final = 1000
_SPACE = re.compile(r"(?:[ \t]+|(?:\#|//)[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SPACE_AND_NEWLINES = re.compile(r"(?:[ \t\n]+|\r\n|(?:\#|//)[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NAME = re.compile(r"[^\W\d][\w-]*")
_NUMBER = re.compile(r"[0-9](?:(?:[0-9.]|[eE][+-]?[0-9])*(?:[0-9]|[eE][+-]?[0-9]))?")
"""What is taken for a number; `1.e3` is one, `1.2.3` turns out to be none."""
HEREDOC_BEGIN = re.compile(r"<<(-?)([^\W\d][\w-]*)\r?\n")
_PLAIN_QUOTED = re.compile(r'[^"\\$%\n\r]*')
_ALONE = re.compile(r'(?:"([^"\\$%\n\r]*)"|([^\W\d][\w-]*))(?=[ \t]*(?:[,\])}]|(\r?\n)))')
"""A plain string or a name with nothing after it that could belong to the same expression."""
_KEY = re.compile(r"([^\W\d][\w-]*)(?=[ \t]*(?:=(?![=>])|:(?!:)))")
_OPERATOR = re.compile(r"\|\||&&|==|!=|>=|<=|[<>+*%-]|/(?!/)")
_LEVELS: Final = {
    operator: level
    for level, operators in enumerate(
        (("||",), ("&&",), ("==", "!="), (">=", "<=", ">", "<"), ("+", "-"), ("*", "/", "%"))
    )
    for operator in operators
}
"""How strong an operator binds."""
_SKIPPED: Final = frozenset(" \t\r\n#/")
"""What a blank, a comment or an end of line may begin with."""


class Offsets:
    """Where the characters of a text stand in the file it came from."""

    __slots__ = ("base", "places")

    def __init__(self, base: int = 0, places: Sequence[int] | None = None) -> None:
        self.base = base
        self.places = places

    def at(self, offset: int) -> int:
        if self.places is None:
            return self.base + offset
        return self.places[min(offset, len(self.places) - 1)]


class ExpressionParser:
    """Reads expressions and templates from `source`, whose characters stand at `offsets` in `text`."""

    def __init__(self, text: Text, source: str | None = None, offsets: Offsets | None = None) -> None:
        self.text = text
        self.source = text.text if source is None else source
        self.offsets = offsets or Offsets()
        self.position = 0
        self.depth = 0
        self.count = 0
        self.newlines = True
        """Whether an end of line ends what is being read; not so in brackets."""

    # -- reading

    def error(self, what: str, start: int | None = None, end: int | None = None, *, hint: str = "") -> DefinitionError:
        start = self.position if start is None else start
        end = start + 1 if end is None else end
        return self.span(start, end).error(what, hint=hint)

    def span(self, start: int, end: int) -> Span:
        return Span(self.text, self.offsets.at(start), self.offsets.at(end - 1) + 1 if end > start else 0)

    def skip(self) -> None:
        """Over blanks and comments, and over ends of lines where they mean nothing."""
        here = self.source[self.position : self.position + 1]
        if here not in _SKIPPED or (here == "\n" and self.newlines):
            return
        pattern = _SPACE if self.newlines else _SPACE_AND_NEWLINES
        found = pattern.match(self.source, self.position)
        assert found is not None
        self.position = found.end()
        if self.source.startswith("/*", self.position):
            raise self.error("this comment does not end", self.position, self.position + 2)

    def peek(self) -> str:
        """The next character that means something; empty at the end."""
        self.skip()
        return self.source[self.position : self.position + 1]

    def next_is(self, word: str) -> bool:
        self.skip()
        return self.source.startswith(word, self.position)

    def take(self, word: str) -> bool:
        if self.next_is(word):
            self.position += len(word)
            return True
        return False

    def name(self) -> str:
        """The name that comes next; empty if there is none."""
        self.skip()
        found = _NAME.match(self.source, self.position)
        if not found:
            return ""
        self.position = found.end()
        return found[0]

    def next_is_word(self, word: str) -> bool:
        self.skip()
        found = _NAME.match(self.source, self.position)
        return found is not None and found[0] == word

    def expect(self, word: str, what: str, opened: int | None = None) -> None:
        if not self.take(word):
            raise self.unexpected(f"expected {what}", opened)

    def unexpected(self, expected: str, opened: int | None = None) -> DefinitionError:
        """What stands here instead of what is expected; `opened`: where the bracket stands that is not closed."""
        if not self.peek():
            if opened is not None:
                return self.error(f"this is not closed: {expected} before the end", opened)
            return self.error(f"the text ends here: {expected}", max(0, len(self.source) - 1))
        found = _NAME.match(self.source, self.position)
        width = len(found[0]) if found else 1
        here = self.source[self.position : self.position + width]
        shown = "the end of the line" if here in "\r\n" else f"'{here}'" if here.isprintable() else ascii(here)
        hint = "text stands in double quotes" if here in ("'", "`") else ""
        return self.error(f"{expected}, found {shown}", self.position, self.position + width, hint=hint)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > NESTING:
            raise self.error(f"this is nested too deep: more than {NESTING} levels")
        self.count += 1
        if self.count > MOST_VALUES:
            error = self.error(f"the file has more than {MOST_VALUES:,} values")
            self.position = len(self.source)  # what follows is not looked at for further mistakes
            raise error

    def place(self, start: int, end: int | None = None) -> tuple[Text, int, int]:
        """The first three arguments of a node."""
        end = self.position if end is None else end
        return (
            self.text,
            self.offsets.at(start),
            self.offsets.at(end - 1) + 1 if end > start else self.offsets.at(start),
        )

    # -- expressions

    def expression(self) -> Node:
        self.skip()
        start = self.position
        alone = _ALONE.match(self.source, start)
        if alone is not None and (self.newlines or alone[3] is None):  # most expressions
            self.position = alone.end()
            if alone[2] is not None:
                return self._word(alone[2], start)
            return tree.Literal(*self.place(start), v.string(alone[1]))
        self.deeper()
        condition = self.binary(0)
        if self.take("?"):
            yes = self.expression()
            self.expect(":", "':' and the other result", start)
            no = self.expression()
            condition = tree.Conditional(*self.place(start), condition, yes, no)
        self.depth -= 1
        return condition

    def begin(self) -> int:
        self.skip()
        return self.position

    def binary(self, lowest: int) -> Node:
        """Operands and the operators between them that bind at least as strong as `lowest`, from left to right."""
        start = self.begin()
        left = self.with_steps(self.term())
        chained = 0
        while operator := self._operator(lowest):
            right = self.binary(_LEVELS[operator] + 1)
            left = Binary(*self.place(start), operator, left, right)
            chained += 1
            if chained > NESTING * 5:
                raise self.error(f"there are more than {NESTING * 5} operators in a row")
        return left

    def _operator(self, lowest: int) -> str:
        self.skip()
        found = _OPERATOR.match(self.source, self.position)
        if found is None or _LEVELS[found[0]] < lowest:
            return ""
        self.position = found.end()
        return found[0]

    def term(self) -> Node:
        start = self.begin()
        character = self.source[start : start + 1]
        if character == '"':
            return self.quoted()
        if character == "(":
            return self._parentheses(start)
        if character == "[":
            return self._tuple(start)
        if character == "{":
            return self._object(start)
        if character in ("-", "!") and not self.source.startswith("!=", start):
            self.deeper()
            self.position += 1
            operand = self.with_steps(self.term())
            self.depth -= 1
            return Unary(*self.place(start), character, operand)
        if found := _NUMBER.match(self.source, start):
            self.position = found.end()
            return tree.Literal(*self.place(start), v.Value(v.NUMBER, self._number(found[0], start)))
        if self.source.startswith("<<", start):
            return self._heredoc(start)
        if name := self.name():
            return self._named(name, start)
        raise self.unexpected("expected an expression")

    def _number(self, text: str, start: int) -> Number:
        try:
            return Number.parse(text)
        except ValueError as reason:
            raise self.error(f"this number can not be used: {reason}", start, start + len(text)) from None

    def _named(self, name: str, start: int) -> Node:
        end = self.position
        while self.source.startswith("::", self.position):
            self.position += 2
            name = f"{name}::{self.name()}"
            end = self.position
        if self.next_is("("):
            return self._call(name, start)
        self.position = end
        return self._word(name, start)

    def _word(self, name: str, start: int) -> Node:
        """What a name stands for that is no call."""
        if name in ("true", "false"):
            return tree.Literal(*self.place(start), v.boolean(name == "true"), name)
        if name == "null":
            return tree.Literal(*self.place(start), v.NULL, name)
        return Reference(*self.place(start), name)

    def _bracketed(self, start: int) -> bool:
        """Enters a bracket, where ends of lines mean nothing; gives what to restore."""
        self.position = start + 1
        previous, self.newlines = self.newlines, False
        return previous

    def _parentheses(self, start: int) -> Node:
        previous = self._bracketed(start)
        inner = self.expression()
        self.expect(")", "')'", start)
        self.newlines = previous
        return tree.Wrapped(*self.place(start), inner, True)

    def _call(self, name: str, start: int) -> Node:
        opened = self.position
        previous = self._bracketed(opened)
        arguments: list[Node] = []
        expand = False
        while not self.take(")"):
            arguments.append(self.expression())
            if self.take("..."):
                expand = True
                self.expect(")", "')' after '...'", opened)
                break
            if not self.take(","):
                self.expect(")", "',' or ')'", opened)
                break
        self.newlines = previous
        return tree.Call(*self.place(start), name, arguments, expand)

    def _tuple(self, start: int) -> Node:
        previous = self._bracketed(start)
        if self.next_is_word("for"):
            node = self._for(start, "]")
        else:
            items: list[Node] = []
            while not self.take("]"):
                items.append(self.expression())
                if not self.take(","):
                    self.expect("]", "',' or ']'", start)
                    break
            node = tree.Tuple(*self.place(start), items)
        self.newlines = previous
        return node

    def _object(self, start: int) -> Node:
        previous = self._bracketed(start)
        if self.next_is_word("for"):
            node: Node = self._for(start, "}")
        else:
            self.position = start + 1
            self.newlines = True
            items: list[tuple[Node, Node]] = []
            while True:
                self.blank_lines()
                if self.take("}"):
                    break
                items.append(self._object_item(start))
                if self.take("}"):
                    break
                if not self.take(",") and not self._newline():
                    raise self.unexpected("expected ',', a new line or '}'", start)
            node = tree.Object(*self.place(start), items)
        self.newlines = previous
        return node

    def _object_item(self, opened: int) -> tuple[Node, Node]:
        self.skip()
        start = self.position
        if found := _KEY.match(self.source, start):
            self.position = found.end()
            word = tree.ObjectKey(self._word(found[0], start))
            self.skip()
            self.position += 1
            return word, self.expression()
        parenthesised = self.next_is("(")
        key = self.expression()
        if not (self.next_is("=") and not self.next_is("==")) and not self.next_is(":"):
            raise self.unexpected("expected '=' or ':' after the key", opened)
        self.position += 1
        return (key if parenthesised else tree.ObjectKey(key)), self.expression()

    def blank_lines(self) -> None:
        """Over blanks, comments and ends of lines."""
        found = _SPACE_AND_NEWLINES.match(self.source, self.position)
        assert found is not None
        self.position = found.end()

    def _newline(self) -> bool:
        self.skip()
        if self.source.startswith("\n", self.position):
            self.position += 1
            return True
        if self.source.startswith("\r\n", self.position):
            self.position += 2
            return True
        return False

    def _for(self, start: int, close: str) -> Node:
        from bakepy.bakefile.loops import For  # few files have one

        self.name()
        key_name, value_name = self._for_names("for")
        source = self.expression()
        self.expect(":", "':' after the collection of 'for'", start)
        item = self.expression()
        key: Node | None = None
        if self.take("=>"):
            key, item = item, self.expression()
        grouped = self.take("...")
        condition = None
        if self.next_is_word("if"):
            self.name()
            condition = self.expression()
        if close == "]" and (key is not None or grouped):
            raise self.error(
                "a list is made without keys", start, hint="write { for … : key => value } to make an object"
            )
        if close == "}" and key is None:
            raise self.error("an object needs keys", start, hint="write { for … : key => value }")
        self.expect(close, f"'{close}'", start)
        return For(
            *self.place(start),
            key_name=key_name,
            value_name=value_name,
            source=source,
            key=key,
            item=item,
            condition=condition,
            grouped=grouped,
        )

    def _for_names(self, word: str) -> tuple[str, str]:
        key_name, value_name = "", self.name()
        if not value_name:
            raise self.unexpected(f"expected a name after '{word}'")
        if self.take(","):
            key_name, value_name = value_name, self.name()
            if not value_name:
                raise self.unexpected("expected a second name after ','")
        if self.name() != "in":
            raise self.unexpected(f"expected 'in' after the names of '{word}'")
        return key_name, value_name

    # -- steps: .name .0 .* [key] [*]

    def with_steps(self, node: Node) -> Node:
        base = node.start
        for _ in range(_STEPS):
            before = self.position
            self.skip()
            here = self.position
            if self.source.startswith(".", here) and not self.source.startswith("...", here):
                self.position += 1
                node = self._dot(node, here, base)
            elif self.source.startswith("[", here):
                node = self._bracket(node, here, base)
            else:
                self.position = before
                return node
        raise self.error(f"there are more than {_STEPS} steps in a row")

    def _dot(self, node: Node, dot: int, base: int) -> Node:
        self.skip()
        if self.source.startswith("*", self.position):
            return self._attribute_splat(node, dot, base)
        return self._stepped(node, self._dot_step(dot), base)

    def _dot_step(self, dot: int) -> Step:
        self.skip()
        here = self.position
        if found := _NUMBER.match(self.source, here):
            self.position = found.end()
            if not found[0].isdigit():
                raise self.error("a step can not have two numbers", here, found.end(), hint="write [0][1]")
            return self._step(v.Value(v.NUMBER, self._number(found[0], here)), False, dot)
        if name := self.name():
            return self._step(v.string(name), True, dot)
        raise self.unexpected("expected a name after '.'")

    def _step(self, key: v.Value, attribute: bool, start: int) -> Step:
        _, first, last = self.place(start)
        return Step(key, attribute, first, last)

    def _stepped(self, node: Node, step: Step, base: int) -> Node:
        if isinstance(node, Reference):
            return Reference(self.text, base, step.end, node.name, (*node.steps, step))
        if isinstance(node, Relative):
            return Relative(self.text, base, step.end, node.source, (*node.steps, step))
        return Relative(self.text, base, step.end, node, (step,))

    def _attribute_splat(self, node: Node, dot: int, base: int) -> Node:
        self.position += 1
        each: Node = SplatItem(*self.place(dot))
        while self.next_is(".") and not self.next_is("..."):
            here = self.position
            self.position += 1
            each = self._stepped(each, self._dot_step(here), each.start)
        return Splat(self.text, base, self.offsets.at(self.position - 1) + 1, node, each)

    def _bracket(self, node: Node, opened: int, base: int) -> Node:
        self.deeper()
        previous = self._bracketed(opened)
        if self.take("*"):
            self.expect("]", "']'", opened)
            self.newlines = previous
            item = SplatItem(*self.place(opened))
            each = self.with_steps(item)
            self.depth -= 1
            return Splat(self.text, base, self.offsets.at(self.position - 1) + 1, node, each)
        key = self.expression()
        self.expect("]", "']'", opened)
        self.newlines = previous
        self.depth -= 1
        if isinstance(key, tree.Literal):
            return self._stepped(node, self._step(key.literal, False, opened), base)
        return Index(self.text, base, self.offsets.at(self.position - 1) + 1, node, key)

    # -- strings and templates

    def quoted(self) -> Node:
        """A string in quotes; the position is at the opening one."""
        start = self.position
        plain = _PLAIN_QUOTED.match(self.source, start + 1)
        assert plain is not None
        if self.source.startswith('"', plain.end()):  # most strings: nothing to unescape, nothing to interpolate
            self.position = plain.end() + 1
            return tree.Literal(*self.place(start), v.string(plain[0]))
        self.deeper()
        self.position = start + 1
        parts = TemplateReader(self, quoted=True).parts()
        if not self.source.startswith('"', self.position):
            raise self.error("this string does not end", start)
        self.position += 1
        self.depth -= 1
        return assemble(self, parts, start)

    def template(self) -> Node:
        """The whole source as a template, as strings are in JSON and TOML."""
        parts = TemplateReader(self, quoted=False).parts()
        return assemble(self, parts, 0)

    def _heredoc(self, start: int) -> Node:
        opening = HEREDOC_BEGIN.match(self.source, start)
        if not opening:
            raise self.error("expected a name and a new line after '<<'", start, start + 2)
        closing = heredoc_closing(opening[2])
        self.position = opening.end()
        self.deeper()
        reader = TemplateReader(self, quoted=False, closing=closing)
        parts = reader.parts()
        end = closing.match(self.source, self.position)
        if not end:
            last = self.source.rpartition("\n")[2].strip() == opening[2]
            raise self.error(
                f"this text does not end: there is no line with {opening[2]!r} alone",
                start,
                opening.end(),
                hint="the last line lacks the end of line" if last else "",
            )
        self.position = end.end()
        if opening[1]:
            unindent(parts)
        self.depth -= 1
        return assemble(self, parts, start)
