"""Snapshots: file trees by key, each a layer on top of its parent.

A snapshot's files are in ROOT/snapshots/NUMBER/fs, its facts in the database. On overlayfs that directory is the upper
directory of the step that made it, so making a layer needs no look at the image below. Where overlays can not be
mounted, or are not wanted, a snapshot is a whole tree instead (`flat`), copied from its parent.

Nothing is half there: a tree is made in the process's own temporary folder and renamed into its place inside the
transaction that adds its row. That holds when a process is killed at any instant. After a power cut files may be
missing that the database has, because nothing is flushed to disk.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from bakepy.content.database import Database
from bakepy.content.entry import Layer, LayerEntry
from bakepy.content.store import ContentStore
from bakepy.errors import EngineError
from bakepy.snapshot.active import Active, View
from bakepy.snapshot.census import Census, Gone, nobody
from bakepy.snapshot.scratch import Scratch
from bakepy.snapshot.snapshotter import AUTO, Snapshotter
from bakepy.snapshot.table import Snapshot, SnapshotRow, SnapshotTable
from bakepy.snapshot.tree import remove_tree

if TYPE_CHECKING:
    from bakepy.snapshot.lazy import Alone, Fetch, LazyLayers

_NOT_COMPARED = "not-compared"
"""A file beside a snapshot's `fs`: its layer is told without a look at the tree below."""


def _nobody_else(_: str) -> AbstractAsyncContextManager[None]:
    return nullcontext()


