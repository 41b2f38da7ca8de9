"""Text to statements: continuation lines, comments, here-documents, directives; each character's place is kept.

A statement is an instruction that is not understood yet: keyword, flags and the rest of its (joined) line.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import field
from functools import lru_cache

from bakepy.dockerfile.directives import DirectiveReader, DuplicateDirective
from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.expansion import ExpansionError
from bakepy.dockerfile.heredoc import Heredoc, heredocs_of
from bakepy.dockerfile.text import SPACE, decodable, split_blanks
from bakepy.dockerfile.words import NotStrings, json_words, split_flags
from bakepy.errors import BakeError
from bakepy.model.location import Position, SourceFile, SourceRange
from bakepy.model.value import dataclass

MAX_LINE = 65535
"""Longest line in bytes, its end not counted, as in the reference implementation."""
_WITH_DOCUMENTS = frozenset({"add", "copy", "run"})
_BYTES = frozenset({"run", "cmd", "entrypoint"})
"""Instructions whose commands are told byte by byte."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One instruction as written. `text` is its line with continuation lines joined; `rest` what follows the flags.

    `segments` maps offsets in `text` to places: (offset, line, column), ascending.
    """

    file: SourceFile
    keyword: str
    flags: tuple[str, ...]
    rest: str
    text: str
    first_line: int
    last_line: int
    last_command_line: int
    comments: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    segments: tuple[tuple[int, int, int], ...] = field(default=(), repr=False)
    location: Location = field(default=(), repr=False, compare=False)

    @property
    def code(self) -> str:
        """The joined line without blanks around it."""
        return self.text.strip(SPACE)

    def place(self, offset: int, width: int) -> SourceRange:
        """Where `width` characters of `text` stand, cut at the end of their line."""
        index = max(0, bisect_right(self.segments, (offset, 1 << 60, 0)) - 1)
        start, line, column = self.segments[index]
        stop = self.segments[index + 1][0] if index + 1 < len(self.segments) else len(self.text)
        width = max(1, min(width, stop - offset))
        return SourceRange.at(self.file, line, column + offset - start, width)

    def find(self, part: str) -> SourceRange:
        """Where `part` stands behind the keyword; the keyword if it is not there literally."""
        begin = self.text.find(self.keyword)
        offset = self.text.find(part, begin + len(self.keyword)) if part else -1
        return self.place(begin, len(self.keyword)) if offset < 0 else self.place(offset, len(part))

    def error(self, what: str, *, part: str = "", hint: str = "") -> DockerfileError:
        return DockerfileError(what, location=self.location, where=self.find(part), hint=hint)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file as statements. `empty_continuations` are statements with an empty line inside, by last line."""

    file: SourceFile
    escape: str
    directives: tuple[tuple[str, str], ...]
    statements: tuple[Statement, ...]
    empty_continuations: tuple[Statement, ...]
    errors: tuple[BakeError, ...]


def line_location(file: SourceFile, first: int, last: int) -> Location:
    """One range per line. Columns say nothing, as in the source maps of the reference implementation."""
    return tuple(SourceRange(file, Position(line), Position(line)) for line in range(first, max(first, last) + 1))


@lru_cache(maxsize=2)
def continuation(escape: str) -> re.Pattern[str]:
    e = re.escape(escape)
    return re.compile(rf"(?:(?<!{e}){e}[ \t]*\Z)")


