"""A file tree into a directory of the user's (`type=local`).

Files are replaced whole, other files in the directory stay. Everything is done relative to open directories and no
symlink in the directory is ever followed, so a tree can not reach out of it. Owners are not kept: the files are the
caller's. What kind may replace what: BuildKit's fsutil, which removes a directory that is in a file's way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from bakepy.content.entry import LayerEntry
from bakepy.errors import BuildError, disk_hint
from bakepy.exporter.files import copy_range, new_file
from bakepy.model.value import dataclass

_XATTR_REFUSED = frozenset((errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE))
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True)
class _Open:
    """A directory that is being filled; mode and time are set when it is left. `fresh`: it was made by us."""

    path: bytes
    fd: int
    fresh: bool
    entry: LayerEntry | None = None


class DirectoryWriter:
    """Takes entries in path order (a directory before its content); a context manager. All methods block.

    Raises BuildError if the directory can not be written; what was written before stays.
    """

    def __init__(self, dest: Path) -> None:
        """`dest` and its parents are made if missing."""
        self._dest = dest
        self._open: list[_Open] = []
        self.files = 0
        self.size = 0
        """Files and bytes written."""

    def __enter__(self) -> DirectoryWriter:
        with self._explained(b""):
            fresh = not self._dest.exists()
            self._dest.mkdir(mode=0o755, parents=True, exist_ok=True)
            fd = os.open(self._dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open.append(_Open(b"", fd, fresh))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self._leave(down_to=1)
        finally:
            while self._open:
                os.close(self._open.pop().fd)

    def add(self, entry: LayerEntry) -> None:
        folder, _, name = entry.path.rpartition(b"/")
        with self._explained(entry.path):
            self._leave_all_but(folder)
            if entry.kind == "dir":
                self._enter_folder(entry, name)
            elif entry.kind == "hardlink":
                self._link(entry, name)
            else:
                self._place(entry, name)

    def _enter_folder(self, entry: LayerEntry, name: bytes) -> None:
        parent, fresh = self._open[-1], True
        try:
            os.mkdir(name, 0o700, dir_fd=parent.fd)
        except FileExistsError:
            fresh = False
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent.fd, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=parent.fd)
                os.mkdir(name, 0o700, dir_fd=parent.fd)
        self._open.append(_Open(entry.path, os.open(name, _FOLDER, dir_fd=parent.fd), fresh, entry))

    def _place(self, entry: LayerEntry, name: bytes) -> None:
        """A file, symlink, device or pipe: under its name in a folder that we made, else beside it and renamed."""
        parent = self._open[-1]
        if entry.kind == "symlink" and not parent.fresh and _leads_to(name, entry.linkname, parent.fd):
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent.fd, follow_symlinks=False)
        else:
            self._put(entry, name, parent)
        self.files += 1
        self.size += entry.size

    def _put(self, entry: LayerEntry, name: bytes, parent: _Open) -> None:
        if parent.fresh:
            try:
                self._create(entry, name, parent.fd)
            except FileExistsError:  # another target of this run writes here as well
                parent.fresh = False
        if not parent.fresh and entry.kind == "file":
            with new_file(name, parent.fd, 0o600, lambda: self._clear_folder(name)) as fd:
                _write_file(entry, fd)
        elif not parent.fresh:
            temporary = b"." + os.urandom(8).hex().encode()
            try:
                self._create(entry, temporary, parent.fd)
                self._clear_folder(name)
                os.rename(temporary, name, src_dir_fd=parent.fd, dst_dir_fd=parent.fd)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=parent.fd)
                raise

    def _create(self, entry: LayerEntry, name: bytes, parent: int) -> None:
        if entry.kind == "file":
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with _closing(os.open(name, flags, 0o600, dir_fd=parent)) as fd:
                _write_file(entry, fd)
            return
        if entry.kind == "symlink":
            os.symlink(entry.linkname, name, dir_fd=parent)
        else:
            kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[entry.kind]
            os.mknod(name, kind | entry.mode, os.makedev(entry.major, entry.minor), dir_fd=parent)
            os.chmod(name, entry.mode, dir_fd=parent)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=parent, follow_symlinks=False)

    def _link(self, entry: LayerEntry, name: bytes) -> None:
        root, parent = self._open[0], self._open[-1]
        if _exists(name, parent.fd):
            self._clear_folder(name)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent.fd)
        os.link(entry.linkname, name, src_dir_fd=root.fd, dst_dir_fd=parent.fd, follow_symlinks=False)
        self.files += 1

    def _clear_folder(self, name: bytes) -> None:
        """Removes a directory that is in the way; a file or symlink is replaced by the rename itself."""
        parent = self._open[-1].fd
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                shutil.rmtree(os.fsdecode(name), dir_fd=parent)

    def _leave_all_but(self, folder: bytes) -> None:
        while len(self._open) > 1 and self._open[-1].path != folder:
            self._leave(down_to=len(self._open) - 1)
        if self._open[-1].path != folder:
            raise BuildError(f"{folder.decode(errors='replace')} is used before it is made")

    def _leave(self, down_to: int) -> None:
        while len(self._open) > down_to:
            opened = self._open.pop()
            try:
                if (entry := opened.entry) is not None:
                    _set_xattrs(opened.fd, entry.xattrs)
                    os.fchmod(opened.fd, entry.mode)
                    os.utime(opened.fd, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(opened.fd)

    @contextlib.contextmanager
    def _explained(self, path: bytes) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            place = self._dest / os.fsdecode(path)
            raise BuildError(
                f"can not write {place}: {error.strerror or error}", hint=disk_hint(error.errno, str(self._dest))
            ) from error


def _write_file(entry: LayerEntry, fd: int) -> None:
    if entry.size:
        if entry.source is None:
            raise BuildError(f"no content for {entry.path.decode(errors='replace')}")
        with _closing(os.open(entry.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)) as source:
            copy_range(source, fd, entry.size, entry.path.decode(errors="replace"))
    _set_xattrs(fd, entry.xattrs)
    os.fchmod(fd, entry.mode)
    os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def prune(dest: Path, keep: Mapping[bytes, str]) -> None:
    """Removes what is in the directory `dest` but not in `keep` (paths to kinds of entries). Follows no symlink.

    Nothing to do if there is no such directory. Raises BuildError if something can not be removed.
    """
    try:
        try:
            fd = os.open(dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            _prune(fd, b"", keep)
        finally:
            os.close(fd)
    except OSError as error:
        raise BuildError(f"can not empty {dest}: {error.strerror or error}") from error


def _prune(folder: int, prefix: bytes, keep: Mapping[bytes, str]) -> None:
    for name in os.listdir(folder):
        path = prefix + os.fsencode(name)
        is_folder = stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        if path not in keep:
            if is_folder:
                shutil.rmtree(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        elif is_folder and keep[path] == "dir":
            below = os.open(name, _FOLDER, dir_fd=folder)
            try:
                _prune(below, path + b"/", keep)
            finally:
                os.close(below)


def _leads_to(name: bytes, goal: bytes, folder: int) -> bool:
    """Whether there is a symlink of that name to `goal` already."""
    try:
        return os.readlink(name, dir_fd=folder) == goal
    except OSError:
        return False  # nothing there, or no symlink


def _exists(name: bytes, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _set_xattrs(fd: int, xattrs: Mapping[str, bytes]) -> None:
    """What the file system or our rights do not allow is left out, as in BuildKit."""
    for name, value in xattrs.items():
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in _XATTR_REFUSED:
                raise
