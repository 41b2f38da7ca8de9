"""Path patterns: ignore files, include and exclude lists (moby's patternmatcher) and Go's `filepath.Match`.

The rules are those of github.com/moby/patternmatcher, oddities included, because people's ignore files rely on them:
the last pattern that matches decides, `!` takes back, a pattern also covers everything below what it matches, `**`
crosses directories. Paths are relative, cleaned and `/`-separated; a path that is not UTF-8 comes decoded with
`surrogateescape`.
"""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Iterable
from functools import lru_cache

from bakepy.model.moby_regex import alternatives, translate
from bakepy.model.space import SPACE
from bakepy.model.wildcards import (
    DIRECTORIES,
    FLAGS,
    NO_SLASH,
    STAR,
    Automaton,
    BadPattern,
    Matcher,
    Part,
    literal,
    matcher_of,
    regex_of,
)

__all__ = [
    "BadPattern",
    "MatchState",
    "PatternMatcher",
    "check_glob",
    "clean",
    "glob_regex",
    "go_match",
    "has_wildcards",
]


def clean(path: str) -> str:
    """The shortest equal path, by text alone, as Go's `filepath.Clean`: `.` for nothing, no trailing slash."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def has_wildcards(text: str) -> bool:
    """Whether an unescaped `*`, `?` or `[` is in `text`."""
    return _WILDCARD.match(text) is not None


_WILDCARD = re.compile(r"(?:\\.|[^\\*?\[])*[*?\[]", re.DOTALL)


# Go's filepath.Match ---------------------------------------------------------------------------------------------


def go_match(pattern: str, name: str) -> bool:
    """Whether `pattern` matches all of `name`: `*` and `?` stop at `/`, `**` is no more than `*`. Raises BadPattern."""
    return glob_regex(pattern).fullmatch(name) is not None


@lru_cache(maxsize=512)
def glob_regex(pattern: str) -> Matcher:
    """Compares with a `filepath.Match` pattern (`fullmatch`). Raises BadPattern."""
    return matcher_of(_glob_parts(pattern))


def _glob_parts(pattern: str) -> list[Part]:
    out: list[Part] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            out.append(STAR)
        elif char == "?":
            out.append(NO_SLASH)
        elif char == "[":
            text, position = _glob_class(pattern, position)
            out.append(Part(text))
        elif char == "\\":
            if position == len(pattern):
                raise BadPattern(pattern, hint=r"a backslash at the end escapes nothing; write '\\'")
            out.append(literal(pattern[position]))
            position += 1
        else:
            out.append(literal(char))
    return out


def check_glob(pattern: str) -> None:
    """Raises BadPattern where comparing `pattern` with `.` would, as moby does to judge it: what stands behind the
    first piece between stars that does not match is not looked at."""
    name, rest = ".", pattern
    while rest:
        body = rest.lstrip("*")
        star = body != rest
        end = _chunk_end(body)
        chunk, rest = body[:end], body[end:]
        if not chunk:
            return
        try:
            regex = re.compile("".join(part.text for part in _glob_parts(chunk)), re.DOTALL)
        except BadPattern as error:
            raise BadPattern(pattern, hint=error.hint or "") from error
        starts = range(len(name) + 1) if star and "/" not in name else (0,)
        ends = (found.end() for start in starts if (found := regex.match(name, start)))
        left = next((end for end in ends if rest or end == len(name)), None)
        if left is None:
            return
        name = name[left:]


def _chunk_end(pattern: str) -> int:
    """Where the next star stands that is one."""
    position = 0
    in_class = False
    while position < len(pattern):
        char = pattern[position]
        if char == "\\":
            position += 1
        elif char in "[]":
            in_class = char == "["
        elif char == "*" and not in_class:
            return position
        position += 1
    return len(pattern)


def _glob_class(pattern: str, position: int) -> tuple[str, int]:
    """A `[…]` after its opening bracket: as a regular expression, and the position behind it."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    members: list[str] = []
    while not members or pattern[position : position + 1] != "]":
        low, position = _class_member(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _class_member(pattern, position + 1)
        if low <= high:
            members.append(f"{re.escape(low)}-{re.escape(high)}")
        else:  # an empty range is no error and matches nothing
            members.append("")
    body = "".join(members)
    if not body:
        return ("." if negated else "(?!)"), position + 1
    return f"[{'^' if negated else ''}{body}]", position + 1


def _class_member(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position : position + 1] == "\\":
        position += 1
    elif pattern[position : position + 1] in ("-", "]"):
        raise BadPattern(pattern, hint="inside [...] write '-' and ']' with a backslash before them")
    if position + 1 >= len(pattern):  # the member itself and at least the closing bracket
        raise BadPattern(pattern, hint="a '[' opens a set of characters that ']' must close")
    return pattern[position], position + 1


# moby's patternmatcher -------------------------------------------------------------------------------------------

MatchState = int | None
"""What a walk keeps about a directory, to judge what is in it; None where nothing is known about the parents."""


class PatternMatcher:
    """A list of patterns, ready to be asked about paths. Immutable and safe to share between threads."""

    __slots__ = ("_below_exceptions", "_below_plain", "_groups", "has_exceptions", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Blank patterns are left out. Raises BadPattern."""
        kept = [pattern.strip(SPACE) for pattern in patterns]
        self.patterns = tuple(clean(pattern) for pattern in kept if pattern)
        groups: list[tuple[bool, list[str]]] = []
        for pattern in self.patterns:
            exception = pattern.startswith("!")
            if pattern == "!":
                raise BadPattern(pattern, what="illegal exclusion pattern", hint="write what it excepts behind the '!'")
            body = pattern[exception:]
            check_glob(body)
            if not groups or groups[-1][0] != exception:
                groups.append((exception, []))
            groups[-1][1].append(body)
        self._groups = tuple((exception, _Group(bodies)) for exception, bodies in groups)
        self.has_exceptions = any(exception for exception, _ in self._groups)
        self._below_plain = _below([body for exception, bodies in groups if not exception for body in bodies])
        self._below_exceptions = _below([body for exception, bodies in groups if exception for body in bodies])

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def matches(self, path: str) -> bool:
        """Whether `path` matches, by itself or through a directory above it, and is not taken back afterwards."""
        return self.match(path, None)[0]

    def match(self, path: str, parent: MatchState) -> tuple[bool, MatchState]:
        """As `matches`, in a walk: `parent` is the state of the directory that `path` is in. Returns also the state
        for what is below `path`, if it is a directory."""
        matched = False
        state = 0
        bit = 1
        for exception, group in self._groups:
            if parent is not None and parent & bit:
                found = True
            elif exception is not matched:
                found = False
            else:
                found = group.test(path)
                if not found and parent is None:
                    found = any(group.test(above) for above in _parents(path))
            if found:
                state |= bit
                matched = not exception
            bit <<= 1
        return matched, state

    def may_match_below(self, directory: str) -> bool:
        """Whether anything below `directory` could match, when `directory` itself does not. Never wrongly False."""
        return self._below_plain is not None and self._below_plain.fullmatch(directory) is not None

    def may_except_below(self, directory: str) -> bool:
        """Whether an exception could take back anything below `directory`, which matches. Never wrongly False."""
        return self._below_exceptions is not None and self._below_exceptions.fullmatch(directory) is not None


def _parents(path: str) -> list[str]:
    """`a/b/c` → `a`, `a/b`; for moby `/a` lies in nothing and in `/`, `/a/b` in nothing and in `/a`."""
    found = [path[: match.start()] for match in re.finditer("/", path)]
    return [*found, "/"] if found == [""] else found


class _Group:
    """Neighbouring patterns of one kind (plain or exception); only whether any of them matches counts."""

    __slots__ = ("_beside_lines", "_exact", "_hard", "_prefixes", "_regex", "_rows", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact: set[str] = set()
        prefixes: list[str] = []
        suffixes: list[str] = []
        regexes: list[str] = []
        hard: list[Automaton] = []
        rows: list[tuple[str, list[Part]]] = []
        for pattern in patterns:
            kind, regex = translate(pattern)
            if kind == "exact":
                exact.add(pattern)
            elif kind == "prefix":
                prefixes.append(pattern[:-2])
            elif kind == "suffix":
                suffixes.append(pattern.encode("utf-8", "surrogateescape")[2:].decode("utf-8", "surrogateescape"))
                if pattern.startswith("**/"):
                    exact.add(pattern[3:])
            else:
                for parts in alternatives(pattern, regex):
                    text = regex_of(parts)
                    if text is not None:
                        regexes.append(text)
                        if parts.count(DIRECTORIES) > 1 and not any(part.is_place for part in parts):
                            rows.append((pattern, parts))
                    else:
                        hard.append(_automaton(pattern, parts))
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._suffixes = tuple(suffixes)
        self._regex = (
            re.compile("|".join(f"(?:{regex})" for regex in dict.fromkeys(regexes)), FLAGS) if regexes else None
        )
        self._hard = tuple(hard)
        self._rows = tuple(rows)
        self._beside_lines: tuple[Automaton, ...] | None = None

    def test(self, path: str) -> bool:
        return (
            path in self._exact
            or (bool(self._prefixes) and path.startswith(self._prefixes))
            or (bool(self._suffixes) and path.endswith(self._suffixes))
            or (self._regex is not None and self._regex.fullmatch(path) is not None)
            or any(each.fullmatch(path) for each in self._hard)
            or ("\n" in path and self._test_lines(path))
        )

    def _test_lines(self, path: str) -> bool:
        """`**/` passes no line end, so with one in the path a later place may fit where the first one does not."""
        if self._beside_lines is None:
            self._beside_lines = tuple(_automaton(pattern, parts) for pattern, parts in self._rows)
        return any(each.fullmatch(path) for each in self._beside_lines)


def _automaton(pattern: str, parts: list[Part]) -> Automaton:
    try:
        return Automaton(parts)
    except ValueError as error:
        raise BadPattern(pattern, what=f"{error} in pattern") from error


def _below(patterns: list[str]) -> re.Pattern[str] | None:
    """Matches the directories that may hold something that one of `patterns` matches; None if there are none.

    Component by component up to the first that may span several (`**`) or is hard to cut (`[`, a backslash).
    """
    alternatives: list[str] = []
    for pattern in patterns:
        components = pattern.split("/")
        chain = list(itertools.takewhile(_is_plain, components[:-1]))
        if "|" in pattern:  # is looked for anywhere
            alternatives.append(".*")
            continue
        names = [regex_of(_glob_parts(component)) or "[^/]*" for component in chain]
        alternatives += ["/".join(names[: depth + 1]) for depth in range(len(names))]
        if len(chain) < len(components) - 1 or not _is_plain(components[-1]):
            alternatives.append("/".join([*names, ".*"]))
    return re.compile("|".join(alternatives), re.DOTALL) if alternatives else None


def _is_plain(component: str) -> bool:
    return "**" not in component and not any(char in component for char in "[]\\{^")
