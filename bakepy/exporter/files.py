"""Bytes from file to file inside the kernel, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
    """A new file, open for writing; it becomes `goal` when the block ends well, else it vanishes.

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
    folder = os.open(goal.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with new_file(os.fsencode(goal.name), folder) as fd:
            yield fd
    finally:
        os.close(folder)


@contextmanager
def new_file(name: bytes, folder: int, mode: int = 0o666, clear: Callable[[], None] = lambda: None) -> Iterator[int]:
    """A new file without a name, open for writing; the file `name` of the open directory `folder` when the block ends
    well. Whoever is killed before leaves nothing there. `clear` is called before something is replaced."""
    flags = os.O_WRONLY | os.O_CLOEXEC
    beside = b".%s.%s" % (name[:200], os.urandom(6).hex().encode())
    try:
        fd = os.open(".", flags | os.O_TMPFILE, mode, dir_fd=folder)
    except OSError:  # not every file system has that; what else is wrong shows now
        fd = os.open(beside, flags | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
        named = True
    else:
        named = False
    try:
        try:
            yield fd
            if not named:
                try:
                    return _give_name(fd, name, folder)
                except FileExistsError:
                    _give_name(fd, beside, folder)
                    named = True
        finally:
            os.close(fd)
        clear()
        os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        if named:
            with suppress(FileNotFoundError):
                os.unlink(beside, dir_fd=folder)
        raise


def _give_name(fd: int, name: bytes, folder: int) -> None:
    # open(2) of O_TMPFILE has this way, which needs no right
    os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder, follow_symlinks=True)


def write_all(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[os.write(fd, view) :]
