"""A snapshot store on a state root, with layers that come from a dict instead of a registry."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bakepy.content.database import Database
from bakepy.content.entry import Layer
from bakepy.content.store import ContentStore
from bakepy.snapshot.snapshotter import AUTO
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot
from tests.support.trees import summary


@dataclass
class Snapshots:
    """`fetched` are the origins that were asked for, in order."""

    root: Path
    store: SnapshotStore
    content: ContentStore
    database: Database
    blobs: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    async def commit(self, id: str, parent: str | None, change: Callable[[Path], object]) -> Snapshot:
        """A snapshot that `change` makes of its parent's tree."""
        async with self.store.prepare(parent) as active:
            change(active.path)
            return await active.commit(id)

    def changes(self, id: str) -> list[str]:
        return summary(self.store.changes(id))

    def add_lazy(self, id: str, parent: str | None, layer: Layer, data: bytes) -> None:
        self.blobs[id] = data
        self.store.add_lazy(id, parent, layer, f"origin of {id}")


@contextmanager
def open_snapshots(root: Path, snapshotter: str = AUTO) -> Iterator[Snapshots]:
    content = ContentStore(root)

    async def fetch(snapshot: Snapshot, origin: str) -> None:
        machine.fetched.append(origin)
        if snapshot.layer is None or not content.holds(snapshot.layer.descriptor):  # as registries' clients do
            content.put(machine.blobs[snapshot.id])

    with (
        Database(root / "state.db") as database,
        SnapshotStore(root, database, content, fetch, snapshotter=snapshotter) as store,
    ):
        machine = Snapshots(root, store, content, database)
        yield machine


def remake(folder: Path) -> None:
    """Deletes a folder with all in it and makes it anew."""
    shutil.rmtree(folder)
    folder.mkdir()
