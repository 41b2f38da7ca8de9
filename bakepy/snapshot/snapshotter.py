"""How the directories of a chain of layers become one tree: overlays where they can be mounted, else copies."""

from __future__ import annotations

import errno
import functools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from bakepy.errors import EngineError
from bakepy.snapshot import overlay
from bakepy.snapshot.active import View
from bakepy.snapshot.scratch import Scratch
from bakepy.snapshot.tree import remove_tree
from bakepy.snapshot.whole import copy_chain

AUTO, OVERLAY, COPY = SNAPSHOTTERS = ("auto", "overlay", "copy")
"""How trees are made: `auto` is overlays where they can be mounted, else copies."""


class Snapshotter:
    """Makes trees in the process's own temporary folder. `lowers` are directories, topmost first. Methods block; any
    thread may call them."""

    def __init__(self, kind: str, scratch: Scratch) -> None:
        """`kind` is one of SNAPSHOTTERS."""
        self._kind = kind
        self._scratch = scratch
        self._probe = threading.Lock()
        self._empty = scratch.new("empty")
        self._empty.chmod(0o755)

    @functools.cached_property
    def overlays(self) -> bool:
        """Whether trees are overlays here, as chosen or as found out by mounting one on this state root once. Raises
        EngineError if they were to be and can not."""
        if self._kind == COPY:
            return False
        with self._probe:
            folder = self._scratch.new("probe")
            try:
                problem = overlay.problem_in(folder)
            finally:
                remove_tree(folder)
        if problem and self._kind == OVERLAY:
            raise EngineError(
                f"overlays can not be mounted on this state root: {problem}",
                hint="leave the choice of the snapshotter to bakepy, or put the state root on another file system",
            )
        return not problem

    def writable(self, lowers: Sequence[Path], folder: Path, *, devices: bool) -> Path:
        """A tree in `folder` that begins as `lowers`; `folder`/fs becomes the layer, or the whole tree if there are
        no overlays. Without `devices`, device files in it can not be opened."""
        upper = folder / "fs"
        upper.mkdir()
        upper.chmod(0o755)
        if not self.overlays:
            copy_chain(lowers, upper)
            if not devices:
                overlay.bind_without_devices(upper)
            return upper
        work, target = folder / "work", folder / "m"
        work.mkdir()
        target.mkdir()
        lowers = lowers or [self._empty]
        with _explained(lowers):
            overlay.mount_writable(lowers, upper, work, target, devices=devices)
        return target

    def view(self, lowers: Sequence[Path]) -> View:
        """A read-only tree; the caller closes it."""
        if not lowers:
            return View(self._empty, None)
        folder = self._scratch.new("view")
        if not self.overlays:
            return _copied_view(lowers, folder)
        lowers = self._at_least_two(lowers)
        with _explained(lowers):
            overlay.mount_readonly(lowers, folder)
        return View(folder, folder)

    @contextmanager
    def readable(self, lowers: Sequence[Path]) -> Iterator[bytes]:
        """A path at which a tree can be read for as long as the context lasts; mounted nowhere if that is possible."""
        if not self.overlays:
            with closing(_copied_view(lowers, self._scratch.new("lower"))) as view:
                yield os.fsencode(view.path)
            return
        lowers = self._at_least_two(lowers)
        try:
            tree = overlay.open_detached(lowers)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
                raise
            with self._mounted(lowers) as path:
                yield os.fsencode(path)
            return
        try:
            yield b"/proc/self/fd/%d" % tree
        finally:
            os.close(tree)

    @contextmanager
    def _mounted(self, lowers: Sequence[Path]) -> Iterator[Path]:
        folder = self._scratch.new("lower")
        overlay.mount_readonly(lowers, folder)
        try:
            yield folder
        finally:
            overlay.unmount(folder)
            folder.rmdir()

    def _at_least_two(self, lowers: Sequence[Path]) -> Sequence[Path]:
        """Without an upper directory, overlayfs wants two lower ones."""
        return lowers if len(lowers) > 1 else [*lowers, self._empty]


def _copied_view(lowers: Sequence[Path], folder: Path) -> View:
    try:
        copy_chain(lowers, folder)
    except BaseException:
        remove_tree(folder)
        raise
    return View(folder, None, copied=True)


@contextmanager
def _explained(lowers: Sequence[Path]) -> Iterator[None]:
    """Tells of files that the database has and the disk has not."""
    try:
        yield
    except FileNotFoundError as error:
        missing = next((path for path in lowers if not path.is_dir()), None)
        if missing is None:
            raise
        raise EngineError(
            f"files of the state root are missing: {missing}",
            hint="run again: what is missing is made anew",
        ) from error
