"""Copies what a source names onto a place of the target tree, as BuildKit's fsutil does.

Folders are held open while their contents are copied, files are made by name inside them: 50,000 small files are
a matter of system calls per file, and no path is walked twice.
"""

# bytes names relative to open folders, which pathlib does not know
# ruff: noqa: PTH102, PTH108

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bakepy.errors import BuildError
from bakepy.model.filemode import SymbolicMode
from bakepy.snapshot.contenthash import Filter, Match, pick
from bakepy.snapshot.filetree import FileTree, Node, show, unreadable
from bakepy.snapshot.threads import Stopped
from bakepy.snapshot.tree import remove_tree
from bakepy.source.local import changed
from bakepy.worker.file.data import DataCopier, umask
from bakepy.worker.file.target import Owner, Target
from bakepy.worker.file.xattrs import read_xattrs, write_xattrs

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How things are copied. `mode` are octal bits for all but symlinks, `symbolic` changes each one's own mode;
    None keeps what the source has. `time_ns` None keeps the times of the source."""

    owner: Owner | None = None
    mode: int | None = None
    symbolic: SymbolicMode | None = None
    time_ns: int | None = None
    contents: bool = True
    replace: bool = False
    """Whatever is in the way of a source entry is removed, folders too."""

    def mode_of(self, node: Node) -> int:
        if self.symbolic is not None:
            return self.symbolic.apply(node.mode, is_dir=node.is_dir)
        return node.mode & 0o7777 if self.mode is None else self.mode


class _Folder:
    """A folder of the source on its way: both ends open, its own facts written when it is left."""

    __slots__ = ("depth", "fd", "fresh", "inherits", "node", "path", "settle", "source_fd", "source_path")

    def __init__(self, path: bytes, source_path: bytes, node: Node, depth: int) -> None:
        self.path = path
        self.source_path = source_path
        self.node = node
        self.depth = depth
        self.fd = self.source_fd = -1
        self.fresh = False
        """Made by this copy: nothing can be in the way inside."""
        self.inherits = False
        """Set-gid: what is made inside does not get the process's group."""
        self.settle: Callable[[], None] | None = None

    def close(self) -> None:
        for fd in (self.fd, self.source_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self.source_fd = -1


class Copier:
    """One copy action of an op. Blocking; stops with Stopped when `stop` is set."""

    def __init__(
        self, tree: FileTree, target: Target, options: CopyOptions, filter: Filter, stop: threading.Event
    ) -> None:
        self._tree = tree
        self._target = target
        self._options = options
        self._filter = filter
        self._stop = stop
        self._data = DataCopier()
        self._umask = umask()
        self._me = (os.geteuid(), os.getegid())
        self._links: dict[tuple[int, int], bytes] = {}

    def copy(self, match: Match, dest: str) -> None:
        """Copies `match` to `dest`, a path as the op writes it: below `dest` if that is a folder (or ends in a slash)
        and the source is not, else to that name. Raises BuildError with the rule that was broken."""
        options, target = self._options, self._target
        mode = 0o755 if options.mode is None else options.mode
        base = dest.rpartition("/")[2]
        parents = target.resolve(dest if base in ("", ".") else dest.rpartition("/")[0])
        made = target.make_folders(parents, mode, options.owner)
        place = target.resolve(dest)
        facts = target.facts(place)
        is_dir = match.node.is_dir
        if facts is not None and ((is_dir and not options.contents) or (not is_dir and stat.S_ISDIR(facts.st_mode))):
            name = match.written.rpartition(b"/")[2]
            place = b"/".join(part for part in (place, name) if part)
        if is_dir and options.contents and facts is None:
            made += target.make_folders(place, mode, options.owner)
        else:
            made += target.make_folders(place.rpartition(b"/")[0], mode, options.owner)
        # hard links are kept within one source
        self._links.clear()
        self._copy_tree(match, place)
        target.set_times(made, options.time_ns)

    # one source

    def _copy_tree(self, match: Match, place: bytes) -> None:
        picked = pick(self._tree, match, self._filter)
        top = match.path
        if not match.node.is_dir:
            self._copy_single(match, place)
            return
        stack: list[_Folder] = []
        try:
            for path, node, direct in picked:
                if self._stop.is_set():
                    raise Stopped
                depth = path.count(b"/") + 1 if path else 0
                while len(stack) > depth:
                    self._leave(stack.pop())
                name = path.rpartition(b"/")[2]
                source = top + b"/" + path if top and path else top or path
                if node.is_dir:
                    goal = place + b"/" + path if place and path else place or path
                    folder = _Folder(goal, source, node, depth)
                    stack.append(folder)
                    self._enter(folder, stack[-2] if depth else None, name, direct)
                else:
                    self._copy_entry(stack[-1], name, source, node)
            while stack:
                self._leave(stack.pop())
        finally:
            for folder in stack:
                folder.close()

    def _copy_single(self, match: Match, place: bytes) -> None:
        """A source that is no folder: made inside the folder of `place`, which exists."""
        parent, _, name = place.rpartition(b"/")
        source_parent = match.path.rpartition(b"/")[0]
        folder = _Folder(parent, source_parent, match.node, 0)
        try:
            folder.fd = os.open(self._target.path(parent), _FOLDER)
            folder.inherits = bool(os.fstat(folder.fd).st_mode & stat.S_ISGID)
            folder.source_fd = self._open_source(source_parent)
            if not name:
                raise BuildError("cannot replace to directory / with file")
            self._copy_entry(folder, name, match.path, match.node, match.path.rpartition(b"/")[2])
        finally:
            folder.close()

    # folders

    def _enter(self, folder: _Folder, parent: _Folder | None, name: bytes, direct: bool) -> None:
        """Makes sure that the folder is there. The topmost one keeps its mode and owner if it was there before; those
        below take mode, owner and time of the source, or only the mode if they just lead to something taken."""
        real = self._target.path(folder.path)
        there = None if parent is not None and parent.fresh else self._target.facts(folder.path)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            if not self._options.replace:
                raise BuildError(
                    f"cannot copy to non-directory: /{show(folder.path)}",
                    hint="a folder of the source meets a file or a symlink; copy to another place or remove it first",
                )
            os.unlink(real)
            there = None
        if there is None:
            os.mkdir(real, 0o700)
            folder.fresh = True
        folder.fd = os.open(real, _FOLDER)
        folder.source_fd = self._open_source(folder.source_path)
        folder.inherits = bool(os.fstat(folder.fd).st_mode & stat.S_ISGID)
        if parent is None and there is not None:
            time_ns = folder.node.mtime_ns if self._options.time_ns is None else self._options.time_ns
            # a context as a whole has no time: it is made anew for each build
            if folder.source_path or not self._tree.foreign or self._options.time_ns is not None:
                folder.settle = lambda: os.utime(folder.fd, ns=(time_ns, time_ns))
        elif direct:
            folder.settle = lambda: self._dress_folder(folder)
        elif folder.fresh:
            self._dress_folder(folder)
        else:
            os.fchmod(folder.fd, folder.node.mode & 0o7777)

    def _dress_folder(self, folder: _Folder) -> None:
        node = folder.node
        uid, gid = self._owner_of(node)
        os.fchown(folder.fd, uid, gid)
        os.fchmod(folder.fd, self._options.mode_of(node))
        if not self._tree.foreign:
            write_xattrs(folder.fd, read_xattrs(folder.source_fd))
        time_ns = node.mtime_ns if self._options.time_ns is None else self._options.time_ns
        os.utime(folder.fd, ns=(time_ns, time_ns))

    def _leave(self, folder: _Folder) -> None:
        try:
            if folder.settle is not None:
                folder.settle()
        finally:
            folder.close()

    def _open_source(self, path: bytes) -> int:
        try:
            return os.open(self._tree.path(path), _FOLDER)
        except OSError as error:
            raise unreadable(path, error) from error

    def _owner_of(self, node: Node) -> tuple[int, int]:
        owner = self._options.owner
        if owner is not None:
            return owner.uid, owner.gid
        return (0, 0) if self._tree.foreign else (node.uid, node.gid)

    # everything else

    def _copy_entry(
        self, folder: _Folder, name: bytes, source: bytes, node: Node, source_name: bytes | None = None
    ) -> None:
        if not folder.fresh:
            self._clear(folder, name)
        kind = stat.S_IFMT(node.mode)
        if kind == stat.S_IFREG:
            self._copy_file(folder, name, source, node, name if source_name is None else source_name)
            return
        if kind == stat.S_IFLNK:
            os.symlink(self._tree.link(source, node), name, dir_fd=folder.fd)
        else:
            # as BuildKit does: a block device becomes a character device, a socket an empty file
            os.mknod(name, node.mode & ~stat.S_IFSOCK, node.rdev, dir_fd=folder.fd)
        uid, gid = self._owner_of(node)
        os.chown(name, uid, gid, dir_fd=folder.fd, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            os.chmod(name, self._options.mode_of(node), dir_fd=folder.fd)
        if not self._tree.foreign:
            write_xattrs(self._inside(folder, name), read_xattrs(self._tree.path(source)))
        time_ns = node.mtime_ns if self._options.time_ns is None else self._options.time_ns
        os.utime(name, ns=(time_ns, time_ns), dir_fd=folder.fd, follow_symlinks=False)

    def _inside(self, folder: _Folder, name: bytes) -> bytes:
        return self._target.path(folder.path + b"/" + name if folder.path else name)

    def _clear(self, folder: _Folder, name: bytes) -> None:
        """Removes what a file is about to replace: never written through, never merged."""
        try:
            mode = os.lstat(name, dir_fd=folder.fd).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            os.unlink(name, dir_fd=folder.fd)
        elif self._options.replace:
            remove_tree(Path(os.fsdecode(self._inside(folder, name))))
        else:
            raise BuildError(
                f"cannot replace to directory /{show(folder.path + b'/' + name if folder.path else name)} with file",
                hint="a file or symlink of the source meets a folder; copy to another place or remove it first",
            )

    def _copy_file(self, folder: _Folder, name: bytes, source: bytes, node: Node, source_name: bytes) -> None:
        if node.nlink > 1:
            first = self._links.setdefault((node.device, node.inode), self._inside(folder, name))
            if first != self._inside(folder, name):
                os.link(first, name, dst_dir_fd=folder.fd, follow_symlinks=False)
                return
        try:
            # non-blocking, in case that it is a fifo by now
            reader = os.open(
                source_name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder.source_fd
            )
        except OSError as error:
            raise (changed(source) if self._tree.foreign else unreadable(source, error)) from error
        try:
            mode = self._options.mode_of(node)
            writer = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o777, dir_fd=folder.fd)
            try:
                complete = self._data.copy(reader, writer, node.size, self._stop)
                if self._tree.foreign and not (complete and node.same_content(os.fstat(reader))):
                    raise changed(source)
                owner = self._owner_of(node)
                if owner != self._me or folder.inherits:
                    os.fchown(writer, *owner)
                if mode & ~0o777 or mode & self._umask:
                    os.fchmod(writer, mode)
                if not self._tree.foreign:
                    write_xattrs(writer, read_xattrs(reader))
                time_ns = node.mtime_ns if self._options.time_ns is None else self._options.time_ns
                os.utime(writer, ns=(time_ns, time_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)
