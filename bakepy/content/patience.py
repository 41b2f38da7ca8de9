"""Threads that read and write many bytes look now and then whether somebody still waits for them."""

from __future__ import annotations

import contextlib
import hashlib
from typing import BinaryIO

from anyio.from_thread import check_cancelled

PIECE = 16 << 20
"""At most so many bytes go by between two looks: a moment even on a slow disk."""


def still_wanted() -> None:
    """In a thread of `to_thread.run_sync` whose task was cancelled, raises the cancellation; else returns at once."""
    with contextlib.suppress(RuntimeError):  # a thread of another kind: its owner looks after it
        check_cancelled()


def file_digest(file: BinaryIO, algorithm: str) -> str:
    """The hexadecimal digest of the rest of a file."""
    total = hashlib.new(algorithm)
    buffer = memoryview(bytearray(1 << 20))
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        total.update(buffer[:count])
        still_wanted()
    return total.hexdigest()
