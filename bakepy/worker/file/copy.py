"""Copies what a source names onto a place of the target tree, as BuildKit's fsutil does.

First all folders are made, then what is in them, by name inside open folders (50,000 small files are a matter of system
calls per file), large files in threads, then folders get their own facts.
"""

# bytes names relative to open folders, which pathlib does not know
# ruff: noqa: PTH101, PTH102, PTH108

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bakepy.errors import BuildError
from bakepy.model.filemode import SymbolicMode
from bakepy.model.value import dataclass
from bakepy.snapshot.contenthash import LARGE, Filter, Match, pick
from bakepy.snapshot.filetree import FileTree, Node, show, unreadable
from bakepy.snapshot.threads import Stopped
from bakepy.snapshot.tree import remove_tree
from bakepy.snapshot.xattrs import read_xattrs, write_xattrs
from bakepy.source.local import changed
from bakepy.worker.file.data import DataCopier, umask
from bakepy.worker.file.target import Owner, Target

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


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
    """A folder of the source on its way, with what is to be made in it."""

    __slots__ = ("entries", "fresh", "inherits", "large", "linked", "node", "path", "settle", "source")

    def __init__(self, path: bytes, source: bytes, node: Node, *, fresh: bool, inherits: bool) -> None:
        self.path = path
        self.source = source
        self.node = node
        self.fresh = fresh
        """Made by this copy: nothing can be in the way inside."""
        self.inherits = inherits
        """Perhaps set-gid: what is made inside may not get the process's group."""
        self.entries: list[tuple[bytes, Node]] = []
        self.large: list[tuple[bytes, Node]] = []
        """Files that are copied beside the others."""
        self.linked: list[tuple[bytes, Node]] = []
        """Files that have other names as well; these may be among what is copied."""
        self.settle: Callable[[], None] | None = None


