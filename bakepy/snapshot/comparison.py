"""Whether the files of a kept tree are still those that it was made with.

The times of the file system tell what somebody wrote later. What a disk did by itself tells only a comparison of all
bytes with the layer that the tree was made of, or became.
"""

# Names are bytes here, as the kernel has them; pathlib has none.
# ruff: noqa: PTH115, PTH118, PTH123, PTH208

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from bakepy.content.store import ContentStore
from bakepy.content.tar_read import LayerReader
from bakepy.errors import BuildError
from bakepy.snapshot.table import Snapshot
from bakepy.snapshot.tree import OVERLAY_XATTRS
from bakepy.snapshot.unpack import Unpacker

_BLOCK = 1 << 20


def written_later(folder: Path) -> bytes | None:
    """A path below `folder` that was written to, made or removed from after the folder got its name; None if there is
    none, as far down as the kernel takes paths. Looks at times only: a file counts if its content is younger (names of
    it in other trees come and go), a folder if anything of it is."""
    made = folder.lstat().st_ctime_ns
    for path, facts in _walk(os.fsencode(folder / "fs")):
        if facts.st_ctime_ns > made and (stat.S_ISDIR(facts.st_mode) or facts.st_mtime_ns > made):
            return path
    return None


def same_as_layer(fs: Path, snapshot: Snapshot, content: ContentStore, scratch: Path) -> bool:
    """Whether the tree of an image's layer is what its blob, which must be there, unpacks to. `scratch` is an empty
    folder on the same file system; the caller removes it."""
    assert snapshot.layer is not None
    scratch.chmod(stat.S_IMODE(fs.stat().st_mode))
    try:
        with (
            content.path(snapshot.layer.descriptor.digest).open("rb") as blob,
            LayerReader(blob, snapshot.layer.diff_id) as reader,
            Unpacker(scratch, mark=True) as unpacker,
        ):
            unpacker.apply(reader)
            implied = {os.fsencode(fs) + b"/" + path for path in unpacker.implied}
    except BuildError:  # the blob is no help; it is looked at by itself
        return True
    return _same(os.fsencode(fs), os.fsencode(scratch), implied | {os.fsencode(fs)})


_PATH_MAX, _NAME_MAX = 4096, 255
"""limits.h: a folder with a longer path has files that have none."""


def _walk(top: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    yield top, os.lstat(top)
    stack = [top]
    while stack:
        folder = stack.pop()
        if len(folder) >= _PATH_MAX - _NAME_MAX - 1:
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                facts = entry.stat(follow_symlinks=False)
                yield entry.path, facts
                if stat.S_ISDIR(facts.st_mode):
                    stack.append(entry.path)


def _same(one: bytes, other: bytes, loose: Collection[bytes]) -> bool:
    """Whether two trees are equal in names, contents and facts; the facts of `loose` folders are not looked at."""
    mine, theirs = os.lstat(one), os.lstat(other)
    if stat.S_IFMT(mine.st_mode) != stat.S_IFMT(theirs.st_mode):
        return False
    if one not in loose and (_facts(one, mine) != _facts(other, theirs)):
        return False
    if stat.S_ISDIR(mine.st_mode):
        names = sorted(os.listdir(one))
        if names != sorted(os.listdir(other)):
            return False
        return all(_same(os.path.join(one, name), os.path.join(other, name), loose) for name in names)
    if stat.S_ISLNK(mine.st_mode):
        return os.readlink(one) == os.readlink(other)
    return not stat.S_ISREG(mine.st_mode) or _same_content(one, other)


def _facts(path: bytes, facts: os.stat_result) -> tuple[object, ...]:
    size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    xattrs = {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
        if not name.startswith(OVERLAY_XATTRS)
    }
    return facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, facts.st_rdev, size, xattrs


def _same_content(one: bytes, other: bytes) -> bool:
    with open(one, "rb") as mine, open(other, "rb") as theirs:
        while True:
            block = mine.read(_BLOCK)
            if block != theirs.read(_BLOCK):
                return False
            if not block:
                return True
