"""Statements back to text: the file as it is, piece by piece, or what its instructions say and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from bakepy.dockerfile.parser import Parsed, Statement, continuation
from bakepy.dockerfile.text import SPACE
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole lines of a file: those of one statement, or (`statement` None) what stands between two."""

    text: str
    statement: Statement | None = None


def pieces_of(parsed: Parsed) -> tuple[Piece, ...]:
    """The whole file, none of its characters lost: the texts in a row are the file, also of one with errors."""
    lines = parsed.file.text.split("\n")
    lines = [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    out: list[Piece] = []
    read = 0
    for statement in parsed.statements:
        first, last = statement.location[0].start.line - 1, statement.location[-1].start.line
        if first > read:
            out.append(Piece("".join(lines[read:first])))
        out.append(Piece("".join(lines[first:last]), statement))
        read = last
    if read < len(lines):
        out.append(Piece("".join(lines[read:])))
    return tuple(out)


def print_parsed(parsed: Parsed) -> str:
    """A text with equal directives and statements, places aside. The comments above an instruction are kept; others,
    empty lines and the ends of lines that Windows writes are not. Takes a file without errors."""
    if not parsed.statements:
        return ""  # only an empty file has none, and no error
    out = [f"# {key}={value}\n" for key, value in parsed.directives]
    if not parsed.directives:
        out.append("#\n")  # what follows is neither a directive nor a mark of the byte order
    for statement in parsed.statements:
        out += print_statement(statement, parsed.escape)
    return "".join(out)


def print_statement(statement: Statement, escape: str) -> Iterator[str]:
    """The lines of one statement, cut where they were cut."""
    if statement.comments:
        yield "#\n"  # ends the directives and the comment above
    for comment in statement.comments:
        yield f"# {comment}\n"
    offsets = [start for start, _, _ in statement.segments]
    for start, end in pairwise(offsets):
        yield f"{statement.text[start:end]}{escape}\n"
    last = statement.text[offsets[-1] :]
    # only the last statement of a file can end like this: with a continuation that nothing follows
    open_end = not last.strip(SPACE) or last.endswith("\r") or continuation(escape).search(last)
    yield last + (escape if open_end else "") + "\n"
    for document in statement.heredocs:
        yield f"{document.content}{document.name}\n"
