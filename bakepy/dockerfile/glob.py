r"""The patterns of `${x#…}`, `${x%…}` and `${x/…/…}`: `*`, `?` and literals; brackets are literals too.

A pattern is cut at its stars, and the pieces are looked for one after the other, so that no pattern takes more than
(length of the pattern) x (length of the value) steps. An escape (always a backslash) may stand before `*`, `?`, a
backslash, and before `}` and `/`, where it only protects the character from ending the expansion.
All functions raise ValueError on another escape.
"""

from __future__ import annotations

import re
from functools import lru_cache


class _Glob:
    """The pieces between the stars, each a pattern of fixed length."""

    __slots__ = ("pieces", "widths")

    def __init__(self, tokens: list[tuple[str, bool]]) -> None:
        runs: list[list[str]] = [[]]
        for char, special in tokens:
            if special and char == "*":
                runs.append([])
            else:
                runs[-1].append("." if special else re.escape(char))
        self.pieces = [re.compile("".join(run)) for run in runs]
        self.widths = [len(run) for run in runs]

    def match_at(self, value: str, start: int, greedy: bool) -> int | None:
        """Where a match that begins at `start` ends: as late as possible if greedy, else as early."""
        head = self.pieces[0].match(value, start)
        return None if head is None else self._tail(value, head.end(), greedy)

    def search(self, value: str, greedy: bool) -> tuple[int, int] | None:
        """The leftmost match."""
        return self.search_from(value, 0, greedy)

    def search_from(self, value: str, start: int, greedy: bool) -> tuple[int, int] | None:
        while head := self.pieces[0].search(value, start):
            end = self._tail(value, head.end(), greedy)
            if end is not None:
                return head.start(), end
            if "\n" not in value:
                return None  # what does not fit behind the first place does not fit behind a later one
            start = head.start() + 1
        return None

    def _tail(self, value: str, position: int, greedy: bool) -> int | None:
        if len(self.pieces) == 1:
            return position
        limit = value.find("\n", position)  # a star matches no line end
        limit = len(value) if limit < 0 else limit
        for piece in self.pieces[1:-1]:
            found = piece.search(value, position, limit)
            if found is None:
                return None
            position = found.end()
        last, width = self.pieces[-1], self.widths[-1]
        if not greedy:
            found = last.search(value, position, limit)
            return found.end() if found else None
        for place in range(limit - width, position - 1, -1):
            if last.match(value, place):
                return place + width
        return None


@lru_cache(maxsize=256)
def _glob(pattern: str, reverse: bool = False) -> _Glob:
    tokens: list[tuple[str, bool]] = []
    escaped = False
    if reverse:  # an escape at the end, which another escape character makes possible, comes to stand before another
        pattern = "".join(reversed(_ESCAPED.findall(pattern)))
    for char in pattern:
        if escaped:
            if char not in "*?\\}/":
                raise ValueError(f"invalid escape '\\{char}'")
            tokens.append((char, False))
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            tokens.append((char, char in "*?"))
    if escaped:
        raise ValueError("nothing follows the last escape")
    return _Glob(tokens)


_ESCAPED = re.compile(r"\\.|.", re.DOTALL)


def first_match(pattern: str, value: str, greedy: bool, anchored: bool) -> tuple[int, int] | None:
    """Start and end of the leftmost match, or of the one at the start."""
    glob = _glob(pattern)
    if not anchored:
        return glob.search(value, greedy)
    end = glob.match_at(value, 0, greedy)
    return None if end is None else (0, end)


def longest_suffix(pattern: str, value: str, greedy: bool) -> int | None:
    """Where the longest (or, if not greedy, the shortest) suffix that matches begins."""
    end = _glob(pattern, True).match_at(value[::-1], 0, greedy)
    return None if end is None else len(value) - end


def replace_all(pattern: str, value: str, replacement: str) -> str:
    """Replaces every match. `$0` or `${0}` in `replacement` is what matched, `$$` a dollar, other names are empty."""
    glob = _glob(pattern)
    out: list[str] = []
    done = position = 0
    while position <= len(value) and (span := glob.search_from(value, position, True)):
        start, end = span
        out.append(value[done:start])
        if end > done or start == 0:  # an empty match right behind the last one does not count
            out.append(_TEMPLATE.sub(lambda found, text=value[start:end]: _filled(found, text), replacement))  # type: ignore[misc]
        done = end
        position = end if end > position else position + 1
    out.append(value[done:])
    return "".join(out)


_TEMPLATE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def _filled(found: re.Match[str], matched: str) -> str:
    if found[1]:
        return "$"
    name = found[2] or found[3]
    return matched if name.isdecimal() and int(name[:9]) == 0 else ""
