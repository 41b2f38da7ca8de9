"""Lines with comments at their ends, which stand below each other where lines follow each other."""

from __future__ import annotations

from collections.abc import Iterable


class Line:
    """A line of code and the comment at its end. `rigid`: it goes over several lines, nothing is aligned with it."""

    __slots__ = ("code", "comment", "indent", "rigid")

    def __init__(self, code: str, comment: str = "", indent: int = 0, *, rigid: bool = False) -> None:
        self.code = code
        self.comment = comment
        self.indent = indent
        self.rigid = rigid


def join_lines(lines: Iterable[Line], gap: int, end: str) -> str:
    """The text of these lines; comments are at least `gap` blanks away from the code."""
    written: list[str] = []
    run: list[Line] = []

    def settle() -> None:
        width = max((len(line.code) for line in run), default=0)
        for line in run:
            written.append(line.code + " " * (width - len(line.code) + gap) + line.comment)
        run.clear()

    for line in lines:
        belongs = bool(line.comment and line.code) and not line.rigid
        if run and (not belongs or line.indent != run[0].indent):
            settle()
        if belongs:
            run.append(line)
        elif line.comment and line.code:
            written.append(line.code + " " * gap + line.comment)
        else:
            written.append(line.code or line.comment)
    settle()
    return "".join(line + end for line in written)


def line_end(text: str) -> str:
    """How the lines of a file end, told by the first one."""
    found = text.find("\n")
    return "\r\n" if found > 0 and text[found - 1] == "\r" else "\n"
