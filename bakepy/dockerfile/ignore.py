"""Ignore files (`.dockerignore`): text to patterns. What the patterns match is `model.patterns`' business."""

from __future__ import annotations

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.paths import clean
from bakepy.dockerfile.text import SPACE
from bakepy.model.patterns import BadPattern, PatternMatcher, check_glob
from bakepy.model.value import dataclass


def parse_ignore(text: str) -> tuple[str, ...]:
    """The patterns in order (moby: patternmatcher `ignorefile`).

    `#` in the first column begins a comment; blanks around a pattern and the slash in front are dropped, its path is
    made shortest; `!` may be followed by blanks.
    """
    patterns: list[str] = []
    for line in text.removeprefix("\ufeff").split("\n"):
        if line.startswith("#"):
            continue
        pattern = line.strip(SPACE)
        if not pattern:
            continue
        negated = pattern.startswith("!")
        if negated:
            pattern = pattern[1:].strip(SPACE)
        if pattern:
            pattern = clean(pattern)
            if len(pattern) > 1 and pattern.startswith("/"):
                pattern = pattern[1:]
        patterns.append("!" + pattern if negated else pattern)
    return tuple(patterns)


@dataclass(frozen=True, slots=True)
class Ignored:
    """What an ignore file hides. A pattern may have a fault that shows only when a path is compared with it, which is
    when files are read; `matcher` knows the patterns before it."""

    patterns: tuple[str, ...]
    matcher: PatternMatcher

    @classmethod
    def of(cls, patterns: tuple[str, ...], name: str) -> Ignored:
        """`name` is that of the file. Raises DockerfileError for a pattern that is none."""
        try:
            return cls(patterns, PatternMatcher(patterns))
        except BadPattern:
            good: list[str] = []
            for pattern in patterns:
                try:
                    check_glob(clean(pattern.strip(SPACE)).removeprefix("!"))
                except BadPattern as error:
                    raise DockerfileError(f"{name}: {error.what}", hint=error.hint) from error
            for pattern in patterns:
                try:
                    PatternMatcher([pattern])
                except BadPattern:
                    break
                good.append(pattern)
            return cls(patterns, PatternMatcher(good))

    @property
    def has_exceptions(self) -> bool:
        return any(pattern.startswith("!") for pattern in self.patterns)

    def hides(self, path: str) -> bool:
        """Whether `path` is known to match."""
        return self.matcher.matches(path)
