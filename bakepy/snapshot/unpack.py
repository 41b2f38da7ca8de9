"""Layers onto directories: the entries of a layer applied below a root that they can not leave.

Names are opened below the root by openat2 with RESOLVE_IN_ROOT, so `..` and symlinks, the layer's own or others', end
inside; nothing is ever opened through the last component of a name. With `mark`, deletions become overlayfs's own
marks (a layer in a directory of its own); without, what is deleted is removed (a layer applied onto a whole tree).
"""

# Names are bytes here, as the kernel has them; pathlib has none.
# ruff: noqa: PTH116, PTH118, PTH208

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from bakepy.content.entry import OPAQUE_WHITEOUT, WHITEOUT_PREFIX, LayerEntry
from bakepy.content.tar_stream import EntryContent
from bakepy.errors import BuildError
from bakepy.snapshot import syscalls, usernamespace
from bakepy.snapshot.overlay import opaque_xattr
from bakepy.snapshot.tree import CAPABILITY, OVERLAY_XATTRS, copy_facts, remove_tree

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_OPEN_FOLDERS = 64

_MACHINES_OWN = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
)
"""No fault of a layer."""


class Unpacker:
    """Applies one layer below `root`. A context manager: it holds directories open.

    `implied` are directories that the layer needs but does not have, as (path), lowest first: made 0755 0:0, their
    facts are for the caller to take from the layers below (`adopt_facts`).
    """

    def __init__(self, root: Path, *, mark: bool) -> None:
        self._root_path = root
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._mark = mark
        self._marker = opaque_xattr()
        self._restricted = usernamespace.is_inside()
        self._folders: dict[bytes, int] = {}
        self._times: dict[bytes, int] = {}
        self._unpacked: set[bytes] = set()
        self._stale = False
        self.implied: list[bytes] = []
        self.left_out: list[bytes] = []

    def __enter__(self) -> Unpacker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._forget_folders()
        os.close(self._root)

    def apply(self, items: Iterable[tuple[LayerEntry, EntryContent | None]]) -> None:
        """Applies all entries, then sets the times of directories. Raises BuildError for a name that can not be
        made (a file in the way of a directory, a hard link to nothing)."""
        for entry, content in items:
            if not entry.path:
                continue  # the root's own mode and owner are not a layer's to change
            if self._restricted and entry.kind in ("char", "block"):
                # only the machine's root makes devices; the layer itself, as a blob, still has it
                self.left_out.append(entry.path)
                continue
            try:
                self._apply(entry, content)
            except OSError as error:
                if error.errno in _MACHINES_OWN:
                    raise
                shown = entry.path.decode(errors="replace")
                unowned = usernamespace.unowned(error, entry.uid, entry.gid)
                raise BuildError(
                    f"layer can not be unpacked: {shown}: {unowned.what if unowned else error.strerror}",
                    hint=unowned.mend if unowned else "",
                ) from error
        for path, mtime in sorted(self._times.items(), reverse=True):
            head, _, base = path.rpartition(b"/")
            with contextlib.suppress(FileNotFoundError):  # a later entry of the same layer replaced it
                os.utime(base, ns=(mtime, mtime), dir_fd=self._folder(head), follow_symlinks=False)
        self.implied = [path for path in self.implied if path not in self._times]

    def _apply(self, entry: LayerEntry, content: EntryContent | None) -> None:
        if self._stale:
            self._forget_folders()
        head, _, name = entry.path.rpartition(b"/")
        if name in (b".", b".."):
            raise BuildError(f"layer has an entry named {entry.path.decode(errors='replace')}")
        folder = self._folder(head, make=True)
        if name == OPAQUE_WHITEOUT:
            self._opaque(head, folder)
        elif name.startswith(WHITEOUT_PREFIX):
            target = name[len(WHITEOUT_PREFIX) :]
            # `.wh..wh.` names are aufs's own records: neither files nor deletions
            if not target.startswith(WHITEOUT_PREFIX):
                self._whiteout(head, folder, target)
        else:
            self._make(entry, content, folder, name)
            self._unpacked.add(entry.path)

    def _make(self, entry: LayerEntry, content: EntryContent | None, folder: int, name: bytes) -> None:
        try:
            self._create(entry, content, folder, name)
        except FileExistsError:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            whiteout = stat.S_ISCHR(found.st_mode) and found.st_rdev == 0
            if not (stat.S_ISDIR(found.st_mode) and entry.kind == "dir"):
                self._remove(folder, name)
                self._create(entry, content, folder, name)
                if whiteout and self._mark and entry.kind == "dir":
                    self._mark_opaque(folder, name)
        if entry.kind != "hardlink":
            self._dress(entry, folder, name)

    def _create(self, entry: LayerEntry, content: EntryContent | None, folder: int, name: bytes) -> None:
        match entry.kind:
            case "file":
                self._write(entry, content, folder, name)
            case "dir":
                os.mkdir(name, 0o700, dir_fd=folder)
            case "symlink":
                os.symlink(entry.linkname, name, dir_fd=folder)
            case "hardlink":
                head, _, target = entry.linkname.rpartition(b"/")
                os.link(target, name, src_dir_fd=self._folder(head), dst_dir_fd=folder, follow_symlinks=False)
            case "char":
                os.mknod(name, 0o600 | stat.S_IFCHR, os.makedev(entry.major, entry.minor), dir_fd=folder)
            case "block":
                os.mknod(name, 0o600 | stat.S_IFBLK, os.makedev(entry.major, entry.minor), dir_fd=folder)
            case "fifo":
                os.mknod(name, 0o600 | stat.S_IFIFO, dir_fd=folder)
            case _:
                raise BuildError(f"layer has an entry of unknown kind '{entry.kind}'")

    def _write(self, entry: LayerEntry, content: EntryContent | None, folder: int, name: bytes) -> None:
        """A regular file with all its facts, by descriptor: nothing is looked up twice."""
        fd = os.open(name, _CREATE, 0o600, dir_fd=folder)
        try:
            if content is not None:
                content.copy_to(fd)
            elif entry.data:
                os.write(fd, entry.data)
            os.fchown(fd, entry.uid, entry.gid)
            os.fchmod(fd, entry.mode)
            for key, value in entry.xattrs.items():
                _set_xattr(fd, key, value)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _dress(self, entry: LayerEntry, folder: int, name: bytes) -> None:
        """Owner, mode, xattrs and time of everything but files and hard links."""
        if entry.kind == "file":
            return
        os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        if entry.kind != "symlink":
            os.chmod(name, entry.mode, dir_fd=folder)
        for key, value in entry.xattrs.items():
            _set_xattr(b"/proc/self/fd/%d/" % folder + name, key, value)
        if entry.kind == "dir":
            self._times[entry.path] = entry.mtime_ns
        else:
            os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _opaque(self, head: bytes, folder: int) -> None:
        if self._mark:
            if head:
                parent, _, name = head.rpartition(b"/")
                self._mark_opaque(self._folder(parent), name)
            return
        for name in os.listdir(b"/proc/self/fd/%d" % folder):
            if (head + b"/" + name if head else name) not in self._unpacked:
                self._remove(folder, name)

    def _whiteout(self, head: bytes, folder: int, target: bytes) -> None:
        if target in (b"", b".", b".."):
            raise BuildError(f"layer deletes an impossible name: {(head + b'/' + target).decode(errors='replace')}")
        path = head + b"/" + target if head else target
        if path in self._unpacked:
            return  # a layer deletes what is below it, never what it brings itself
        if self._mark:
            # it may be there: twice the same deletion, or a directory that its own content implied
            with contextlib.suppress(FileExistsError):
                os.mknod(target, stat.S_IFCHR, 0, dir_fd=folder)
        else:
            with contextlib.suppress(FileNotFoundError):
                self._remove(folder, target)

    def _remove(self, folder: int, name: bytes) -> None:
        # what was removed may have led to directories that are held open; those in use right now stay
        self._stale = True
        try:
            os.unlink(name, dir_fd=folder)
        except IsADirectoryError:
            remove_tree(Path(os.fsdecode(b"/proc/self/fd/%d/" % folder + name)))

    def _folder(self, path: bytes, *, make: bool = False) -> int:
        """A descriptor of the directory `path`; made with its parents if it is missing and `make`."""
        if not path:
            return self._root
        known = self._folders.pop(path, None)
        if known is not None:
            self._folders[path] = known  # the last in order is the last to be closed
            return known
        try:
            fd = syscalls.openat2(self._root, path, os.O_PATH | os.O_DIRECTORY, resolve=_RESOLVE)
        except FileNotFoundError:
            if not make:
                raise
            head, _, name = path.rpartition(b"/")
            folder = self._folder(head, make=True)
            os.mkdir(name, 0o755, dir_fd=folder)
            os.chmod(name, 0o755, dir_fd=folder)
            self.implied.append(path)
            fd = syscalls.openat2(self._root, path, os.O_PATH | os.O_DIRECTORY, resolve=_RESOLVE)
        if len(self._folders) >= _OPEN_FOLDERS:
            os.close(self._folders.pop(next(iter(self._folders))))
        self._folders[path] = fd
        return fd

    def _forget_folders(self) -> None:
        for fd in self._folders.values():
            os.close(fd)
        self._folders.clear()
        self._stale = False

    def _mark_opaque(self, folder: int, name: bytes) -> None:
        os.setxattr(b"/proc/self/fd/%d/" % folder + name, self._marker, b"y", follow_symlinks=False)


def _set_xattr(target: int | bytes, key: str, value: bytes) -> None:
    """Sets an attribute if this file system and this user may have it, as containerd does; a layer can not bring
    overlayfs's own attributes, which would redirect or hide what is not its own."""
    if key.startswith(OVERLAY_XATTRS):
        return
    try:
        if isinstance(target, int):
            os.setxattr(target, key, value)
        else:
            os.setxattr(target, key, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM) or key == CAPABILITY:
            raise


def adopt_facts(root: Path, implied: Iterable[bytes], lowers: Iterable[Path]) -> None:
    """Gives the implied directories of a layer the facts that they have in `lowers` (topmost first)."""
    below = tuple(lowers)
    for path in implied:
        for lower in below:
            source = os.path.join(os.fsencode(lower), path)
            try:
                facts = os.stat(source, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if stat.S_ISDIR(facts.st_mode):
                copy_facts(source, os.path.join(os.fsencode(root), path), facts)
            break