class SnapshotStore:
    """All snapshots of a state root. Several processes may use one root; close it when nothing is mounted any more.

    `fetch(snapshot, origin)` must put the blob of a lazy snapshot's layer into `content`; `alone` keeps out other
    processes of the same root while a layer is unpacked. Plain methods are quick unless said otherwise; they may be
    called from any thread.
    """

    def __init__(
        self,
        root: Path,
        database: Database,
        content: ContentStore,
        fetch: Fetch,
        alone: Alone = _nobody_else,
        *,
        snapshotter: str = AUTO,
        gone: Gone = nobody,
    ) -> None:
        """Opens ROOT/snapshots, and removes what dead processes left in ROOT/tmp. `snapshotter` is one of its module's
        SNAPSHOTTERS: how trees are made; those that are there are read anyway. `gone` is told of snapshots that had to
        be given up."""
        self.scratch = Scratch(root / "tmp")
        self._table = SnapshotTable(root, database, self.scratch)
        self._snapshotter = Snapshotter(snapshotter, self.scratch)
        self._census = Census(root, database, gone)
        self._content = content
        self._fetch = fetch
        self._alone = alone
        self._unpacked: set[str] = set()
        self._present: set[str] = set()
        self.left_out: list[tuple[str, bytes]] = []
        """Device files that an ordinary user could not make: where their layer is from, and their paths."""

    def close(self) -> None:
        """Removes this process's temporary folder, with whatever is still mounted there."""
        self.scratch.close()

    def __enter__(self) -> SnapshotStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what there is

    def find(self, id: str) -> Snapshot | None:
        return self._table.find(id)

    def present(self, id: str) -> bool:
        """Whether a snapshot is there with all below it, and their files: each folder is looked at once in a run.

        Layers of images that lost their files become lazy again; others are given up, with what is on top of them.
        """
        return self._census.present(id, self._present, lambda: self.scratch.name("lost"))

    def chain(self, id: str) -> tuple[Snapshot, ...]:
        """The snapshot with all below it, lowest first. Raises EngineError if it, or one of those, is not there."""
        return tuple(row.snapshot for row in self._table.chain(id))

    def add_lazy(self, id: str, parent: str | None, layer: Layer, origin: str) -> None:
        """Registers an image's layer on top of `parent`; nothing is fetched. A snapshot that is there is kept."""
        self._table.add_lazy(id, parent, layer, origin)

    def known_layer(self, id: str, compression_key: str) -> Layer | None:
        """The layer that `remember_layer` was told for this snapshot and compression."""
        return self._table.known_layer(id, compression_key)

    def remember_layer(self, id: str, compression_key: str, layer: Layer) -> None:
        """Notes the layer that a snapshot's changes became, so that it is written once."""
        self._table.remember_layer(id, compression_key, layer)

    def origin(self, id: str) -> str:
        """Where an image's layer comes from, as `add_lazy` was told; empty for snapshots that were made here."""
        return self._table.chain(id)[-1].origin

    def place(self, id: str, parent: str | None, folder: Path, *, flat: bool, compared: bool = True) -> Snapshot:
        """Makes `folder` (with its `fs`) the snapshot `id`, unless there is one already: then that one stays. Not
        `compared`: its layer is all that it has, also what the tree below has just so."""
        if not compared:
            (folder / _NOT_COMPARED).touch()
        known = self._table.add(id, parent, folder, flat=flat)
        if known is not None:
            return known
        self._unpacked.add(id)
        return Snapshot(id, parent)

    def remove(self, id: str) -> None:
        """Removes a snapshot that nothing is on top of; one that is not there is fine. EngineError if it is a
        parent. The caller must know that nobody uses it."""
        self._unpacked.discard(id)
        self._present.discard(id)
        self._table.remove(id)

    # ---- trees

    @property
    def overlays(self) -> bool:
        """Whether trees are overlays here, as chosen or as found out by mounting one on this state root once. Raises
        EngineError if they were to be and can not."""
        return self._snapshotter.overlays

    @asynccontextmanager
    async def prepare(self, parent: str | None) -> AsyncIterator[Active]:
        """A writable tree that begins as `parent` (None: empty). What is not committed is thrown away."""
        if parent is not None:
            await self.materialize(parent)
        active = await anyio.to_thread.run_sync(self.open_active, parent)
        try:
            yield active
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(active.discard)

    def open_active(self, parent: str | None, *, devices: bool = True) -> Active:
        """`prepare` for a thread that does the whole step itself: blocks; `parent` must not be lazy; the caller
        discards it at the end. Without `devices`, device files in an overlay can not be opened."""
        folder = self.scratch.new("active")
        try:
            lowers = self._table.lowers(self._table.chain(parent)) if parent is not None else ()
            path = self._snapshotter.writable(lowers, folder, devices=devices)
            return Active(self, parent, folder, path, flat=not self.overlays)
        except BaseException:
            remove_tree(folder)
            raise

    @asynccontextmanager
    async def view(self, id: str | None) -> AsyncIterator[Path]:
        """A read-only tree, mounted for as long as the context lasts."""
        if id is not None:
            await self.materialize(id)
        view = await anyio.to_thread.run_sync(self.open_view, id)
        try:
            yield view.path
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(view.close)

    def open_view(self, id: str | None) -> View:
        """`view` for a thread: blocks; nothing of `id` may be lazy; the caller closes it."""
        rows = self._table.chain(id) if id is not None else ()
        if rows and rows[-1].flat:
            return View(self._table.files(rows[-1]), None)
        return self._snapshotter.view(self._table.lowers(rows))

    def folder(self, id: str) -> Path | None:
        """Where the files of the snapshot's own layer are, deletions as overlayfs marks them; never to be written to.
        None if only the whole tree is there, as a copy. Nothing is there while the snapshot is lazy."""
        row = self._table.chain(id)[-1]
        return None if row.flat else self._table.files(row)

    def changes(self, id: str) -> Iterator[LayerEntry]:
        """The layer of a snapshot: its changes against its parent, in path order. Blocks; `id` must not be lazy.
        Entries' sources stay readable while the snapshot exists."""
        from bakepy.snapshot.changes import tree_changes, upper_changes

        *below, top = self._table.chain(id)
        tree = self._table.files(top)
        if (tree.parent / _NOT_COMPARED).exists():
            below = []
        with self._lower_tree(below) as lower:
            yield from tree_changes(tree, lower) if top.flat else upper_changes(tree, lower)

    @contextmanager
    def _lower_tree(self, rows: Sequence[SnapshotRow]) -> Iterator[bytes | None]:
        """A path at which the tree of `rows` can be read; None if it is empty."""
        if not rows:
            yield None
        elif rows[-1].flat:
            yield os.fsencode(self._table.files(rows[-1]))
        else:
            with self._snapshotter.readable(self._table.lowers(rows)) as path:
                yield path

    # ---- lazy layers

    async def fetch(self, id: str) -> None:
        """Sees to it that the blob of an image's layer is in the content store, in its full size; unpacks nothing.
        EngineError if the snapshot has no such layer."""
        row = (await anyio.to_thread.run_sync(self._table.chain, id))[-1]
        layer = row.snapshot.layer
        if layer is None:
            raise EngineError(f"snapshot {id} is not a layer of an image")
        if not self._content.holds(layer.descriptor):
            await self._fetch(row.snapshot, row.origin)

    async def materialize(self, id: str) -> None:
        """Fetches and unpacks what is lazy below and in `id`: layers side by side, each once even if many ask."""
        if id in self._unpacked:
            return
        rows = await anyio.to_thread.run_sync(self._table.chain, id)
        if any(row.snapshot.lazy for row in rows):
            await self._lazy_layers.unpack(rows)
        self._unpacked.add(id)

    @functools.cached_property
    def _lazy_layers(self) -> LazyLayers:
        from bakepy.snapshot.lazy import LazyLayers  # most runs unpack nothing

        return LazyLayers(
            self._table, self._content, self._snapshotter, self.scratch, self._fetch, self._alone, self.left_out
        )
