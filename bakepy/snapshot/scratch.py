"""The temporary folder of one process below ROOT/tmp, and the sweeping of those whose process is dead.

A process holds a lock on its folder for as long as it lives, so a folder that can be locked belongs to nobody. What a
killed process left mounted there is unmounted first.
"""

from __future__ import annotations

import errno
import fcntl
import os
from itertools import count
from pathlib import Path

from bakepy.snapshot import overlay
from bakepy.snapshot.tree import remove_tree


class Scratch:
    """A private folder (`path`, 0700), named by a random `token`. `swept` are the tokens of the dead that were
    removed when this one was opened."""

    def __init__(self, root: Path) -> None:
        """Makes the folder below `root`, after removing what dead processes left there.

        An ordinary user outside of its user namespace (who only plans) leaves that: files there may belong to the
        ids that were lent to it, which only the namespace may remove.
        """
        root.mkdir(parents=True, exist_ok=True)
        # One at a time: a folder that exists but is not locked yet must not look dead to another process.
        gate = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            entries = root.iterdir() if os.geteuid() == 0 else ()
            self.swept = tuple(sorted(entry.name for entry in entries if _sweep(entry)))
            self.token = os.urandom(6).hex()
            self.path = root / self.token
            self.path.mkdir(mode=0o700)
            self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            os.close(gate)
        self._numbers = count(1)

    def new(self, kind: str) -> Path:
        """A new empty folder of this process; the caller removes it."""
        path = self.path / f"{kind}{next(self._numbers)}"
        path.mkdir()
        return path

    def name(self, kind: str) -> Path:
        """A path of this process that is not taken yet."""
        return self.path / f"{kind}{next(self._numbers)}"

    def close(self) -> None:
        """Removes the folder and whatever is in it."""
        overlay.unmount_below(self.path)
        try:
            remove_tree(self.path)
        except PermissionError:
            if os.geteuid() == 0:
                raise
            # moved here from elsewhere: for the next who is inside of the user namespace
        os.close(self._lock)


def _sweep(folder: Path) -> bool:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
        raise
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        overlay.unmount_below(folder)
        remove_tree(folder)
        return True
    finally:
        os.close(lock)
