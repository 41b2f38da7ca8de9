"""`semvercmp`: whether a version satisfies a constraint, by the rules of Masterminds/semver."""

from __future__ import annotations

import re
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.functions.declare import FunctionError, declare
from bakepy.bakefile.node import Function
from bakepy.bakefile.values import Value
from bakepy.model.value import dataclass

_EXTRAS: Final = r"(?:-([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?(?:\+([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?"
_VERSION: Final = re.compile(rf"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?{_EXTRAS}\Z")
_PART: Final = r"[0-9xX*]+"
_PATTERN: Final = rf"v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?{_EXTRAS}"
_OPERATORS: Final = r"=<|=>|>=|<=|~>|!=|=|>|<|~|\^|"
_TERM: Final = re.compile(rf"\s*({_OPERATORS})\s*({_PATTERN})\s*")
_RANGE: Final = re.compile(rf"\s*({_PATTERN})\s+-\s+({_PATTERN})\s*")
_DIGITS: Final = 19
_LONGEST: Final = 1000
"""A version or a constraint has no more digits in a number, and no more characters."""
_SAME: Final = {"": "=", "=>": ">=", "=<": "<=", "~>": "~"}


@dataclass(frozen=True, slots=True)
class Version:
    major: int
    minor: int = 0
    patch: int = 0
    pre: str = ""

    @property
    def core(self) -> tuple[int, int, int]:
        return self.major, self.minor, self.patch

    @classmethod
    def parse(cls, text: str, argument: int) -> Version:
        found = _VERSION.match(text)
        if not found or any(
            part.isdigit() and len(part) > 1 and part[0] == "0" for part in (found[4] or "").split(".")
        ):
            raise FunctionError(f"{text!r} is no semantic version", argument)
        if any(len(part or "") > _DIGITS for part in found.group(1, 2, 3)):
            raise FunctionError(f"{text!r} has a number of more than {_DIGITS} digits", argument)
        return cls(int(found[1]), int(found[2] or 0), int(found[3] or 0), found[4] or "")

    def compare(self, other: Version) -> int:
        if self.core != other.core:
            return 1 if self.core > other.core else -1
        return _compare_pre(self.pre, other.pre)


def _compare_pre(one: str, two: str) -> int:
    """Numbers before words, fewer parts before more, none at all last."""
    if one == two:
        return 0
    if not one or not two:
        return 1 if not one else -1
    for mine, theirs in zip(one.split("."), two.split("."), strict=False):
        if mine == theirs:
            continue
        if mine.isdigit() and theirs.isdigit():
            return 1 if (len(mine), mine) > (len(theirs), theirs) else -1
        if mine.isdigit() or theirs.isdigit():
            return -1 if mine.isdigit() else 1
        return 1 if mine > theirs else -1
    return 1 if one.count(".") > two.count(".") else -1


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison; `open` tells from which part on the version is left open (1: minor, 2: patch, 3: nothing)."""

    operator: str
    version: Version
    open: int

    def holds(self, version: Version, pre_releases: bool) -> bool:
        if version.pre and not pre_releases:
            return False
        want = self.version
        order = version.compare(want)
        match self.operator:
            case "=":
                return self._tilde(version) if self.open < 3 else order == 0
            case "!=":
                return self._differs(version, order)
            case ">":
                return self._above(version, order)
            case "<":
                return order < 0
            case ">=":
                return order >= 0
            case "<=":
                if self.open == 3:
                    return order <= 0
                if version.major != want.major:
                    return version.major < want.major
                return self.open <= 1 or version.minor <= want.minor
            case "~":
                return self._tilde(version)
        return self._caret(version, order)

    def _differs(self, version: Version, order: int) -> bool:
        want = self.version
        if self.open == 3:
            return order != 0
        if version.major != want.major:
            return True
        if self.open <= 1:
            return False
        if version.minor != want.minor:
            return True
        return bool(version.pre or want.pre) and _compare_pre(version.pre, want.pre) != 0

    def _above(self, version: Version, order: int) -> bool:
        want = self.version
        if self.open == 3 or version.major != want.major:
            return order > 0 if self.open == 3 else version.major > want.major
        return self.open == 2 and version.minor > want.minor

    def _tilde(self, version: Version) -> bool:
        want = self.version
        if version.compare(want) < 0:
            return False
        if want.core == (0, 0, 0) and self.open in (0, 3):
            return True
        return version.major == want.major and (self.open <= 1 or version.minor == want.minor)

    def _caret(self, version: Version, order: int) -> bool:
        want = self.version
        if order < 0:
            return False
        if want.major > 0 or self.open == 1:
            return version.major == want.major
        if version.major > 0:
            return False
        if want.minor > 0 or self.open == 2:
            return version.minor == want.minor
        if version.minor > 0:
            return False
        return version.patch == want.patch


def _terms(text: str, whole: str) -> list[Term]:
    """The comparisons of one alternative, parted by blanks or commas."""
    for found in list(_RANGE.finditer(text)):
        text = text.replace(found[0], f">= {found[1]}, <= {found[7]} ", 1)
    terms: list[Term] = []
    position = 0
    while position < len(text):
        found_term = _TERM.match(text, position)
        if not found_term:
            raise FunctionError(f"{whole!r} is no version constraint", 1)
        terms.append(_term(found_term))
        ended = text[found_term.end() - 1].isspace()
        position = found_term.end()
        if text.startswith(",", position):
            position += 1
            if not text[position:].strip():
                raise FunctionError(f"{whole!r} is no version constraint", 1)
        elif position < len(text) and not ended:
            raise FunctionError(f"{whole!r} is no version constraint", 1)
    if not terms:
        raise FunctionError(f"{whole!r} is no version constraint", 1)
    return terms


def _term(found: re.Match[str]) -> Term:
    parts = [found[3], found[4], found[5]]
    known = 0
    while known < 3 and parts[known] is not None and parts[known] not in ("x", "X", "*"):
        known += 1
    numbers = []
    for part in parts[:known]:
        if not part.isdigit() or len(part) > _DIGITS:
            raise FunctionError(f"{found[2]!r} is no version", 1)
        numbers.append(int(part))
    major, minor, patch = (*numbers, 0, 0, 0)[:3]
    version = Version(major, minor, patch, found[6] or "")
    return Term(_SAME.get(found[1], found[1]), version, known)


def _semvercmp(version: Value, constraint: Value) -> Value:
    for argument, text in enumerate((version.raw, constraint.raw)):
        if len(text) > _LONGEST:
            raise FunctionError(f"a text of more than {_LONGEST} characters", argument)
    candidate = Version.parse(version.raw, 0)
    satisfied = False
    for alternative in constraint.raw.split("||"):
        terms = _terms(alternative, constraint.raw)
        pre_releases = any(term.version.pre for term in terms)
        satisfied = satisfied or all(term.holds(candidate, pre_releases) for term in terms)
    return v.boolean(satisfied)


FUNCTIONS: Final[dict[str, Function]] = {"semvercmp": declare("semvercmp", _semvercmp, v.STRING, v.STRING)}
