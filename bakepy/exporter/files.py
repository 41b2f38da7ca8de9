"""Bytes from file to file inside the kernel, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bakepy.content.patience import PIECE, still_wanted
from bakepy.errors import BuildError

_NOT_THERE = frozenset((errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM))


def copy_range(source: int, goal: int, size: int, what: str) -> None:
    """Appends the first `size` bytes of `source` at the place where `goal` stands (a file, a pipe or a socket).

    Tries copy_file_range, which shares the blocks where the file system can, then sendfile. BuildError naming `what`
    if the source ends early.
    """
    offset = 0
    in_kernel = True
    while offset < size:
        still_wanted()
        count = min(PIECE, size - offset)
        if in_kernel:
            try:
                done = os.copy_file_range(source, goal, count, offset)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                in_kernel = False
                continue
        else:
            done = os.sendfile(goal, source, offset, count)
        if not done:
            raise BuildError(
                f"{what} changed while it was read", hint="let nothing write to the files while they are built"
            )
        offset += done


@contextmanager
def replacing(goal: Path) -> Iterator[int]:
    """A new file beside `goal`, open for writing; it becomes `goal` when the block ends well, else it vanishes.

    Parents are made. What is no regular file (a device, a pipe) can not be replaced and is written to.
    """
    if goal.exists() and not goal.is_file():
        fd = os.open(goal, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
        return
    goal = goal.resolve()
    goal.parent.mkdir(parents=True, exist_ok=True)
    temporary = goal.with_name(f".{goal.name[:200]}.{os.urandom(6).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            yield fd
        finally:
            os.close(fd)
        temporary.replace(goal)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(fd, view) :]
