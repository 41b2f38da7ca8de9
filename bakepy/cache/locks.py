"""Locks on cache keys between runs, also those of other processes: one file, one locked byte for each key.

Open file description locks (`fcntl(2)`, F_OFD_SETLK) belong to the opened file: two runs in one process keep each
other out as two processes do, and the kernel gives them back when a process dies, however it dies.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

import anyio

from bakepy.errors import EngineError

POLL_SECONDS = (0.005, 0.2)
"""The first and the longest pause between looks at a lock that somebody else has."""
_FLOCK = struct.Struct("hhqqi4x")
"""struct flock with 64-bit offsets: type, whence, start, length, pid (0 for these locks)."""


class KeyLocks:
    """Locks of one run on the keys of one state root. Two keys share a byte once in 2**63 pairs: then one waits for
    the other, which costs time and nothing else."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the lock file. Raises EngineError if that is not possible."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            try:
                self._file = os.open(path, flags, 0o644)
            except IsADirectoryError:  # nothing of ours makes one
                path.rmdir()
                self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise EngineError(
                f"lock file {path}: {error.strerror}",
                hint="the state root must be a writable folder; choose another with --root or BAKEPY_ROOT",
            ) from error
        self._path = path
        self._held: set[int] = set()

    def close(self) -> None:
        """Gives all locks back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._held.clear()

    def __enter__(self) -> KeyLocks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def try_lock(self, key: str) -> HeldLock | None:
        """The lock of `key` (hexadecimal), or None if somebody has it, this run included."""
        offset = int(key[:16], 16) >> 1
        if offset in self._held or not self._set(fcntl.F_WRLCK, offset):
            return None
        self._held.add(offset)
        return HeldLock(self, offset)

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        """Waits until nobody has the lock of `what` (any text), and has it inside the block."""
        key = hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()
        pause, longest = POLL_SECONDS
        while (lock := self.try_lock(key)) is None:
            await anyio.sleep(pause)
            pause = min(pause * 1.5, longest)
        try:
            yield
        finally:
            lock.release()

    def _unlock(self, offset: int) -> None:
        if offset in self._held:
            self._held.remove(offset)
            self._set(fcntl.F_UNLCK, offset)

    def _set(self, kind: int, offset: int) -> bool:
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise EngineError(f"lock file {self._path}: {error.strerror}") from error
        return True


class HeldLock:
    """A lock that is held until `release`, which may be called again."""

    __slots__ = ("_locks", "_offset")

    def __init__(self, locks: KeyLocks, offset: int) -> None:
        self._locks = locks
        self._offset = offset

    def release(self) -> None:
        self._locks._unlock(self._offset)
