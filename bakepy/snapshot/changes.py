"""What a tree has more or less than the one below it, as the entries of a layer.

The rules are those of containerd's overlay and walking differs, which BuildKit uses, so that layers hold the same
entries: parents of a change with their real mode and owner; directories of which only the time changed are left out;
deletions are whiteouts, one for each name, never opaque markers; hard links are kept within the layer; sockets are
left out; of the xattrs only `security.capability` counts.
"""

# Names are bytes here, as the kernel has them; pathlib has none.
# ruff: noqa: PTH115, PTH116, PTH118, PTH123, PTH208

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bakepy.content.entry import NO_XATTRS, WHITEOUT_PREFIX, LayerEntry
from bakepy.model.frozen import FrozenMap
from bakepy.model.value import dataclass
from bakepy.snapshot.overlay import opaque_xattr
from bakepy.snapshot.tree import CAPABILITY

_CHUNK = 1 << 20
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
}


def upper_changes(upper: Path, lower: bytes | None) -> Iterator[LayerEntry]:
    """The changes that an overlay's upper directory holds against the tree below it.

    `lower` is a path whose tree must stay readable while this is iterated; None is the empty tree.
    """
    return _Differ(os.fsencode(upper), lower).walk(b"", lower is not None, False)


def tree_changes(tree: Path, lower: bytes | None) -> Iterator[LayerEntry]:
    """The changes from one whole tree to another, by walking both."""
    return _Differ(os.fsencode(tree), lower, whiteouts=False).walk(b"", lower is not None, True)


@dataclass(slots=True)
class _Parent:
    """A directory on the way down, and whether the layer has it already."""

    path: bytes
    facts: os.stat_result
    written: bool


class _Differ:
    def __init__(self, upper: bytes, lower: bytes | None, *, whiteouts: bool = True) -> None:
        self._upper = upper
        self._lower = lower or b""
        self._whiteouts = whiteouts
        self._opaque = opaque_xattr()
        self._parents: list[_Parent] = []
        self._links: dict[tuple[int, int], bytes] = {}

    def walk(self, folder: bytes, in_lower: bool, whole: bool) -> Iterator[LayerEntry]:
        """Changes below `folder`. `in_lower`: the lower tree has this directory; `whole`: names that are missing
        here are deleted (otherwise whiteouts tell)."""
        with os.scandir(os.path.join(self._upper, folder)) as found:
            entries = {entry.name: entry for entry in found}
        names = set(entries)
        if whole and in_lower:
            names.update(os.listdir(os.path.join(self._lower, folder)))
        for name in sorted(names):
            path = folder + b"/" + name if folder else name
            entry = entries.get(name)
            if entry is None:
                yield from self._deleted(path)
                continue
            facts = entry.stat(follow_symlinks=False)
            below = self._below(path) if in_lower else None
            if self._whiteouts and stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
                if below is not None:
                    yield from self._deleted(path)
                continue
            changed = below is None or not self._same(path, facts, below)
            if changed and not stat.S_ISSOCK(facts.st_mode):
                yield from self._missing_parents()
                yield self._entry(path, facts)
            if stat.S_ISDIR(facts.st_mode):
                self._parents.append(_Parent(path, facts, changed))
                lower_dir = below is not None and stat.S_ISDIR(below.st_mode)
                yield from self.walk(path, lower_dir, lower_dir and (whole or self._is_opaque(path)))
                self._parents.pop()

    def _deleted(self, path: bytes) -> Iterator[LayerEntry]:
        yield from self._missing_parents()
        head, _, name = path.rpartition(b"/")
        yield LayerEntry(b"/".join(part for part in (head, WHITEOUT_PREFIX + name) if part), "file", data=b"")

    def _missing_parents(self) -> Iterator[LayerEntry]:
        for parent in self._parents:
            if not parent.written:
                parent.written = True
                yield self._entry(parent.path, parent.facts)

    def _entry(self, path: bytes, facts: os.stat_result) -> LayerEntry:
        full = os.path.join(self._upper, path)
        kind = _KINDS[stat.S_IFMT(facts.st_mode)]
        link = b""
        if kind != "dir" and facts.st_nlink > 1:
            link = self._links.setdefault((facts.st_dev, facts.st_ino), path)
            kind, link = (kind, b"") if link == path else ("hardlink", link)
        if kind == "symlink":
            link = os.readlink(full)
        device = kind in ("char", "block")
        capability = None if kind == "symlink" else _capability(full)
        return LayerEntry(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(facts.st_mode),
            uid=facts.st_uid,
            gid=facts.st_gid,
            size=facts.st_size if kind == "file" else 0,
            mtime_ns=facts.st_mtime_ns,
            linkname=link,
            major=os.major(facts.st_rdev) if device else 0,
            minor=os.minor(facts.st_rdev) if device else 0,
            xattrs=NO_XATTRS if capability is None else FrozenMap({CAPABILITY: capability}),
            source=Path(os.fsdecode(full)) if kind == "file" else None,
        )

    def _below(self, path: bytes) -> os.stat_result | None:
        try:
            return os.stat(os.path.join(self._lower, path), follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _is_opaque(self, path: bytes) -> bool:
        return self._whiteouts and _xattr(os.path.join(self._upper, path), self._opaque) == b"y"

    def _same(self, path: bytes, here: os.stat_result, below: os.stat_result) -> bool:
        """Whether nothing changed that a layer would tell. Times of directories do not count; equal times without
        nanoseconds may be an unpacked file that was touched or moved, so then the content decides."""
        if (here.st_mode, here.st_uid, here.st_gid, here.st_rdev) != (
            below.st_mode,
            below.st_uid,
            below.st_gid,
            below.st_rdev,
        ):
            return False
        mine, theirs = os.path.join(self._upper, path), os.path.join(self._lower, path)
        if stat.S_ISDIR(here.st_mode):
            return _capability(mine) == _capability(theirs)
        if here.st_size != below.st_size or here.st_mtime_ns != below.st_mtime_ns:
            return False
        if stat.S_ISLNK(here.st_mode):
            return here.st_mtime_ns % 10**9 != 0 or os.readlink(mine) == os.readlink(theirs)
        if _capability(mine) != _capability(theirs):
            return False
        if here.st_mtime_ns % 10**9 or not stat.S_ISREG(here.st_mode) or here.st_size == 0:
            return True
        return _equal_content(mine, theirs)


def _xattr(path: bytes, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
            return None
        raise


def _capability(path: bytes) -> bytes | None:
    return _xattr(path, CAPABILITY)


def _equal_content(mine: bytes, theirs: bytes) -> bool:
    with open(mine, "rb") as left, open(theirs, "rb") as right:
        while True:
            ours = left.read(_CHUNK)
            if ours != right.read(_CHUNK):
                return False
            if not ours:
                return True
