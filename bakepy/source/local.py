"""Folders of the user, read in place: `local://` sources, build contexts.

A context is scanned once, filtered as BuildKit's client filters it (ignore file, include patterns, followed paths),
and nothing is copied until a step copies it. Each file is checked when it is read: one that changed since the scan
is an error, so that a layer never mixes two states.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bakepy.content.database import Database
from bakepy.errors import BuildError, DefinitionError
from bakepy.model.patterns import MatchState
from bakepy.snapshot.contenthash import Filter, Selection, digest, hash_files
from bakepy.snapshot.filetree import FileTree, Node, by_name, packed, show, unreadable
from bakepy.snapshot.threads import Stopped, in_thread
from bakepy.snapshot.xattrs import fingerprint
from bakepy.source.followlinks import followed_paths, without_nested
from bakepy.source.statindex import StatIndex, is_settled

_WHOLE = (Selection(),)
_MANY = 200
"""Entries from which on a tree is remembered as a whole, too; smaller ones are digested as quickly."""


class LocalSource:
    """Opens folders of the user. One for each state root, which none of them may hold; safe to share."""

    def __init__(self, database: Database, state_root: Path | None = None) -> None:
        self._index = StatIndex(database)
        self._state_root = None if state_root is None else state_root.resolve()

    async def open(
        self,
        root: Path,
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        follow: Sequence[str] = (),
    ) -> LocalTree:
        """Scans `root`. `include` and `exclude` are pattern lists (model.patterns); `follow` are paths, perhaps with
        wildcards, which are included together with whatever their symlinks lead to.

        Raises DefinitionError if `root` is no folder and BadPattern for a bad pattern, BuildError if something in it
        can not be read, or if the state root would be in the tree: it changes while it is read.
        """
        return await in_thread(lambda stop: self._scan(root, include, exclude, follow, stop))

    def _scan(
        self,
        root: Path,
        include: Sequence[str],
        exclude: Sequence[str],
        follow: Sequence[str],
        stop: threading.Event,
    ) -> LocalTree:
        try:
            # the name may be a symlink, what is in it may not lead out
            real = root.resolve(strict=True)
            if not real.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        except OSError as error:
            raise DefinitionError(
                f"can not read the folder {root}: {(error.strerror or str(error)).lower()}"
            ) from error
        patterns = list(include)
        if follow:
            patterns = without_nested([*patterns, *followed_paths(real, follow)])
        own = self._state_root
        inside = (
            b"" if own == real else os.fsencode(own.relative_to(real)) if own and own.is_relative_to(real) else None
        )
        return LocalTree(real, Filter(patterns, exclude), self._index, stop, inside)


class _Folder(Node):
    """A folder that was scanned. `others` are what is in it, packed; `known` what has its node already: folders, and
    what can not be packed. The others' nodes are made when somebody looks."""

    __slots__ = ("known", "others")

    def __init__(self, name: bytes, facts: os.stat_result) -> None:
        super().__init__(name, facts)
        self.others: list[bytes] = []
        self.known: dict[bytes, Node] = {}

    def __len__(self) -> int:
        return len(self.others) + len(self.known)


class _Found(NamedTuple):
    """A folder that a scan has to read; `included` and `excluded` are what its patterns know about it."""

    path: bytes
    text: str
    node: _Folder
    wanted: bool
    included: MatchState
    excluded: MatchState


