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

from bakepy.errors import DefinitionError


class BadPattern(DefinitionError):
    """A pattern that can not be read; `pattern` is the pattern as written."""

    def __init__(self, pattern: str, *, what: str = "syntax error in pattern", hint: str = "") -> None:
        super().__init__(f'{what}: "{pattern}"', hint=hint)
        self.pattern = pattern


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
def glob_regex(pattern: str) -> re.Pattern[str]:
    """The regular expression of a `filepath.Match` pattern, for `fullmatch`. Raises BadPattern."""
    out: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*":
            if not out or out[-1] != _STAR:
                out.append(_STAR)
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            text, position = _glob_class(pattern, position)
            out.append(text)
        elif char == "\\":
            if position == len(pattern):
                raise BadPattern(pattern, hint=r"a backslash at the end escapes nothing; write '\\'")
            out.append(re.escape(pattern[position]))
            position += 1
        else:
            out.append(re.escape(char))
    return re.compile(_settled(out), re.DOTALL)


def _settled(pieces: list[str]) -> str:
    """The pieces of a regular expression, joined so that stars within one name are not tried in all combinations.

    What stands between two of them may take its first place: whatever follows it, the second star can skip as well.
    """
    out: list[str] = []
    position = 0
    while position < len(pieces):
        piece = pieces[position]
        position += 1
        if piece == _STAR:
            end = position
            while end < len(pieces) and (pieces[end] == "[^/]" or _LETTER.fullmatch(pieces[end])):
                end += 1
            if position < end < len(pieces) and pieces[end] == _STAR:
                piece = f"(?>[^/]*?{''.join(pieces[position:end])})"
                position = end
        elif piece == _DIRECTORIES and out and out[-1] == piece:
            continue
        out.append(piece)
    return "".join(out)


_STAR = "[^/]*"
_DIRECTORIES = "(?:.*/)?"
_LETTER = re.compile(r"[^/^\\\[\]]|\\[^/a-zA-Z0-9]", re.DOTALL)
"""A piece that stands for one character, which is no slash."""


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
        kept = [pattern.strip() for pattern in patterns]
        self.patterns = tuple(clean(pattern) for pattern in kept if pattern)
        groups: list[tuple[bool, list[str]]] = []
        for pattern in self.patterns:
            exception = pattern.startswith("!")
            if pattern == "!":
                raise BadPattern(pattern, what="illegal exclusion pattern", hint="write what it excepts behind the '!'")
            body = pattern[exception:]
            glob_regex(body)  # only for its verdict on the syntax
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
    """`a/b/c` → `a`, `a/b`."""
    return [path[: match.start()] for match in re.finditer("/", path)]


class _Group:
    """Neighbouring patterns of one kind (plain or exception); only whether any of them matches counts."""

    __slots__ = ("_exact", "_prefixes", "_regex", "_suffixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        exact: set[str] = set()
        prefixes: list[str] = []
        suffixes: list[str] = []
        regexes: list[str] = []
        for pattern in patterns:
            kind, regex = _translate(pattern)
            if kind == "exact":
                exact.add(pattern)
            elif kind == "prefix":
                prefixes.append(pattern[:-2])
            elif kind == "suffix":
                suffixes.append(pattern[2:])
                if pattern.startswith("**/"):
                    exact.add(pattern[3:])
            else:
                regexes.append(regex)
        self._exact = frozenset(exact)
        self._prefixes = tuple(prefixes)
        self._suffixes = tuple(suffixes)
        self._regex = re.compile("|".join(f"(?:{regex})" for regex in regexes), re.ASCII) if regexes else None

    def test(self, path: str) -> bool:
        return (
            path in self._exact
            or (bool(self._prefixes) and path.startswith(self._prefixes))
            or (bool(self._suffixes) and path.endswith(self._suffixes))
            or (self._regex is not None and self._regex.fullmatch(path) is not None)
        )


def _translate(pattern: str) -> tuple[str, str]:
    """How the pattern is compared (`exact`, `prefix`, `suffix`, `regex`), and its regular expression.

    A `**` at the start followed by nothing special compares ends of paths as text, so `**foo` matches `xfoo`; one at
    the end compares beginnings. Raises BadPattern.
    """
    kind = "exact"
    out: list[str] = []
    position = 0
    while position < len(pattern):
        start = position
        char = pattern[position]
        position += 1
        if char == "*" and pattern.startswith("*", position):
            position += 1
            if pattern.startswith("/", position):  # `**/` also matches no directory at all
                position += 1
            if position < len(pattern):
                out.append(_DIRECTORIES)
                kind = "regex"
            elif kind == "exact":
                kind = "prefix"
            else:
                out.append(".*")
                kind = "regex"
            if start == 0:
                kind = "suffix"
        elif char == "*":
            out.append(_STAR)
            kind = "regex"
        elif char == "?":
            out.append("[^/]")
            kind = "regex"
        elif char == "\\" and position < len(pattern):
            out.append("\\" + pattern[position])
            position += 1
            kind = "regex"
        elif char in "[]":
            out.append(char)
            kind = "regex"
        elif char in ".+()|{}$\\":
            out.append("\\" + char)
        else:
            out.append(char)
    return kind, _python_regex(pattern, _settled(out)) if kind == "regex" else ""


_ESCAPES = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": r"[\t\n\f\r ]", "S": r"[^\t\n\f\r ]", "b": r"\b"}
_ESCAPES |= {"B": r"\B", "A": r"\A", "z": r"\Z", "a": r"\a", "f": r"\f", "n": r"\n", "r": r"\r", "t": r"\t", "v": r"\v"}
_CLASS_ESCAPES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r ", "a": r"\a", "f": r"\f", "n": r"\n"}
_CLASS_ESCAPES |= {"r": r"\r", "t": r"\t", "v": r"\v"}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}


