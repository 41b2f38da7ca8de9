"""ADD of archives: a tar, plain or compressed, unpacked with the destination as its root.

What the archive says is applied below the destination and nowhere else: names are opened with openat2 and
RESOLVE_IN_ROOT, so that `..`, absolute names and symlinks, the archive's own or others', end inside.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bakepy.content.entry import LayerEntry
from bakepy.content.tar_stream import EntryContent
from bakepy.errors import BuildError
from bakepy.snapshot import syscalls, usernamespace
from bakepy.snapshot.contenthash import Match
from bakepy.snapshot.filetree import FileTree, show, unreadable
from bakepy.snapshot.threads import Stopped
from bakepy.snapshot.tree import remove_tree
from bakepy.snapshot.xattrs import is_kept, write_xattrs
from bakepy.source.local import changed
from bakepy.worker.file.archive import is_archive, members
from bakepy.worker.file.target import Owner, Target

_FOLDER = os.O_PATH | os.O_DIRECTORY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_MAX_TIME_NS = (1 << 63) - 1
_OPEN_FOLDERS = 64


def unpack_archive(
    target: Target,
    dest: str,
    source: FileTree,
    match: Match,
    owner: Owner | None,
    time_ns: int | None,
    stop: threading.Event,
) -> bool:
    """Unpacks `match` into the folder `dest`, made if it is missing; False, and nothing done, if it is no archive.

    An archive is a file that begins, perhaps after decompression, with a member of a tar; its name does not matter.
    All members belong to `owner` if there is one.
    """
    if not match.node.is_file or match.node.size < 4:
        return False
    with _open(source, match) as file:
        if not is_archive(file):
            return False
        path = target.resolve(dest)
        made = target.make_folders(path, 0o755, owner)
        with _Unpacker(Path(os.fsdecode(target.path(path))), owner) as unpacker:
            for entry, content in members(file):
                if stop.is_set():
                    raise Stopped
                unpacker.add(entry, content)
        if source.foreign and not match.node.same_content(os.fstat(file.fileno())):
            raise changed(match.path)
        target.set_times(made, time_ns)
    return True


@contextmanager
def _open(source: FileTree, match: Match) -> Iterator[BinaryIO]:
    try:
        fd = os.open(source.path(match.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise unreadable(match.path, error) from error
    with open(fd, "rb") as file:  # noqa: PTH123
        yield file


class _Unpacker:
    """Makes members below `root`; a context manager that at its end sets the times of folders."""

    def __init__(self, root: Path, owner: Owner | None) -> None:
        self._root_path = root
        self._root = -1
        self._owner = owner
        self._folders: dict[bytes, int] = {}
        self._times: dict[bytes, int] = {}

    def __enter__(self) -> _Unpacker:
        self._root = os.open(self._root_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for path, time_ns in self._times.items():
                    self._set_time(path, time_ns)
        finally:
            self._forget()
            os.close(self._root)

    def add(self, entry: LayerEntry, content: EntryContent | None) -> None:
        """Makes one member; what is in its way is removed, but a folder stays where a folder comes."""
        if not entry.path:
            return  # the root of the archive: the destination is as it is
        try:
            self._add(entry, content)
        except OSError as error:
            what, hint = self._explain(error, entry)
            raise BuildError(f"can not unpack /{show(entry.path)}: {what}", hint=hint) from error

    def _add(self, entry: LayerEntry, content: EntryContent | None) -> None:
        head, _, name = entry.path.rpartition(b"/")
        folder = self._folder(head)
        there = _lstat(folder, name)
        if there is not None and not (stat.S_ISDIR(there.st_mode) and entry.kind == "dir"):
            self._remove(folder, name, there)
            there = None
        if entry.kind == "file":
            self._write(entry, content, folder, name)
            return
        if there is None:
            self._make(entry, folder, name)
        if entry.kind == "hardlink" and stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return
        uid, gid = (entry.uid, entry.gid) if self._owner is None else (self._owner.uid, self._owner.gid)
        os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
        write_xattrs(b"/proc/self/fd/%d/%b" % (folder, name), _xattrs(entry))
        if entry.kind != "symlink":
            os.chmod(name, entry.mode, dir_fd=folder)
        if entry.kind == "dir":
            self._times[entry.path] = _time(entry)
        else:
            os.utime(name, ns=(_time(entry), _time(entry)), dir_fd=folder, follow_symlinks=False)

    def _explain(self, error: OSError, entry: LayerEntry) -> tuple[str, str]:
        uid, gid = (entry.uid, entry.gid) if self._owner is None else (self._owner.uid, self._owner.gid)
        if unowned := usernamespace.unowned(error, uid, gid):
            return unowned.what, unowned.mend
        if entry.kind in ("char", "block") and usernamespace.is_inside():
            return "an ordinary user can not make devices", "unpack it as root, or without them"
        return (error.strerror or str(error)).lower(), "names and links of an archive end inside of it"

    def _make(self, entry: LayerEntry, folder: int, name: bytes) -> None:
        match entry.kind:
            case "dir":
                os.mkdir(name, 0o700, dir_fd=folder)
            case "symlink":
                os.symlink(entry.linkname, name, dir_fd=folder)
            case "hardlink":
                head, _, linked = entry.linkname.rpartition(b"/")
                source = syscalls.openat2(self._root, head or b".", _FOLDER, resolve=_RESOLVE)
                try:
                    os.link(linked, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
                finally:
                    os.close(source)
            case _:
                kind = {"char": stat.S_IFCHR, "block": stat.S_IFBLK, "fifo": stat.S_IFIFO}[entry.kind]
                os.mknod(name, 0o600 | kind, os.makedev(entry.major, entry.minor), dir_fd=folder)

    def _write(self, entry: LayerEntry, content: EntryContent | None, folder: int, name: bytes) -> None:
        fd = os.open(name, _CREATE, 0o600, dir_fd=folder)
        try:
            if content is not None:
                content.copy_to(fd)
            uid, gid = (entry.uid, entry.gid) if self._owner is None else (self._owner.uid, self._owner.gid)
            os.fchown(fd, uid, gid)
            write_xattrs(fd, _xattrs(entry))
            os.fchmod(fd, entry.mode)
            os.utime(fd, ns=(_time(entry), _time(entry)))
        finally:
            os.close(fd)

    def _folder(self, path: bytes) -> int:
        """The folder `path`, made with its parents (0755, root's) if there is nothing of that name."""
        if not path:
            return self._root
        known = self._folders.get(path)
        if known is not None:
            return known
        try:
            fd = syscalls.openat2(self._root, path, _FOLDER, resolve=_RESOLVE)
        except FileNotFoundError:
            head, _, name = path.rpartition(b"/")
            parent = self._folder(head)
            if _lstat(parent, name) is not None:
                raise  # a link that leads to nothing
            os.mkdir(name, 0o755, dir_fd=parent)
            os.chown(name, 0, 0, dir_fd=parent)
            os.chmod(name, 0o755 | os.stat(name, dir_fd=parent).st_mode & stat.S_ISGID, dir_fd=parent)
            fd = syscalls.openat2(self._root, path, _FOLDER, resolve=_RESOLVE)
        if len(self._folders) >= _OPEN_FOLDERS:
            self._forget()
        self._folders[path] = fd
        return fd

    def _remove(self, folder: int, name: bytes, there: os.stat_result) -> None:
        if stat.S_ISDIR(there.st_mode):
            remove_tree(Path(os.fsdecode(b"/proc/self/fd/%d/%b" % (folder, name))))
        else:
            os.unlink(name, dir_fd=folder)
        if not stat.S_ISREG(there.st_mode):
            # a folder, or a link on the way to one, is gone: what is held open may be another now
            for path in [path for path in self._folders if self._folders[path] != folder]:
                os.close(self._folders.pop(path))

    def _forget(self) -> None:
        for fd in self._folders.values():
            os.close(fd)
        self._folders.clear()

    def _set_time(self, path: bytes, time_ns: int) -> None:
        """Gives what is at the place of a folder of the archive the folder's time, be it another thing by now; if the
        way to it is gone, unpacking fails, as it does for BuildKit."""
        try:
            fd = syscalls.openat2(self._root, path, os.O_PATH | os.O_CLOEXEC, resolve=_RESOLVE)
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            raise BuildError(
                f"can not unpack /{show(path)}: {what}", hint="a later member replaced this folder of the archive"
            ) from error
        try:
            os.utime(b"/proc/self/fd/%d" % fd, ns=(time_ns, time_ns))
        finally:
            os.close(fd)


def _lstat(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _xattrs(entry: LayerEntry) -> list[tuple[str, bytes]]:
    return [(name, value) for name, value in entry.xattrs.items() if is_kept(name)]


def _time(entry: LayerEntry) -> int:
    return entry.mtime_ns if 0 <= entry.mtime_ns <= _MAX_TIME_NS else 0
