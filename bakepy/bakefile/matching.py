"""Patterns for names: `*`, `?`, `[a-z]`, `[^a-z]` and `\\`, where `*` does not go over a slash (Go's path.Match)."""

from __future__ import annotations


class PatternError(Exception):
    """A pattern is malformed."""


def is_pattern(text: str) -> bool:
    return any(each in text for each in "*?[]")


def match_path(pattern: str, name: str) -> bool:
    """Whether the whole of `name` fits. Raises PatternError, also where the mistake comes after a mismatch."""
    steps = _compile(pattern)
    reachable = {0}
    for character in name:
        following: set[int] = set()
        for position in _through_stars(steps, reachable):
            if position == len(steps):
                continue
            step = steps[position]
            if step is None:
                if character != "/":
                    following.add(position)
            elif character in step:
                following.add(position + 1)
        reachable = following
        if not reachable:
            return False
    return len(steps) in _through_stars(steps, reachable)


class _Any:
    """Every character but a slash."""

    def __contains__(self, character: str) -> bool:
        return character != "/"


class _Class:
    def __init__(self, negated: bool, ranges: list[tuple[str, str]]) -> None:
        self.negated = negated
        self.ranges = ranges

    def __contains__(self, character: str) -> bool:
        if character == "/":
            return False
        return any(low <= character <= high for low, high in self.ranges) != self.negated


_Step = str | _Any | _Class | None


def _through_stars(steps: list[_Step], positions: set[int]) -> set[int]:
    found = set(positions)
    for position in positions:
        while position < len(steps) and steps[position] is None:
            position += 1
            found.add(position)
    return found


def _compile(pattern: str) -> list[_Step]:
    """One step for each character; None is a star."""
    steps: list[_Step] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            steps.append(None)
        elif character == "?":
            steps.append(_Any())
        elif character == "[":
            step, position = _class(pattern, position)
            steps.append(step)
        elif character == "\\":
            if position == len(pattern):
                raise PatternError("it ends with a backslash")
            steps.append(pattern[position])
            position += 1
        else:
            steps.append(character)
    return steps


def _class(pattern: str, position: int) -> tuple[_Class, int]:
    negated = pattern.startswith("^", position)
    position += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", position)):
        low, position = _class_character(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _class_character(pattern, position + 1)
        ranges.append((low, high))
    return _Class(negated, ranges), position + 1


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    if position >= len(pattern) or pattern[position] in "-]":
        raise PatternError("a class in brackets is empty or not closed")
    if pattern[position] == "\\":
        position += 1
        if position >= len(pattern):
            raise PatternError("it ends with a backslash")
    if position + 1 >= len(pattern):
        raise PatternError("a bracket is not closed")
    return pattern[position], position + 1