class _Ends:
    """A folder open at both ends. A context manager."""

    __slots__ = ("fd", "folder", "source_fd")

    def __init__(self, folder: _Folder) -> None:
        self.folder = folder
        self.fd = self.source_fd = -1

    def open(self, target: Target, tree: FileTree) -> _Ends:
        self.fd = os.open(target.path(self.folder.path), _FOLDER)
        try:
            self.source_fd = os.open(tree.path(self.folder.source), _FOLDER)
        except OSError as error:
            self.close()
            raise unreadable(self.folder.source, error) from error
        return self

    def close(self) -> None:
        for fd in (self.fd, self.source_fd):
            if fd >= 0:
                os.close(fd)


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
        if not match.node.is_dir:
            self._copy_single(match, place)
            return
        folders = self._make_folders(match, place)
        large = [(folder, [entry]) for folder in folders for entry in folder.large]
        pool = ThreadPoolExecutor(min(4, len(os.sched_getaffinity(0))), "copy")
        try:
            under_way = [pool.submit(self._copy_entries, *job) for job in large]
            # threads that do nothing but short system calls would keep each other waiting
            for folder in folders:
                self._copy_entries(folder, folder.entries)
            for work in under_way:
                work.result()
        finally:
            pool.shutdown(cancel_futures=True)
        # one after the other, so that the first name in order is the file
        for folder in folders:
            self._copy_entries(folder, folder.linked)
        for folder in reversed(folders):
            if folder.settle is not None:
                folder.settle()

    def _make_folders(self, match: Match, place: bytes) -> list[_Folder]:
        """Makes all folders of the source, outermost first, and notes what is to be made in each."""
        folders: list[_Folder] = []
        stack: list[_Folder] = []
        picked = pick(self._tree, match, self._filter)
        for number, (path, node, direct) in enumerate(picked):
            depth = path.count(b"/") + 1 if path else 0
            del stack[depth:]
            if node.is_dir:
                if self._stop.is_set():
                    raise Stopped
                source = match.path + b"/" + path if match.path and path else match.path or path
                goal = place + b"/" + path if place and path else place or path
                if not direct:
                    self._look_through(goal, picked[number + 1].node.name)
                stack.append(self._enter(goal, source, node, stack[-1] if depth else None, direct))
                folders.append(stack[-1])
            elif node.nlink > 1 and node.is_file:
                stack[-1].linked.append((node.name, node))
            elif node.size >= LARGE and node.is_file:
                stack[-1].large.append((node.name, node))
            else:
                stack[-1].entries.append((node.name, node))
        return folders

    def _copy_single(self, match: Match, place: bytes) -> None:
        """A source that is no folder: made inside the folder of `place`, which exists."""
        parent, _, name = place.rpartition(b"/")
        if not name:
            raise BuildError("cannot replace to directory / with file")
        source, _, source_name = match.path.rpartition(b"/")
        folder = _Folder(parent, source, match.node, fresh=False, inherits=True)
        ends = _Ends(folder).open(self._target, self._tree)
        try:
            self._copy_entry(ends, name, source_name, match.node)
        finally:
            ends.close()

    # folders

    def _enter(self, path: bytes, source: bytes, node: Node, parent: _Folder | None, direct: bool) -> _Folder:
        """Makes sure that the folder is there. The topmost one keeps its mode and owner if it was there before; those
        below take mode, owner and time of the source, or only the mode if they just lead to something taken."""
        real = self._target.path(path)
        there = None if parent is not None and parent.fresh else self._target.facts(path)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            if not self._options.replace:
                raise BuildError(
                    f"cannot copy to non-directory: /{show(path)}",
                    hint="a folder of the source meets a file or a symlink; copy to another place or remove it first",
                )
            os.unlink(real)
            there = None
        if there is None:
            os.mkdir(real, 0o700)
        mode = node.mode if there is None else node.mode | there.st_mode
        inherits = bool(mode & stat.S_ISGID) or parent is None or parent.inherits
        folder = _Folder(path, source, node, fresh=there is None, inherits=inherits)
        if parent is None and there is not None:
            time_ns = node.mtime_ns if self._options.time_ns is None else self._options.time_ns
            # a context as a whole has no time: it is made anew for each build
            if source or not self._tree.foreign or self._options.time_ns is not None:
                folder.settle = lambda: os.utime(real, ns=(time_ns, time_ns))
        elif direct:
            folder.settle = lambda: self._dress_folder(folder)
        elif folder.fresh:
            self._dress_folder(folder)
        else:
            os.chmod(real, node.mode & 0o7777)
        return folder

    def _look_through(self, path: bytes, name: bytes) -> None:
        """Raises BuildError if a folder that just leads to `name` meets a file: BuildKit takes it for the folder, and
        fails at what is to be in it."""
        there = self._target.facts(path)
        if there is not None and stat.S_ISREG(there.st_mode) and not self._options.replace:
            raise BuildError(f"lstat /{show(path)}/{show(name)}: not a directory")

    def _dress_folder(self, folder: _Folder) -> None:
        node, real = folder.node, self._target.path(folder.path)
        uid, gid = self._owner_of(node)
        os.chown(real, uid, gid)
        os.chmod(real, self._options.mode_of(node))
        write_xattrs(real, read_xattrs(self._tree.path(folder.source), foreign=self._tree.foreign))
        time_ns = node.mtime_ns if self._options.time_ns is None else self._options.time_ns
        os.utime(real, ns=(time_ns, time_ns))

    def _owner_of(self, node: Node) -> tuple[int, int]:
        owner = self._options.owner
        if owner is not None:
            return owner.uid, owner.gid
        return (0, 0) if self._tree.foreign else (node.uid, node.gid)

    # everything else

    def _copy_entries(self, folder: _Folder, entries: Sequence[tuple[bytes, Node]]) -> None:
        if not entries:
            return
        ends = _Ends(folder).open(self._target, self._tree)
        try:
            for name, node in entries:
                if self._stop.is_set():
                    raise Stopped
                self._copy_entry(ends, name, name, node)
        finally:
            ends.close()

    def _copy_entry(self, ends: _Ends, name: bytes, source_name: bytes, node: Node) -> None:
        folder = ends.folder
        if not folder.fresh:
            self._clear(ends, name)
        kind = stat.S_IFMT(node.mode)
        if kind == stat.S_IFREG:
            self._copy_file(ends, name, source_name, node)
            return
        source = folder.source + b"/" + source_name if folder.source else source_name
        if kind == stat.S_IFLNK:
            os.symlink(self._tree.link(source, node), name, dir_fd=ends.fd)
        else:
            # as BuildKit does: a block device becomes a character device, a socket an empty file
            os.mknod(name, node.mode & ~stat.S_IFSOCK, node.rdev, dir_fd=ends.fd)
        uid, gid = self._owner_of(node)
        os.chown(name, uid, gid, dir_fd=ends.fd, follow_symlinks=False)
        if kind != stat.S_IFLNK:
            os.chmod(name, self._options.mode_of(node), dir_fd=ends.fd)
        if not self._tree.foreign:
            write_xattrs(self._inside(folder, name), read_xattrs(self._tree.path(source)))
        time_ns = node.mtime_ns if self._options.time_ns is None else self._options.time_ns
        os.utime(name, ns=(time_ns, time_ns), dir_fd=ends.fd, follow_symlinks=False)

    def _inside(self, folder: _Folder, name: bytes) -> bytes:
        return self._target.path(folder.path + b"/" + name if folder.path else name)

    def _clear(self, ends: _Ends, name: bytes) -> None:
        """Removes what a file is about to replace: never written through, never merged."""
        try:
            mode = os.lstat(name, dir_fd=ends.fd).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(mode):
            os.unlink(name, dir_fd=ends.fd)
        elif self._options.replace:
            remove_tree(Path(os.fsdecode(self._inside(ends.folder, name))))
        else:
            path = ends.folder.path + b"/" + name if ends.folder.path else name
            raise BuildError(
                f"cannot replace to directory /{show(path)} with file",
                hint="a file or symlink of the source meets a folder; copy to another place or remove it first",
            )

    def _copy_file(self, ends: _Ends, name: bytes, source_name: bytes, node: Node) -> None:
        folder = ends.folder
        if node.nlink > 1:
            first = self._links.setdefault((node.device, node.inode), self._inside(folder, name))
            if first != self._inside(folder, name):
                os.link(first, name, dst_dir_fd=ends.fd, follow_symlinks=False)
                return
        try:
            # non-blocking, in case that it is a fifo by now
            reader = os.open(source_name, _READ, dir_fd=ends.source_fd)
        except OSError as error:
            source = folder.source + b"/" + source_name if folder.source else source_name
            raise (changed(source) if self._tree.foreign else unreadable(source, error)) from error
        try:
            mode = self._options.mode_of(node)
            writer = os.open(name, _CREATE, mode & 0o777, dir_fd=ends.fd)
            try:
                complete = self._data.copy(reader, writer, node.size, self._stop)
                if self._tree.foreign and not (complete and node.same_content(os.fstat(reader))):
                    raise changed(folder.source + b"/" + source_name if folder.source else source_name)
                owner = self._owner_of(node)
                if owner != self._me or folder.inherits:
                    os.fchown(writer, *owner)
                if mode & ~0o777 or mode & self._umask:
                    os.fchmod(writer, mode)
                if attributes := read_xattrs(reader, foreign=self._tree.foreign):
                    write_xattrs(writer, attributes)
                time_ns = node.mtime_ns if self._options.time_ns is None else self._options.time_ns
                os.utime(writer, ns=(time_ns, time_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)