class LocalTree(FileTree):
    """A folder as it was when it was scanned. Owners, and all extended attributes, count for nothing."""

    foreign = True
    top: _Folder

    def __init__(
        self, root: Path, filter: Filter, index: StatIndex, stop: threading.Event, state_root: bytes | None = None
    ) -> None:
        """`state_root`: where it is in this folder; None if it is elsewhere."""
        super().__init__(root)
        self.top = _Folder(b"", root.stat())
        self._filter = filter
        self._index = index
        self._lock = threading.Lock()
        self._digests: dict[tuple[Selection, ...], str] = {}
        self.count = 0
        """Entries in this tree, the root not counted."""
        self._scanned_ns = time.time_ns()
        self._scan(filter, stop, state_root)

    def _scan(self, filter: Filter, stop: threading.Event, state_root: bytes | None) -> None:
        """Reads all folders that the filter may leave something in. A folder that it does not want stays if
        something below does."""
        read: list[tuple[_Found, _Folder | None]] = []
        todo: list[tuple[_Found, _Folder | None]] = [(_Found(b"", "", self.top, True, None, None), None)]
        while todo:
            if stop.is_set():
                raise Stopped
            found, parent = todo.pop()
            if found.path == state_root and found.wanted:
                raise BuildError(
                    f"the state root /{show(self.path(found.path))} is in the context",
                    hint="name it in the ignore file, or choose another one with --root or BAKEPY_ROOT",
                )
            read.append((found, parent))
            todo += [(below, found.node) for below in self._scan_folder(found, filter)]
        for found, parent in reversed(read):
            if not found.wanted and not found.node and parent is not None:
                del parent.known[found.node.name]
            else:
                self.count += len(found.node)

    def _scan_folder(self, folder: _Found, filter: Filter) -> list[_Found]:
        """Reads one folder; returns those in it that are to be read."""
        include, exclude = filter.include, filter.exclude
        # below what is included everything is, if nothing can be excepted again
        judged = exclude is not None or (
            include is not None and (include.has_exceptions or not folder.wanted or not folder.included)
        )
        others, known = folder.node.others, folder.node.known
        folders: list[_Found] = []
        wanted = enter = True
        text, included, excluded = folder.text, folder.included, folder.excluded
        try:
            with os.scandir(self.path(folder.path)) as entries:
                for entry in entries:
                    if judged:
                        name = entry.name.decode("utf-8", "surrogateescape")
                        text = f"{folder.text}/{name}" if folder.text else name
                        wanted = enter = True
                        if include is not None:
                            wanted, included = include.match(text, folder.included)
                            enter = wanted or include.may_match_below(text)
                        if exclude is not None:
                            dropped, excluded = exclude.match(text, folder.excluded)
                            wanted = wanted and not dropped
                            enter = enter and (not dropped or exclude.may_except_below(text))
                        if not wanted and not enter:
                            continue
                    if not wanted and not entry.is_dir(follow_symlinks=False):
                        continue
                    try:
                        facts = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        # gone since the folder was listed: as if it had never been there
                        continue
                    if facts.st_mode & 0o170000 == 0o040000:
                        known[entry.name] = node = _Folder(entry.name, facts)
                        if enter:
                            path = folder.path + b"/" + entry.name if folder.path else entry.name
                            folders.append(_Found(path, text, node, wanted, included, excluded))
                    elif wanted:
                        try:
                            others.append(packed(entry.name, facts))
                        except struct.error:  # a time that few clocks have
                            known[entry.name] = Node(entry.name, facts)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise unreadable(folder.path, error) from error
        others.sort()
        return folders

    def children(self, path: bytes, node: Node) -> dict[bytes, Node]:
        if node.children is None:
            if not isinstance(node, _Folder):
                return {}
            nodes = [*map(Node.unpacked, node.others), *node.known.values()]
            if node.known:
                nodes.sort(key=by_name)
            node.children = {child.name: child for child in nodes}
        return node.children

    def names_near(self, path: bytes) -> list[bytes]:
        """Those on disk: a scan leaves out what nobody asked for, which is where the name that was meant is."""
        folder = Path(os.fsdecode(self.path(path))).resolve()
        if not folder.is_relative_to(self.root):
            return []
        try:
            return [os.fsencode(entry.name) for entry in folder.iterdir()]
        except OSError:
            return []

    async def digest(self, selections: Sequence[Selection] = _WHOLE) -> str:
        """The content digest of what `selections` take: path, kind, mode and content, no times and no owners."""
        asked = tuple(selections)
        if (known := self._digests.get(asked)) is None:
            known = self._digests[asked] = await in_thread(lambda stop: self._digest(asked, stop))
        return known

    def _digest(self, selections: tuple[Selection, ...], stop: threading.Event) -> str:
        if self.count < _MANY:
            return digest(self, selections, lambda files: self.file_digests(files, stop), self._folder_xattrs)
        asked = "\n".join([str(self.root), self._filter.key, *(selection.key for selection in selections)])
        facts = self._facts
        known = self._index.tree(asked, facts)
        if known is None:
            known = digest(self, selections, lambda files: self.file_digests(files, stop), self._folder_xattrs)
            if self._is_settled():
                self._index.remember_tree(asked, facts, known)
        return known

    def _folder_xattrs(self, path: bytes, node: Node) -> bytes:
        """Those of files are in their digests, which are remembered; nothing else of a user has any."""
        return fingerprint(self.path(path), foreign=True) if node.is_dir else b""

    @functools.cached_property
    def _facts(self) -> bytes:
        """A digest of all that the scan found: paths and facts. It says nothing about contents, but where it is the
        same nothing has changed."""
        total = hashlib.sha256()
        todo: list[tuple[bytes, _Folder]] = [(b"", self.top)]
        while todo:
            path, folder = todo.pop()
            total.update(b"%d %b %o %d\0" % (len(path), path, folder.mode, len(folder.others)))
            total.update(b"".join(folder.others))
            for name in sorted(folder.known):
                node = folder.known[name]
                if isinstance(node, _Folder):
                    todo.append((path + b"/" + name if path else name, node))
                else:
                    total.update(repr((name, node.facts)).encode())
        return total.digest()

    def _is_settled(self) -> bool:
        """Whether all that was found was old enough when the scan began for its times to be trusted."""
        todo: list[Node] = [self.top]
        while todo:
            node = todo.pop()
            if isinstance(node, _Folder):
                todo += [*map(Node.unpacked, node.others), *node.known.values()]
            elif not is_settled(node, self._scanned_ns):
                return False
        return True

    def file_digests(self, files: Sequence[tuple[bytes, Node]], stop: threading.Event) -> list[bytes]:
        """The sha256 of each file, of one with extended attributes with those; reads only what the index does not know.
        BuildError for a file that changed."""
        with self._lock:
            missing = [(path, node) for path, node in files if node.sha256 is None]
            if missing:
                known = self._index.look_up([node for _, node in missing])
                unknown = []
                for (path, node), sha256 in zip(missing, known, strict=True):
                    if sha256 is None:
                        unknown.append((path, node))
                    else:
                        node.sha256 = sha256
                threads, began = min(4, len(os.sched_getaffinity(0))), time.time_ns()
                found = hash_files(unknown, self._hash, threads, stop)
                self._index.remember([(node, sha256) for (_, node), sha256 in zip(unknown, found, strict=True)], began)
                for (_, node), sha256 in zip(unknown, found, strict=True):
                    node.sha256 = sha256
            return [node.sha256 or b"" for _, node in files]

    def _hash(self, path: bytes, node: Node, stop: threading.Event) -> bytes:
        try:
            fd = os.open(self.path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            sha256 = hash_fd(fd, node.size, stop)
            if not node.same_content(os.fstat(fd)):
                raise changed(path)
            if attributes := fingerprint(fd, foreign=True):
                sha256 = hashlib.sha256(sha256 + attributes).digest()
            return sha256
        except OSError as error:
            raise unreadable(path, error) from error
        finally:
            os.close(fd)


def hash_fd(fd: int, size: int, stop: threading.Event) -> bytes:
    """The sha256 of all that can be read from `fd`, expected to be `size` bytes. Stopped when `stop` is set."""
    data = os.read(fd, min(size, _BLOCK) + 1)
    hasher = hashlib.sha256(data)
    # a short file is done with one read: whether it really ended there is for the caller's second look at its facts
    if len(data) != size:
        while data := os.read(fd, _BLOCK):
            hasher.update(data)
            if stop.is_set():
                raise Stopped
    return hasher.digest()


_BLOCK = 1 << 20


def changed(path: bytes) -> BuildError:
    return BuildError(
        f"/{show(path)} changed while the build was reading it",
        hint="let writers of the context finish, then build again",
    )
