"""Wildcard patterns as rows of parts, compared in bounded time whatever the pattern.

A regular expression that tries all ways to share a text between its stars takes exponential time for patterns that
anybody may write into an ignore file. Most patterns are settled first: what stands between two stars may take its
first place, because whatever follows it, the second star can skip as well. What can not be settled is compared by an
automaton, which is slower but looks at each character once.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final, TypeAlias

from bakepy.errors import DefinitionError
from bakepy.model.value import dataclass

FLAGS: Final = re.ASCII | re.DOTALL


class BadPattern(DefinitionError):
    """A pattern that can not be read; `pattern` is the pattern as written."""

    def __init__(self, pattern: str, *, what: str = "syntax error in pattern", hint: str = "") -> None:
        super().__init__(f'{what}: "{pattern}"', hint=hint)
        self.pattern = pattern


@dataclass(frozen=True, slots=True)
class Part:
    """A character out of those that the regular expression `text` knows, `least` to `most` times (None: any number).

    A text that matches an empty string stands for a place (`\\b`); `DIRECTORIES` is the one part of another kind.
    """

    text: str
    least: int = 1
    most: int | None = 1

    @property
    def repeats(self) -> bool:
        """Whether something in the pattern says how often."""
        return (self.least, self.most) != (1, 1)

    @property
    def is_place(self) -> bool:
        """Whether it stands between characters."""
        return self.text in (r"\b", r"\B", r"\A", r"\Z")

    @property
    def fixed(self) -> bool:
        """Whether it has one width, and can not be a slash."""
        return self.least == self.most and not _matches(self.text, "/") and not self.is_place

    @property
    def regex(self) -> str:
        if (self.least, self.most) == (1, 1):
            return self.text
        if self.is_place:
            return self.text if self.least else ""
        if self.most is None:
            return self.text + (f"{{{self.least},}}" if self.least else "*")
        return f"{self.text}{{{self.least},{self.most}}}"


NO_SLASH: Final = Part("[^/]")
STAR: Final = Part("[^/]", 0, None)
NO_LINE_END: Final = Part("[^\\n]")
ANYTHING: Final = Part(r"[\s\S]", 0, None)
DIRECTORIES: Final = Part("(?:[^\\n]*/)", 0, 1)
"""Any number of directories, with the slash behind them."""


def literal(char: str) -> Part:
    return Part(re.escape(char))


@lru_cache(maxsize=4096)
def _matches(text: str, char: str) -> bool:
    return re.compile(text, FLAGS).fullmatch(char) is not None


Matcher: TypeAlias = "re.Pattern[str] | Automaton"


def matcher_of(parts: list[Part]) -> Matcher:
    """Something whose `fullmatch` tells. Raises ValueError if nothing can."""
    text = regex_of(parts)
    return Automaton(parts) if text is None else re.compile(text, FLAGS)


def regex_of(parts: list[Part]) -> str | None:
    """A regular expression that takes no more than (length of the text) x (length of the pattern) steps; None if there
    is none. In a text with line ends it may miss what several DIRECTORIES match: these pass none."""
    text, loose = _settled(_once(parts))
    return None if loose else text


def _once(parts: list[Part]) -> list[Part]:
    """Stars that follow each other are one."""
    return [
        part
        for index, part in enumerate(parts)
        if not (index and part == parts[index - 1] and part in (STAR, DIRECTORIES, ANYTHING))
    ]


def _settled(parts: list[Part]) -> tuple[str, bool]:
    """As a regular expression; and whether two loops remain that would be tried in all combinations."""
    out: list[str] = []
    position = 0
    stars = directories = 0
    while position < len(parts):
        part = parts[position]
        position += 1
        if part == STAR:
            end = position
            while end < len(parts) and parts[end].fixed:
                end += 1
            if position < end < len(parts) and parts[end] == STAR:
                out.append(f"(?>[^/]*?{_joined(parts[position:end])})")
                position = end
                continue
        elif part == DIRECTORIES and (end := _end_of_names(parts, position)):
            text, loose = _settled(parts[position:end])
            if not loose:
                out.append(rf"(?>(?:[^/\n]*/)*?{text})")
                position = end
                continue
        out.append(part.regex)
        if part.text == "/":
            stars = 0
        elif part == DIRECTORIES:
            directories += 1
            stars = 0
        elif part.least != part.most and position < len(parts):
            if part.text == NO_SLASH.text:
                stars += 1
            else:
                directories += 1
        if stars > 1 or directories > 1:
            return "", True
    return "".join(out), False


def _end_of_names(parts: list[Part], position: int) -> int:
    """Where the next DIRECTORIES is, if between here and there is a number of whole names; else 0."""
    end = position
    while end < len(parts) and (parts[end] == STAR or parts[end].fixed or parts[end].text == "/"):
        end += 1
    names = position < end < len(parts) and parts[end] == DIRECTORIES and parts[end - 1].text == "/"
    return end if names else 0


def _joined(parts: list[Part]) -> str:
    return "".join(part.regex for part in parts)


class Automaton:
    """Compares with all ways at once: a set of places in the pattern, as the bits of a number.

    A place that may be skipped leads to the next one without a character. Rows of them are passed in one step
    (Navarro and Raffinot, Flexible Pattern Matching in Strings, 4.3).
    """

    __slots__ = ("_cells", "_directories", "_ends", "_final", "_firsts", "_later", "_masks", "_start")

    _MOST_CELLS = 20_000

    def __init__(self, parts: list[Part]) -> None:
        """Raises ValueError for a pattern with places between characters, or with too many repetitions."""
        cells: list[Part] = []
        for part in parts:
            if part.is_place:
                raise ValueError("too many wildcards")
            if part == DIRECTORIES:
                cells.append(part)
                continue
            cells += [Part(part.text)] * part.least
            cells += [replace(part, least=0)] if part.most is None else [Part(part.text, 0)] * (part.most - part.least)
            if len(cells) > self._MOST_CELLS:
                raise ValueError("too many repetitions")
        self._cells = cells
        self._masks: dict[str, tuple[int, int]] = {}
        self._final = 1 << len(cells)
        skipped = sum(1 << index for index, cell in enumerate(cells) if cell.least == 0)
        self._firsts = skipped & ~(skipped << 1)
        self._ends = (skipped << 1) & ~skipped
        self._later = skipped << 1
        self._directories = sum(1 << index for index, cell in enumerate(cells) if cell == DIRECTORIES)
        self._start = self._skipped(1)

    def fullmatch(self, text: str) -> bool | None:
        """True, or None as `re` has it."""
        state = self._start
        for char in text:
            on, stay = self._masks.get(char) or self._learn(char)
            stayed = state & stay
            inside = stayed & self._directories  # within a name, there is no way out but a slash
            state = self._skipped(((state & on) << 1) | (stayed ^ inside)) | inside
            if not state:
                return None
        return True if state & self._final else None

    def _learn(self, char: str) -> tuple[int, int]:
        """Which places this character leads on from, and at which it may stay."""
        on = stay = 0
        for index, cell in enumerate(self._cells):
            bit = 1 << index
            if cell == DIRECTORIES:
                stay |= bit if char != "\n" else 0
                on |= bit if char == "/" else 0
            elif _matches(cell.text, char):
                stay |= bit if cell.most is None else 0
                on |= bit if cell.most is not None else 0
        self._masks[char] = (on, stay)
        return on, stay

    def _skipped(self, state: int) -> int:
        """With the places that are reached without a character."""
        ended = state | self._ends
        return state | (self._later & (~(ended - self._firsts) ^ ended))
