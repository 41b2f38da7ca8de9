"""A mounted file tree as entries in path order, for what exports files and not layers (`type=local`, `type=tar`)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bakepy.content.entry import NO_XATTRS, LayerEntry
from bakepy.model.frozen import FrozenMap

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "file",
}
_OVERLAY = ("trusted.overlay.", "user.overlay.")


def walk(root: Path, *, epoch: int | None = None) -> Iterator[LayerEntry]:
    """All below `root`, a directory before what is in it, names in byte order; the root itself is left out.

    The second and later names of a file are hard links to the first. Sockets are empty files, as BuildKit sends them
    (in layers there are none). With `epoch` (seconds) every entry has that time. File content stays where it is
    (`source`; empty files have none).
    """
    first_names: dict[tuple[int, int], bytes] = {}
    pending = _listing(os.fsencode(root), b"")
    while pending:
        full, path = pending.pop()
        info = os.lstat(full)
        kind = _KINDS[stat.S_IFMT(info.st_mode)]
        linkname = b""
        if kind == "symlink":
            linkname = os.readlink(full)  # noqa: PTH115 (names are bytes here, and stay so)
        elif kind != "dir" and info.st_nlink > 1:
            linkname = first_names.setdefault((info.st_dev, info.st_ino), path)
            kind, linkname = ("hardlink", linkname) if linkname != path else (kind, b"")
        device = kind in ("char", "block")
        has_content = kind == "file" and info.st_size > 0
        yield LayerEntry(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            size=info.st_size if has_content else 0,
            mtime_ns=info.st_mtime_ns if epoch is None else epoch * 10**9,
            linkname=linkname,
            major=os.major(info.st_rdev) if device else 0,
            minor=os.minor(info.st_rdev) if device else 0,
            xattrs=_xattrs(full),
            source=Path(os.fsdecode(full)) if has_content else None,
        )
        if kind == "dir":
            pending += _listing(full, path + b"/")


def _listing(folder: bytes, prefix: bytes) -> list[tuple[bytes, bytes]]:
    """Last name first, so that `pop` gives the names in order."""
    names = sorted(os.listdir(folder), reverse=True)  # noqa: PTH208
    return [(folder + b"/" + name, prefix + name) for name in names]


def _xattrs(path: bytes) -> FrozenMap[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # a file system without extended attributes
        return NO_XATTRS
    kept = [name for name in names if not name.startswith(_OVERLAY)]
    return FrozenMap({name: os.getxattr(path, name, follow_symlinks=False) for name in kept}) if kept else NO_XATTRS