class _Reader:
    """The lines of one file, one after the other."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.lines = file.text.split("\n")
        if self.lines and not self.lines[-1]:
            self.lines.pop()
            self.ended = True
        else:
            self.ended = False
        self.number = 0
        self.directives = DirectiveReader()
        self.escape = "\\"

    def next(self) -> str | None:
        if self.number >= len(self.lines):
            return None
        line = self.lines[self.number]
        self.number += 1
        if len(line) * 4 > MAX_LINE and len(line.encode("utf-8", "surrogatepass")) > MAX_LINE:
            raise DockerfileError(
                f"dockerfile line greater than max allowed size of {MAX_LINE} bytes",
                location=self.before(),
                where=SourceRange.of_line(self.file, self.number),
            )
        return line

    def before(self) -> Location:
        """BuildKit names the lines that it has read by then; people are shown the line itself."""
        return line_location(self.file, self.number - 1, self.number - 1)

    def directive(self, line: str) -> bool:
        """Whether the line is a directive. Raises DockerfileError."""
        try:
            found = self.directives.read(line)
        except DuplicateDirective as error:
            raise DockerfileError(
                f"only one {error} parser directive can be used",
                location=self.before(),
                where=SourceRange.of_line(self.file, self.number),
            ) from error
        if found and found[0] == "escape":
            if found[1] not in ("\\", "`"):
                raise DockerfileError(
                    f"invalid escape token '{found[1]}' does not match ` or \\",
                    location=self.before(),
                    where=SourceRange.of_line(self.file, self.number),
                )
            self.escape = found[1]
        return found is not None


def parse_text(file: SourceFile) -> Parsed:
    """Never raises: what is wrong is listed in `errors`, in file order; the statements are those that were read."""
    reader = _Reader(file)
    statements: list[Statement] = []
    empty: list[Statement] = []
    errors: list[BakeError] = []
    comments: list[str] = []
    try:
        while (line := reader.next()) is not None:
            if reader.number == 1:
                line = line.removeprefix("\ufeff")
            stripped = line.lstrip(SPACE)
            line = line.rstrip("\r")
            if stripped.startswith("#"):
                comment = line[1:].strip(SPACE)
                is_directive = reader.directive(stripped.rstrip("\r"))
                if is_directive:
                    continue
                if comment:
                    comments.append(comment)
                else:
                    comments = []
                continue
            reader.directives.done = True
            statement, gap = _statement(reader, line, tuple(comments), errors)
            if statement is None:
                continue
            comments = []
            statements.append(statement)
            if gap:
                empty.append(statement)
    except DockerfileError as error:
        errors.append(error)
    if not statements and not errors:
        location = line_location(file, max(1, reader.number), max(1, reader.number))
        hint = "a Dockerfile begins with FROM"
        errors.append(DockerfileError("file with no instructions", location=location, hint=hint))
    directives = tuple(reader.directives.seen.items())
    return Parsed(file, reader.escape, directives, tuple(statements), tuple(empty), tuple(errors))


def _statement(
    reader: _Reader, line: str, comments: tuple[str, ...], errors: list[BakeError]
) -> tuple[Statement | None, bool]:
    """The statement that begins with `line`, if it is not blank, and whether it has an empty line inside."""
    first = reader.number
    pattern = continuation(reader.escape)
    text = line.lstrip(SPACE)
    segments = [(0, first, len(line) - len(text) + 1)]
    match = pattern.search(text)
    if match:
        text = text[: match.start()]
    elif not text:
        return None, False
    parts, length = [text], len(text)
    gap = False
    while match and (following := reader.next()) is not None:
        following = following.rstrip("\r")
        if following.lstrip(SPACE).startswith("#"):
            continue
        if not following.strip(SPACE):
            gap = True
            continue
        match = pattern.search(following)
        if match:
            following = following[: match.start()]
        segments.append((length, reader.number, 1))
        parts.append(following)
        length += len(following)
    return _understood(reader, "".join(parts), first, comments, tuple(segments), errors), gap


def _understood(
    reader: _Reader,
    text: str,
    first: int,
    comments: tuple[str, ...],
    segments: tuple[tuple[int, int, int], ...],
    errors: list[BakeError],
) -> Statement:
    file, end = reader.file, reader.number
    keyword, flags, rest = split_statement(text, reader.escape)
    if not text.isascii() and keyword.lower() not in _BYTES:
        text = decodable(text)  # as in names of maintainers in old files
        keyword, flags, rest = split_statement(text, reader.escape)
    heredocs: list[Heredoc] = []
    failure: DockerfileError | None = None
    if "<<" in text and _takes_documents(keyword, rest, reader.escape):
        head = Statement(file, keyword, flags, rest, text, first, reader.number, reader.number, comments, (), segments,
                         line_location(file, first, reader.number))  # fmt: skip
        try:
            announced = heredocs_of(text)
        except ExpansionError as error:
            announced = []
            failure = head.error(f"malformed here-document: {error}", part="<<")
        for doc in announced:
            content: list[str] = []
            while (line := reader.next()) is not None and not doc.is_end(line):
                content.append(line + "\n")
            if line is None:
                failure = DockerfileError(
                    f"unterminated heredoc '{doc.name}'",
                    location=line_location(file, first, reader.number),
                    where=head.find("<<"),
                    hint=f"a line that holds just '{doc.name}' ends it",
                )
                break
            heredocs.append(doc.with_content("".join(content)))
    if failure:
        errors.append(failure)
    location = line_location(file, first, reader.number)
    return Statement(
        file, keyword, flags, rest, text, first, reader.number, end, comments, tuple(heredocs), segments, location
    )


def split_statement(text: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """Keyword, flags and rest of a joined line."""
    parts = split_blanks(text.strip(SPACE), 2)
    if len(parts) == 1:
        return parts[0], (), ""
    flags, rest = split_flags(parts[1], escape)
    return parts[0], flags, rest.strip(SPACE)


def _takes_documents(keyword: str, rest: str, escape: str) -> bool:
    keyword = keyword.lower()
    if keyword == "onbuild" and rest:
        keyword, _, rest = split_statement(rest, escape)
        keyword = keyword.lower()
    if keyword not in _WITH_DOCUMENTS:
        return False
    try:
        return json_words(rest) is None
    except NotStrings:
        return True
