"""Threads that read and write many bytes look now and then whether somebody still waits for them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, TypeVar

from anyio.from_thread import check_cancelled

T = TypeVar("T")

PIECE = 16 << 20
"""At most so many bytes go by between two looks: a moment even on a slow disk."""


def still_wanted() -> None:
    """In a thread of `to_thread.run_sync` whose task was cancelled, raises the cancellation; else returns at once."""
    with contextlib.suppress(RuntimeError):  # a thread of another kind: its owner looks after it
        check_cancelled()


_MANY = 64
_BUFFER = 1 << 20


def while_wanted(items: Iterable[T]) -> Iterator[T]:
    """The same items; looks at every so many of them whether somebody still waits, as `still_wanted`."""
    for number, item in enumerate(items):
        if number % _MANY == 0:
            still_wanted()
        yield item


def file_digest(file: BinaryIO, algorithm: str) -> str:
    """The hexadecimal digest of the rest of a file."""
    total = hashlib.new(algorithm)
    try:
        size = os.fstat(file.fileno()).st_size
    except OSError:  # no file of the system's
        size = _BUFFER
    buffer = memoryview(bytearray(max(min(size, _BUFFER), 1)))  # most are small, and a buffer costs its size
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        total.update(buffer[:count])
        still_wanted()
    return total.hexdigest()
