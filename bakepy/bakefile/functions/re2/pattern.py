"""From the text of a pattern to its tree."""

from __future__ import annotations

from typing import Any, Final

from bakepy.bakefile.functions.re2.characters import LAST, PERL, POSIX, Range, folded, normalized, property_ranges

_REPEAT: Final = 1000
_DEPTH: Final = 250
_ESCAPED: Final = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}

Tree = tuple[Any, ...]
"""Tuples, whose first element tells the kind."""
# ("empty",) ("chars", ranges) ("begin"|"end"|"line-begin"|"line-end"|"word"|"no-word",)
# ("cat", *trees) ("alt", *trees) ("repeat", tree, least, most, greedy) ("group", number, tree)


class PatternError(Exception):
    """What is wrong with a pattern."""


class PatternParser:
    """Reads a pattern. Flags: i (case), m (lines), s (dot takes new lines), U (greed is turned round)."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.position = 0
        self.names: list[str] = []
        self.flags = frozenset[str]()
        self.depth = 0

    def error(self, what: str) -> PatternError:
        return PatternError(f"{what} (at {self.position + 1})")

    def next_is(self, text: str) -> bool:
        return self.pattern.startswith(text, self.position)

    def take(self, text: str) -> bool:
        if self.next_is(text):
            self.position += len(text)
            return True
        return False

    def whole(self) -> Tree:
        tree = self.alternatives()
        if self.position < len(self.pattern):
            raise self.error("unexpected ')'")
        return tree

    def alternatives(self) -> Tree:
        self.depth += 1
        if self.depth > _DEPTH:
            raise self.error(f"groups are nested more than {_DEPTH} deep")
        branches = [self.branch()]
        while self.take("|"):
            branches.append(self.branch())
        self.depth -= 1
        return branches[0] if len(branches) == 1 else ("alt", *branches)

    def branch(self) -> Tree:
        items: list[Tree] = []
        while self.position < len(self.pattern) and not self.next_is("|") and not self.next_is(")"):
            if self.next_is("\\Q"):
                items += self._quoted()
                continue
            item = self.atom()
            if item is not None:
                items.append(self.repeated(item))
        return ("cat", *items) if items else ("empty",)

    def _quoted(self) -> list[Tree]:
        end = self.pattern.find("\\E", self.position)
        text = self.pattern[self.position + 2 :] if end < 0 else self.pattern[self.position + 2 : end]
        self.position = len(self.pattern) if end < 0 else end + 2
        items = [self.chars([(ord(each), ord(each))]) for each in text]
        if items:
            items[-1] = self.repeated(items[-1])
        return items

    def repeated(self, item: Tree) -> Tree:
        done = False
        while True:
            bounds = self._bounds()
            if bounds is None:
                return item
            if done:
                raise self.error("a repetition of a repetition")
            least, most = bounds
            greedy = ("U" in self.flags) == self.take("?")
            item = ("repeat", item, least, most, greedy)
            done = True

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                return bounds
        if not self.next_is("{"):
            return None
        end = self.pattern.find("}", self.position)
        text = self.pattern[self.position + 1 : end] if end > 0 else ""
        low, comma, high = text.partition(",")
        if not low.isascii() or not low.isdigit() or (high and not (high.isascii() and high.isdigit())):
            return None  # a brace that stands for itself
        least = int(low) if len(low) < 6 else _REPEAT + 1
        most = least if not comma else (int(high) if len(high) < 6 else _REPEAT + 1) if high else None
        if least > _REPEAT or (most or 0) > _REPEAT or (most is not None and most < least):
            raise self.error(f"repetitions go from 0 to {_REPEAT}")
        self.position = end + 1
        return least, most

    def chars(self, ranges: list[Range], negated: bool = False) -> Tree:
        if "i" in self.flags:
            ranges = folded(ranges)
        return ("chars", normalized(ranges, negated))

    def atom(self) -> Tree | None:
        """One thing that can be repeated; None for a change of flags."""
        character = self.pattern[self.position]
        if character in "*+?{" and self._bounds() is not None:
            raise self.error(f"nothing to repeat before {character!r}")
        if character == "(":
            return self._group()
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escape()
        self.position += 1
        match character:
            case ".":
                return ("chars", normalized([] if "s" in self.flags else [(10, 10)], True))
            case "^":
                return ("line-begin",) if "m" in self.flags else ("begin",)
            case "$":
                return ("line-end",) if "m" in self.flags else ("end",)
        return self.chars([(ord(character), ord(character))])

    def _group(self) -> Tree | None:
        self.position += 1
        before = self.flags
        if not self.take("?"):
            return self._captured("")
        if self.take("P<") or (
            self.next_is("<") and not self.next_is("<=") and not self.next_is("<!") and self.take("<")
        ):
            end = self.pattern.find(">", self.position)
            name = self.pattern[self.position : end] if end > 0 else ""
            if not name or not all(each == "_" or (each.isascii() and each.isalnum()) for each in name):
                raise self.error("a group's name is of letters, digits and '_'")
            if name in self.names:
                raise self.error(f"two groups are named {name!r}")
            self.position = end + 1
            return self._captured(name)
        negated = False
        seen = False
        while True:
            if self.position >= len(self.pattern):
                raise self.error("a group is not closed")
            character = self.pattern[self.position]
            self.position += 1
            if character in "imsU":
                self.flags = self.flags - {character} if negated else self.flags | {character}
                seen = True
            elif character == "-" and not negated:
                negated, seen = True, False
            elif character == ":" and (seen or not negated):
                tree = self.alternatives()
                self._close()
                self.flags = before
                return tree
            elif character == ")" and seen:
                return None
            else:
                self.position -= 1
                raise self.error(f"'(?{character}' is not known here: there is no looking ahead or back")

    def _captured(self, name: str) -> Tree:
        before = self.flags
        self.names.append(name)
        number = len(self.names)
        tree = self.alternatives()
        self._close()
        self.flags = before
        return ("group", number, tree)

    def _close(self) -> None:
        if not self.take(")"):
            raise self.error("a group is not closed")

    def _escape(self) -> Tree:
        self.position += 1
        letter = self.pattern[self.position : self.position + 1]
        match letter:
            case "A" | "z" | "b" | "B":
                self.position += 1
                return ({"A": "begin", "z": "end", "b": "word", "B": "no-word"}[letter],)
            case "d" | "s" | "w" | "D" | "S" | "W":
                self.position += 1
                return self.chars(PERL[letter.lower()], letter.isupper())
            case "p" | "P":
                ranges, negated = self._property()
                return self.chars(ranges, negated)
        code = self._escaped_character()
        return self.chars([(code, code)])

    def _escaped_character(self) -> int:
        """A character after a backslash, which has been read."""
        letter = self.pattern[self.position : self.position + 1]
        if not letter:
            raise self.error("a backslash at the end")
        self.position += 1
        if letter in _ESCAPED:
            return _ESCAPED[letter]
        if letter == "x":
            return self._hexadecimal()
        if letter in "01234567":
            following = self.pattern[self.position : self.position + 1]
            if letter != "0" and (not following or following not in "01234567"):
                raise self.error("there are no references back to groups")
            digits = letter
            while len(digits) < 3 and (more := self.pattern[self.position : self.position + 1]) and more in "01234567":
                digits += more
                self.position += 1
            return int(digits, 8)
        if letter.isalnum() and letter.isascii():
            raise self.error(f"there is no escape sequence '\\{letter}'")
        return ord(letter)

    def _hexadecimal(self) -> int:
        if self.take("{"):
            end = self.pattern.find("}", self.position)
            digits = self.pattern[self.position : end] if end > 0 else ""
            self.position = end + 1
        else:
            digits = self.pattern[self.position : self.position + 2]
            self.position += 2
            if len(digits) < 2:
                digits = ""
        if not digits or len(digits) > 8 or not all(each in "0123456789abcdefABCDEF" for each in digits):
            raise self.error("\\x needs hexadecimal digits")
        code = int(digits, 16)
        if code > LAST:
            raise self.error("there is no such character")
        return code

    def _property(self) -> tuple[list[Range], bool]:
        negated = self.pattern[self.position] == "P"
        self.position += 1
        if self.take("{"):
            end = self.pattern.find("}", self.position)
            name = self.pattern[self.position : end] if end > 0 else ""
            self.position = end + 1
        else:
            name = self.pattern[self.position : self.position + 1]
            self.position += 1
        if name.startswith("^"):
            negated, name = not negated, name[1:]
        ranges = property_ranges(name)
        if ranges is None:
            raise self.error(f"there is no class of characters {name!r}")
        return ranges, negated

    def _class(self) -> Tree:
        opened = self.position
        self.position += 1
        negated = self.take("^")
        ranges: list[Range] = []
        first = True
        while first or not self.next_is("]"):
            if self.position >= len(self.pattern):
                self.position = opened
                raise self.error("'[' is not closed")
            ranges += self._class_item()
            first = False
        self.position += 1
        return self.chars(ranges, negated)

    def _class_item(self) -> list[Range]:
        if self.next_is("[:"):
            end = self.pattern.find(":]", self.position)
            if end > 0:
                name = self.pattern[self.position + 2 : end]
                turned = name.startswith("^")
                found = POSIX.get(name.removeprefix("^"))
                if found is None:
                    raise self.error(f"there is no class of characters {name!r}")
                self.position = end + 2
                return normalized(found, turned)
        if self.next_is("\\"):
            letter = self.pattern[self.position + 1 : self.position + 2]
            if letter and letter in "dswDSW":
                self.position += 2
                return normalized(PERL[letter.lower()], letter.isupper())
            if letter and letter in "pP":
                self.position += 1
                found, turned = self._property()
                return normalized(found, turned)
        low = self._class_character()
        high = low
        if self.next_is("-") and not self.next_is("-]") and self.position + 1 < len(self.pattern):
            self.position += 1
            high = self._class_character()
            if high < low:
                raise self.error("a range of characters goes backwards")
        return [(low, high)]

    def _class_character(self) -> int:
        if self.position >= len(self.pattern):
            raise self.error("'[' is not closed")
        if self.take("\\"):
            return self._escaped_character()
        self.position += 1
        return ord(self.pattern[self.position - 1])
