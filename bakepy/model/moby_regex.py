"""The regular expressions that moby's patternmatcher makes of patterns, oddities included, and what they mean."""

from __future__ import annotations

import re
from dataclasses import replace

from bakepy.model.wildcards import ANYTHING, DIRECTORIES, NO_LINE_END, BadPattern, Part, literal


def translate(pattern: str) -> tuple[str, str]:
    """How the pattern is compared (`exact`, `prefix`, `suffix`, `regex`), and as a regular expression of Go.

    A `**` at the start followed by nothing special compares ends of paths as text, so `**foo` matches `xfoo`; one at
    the end compares beginnings. Braces and bars are not escaped, so in a pattern with a wildcard they mean what they
    mean in a regular expression (`a{2}*`, `a*|b`). A byte order mark in front is dropped by the scanner that reads it;
    what is compared as text keeps it.
    """
    pattern = pattern.removeprefix("\ufeff")
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
                out.append(_GO_DIRECTORIES)
                kind = "regex"
            elif kind == "exact":
                kind = "prefix"
            else:
                out.append(".*")
                kind = "regex"
            if start == 0:
                kind = "suffix"
        elif char == "*":
            out.append("[^/]*")
            kind = "regex"
        elif char == "?":
            out.append("[^/]")
            kind = "regex"
        elif char == "\\" and position < len(pattern):
            out.append("\\" + pattern[position])
            position += 1
            kind = "regex"
        elif char == "\\":  # it escapes the anchor
            out.append(r"\$[\s\S]*")
        elif char in "[]":
            out.append(char)
            kind = "regex"
        elif char in ".+()$":
            out.append("\\" + char)
        else:
            out.append(char)
    return kind, "".join(out) if kind == "regex" else ""


_GO_DIRECTORIES = "(.*/)?"
_ESCAPES = {"d": r"\d", "D": r"\D", "w": r"\w", "W": r"\W", "s": r"[\t\n\f\r ]", "S": r"[^\t\n\f\r ]", "b": r"\b"}
_ESCAPES |= {"B": r"\B", "A": r"\A", "z": r"\Z", "a": r"\a", "f": r"\f", "n": r"\n", "r": r"\r", "t": r"\t", "v": r"\v"}
_CLASS_ESCAPES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r ", "a": r"\a", "f": r"\f", "n": r"\n"}
_CLASS_ESCAPES |= {"r": r"\r", "t": r"\t", "v": r"\v"}
_CLASS_ESCAPES |= {"D": r"\x00-/:-\U0010ffff", "S": r"\x00-\x08\x0b\x0e-\x1f!-\U0010ffff"}
_CLASS_ESCAPES |= {"W": r"\x00-/:-@\[-^`{-\U0010ffff"}
_SETS = frozenset(_CLASS_ESCAPES[name] for name in "dwsDWS")
_CONTROLS = {r"\a": 7, r"\t": 9, r"\n": 10, r"\v": 11, r"\f": 12, r"\r": 13}
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


def alternatives(pattern: str, regex: str) -> list[list[Part]]:
    """Go's regular expression, as moby builds it from `pattern`. Raises BadPattern."""
    found: list[list[Part]] = [[]]
    position = 0
    while position < len(regex):
        char = regex[position]
        position += 1
        if char == "|":
            found.append([])
            continue
        if char == "\\":
            position += 1
            part = Part(_escape(pattern, regex[position - 1], _ESCAPES))
        elif char == "[":
            text, position = _regex_class(pattern, regex, position)
            part = Part(text)
        elif char == "^":
            part = Part(r"\A")
        elif char == ".":
            part = NO_LINE_END
        elif char == "(":
            part = DIRECTORIES
            position += len(_GO_DIRECTORIES) - 1
        elif char == "{" and (repeat := _REPEAT.match(regex, position)):
            position = repeat.end()
            found[-1] += _repeated(pattern, found, repeat)
            continue
        else:
            part = literal(char)
        if regex.startswith("*", position):
            position += 1
            part = replace(part, least=0, most=None)
        found[-1].append(part)
    if len(found) > 1:  # the anchors belong to the first and to the last
        found = [
            ([ANYTHING] if index else []) + parts + ([ANYTHING] if index < len(found) - 1 else [])
            for index, parts in enumerate(found)
        ]
    return found


_REPEAT = re.compile(r"(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}")
_MOST = 1000


def _repeated(pattern: str, found: list[list[Part]], repeat: re.Match[str]) -> list[Part]:
    """The last part, taken away, so many times; nothing if there is none but the beginning of the path."""
    if not found[-1] and len(found) == 1:
        return []
    least = int(repeat[1][:5])
    most = (int(repeat[3][:5]) if repeat[3] else None) if repeat[2] else least
    if not found[-1] or found[-1][-1].repeats or max(least, most or 0) > _MOST or (most is not None and least > most):
        raise BadPattern(pattern, hint="in a pattern with wildcards, {…} behind a character says how often it stands")
    return [replace(found[-1].pop(), least=least, most=most)]


def _escape(pattern: str, char: str, known: dict[str, str]) -> str:
    if not char.isascii() or char.isalnum():
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
        begins = regex.startswith("-", position) and not regex.startswith("-]", position) and position + 1 < len(regex)
        if begins and low not in _SETS:
            high, position = _regex_member(pattern, regex, position + 1)
            if high in _SETS or _code(high) < _code(low):
                raise BadPattern(pattern, hint="inside [...], a range goes from a character to a later one")
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


def _code(member: str) -> int:
    """The number of a single character in a class, which may have a backslash before it."""
    return _CONTROLS.get(member) or ord(member[-1])
