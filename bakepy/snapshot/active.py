"""Trees that are mounted right now: a writable one in the making, a read-only one to look at."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bakepy.snapshot import overlay
from bakepy.snapshot.tree import remove_tree

if TYPE_CHECKING:
    from bakepy.snapshot.store import SnapshotStore
    from bakepy.snapshot.table import Snapshot


class View:
    """A read-only tree at `path`. Close it once. `copied`: it was made for this view and goes with it."""

    def __init__(self, path: Path, mounted: Path | None, *, copied: bool = False) -> None:
        self.path = path
        self._mounted = mounted
        self._copied = copied

    def close(self) -> None:
        if self._copied:
            remove_tree(self.path)
        if self._mounted is not None:
            overlay.unmount(self._mounted)
            self._mounted.rmdir()


class Active:
    """A writable tree at `path`, mounted until it is committed or discarded."""

    def __init__(self, store: SnapshotStore, parent: str | None, folder: Path, path: Path, *, flat: bool) -> None:
        self.parent = parent
        self.path = path
        self._store = store
        self._folder = folder
        self._flat = flat
        self._open = True

    async def commit(self, id: str) -> Snapshot:
        """Unmounts the tree and keeps it as the snapshot `id`; if there is one of that id, that one is kept.

        Mounts that were left inside go with it. Afterwards `path` is gone.
        """
        with anyio.CancelScope(shield=True):
            return await anyio.to_thread.run_sync(self.commit_now, id)
        raise AssertionError("a shielded scope lets nothing pass")

    def commit_now(self, id: str) -> Snapshot:
        """`commit` for a thread: blocks."""
        if not self._open:
            raise ValueError("this tree was committed or discarded already")
        self._unmount()
        try:
            return self._store.place(id, self.parent, self._folder, flat=self._flat)
        finally:
            self._open = False
            remove_tree(self._folder)

    def discard(self) -> None:
        """Throws the tree away; after a commit it does nothing."""
        if self._open:
            self._open = False
            self._unmount()
            remove_tree(self._folder)

    def _unmount(self) -> None:
        if self._flat:
            overlay.unmount_below(self._folder)
        else:
            overlay.unmount(self.path)
            with contextlib.suppress(FileNotFoundError):  # a commit came this far and then failed
                self.path.rmdir()
            overlay.remove_work(self._folder / "work")
