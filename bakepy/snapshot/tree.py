"""Whole trees: copying one as it is, removing one whatever its modes are."""

# Names are bytes here, as the kernel has them; pathlib has none.
# ruff: noqa: PTH101, PTH102, PTH115, PTH116, PTH118, PTH120, PTH123, PTH211

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from bakepy.content.patience import PIECE, still_wanted, while_wanted

CAPABILITY = "security.capability"
OVERLAY_XATTRS = ("trusted.overlay.", "user.overlay.")
"""What overlayfs notes on folders; it means nothing elsewhere."""


def remove_tree(path: Path) -> None:
    """Removes `path` and all below it, however deep that is, beyond PATH_MAX too; does not follow symlinks. Nothing
    may be mounted there."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(facts.st_mode):
        path.unlink(missing_ok=True)
        return
    pending = [(os.fsencode(path), _NOT_EMPTIED)]
    try:
        while pending:
            folder, held = pending.pop()
            if held != _NOT_EMPTIED:
                if held != _NONE:
                    os.close(held)
                _take_away(os.rmdir, folder)
                continue
            inside = folder
            if len(folder) > _LONG:
                # no rename to the top: overlayfs refuses that for folders of lower layers
                try:
                    held = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                except FileNotFoundError:
                    continue
                inside = b"/proc/self/fd/%d" % held
            else:
                held = _NONE
            pending.append((folder, held))
            for name, is_folder in _listing(inside):
                if is_folder:
                    pending.append((name, _NOT_EMPTIED))
                else:
                    _take_away(os.unlink, name)
    finally:
        for _, held in pending:
            if held >= 0:
                os.close(held)


_NOT_EMPTIED, _NONE = -2, -1
_LONG = 3000
"""Bytes of a path from which on names are looked up from the folder itself: PATH_MAX is 4096, a name has 255."""


def _listing(folder: bytes) -> list[tuple[bytes, bool]]:
    """Paths in a folder, and whether each is a folder."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return []
    except PermissionError:
        os.chmod(folder, 0o700)
        entries = os.scandir(folder)
    with entries:
        return [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in entries]


def _take_away(function: Callable[[bytes], None], path: bytes) -> None:
    try:
        function(path)
    except FileNotFoundError:
        pass
    except PermissionError:
        os.chmod(os.path.dirname(path), 0o700)
        function(path)


def allow_deep_trees() -> None:
    """For this process: many walks of trees call themselves for each folder in a folder, and a path may be a chain of
    PATH_MAX / 2 of these."""
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _DEPTH))


_DEPTH = 12_000
"""Frames: a few for each of the 2,048 folders that a path may lead through."""


def copy_tree(source: Path, target: Path, *, whiteouts: bool = True) -> None:
    """Copies `source` (a folder) onto the existing empty folder `target`: modes, owners, times, xattrs, devices,
    hard links and holes as they are. Without `whiteouts`, overlayfs's marks of deleted names stay behind."""
    links: dict[tuple[int, int], bytes] = {}
    _copy_directory(os.fsencode(source), os.fsencode(target), links, whiteouts)


def is_whiteout(facts: os.stat_result) -> bool:
    """Whether this is overlayfs's mark of a deleted name."""
    return stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0


def _copy_directory(source: bytes, target: bytes, links: dict[tuple[int, int], bytes], whiteouts: bool) -> None:
    with os.scandir(source) as entries:
        for entry in while_wanted(entries):
            path = os.path.join(target, entry.name)
            facts = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode):
                os.mkdir(path, 0o700)
                _copy_directory(entry.path, path, links, whiteouts)
                continue
            if not whiteouts and is_whiteout(facts):
                continue
            if facts.st_nlink > 1:
                first = links.setdefault((facts.st_dev, facts.st_ino), path)
                if first != path:
                    os.link(first, path, follow_symlinks=False)
                    continue
            copy_node(entry.path, path, facts)
    copy_facts(source, target, os.stat(source, follow_symlinks=False))


def copy_node(source: bytes, target: bytes, facts: os.stat_result) -> None:
    """Copies one name that is no folder; `target` must not exist."""
    kind = stat.S_IFMT(facts.st_mode)
    if kind == stat.S_IFREG:
        copy_data(source, target)
    elif kind == stat.S_IFLNK:
        os.symlink(os.readlink(source), target)
    else:
        os.mknod(target, facts.st_mode, facts.st_rdev)
    copy_facts(source, target, facts)


def copy_data(source: bytes, target: bytes) -> None:
    """The content of a regular file, shared with the original where the file system can, holes kept."""
    with open(source, "rb") as reader, open(target, "xb") as writer:
        size = os.fstat(reader.fileno()).st_size
        offset = 0
        while offset < size:
            try:
                start = os.lseek(reader.fileno(), offset, os.SEEK_DATA)
            except OSError:
                break  # ENXIO: nothing but a hole up to the end
            end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            os.lseek(reader.fileno(), start, os.SEEK_SET)
            os.lseek(writer.fileno(), start, os.SEEK_SET)
            while start < end:
                still_wanted()
                moved = _move(reader.fileno(), writer.fileno(), min(end - start, PIECE))
                if moved == 0:
                    break
                start += moved
            offset = end
        os.ftruncate(writer.fileno(), size)


def _move(source: int, target: int, count: int) -> int:
    """Copies up to `count` bytes between two descriptors within the kernel."""
    try:
        return os.copy_file_range(source, target, count)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
    return os.sendfile(target, source, None, count)


def copy_facts(source: bytes, target: bytes, facts: os.stat_result) -> None:
    """Owner, mode, xattrs and times, in the order in which they do not undo each other."""
    os.chown(target, facts.st_uid, facts.st_gid, follow_symlinks=False)
    link = stat.S_ISLNK(facts.st_mode)
    if not link:
        os.chmod(target, stat.S_IMODE(facts.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        if not name.startswith(OVERLAY_XATTRS):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns), follow_symlinks=False)