def _python_regex(pattern: str, regex: str) -> str:
    """Go's regular expression, as moby builds it from `pattern`, for Python's `re`. Raises BadPattern."""
    out: list[str] = []
    position = 0
    while position < len(regex):
        char = regex[position]
        position += 1
        if char == "\\":
            escaped = regex[position]
            position += 1
            out.append(_escape(pattern, escaped, _ESCAPES))
        elif char == "[":
            text, position = _regex_class(pattern, regex, position)
            out.append(text)
        else:
            out.append(re.escape(char) if char not in "^*?().:" else char)
    try:
        re.compile("".join(out))
    except re.error as cause:
        raise BadPattern(pattern) from cause
    return "".join(out)


def _escape(pattern: str, char: str, known: dict[str, str]) -> str:
    if char.isascii() and char.isalnum():
        if char not in known:
            raise BadPattern(
                pattern, hint=f"'\\{char}' means nothing; a backslash is only needed before * ? [ ] and \\"
            )
        return known[char]
    return re.escape(char)


def _regex_class(pattern: str, regex: str, position: int) -> tuple[str, int]:
    """A character class of Go's regular expressions, after its bracket: in Python's words, and the position behind."""
    negated = regex.startswith("^", position)
    position += negated
    members: list[str] = []
    first = True
    while first or not regex.startswith("]", position):
        if position >= len(regex):
            raise BadPattern(pattern, hint="a '[' opens a set of characters that ']' must close")
        first = False
        if posix := re.compile(r"\[:([a-z]+):\]").match(regex, position):
            if posix[1] not in _POSIX:
                raise BadPattern(pattern, hint=f"no character class is called {posix[1]!r}")
            members.append(_POSIX[posix[1]])
            position = posix.end()
            continue
        low, position = _regex_member(pattern, regex, position)
        if regex.startswith("-", position) and not regex.startswith("-]", position) and position + 1 < len(regex):
            high, position = _regex_member(pattern, regex, position + 1)
            members.append(f"{low}-{high}")
        else:
            members.append(low)
    return f"[{'^' if negated else ''}{''.join(members)}]", position + 1


def _regex_member(pattern: str, regex: str, position: int) -> tuple[str, int]:
    char = regex[position]
    if char != "\\":
        return re.escape(char), position + 1
    if position + 1 >= len(regex):
        raise BadPattern(pattern)
    return _escape(pattern, regex[position + 1], _CLASS_ESCAPES), position + 2


def _below(patterns: list[str]) -> re.Pattern[str] | None:
    """Matches the directories that may hold something that one of `patterns` matches; None if there are none.

    Component by component up to the first that may span several (`**`) or is hard to cut (`[`, a backslash).
    """
    alternatives: list[str] = []
    for pattern in patterns:
        components = pattern.split("/")
        chain = list(itertools.takewhile(_is_plain, components[:-1]))
        names = [re.escape(component).replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for component in chain]
        alternatives += ["/".join(names[: depth + 1]) for depth in range(len(names))]
        if len(chain) < len(components) - 1 or not _is_plain(components[-1]):
            alternatives.append("/".join([*names, ".*"]))
    return re.compile("|".join(alternatives), re.DOTALL) if alternatives else None


def _is_plain(component: str) -> bool:
    return "**" not in component and "[" not in component and "\\" not in component
