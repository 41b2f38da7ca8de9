"""Errors of a task group as the one error that a caller can do something about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def first_error() -> Iterator[None]:
    """Put round a task group: what the first failing task raised is raised, without the group round it."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaf = _first_leaf(group)
        raise leaf from leaf.__cause__


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
