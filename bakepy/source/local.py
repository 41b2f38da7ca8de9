"""Folders of the user, read in place: `local://` sources, build contexts.

A context is scanned once, filtered as BuildKit's client filters it (ignore file, include patterns, followed paths),
and nothing is copied until a step copies it. Each file is checked when it is read: one that changed since the scan
is an error, so that a layer never mixes two states.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from bakepy.content.database import Database
from bakepy.errors import BuildError, DefinitionError
from bakepy.model.patterns import MatchState
from bakepy.snapshot.contenthash import Filter, Selection, digest, hash_files
from bakepy.snapshot.filetree import FileTree, Node, by_name, show, unreadable
from bakepy.snapshot.threads import Stopped, in_thread
from bakepy.source.followlinks import followed_paths, without_nested
from bakepy.source.statindex import StatIndex

_WHOLE = (Selection(),)


class LocalSource:
    """Opens folders of the user. One for each state root; safe to share."""

    def __init__(self, database: Database) -> None:
        self._index = StatIndex(database)

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
        can not be read.
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
        return LocalTree(real, Filter(patterns, exclude), self._index, stop)


class LocalTree(FileTree):
    """A folder as it was when it was scanned. Owners, and all extended attributes, count for nothing."""

    foreign = True

    def __init__(self, root: Path, filter: Filter, index: StatIndex, stop: threading.Event) -> None:
        super().__init__(root)
        self._index = index
        self._lock = threading.Lock()
        self.count = 0
        """Entries in this tree, the root not counted."""
        self._scan_folder(b"", "", self.top, filter, None, None, stop)

    def _scan_folder(
        self,
        path: bytes,
        text: str,
        folder: Node,
        filter: Filter,
        included: MatchState,
        excluded: MatchState,
        stop: threading.Event,
    ) -> None:
        """Reads `folder`, of which is known what its patterns' states are, and all that has to be kept below it."""
        if stop.is_set():
            raise Stopped
        include, exclude = filter.include, filter.exclude
        kept: list[Node] = []
        folders: list[tuple[Node, bool, str, MatchState, MatchState]] = []
        try:
            with os.scandir(self.path(path)) as entries:
                for entry in entries:
                    wanted = enter = True
                    child_text, child_included, child_excluded = "", included, excluded
                    if filter:
                        name = entry.name.decode("utf-8", "surrogateescape")
                        child_text = f"{text}/{name}" if text else name
                        if include is not None:
                            wanted, child_included = include.match(child_text, included)
                            enter = wanted or include.may_match_below(child_text)
                        if exclude is not None:
                            dropped, child_excluded = exclude.match(child_text, excluded)
                            wanted = wanted and not dropped
                            enter = enter and (not dropped or exclude.may_except_below(child_text))
                        if not wanted and not enter:
                            continue
                    try:
                        is_dir = entry.is_dir(follow_symlinks=False)
                        if not wanted and not is_dir:
                            continue
                        node = Node(entry.name, entry.stat(follow_symlinks=False))
                    except FileNotFoundError:
                        # gone since the folder was listed: as if it had never been there
                        continue
                    if is_dir and enter:
                        folders.append((node, wanted, child_text, child_included, child_excluded))
                    else:
                        node.children = {}
                        kept.append(node)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise unreadable(path, error) from error
        for node, wanted, child_text, child_included, child_excluded in folders:
            below = path + b"/" + node.name if path else node.name
            self._scan_folder(below, child_text, node, filter, child_included, child_excluded, stop)
            if wanted or node.children:
                kept.append(node)
        kept.sort(key=by_name)
        folder.children = {node.name: node for node in kept}
        self.count += len(kept)

    async def digest(self, selections: Sequence[Selection] = _WHOLE) -> str:
        """The content digest of what `selections` take: path, kind, mode and content, no times and no owners."""
        return await in_thread(
            lambda stop: digest(self, selections, lambda files: self.file_digests(files, stop), None)
        )

    def file_digests(self, files: Sequence[tuple[bytes, Node]], stop: threading.Event) -> list[bytes]:
        """The sha256 of each file; reads only what the index does not know. BuildError for a file that changed."""
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
                threads = min(4, len(os.sched_getaffinity(0)))
                found = hash_files(unknown, self._hash, threads, stop)
                self._index.remember([(node, sha256) for (_, node), sha256 in zip(unknown, found, strict=True)])
                for (_, node), sha256 in zip(unknown, found, strict=True):
                    node.sha256 = sha256
            return [node.sha256 or b"" for _, node in files]

    def _hash(self, path: bytes, node: Node) -> bytes:
        try:
            fd = os.open(self.path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise unreadable(path, error) from error
        try:
            sha256 = hash_fd(fd, node.size)
            if not node.same_content(os.fstat(fd)):
                raise changed(path)
            return sha256
        except OSError as error:
            raise unreadable(path, error) from error
        finally:
            os.close(fd)


def hash_fd(fd: int, size: int) -> bytes:
    """The sha256 of all that can be read from `fd`, expected to be `size` bytes."""
    data = os.read(fd, min(size, _BLOCK) + 1)
    hasher = hashlib.sha256(data)
    # a short file is done with one read: whether it really ended there is for the caller's second look at its facts
    if len(data) != size:
        while data := os.read(fd, _BLOCK):
            hasher.update(data)
    return hasher.digest()


_BLOCK = 1 << 20


def changed(path: bytes) -> BuildError:
    return BuildError(
        f"/{show(path)} changed while the build was reading it",
        hint="let writers of the context finish, then build again",
    )
