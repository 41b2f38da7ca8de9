"""The comments of a file, each handed out once, to what stands next to it."""

from __future__ import annotations

from collections.abc import Iterable

from bakepy.bakefile.convert.document import Comments


class Remarks:
    """`found`: where the comments begin and end in `source`."""

    def __init__(self, source: str, found: Iterable[tuple[int, int]]) -> None:
        self.source = source
        self._free = sorted(found)

    def of(self, start: int, end: int) -> Comments:
        """Those right above what goes from `start` to `end`, and the one behind it on its line."""
        return Comments(self._above(start), self._behind(end))

    def skip(self, start: int, end: int) -> None:
        """Those inside an expression stay in there."""
        self._free = [each for each in self._free if not start <= each[0] < end]

    def rest(self, start: int, end: int) -> list[str | None]:
        """Those between two places that are not handed out yet."""
        taken = [each for each in self._free if start <= each[0] < end]
        self.skip(start, end)
        return [line for each in taken for line in self._text(*each)]

    def _above(self, start: int) -> list[str | None]:
        found: list[str | None] = []
        here = start
        for position in range(len(self._free) - 1, -1, -1):
            begin, end = self._free[position]
            if begin >= start:
                continue
            gap = self.source[end:here]
            line = self.source[self.source.rfind("\n", 0, begin) + 1 : begin]
            if gap.strip() or line.strip(" \t\ufeff"):
                break
            if gap.count("\n") > 1:
                found.insert(0, None)
            found[:0] = self._text(begin, end)
            del self._free[position]
            here = begin
        return found

    def _behind(self, end: int) -> str:
        for position, (begin, stop) in enumerate(self._free):
            if begin < end:
                continue
            gap = self.source[end:begin]
            if gap.strip(" \t,") or "\n" in self.source[begin:stop]:
                return ""
            del self._free[position]
            return self._text(begin, stop)[0] or ""
        return ""

    def _text(self, start: int, end: int) -> list[str | None]:
        """The lines of a comment without its marks."""
        text = self.source[start:end]
        if text.startswith("/*"):
            return [line.strip().removeprefix("* ") or None for line in text[2:-2].strip().splitlines()] or [""]
        return [text.removeprefix("//") if text.startswith("//") else text.removeprefix("#")]
