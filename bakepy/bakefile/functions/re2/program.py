"""Patterns as programs, and how they run: all ways through at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bakepy.bakefile.functions.re2.characters import PERL, within
from bakepy.bakefile.functions.re2.pattern import PatternError, Tree

_SIZE: Final = 20_000
_CHARS, _SPLIT, _SAVE, _ASSERT, _MATCH = range(5)

Span = tuple[int, int]


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
                if code >= 0 and within(instruction[1], code):  # type: ignore[arg-type]
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
    before = position > 0 and within(PERL["w"], ord(text[position - 1]))
    after = position < len(text) and within(PERL["w"], ord(text[position]))
    return (before != after) == (kind == "word")
