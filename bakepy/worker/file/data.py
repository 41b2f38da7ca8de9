"""The bytes of one file to another: by reference where the file system can, in the kernel, or through memory.

`FICLONE`: linux/fs.h; the kernel tells with errno what it can not do between these two files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

from bakepy.snapshot.threads import Stopped

_FICLONE = 0x40049409
_SMALL = 64 << 10
"""Below this a read and a write are cheaper than asking the kernel for more."""
_PIECE = 16 << 20
_CAN_NOT = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EBADF}


def umask() -> int:
    """This process's umask, read without changing it."""
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o777


class DataCopier:
    """Copies contents; remembers what the kernel refused, so as not to ask again for every file."""

    def __init__(self) -> None:
        self._clones = True
        self._ranges = True

    def copy(self, reader: int, writer: int, size: int, stop: threading.Event) -> bool:
        """Copies all of `reader`, expected to have `size` bytes, to the empty file `writer`; False if it has not."""
        if size < _SMALL:
            data = os.read(reader, size + 1)
            if len(data) == size:
                if data:
                    _write(writer, data)
                return True
            os.lseek(reader, 0, os.SEEK_SET)
        elif self._clone(reader, writer):
            return os.fstat(writer).st_size == size
        actual = 0
        for start, end in _extents(reader):
            if start > actual:
                os.lseek(reader, start, os.SEEK_SET)
                os.lseek(writer, start, os.SEEK_SET)
            actual = self._range(reader, writer, start, end, stop)
        end = os.fstat(reader).st_size
        if actual < end:
            os.truncate(writer, end)
        return end == size

    def _clone(self, reader: int, writer: int) -> bool:
        if self._clones:
            try:
                fcntl.ioctl(writer, _FICLONE, reader)
                return True
            except OSError as error:
                if error.errno not in _CAN_NOT:
                    raise
                self._clones = False
        return False

    def _range(self, reader: int, writer: int, position: int, end: int, stop: threading.Event) -> int:
        """Copies from `position` (both files stand there) to `end` or the end of the file; returns where it ended."""
        while position < end:
            if stop.is_set():
                raise Stopped
            count = min(_PIECE, end - position)
            if self._ranges:
                try:
                    done = os.copy_file_range(reader, writer, count)
                except OSError as error:
                    if error.errno not in _CAN_NOT:
                        raise
                    self._ranges = False
                    continue
            else:
                data = os.read(reader, min(count, 1 << 20))
                _write(writer, data)
                done = len(data)
            if not done:
                break
            position += done
        return position


def _write(writer: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(writer, view) :]


def _extents(fd: int) -> list[tuple[int, int]]:
    """Where a file has data; one piece where that can not be told, or where it has no holes."""
    facts = os.fstat(fd)
    size = facts.st_size
    if facts.st_blocks * 512 >= size:
        return [(0, size)] if size else []
    extents = []
    position = 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole follows
                break
            if error.errno == errno.EINVAL:
                return [(0, size)]
            raise
        position = os.lseek(fd, start, os.SEEK_HOLE)
        extents.append((start, position))
    os.lseek(fd, 0, os.SEEK_SET)
    return extents
