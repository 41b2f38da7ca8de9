"""The table of snapshots: which there are, on top of which others, and the folders that their files are in.

A folder gets its place, ROOT/snapshots/NUMBER, inside the transaction that adds its row, so nothing is half there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bakepy.content.database import Database
from bakepy.content.entry import Layer
from bakepy.errors import EngineError
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor
from bakepy.model.value import dataclass
from bakepy.snapshot.scratch import Scratch
from bakepy.snapshot.tree import remove_tree

_TABLES = (
    """CREATE TABLE IF NOT EXISTS snapshot (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, parent TEXT,
        lazy INTEGER NOT NULL, flat INTEGER NOT NULL, layer TEXT, diff_id TEXT, origin TEXT)""",
    "CREATE INDEX IF NOT EXISTS snapshot_parent ON snapshot (parent)",
    """CREATE TABLE IF NOT EXISTS snapshot_layer (
        id TEXT NOT NULL, compression TEXT NOT NULL, layer TEXT NOT NULL, diff_id TEXT NOT NULL,
        PRIMARY KEY (id, compression)) WITHOUT ROWID""",
)
_COLUMNS = "number, id, parent, lazy, flat, layer, diff_id, origin"
_CHAIN = f"""WITH RECURSIVE chain (depth, {_COLUMNS}) AS (
    SELECT 0, {_COLUMNS} FROM snapshot WHERE id = ?
    UNION ALL
    SELECT depth + 1, {", ".join("s." + name.strip() for name in _COLUMNS.split(","))}
    FROM snapshot s JOIN chain ON s.id = chain.parent)
    SELECT {_COLUMNS} FROM chain ORDER BY depth DESC"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree on top of `parent`. `layer` is known for layers of images; `lazy`: its files are not here yet."""

    id: str
    parent: str | None
    layer: Layer | None = None
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A snapshot with what only its keepers need. `flat`: its folder has the whole tree, not a layer of it. `origin`:
    where an image's layer comes from."""

    number: int
    snapshot: Snapshot
    flat: bool
    origin: str


class SnapshotTable:
    """The snapshots of a state root. Methods may be called from any thread."""

    def __init__(self, root: Path, database: Database, scratch: Scratch) -> None:
        self._folder = root / "snapshots"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._database = database
        self._scratch = scratch
        database.create(*_TABLES)

    def find(self, id: str) -> Snapshot | None:
        rows = self._database.query(f"SELECT {_COLUMNS} FROM snapshot WHERE id = ?", id)
        return _row(rows[0]).snapshot if rows else None

    def chain(self, id: str) -> tuple[SnapshotRow, ...]:
        """The snapshot with all below it, lowest first. Raises EngineError if it, or one of those, is not there."""
        rows = tuple(_row(values) for values in self._database.query(_CHAIN, id))
        if not rows or rows[0].snapshot.parent is not None:
            missing = rows[0].snapshot.parent if rows else id
            raise EngineError(f"snapshot {missing} is not in the state root")
        return rows

    def files(self, row: SnapshotRow) -> Path:
        """The directory of a snapshot's own files."""
        return self._folder / str(row.number) / "fs"

    def lowers(self, rows: Sequence[SnapshotRow]) -> list[Path]:
        """The directories of a chain, topmost first, down to one that is a whole tree. None of them may be lazy."""
        paths: list[Path] = []
        for row in reversed(rows):
            if row.snapshot.lazy:
                raise EngineError(f"snapshot {row.snapshot.id} is not unpacked")
            paths.append(self.files(row))
            if row.flat:
                break
        return paths

    def add(self, id: str, parent: str | None, folder: Path, *, flat: bool) -> Snapshot | None:
        """Makes `folder` (with its `fs`) the snapshot `id`. If there is one already, that one stays and is returned."""
        with self._database.transaction():
            known = self.find(id)
            if known is None:
                self._database.execute(
                    "INSERT INTO snapshot (id, parent, lazy, flat) VALUES (?, ?, 0, ?)", id, parent, int(flat)
                )
                self._move(id, folder)
        return known

    def add_lazy(self, id: str, parent: str | None, layer: Layer, origin: str) -> None:
        """Adds an image's layer on top of `parent`, without files. A snapshot that is there is kept."""
        self._database.execute(
            "INSERT OR IGNORE INTO snapshot (id, parent, lazy, flat, layer, diff_id, origin)"
            " VALUES (?, ?, 1, 0, ?, ?, ?)",
            id,
            parent,
            json.dumps(layer.descriptor.to_json()),
            str(layer.diff_id),
            origin,
        )

    def fill(self, id: str, folder: Path, *, flat: bool) -> None:
        """Makes `folder` the files of the snapshot `id`, if that is still lazy."""
        with self._database.transaction():
            known = self.find(id)
            if known is not None and known.lazy:
                self._database.execute("UPDATE snapshot SET lazy = 0, flat = ? WHERE id = ?", int(flat), id)
                self._move(id, folder)

    def _move(self, id: str, folder: Path) -> None:
        """Renames `folder` to the place of the row `id`, inside the caller's transaction."""
        ((number,),) = self._database.query("SELECT number FROM snapshot WHERE id = ?", id)
        target = self._folder / str(number)
        if target.exists():
            # left by a process that was killed between its rename and its commit: no row ever had it
            target.rename(self._scratch.name("orphan"))
        os.utime(folder)  # a rename alone changes this time on most file systems, not on all
        folder.rename(target)

    def remove(self, id: str) -> None:
        """Removes a snapshot that nothing is on top of; one that is not there is fine. EngineError if it is a
        parent."""
        doomed = self._scratch.name("removed")
        with self._database.transaction():
            rows = self._database.query("SELECT number FROM snapshot WHERE id = ?", id)
            if not rows:
                return
            if self._database.query("SELECT 1 FROM snapshot WHERE parent = ? LIMIT 1", id):
                raise EngineError(f"snapshot {id} is the parent of others")
            self._database.execute("DELETE FROM snapshot_layer WHERE id = ?", id)
            self._database.execute("DELETE FROM snapshot WHERE id = ?", id)
            try:
                (self._folder / str(rows[0][0])).rename(doomed)
            except FileNotFoundError:
                return  # it was lazy
        remove_tree(doomed)

    def known_layer(self, id: str, compression_key: str) -> Layer | None:
        """The layer that `remember_layer` was told for this snapshot and compression."""
        rows = self._database.query(
            "SELECT layer, diff_id FROM snapshot_layer WHERE id = ? AND compression = ?", id, compression_key
        )
        return _layer(*rows[0]) if rows else None

    def remember_layer(self, id: str, compression_key: str, layer: Layer) -> None:
        """Notes the layer that a snapshot's changes became, so that it is written once."""
        self._database.execute(
            "INSERT OR REPLACE INTO snapshot_layer VALUES (?, ?, ?, ?)",
            id,
            compression_key,
            json.dumps(layer.descriptor.to_json()),
            str(layer.diff_id),
        )


def _row(values: tuple[Any, ...]) -> SnapshotRow:
    number, id, parent, lazy, flat, layer, diff_id, origin = values
    known = _layer(layer, diff_id) if layer else None
    return SnapshotRow(number, Snapshot(id, parent, known, bool(lazy)), bool(flat), origin or "")


def _layer(descriptor: str, diff_id: str) -> Layer:
    return Layer(Descriptor.from_json(json.loads(descriptor)), Digest(diff_id))
