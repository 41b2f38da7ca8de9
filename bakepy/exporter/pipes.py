"""Pipes as outputs. Who reads may take its time, or never come: a thread that writes looks now and then whether it is
still wanted, so that an interrupt does not wait for the reader.
"""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from bakepy.content.patience import still_wanted

_LOOK_SECONDS = 0.1
_BUFFER = 1 << 18
_FLAGS = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC


@contextmanager
def named_pipe(path: Path) -> Iterator[BinaryIO]:
    """A pipe with a name, open for writing once somebody reads."""
    while True:
        try:
            fd = os.open(path, _FLAGS)
            break
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        still_wanted()
        time.sleep(_LOOK_SECONDS)
    with io.BufferedWriter(_Pipe(fd), _BUFFER) as out:
        yield out


@contextmanager
def patient(out: BinaryIO) -> Iterator[BinaryIO]:
    """What writes to where `out` does; `out` itself where that is no pipe, or one of another user's."""
    try:
        fd = out.fileno()
        # opened anew: that it does not block is nobody's business who shares it
        own = os.open(f"/proc/self/fd/{fd}", _FLAGS) if stat.S_ISFIFO(os.fstat(fd).st_mode) else -1
    except OSError:  # io.UnsupportedOperation is one: it has no descriptor
        own = -1
    if own < 0:
        yield out
        out.flush()
        return
    out.flush()
    with io.BufferedWriter(_Pipe(own), _BUFFER) as writer:
        yield writer


class _Pipe(io.RawIOBase):
    """The writing end of a pipe that does not block. It shows no descriptor: the kernel is not to copy into it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while True:
            try:
                return os.write(self._fd, data)
            except BlockingIOError:
                still_wanted()
                poll.poll(_LOOK_SECONDS * 1000)

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._fd)
