"""Regular expressions with the syntax and the meaning of RE2: no backtracking, so never slow.

A pattern becomes a small program; all ways through it are followed at once, in order of preference, character by
character (a Pike machine). The first alternative that matches counts, as in Perl.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

_REPEAT: Final = 1000
_SIZE: Final = 20_000
_DEPTH: Final = 250
_LAST: Final = 0x10FFFF
_INHABITED: Final = ((0, 0x3FFFF), (0xE0000, 0xE0FFF))
"""What is beyond is not assigned, or for private use."""
_CASED: Final = 0x1F000
"""From here on no character has cases."""
_FOLDED_TO: Final = {"k": "\u212a", "s": "\u017f"}
"""What else counts as an ASCII letter."""
_TURKISH: Final = (0x130, 0x131)
"""Their other cases are those of other letters; they fold to themselves."""

Range = tuple[int, int]
Span = tuple[int, int]


class PatternError(Exception):
    """What is wrong with a pattern."""


# -- the tree: tuples, whose first element tells the kind

Tree = tuple[Any, ...]
# ("empty",) ("chars", ranges) ("begin"|"end"|"line-begin"|"line-end"|"word"|"no-word",)
# ("cat", *trees) ("alt", *trees) ("repeat", tree, least, most, greedy) ("group", number, tree)

_PERL: Final[dict[str, list[Range]]] = {
    "d": [(48, 57)],
    "s": [(9, 10), (12, 13), (32, 32)],
    "w": [(48, 57), (65, 90), (95, 95), (97, 122)],
}
_POSIX: Final[dict[str, list[Range]]] = {
    "alnum": [(48, 57), (65, 90), (97, 122)],
    "alpha": [(65, 90), (97, 122)],
    "ascii": [(0, 127)],
    "blank": [(9, 9), (32, 32)],
    "cntrl": [(0, 31), (127, 127)],
    "digit": [(48, 57)],
    "graph": [(33, 126)],
    "lower": [(97, 122)],
    "print": [(32, 126)],
    "punct": [(33, 47), (58, 64), (91, 96), (123, 126)],
    "space": [(9, 13), (32, 32)],
    "upper": [(65, 90)],
    "word": [(48, 57), (65, 90), (95, 95), (97, 122)],
    "xdigit": [(48, 57), (65, 70), (97, 102)],
}
_ESCAPED: Final = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}


class _Parser:
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
            ranges = _folded(ranges)
        return ("chars", _normal(ranges, negated))

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
                return ("chars", _normal([] if "s" in self.flags else [(10, 10)], True))
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
                return self.chars(_PERL[letter.lower()], letter.isupper())
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
        if code > _LAST:
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
        ranges = _property_ranges(name)
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
                found = _POSIX.get(name.removeprefix("^"))
                if found is None:
                    raise self.error(f"there is no class of characters {name!r}")
                self.position = end + 2
                return _normal(found, turned)
        if self.next_is("\\"):
            letter = self.pattern[self.position + 1 : self.position + 2]
            if letter and letter in "dswDSW":
                self.position += 2
                return _normal(_PERL[letter.lower()], letter.isupper())
            if letter and letter in "pP":
                self.position += 1
                found, turned = self._property()
                return _normal(found, turned)
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


def _normal(ranges: list[Range], negated: bool) -> list[Range]:
    """Sorted, without overlaps."""
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    if not negated:
        return merged
    gaps: list[Range] = []
    start = 0
    for low, high in merged:
        if low > start:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        gaps.append((start, _LAST))
    return gaps


def _folded(ranges: list[Range]) -> list[Range]:
    """With the other cases of every character."""
    added = list(ranges)
    if all(high < 128 for _, high in ranges):
        letters = {chr(code) for low, high in ranges for code in range(low, high + 1) if chr(code).isalpha()}
        added += [
            (ord(each), ord(each))
            for letter in letters
            for each in letter.swapcase() + _FOLDED_TO.get(letter.lower(), "")
        ]
        return added
    cased, orbits = _orbits()
    for low, high in ranges:
        for code in cased[bisect_left(cased, low) : bisect_right(cased, high)]:
            added += [(other, other) for other in orbits[code]]
    return added


@cache
def _orbits() -> tuple[list[int], dict[int, tuple[int, ...]]]:
    """The characters with cases, in order, and all that count as the same as each: what their upper and lower cases,
    if they are one character each, lead to (Go: `unicode.SimpleFold`)."""
    orbit: dict[int, set[int]] = {}
    for code in range(_CASED):
        character = chr(code)
        lower, upper = character.lower(), character.upper()
        if (lower == character == upper) or code in _TURKISH:
            continue
        for other in (lower, upper):
            if len(other) == 1 and other != character:
                joined = orbit.setdefault(code, {code}) | orbit.setdefault(ord(other), {ord(other)})
                orbit.update(dict.fromkeys(joined, joined))
    return sorted(orbit), {code: tuple(sorted(found)) for code, found in orbit.items()}


@cache
def _property_ranges(name: str) -> list[Range] | None:
    """A general category such as `L` or `Lu`, or a script such as `Greek` (by the names of its characters)."""
    if name == "Any":
        return [(0, _LAST)]
    if len(name) <= 2 and name[:1] in "CLMNPSZ" and name:
        pattern = re.compile(f"(?:{re.escape(name)})+" if len(name) == 2 else f"(?:{name}[a-z])+")
        found = [
            (first + run.start() // 2, first + run.end() // 2 - 1)
            for first, last in ([(0, _LAST)] if name[0] == "C" else _INHABITED)
            for run in pattern.finditer(_categories(first, last))
        ]
        return found or None
    if not (name and name[0].isupper() and name.replace("_", "").isalpha()):
        return None
    word = {"Han": "CJK"}.get(name, name.upper().replace("_", " "))
    codes = [
        code
        for first, last in _INHABITED
        for code in range(first, last + 1)
        if unicodedata.name(chr(code), "").startswith(f"{word} ") and unicodedata.category(chr(code))[0] in "LMN"
    ]
    return _normal([(code, code) for code in codes], False) if codes else None


@cache
def _categories(first: int, last: int) -> str:
    """The categories of characters, two letters each."""
    return "".join(map(unicodedata.category, map(chr, range(first, last + 1))))


# -- the program

_CHARS, _SPLIT, _SAVE, _ASSERT, _MATCH = range(5)


class Expression:
    """A compiled pattern. `names`: of each group, empty for an unnamed one."""

    def __init__(self, tree: Tree, names: list[str]) -> None:
        self.names = names
        self.program: list[list[object]] = []
        self._emit(("group", 0, tree))
        self.program.append([_MATCH])

    def _add(self, *instruction: object) -> int:
        if len(self.program) >= _SIZE:
            raise PatternError("the pattern is too large")
        self.program.append(list(instruction))
        return len(self.program) - 1

    def _emit(self, tree: Tree) -> None:
        match tree:
            case ("empty",):
                pass
            case ("chars", ranges):
                self._add(_CHARS, ranges)
            case ("cat", *parts):
                for part in parts:
                    self._emit(part)
            case ("group", number, inner):
                self._add(_SAVE, 2 * number)
                self._emit(inner)
                self._add(_SAVE, 2 * number + 1)
            case ("alt", *branches):
                self._alternatives(branches)
            case ("repeat", inner, least, most, greedy):
                self._repeat(inner, least, most, greedy)
            case (kind,):
                self._add(_ASSERT, kind)

    def _alternatives(self, branches: list[Tree]) -> None:
        jumps: list[int] = []
        for branch in branches[:-1]:
            split = self._add(_SPLIT, 0, 0)
            self.program[split][1] = len(self.program)
            self._emit(branch)
            jumps.append(self._add(_SPLIT, 0, None))
            self.program[split][2] = len(self.program)
        self._emit(branches[-1])
        for jump in jumps:
            self.program[jump][1] = len(self.program)

    def _repeat(self, inner: Tree, least: int, most: int | None, greedy: bool) -> None:
        for _ in range(least):
            self._emit(inner)
        if most is None:
            split = self._add(_SPLIT, 0, 0)
            begin = len(self.program)
            self._emit(inner)
            self._add(_SPLIT, split, None)
            self._aim(split, begin, len(self.program), greedy)
            return
        splits: list[tuple[int, int]] = []
        for _ in range(most - least):
            split = self._add(_SPLIT, 0, 0)
            splits.append((split, len(self.program)))
            self._emit(inner)
        for split, begin in splits:
            self._aim(split, begin, len(self.program), greedy)

    def _aim(self, split: int, inside: int, outside: int, greedy: bool) -> None:
        self.program[split][1:] = (inside, outside) if greedy else (outside, inside)

    # -- matching

    def search(self, text: str, start: int) -> list[Span | None] | None:
        """The spans of the first match from `start` on: of the whole, then of each group; None for no match."""
        slots = 2 * (len(self.names) + 1)
        found: tuple[int, ...] | None = None
        threads: list[tuple[int, tuple[int, ...]]] = []
        for position in range(start, len(text) + 1):
            if found is None:
                self._follow(threads, {at for at, _ in threads}, 0, (-1,) * slots, text, position)
            if not threads:
                if found is not None:
                    break
                continue
            following: list[tuple[int, tuple[int, ...]]] = []
            seen: set[int] = set()
            code = ord(text[position]) if position < len(text) else -1
            for at, captures in threads:
                instruction = self.program[at]
                if instruction[0] == _MATCH:
                    found = captures
                    break  # what comes after is less preferred
                if code >= 0 and _within(instruction[1], code):  # type: ignore[arg-type]
                    self._follow(following, seen, at + 1, captures, text, position + 1)
            threads = following
        if found is None:
            return None
        return [None if found[at] < 0 or found[at + 1] < 0 else (found[at], found[at + 1]) for at in range(0, slots, 2)]

    def _follow(
        self,
        threads: list[tuple[int, tuple[int, ...]]],
        seen: set[int],
        start: int,
        captures: tuple[int, ...],
        text: str,
        position: int,
    ) -> None:
        """Adds the threads that are reached without taking a character, the preferred ones first."""
        stack = [(start, captures)]
        while stack:
            at, kept = stack.pop()
            if at in seen:
                continue
            seen.add(at)
            instruction = self.program[at]
            match instruction[0]:
                case 1:  # split
                    if instruction[2] is not None:
                        stack.append((instruction[2], kept))  # type: ignore[arg-type]
                    stack.append((instruction[1], kept))  # type: ignore[arg-type]
                case 2:  # save
                    slot: int = instruction[1]  # type: ignore[assignment]
                    stack.append((at + 1, (*kept[:slot], position, *kept[slot + 1 :])))
                case 3:  # assert
                    if _holds(str(instruction[1]), text, position):
                        stack.append((at + 1, kept))
                case _:
                    threads.append((at, kept))

    def find_all(self, text: str) -> Iterator[list[Span | None]]:
        """Matches one after another; an empty one right after another match is passed over."""
        position, last = 0, -1
        while position <= len(text):
            spans = self.search(text, position)
            if spans is None:
                return
            whole = spans[0]
            assert whole is not None, "the whole always takes part"
            start, end = whole
            if end > start or start != last:
                yield spans
            last = end
            position = end if end > start else end + 1


def _within(ranges: list[Range], code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _holds(kind: str, text: str, position: int) -> bool:
    match kind:
        case "begin":
            return position == 0
        case "end":
            return position == len(text)
        case "line-begin":
            return position == 0 or text[position - 1] == "\n"
        case "line-end":
            return position == len(text) or text[position] == "\n"
    before = position > 0 and _within(_PERL["w"], ord(text[position - 1]))
    after = position < len(text) and _within(_PERL["w"], ord(text[position]))
    return (before != after) == (kind == "word")


def compile_pattern(pattern: str) -> Expression:
    """Raises PatternError."""
    parser = _Parser(pattern)
    tree = parser.whole()
    return Expression(tree, parser.names)
