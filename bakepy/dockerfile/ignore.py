"""Ignore files (`.dockerignore`): text to patterns. What the patterns match is `model.patterns`' business."""

from __future__ import annotations

from bakepy.dockerfile.paths import clean
from bakepy.dockerfile.text import SPACE


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
