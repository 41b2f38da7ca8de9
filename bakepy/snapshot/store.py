"""Snapshots: file trees by key, each a layer on top of its parent.

A snapshot's files are in ROOT/snapshots/NUMBER/fs, its facts in the database. On overlayfs that directory is the upper
directory of the step that made it, so making a layer needs no look at the image below. Where overlays can not be
mounted, or are not wanted, a snapshot is a whole tree instead (`flat`), copied from its parent.

Nothing is half there: a tree is made in the process's own temporary folder and renamed into its place inside the
transaction that adds its row. That holds when a process is killed at any instant. After a power cut files may be
missing that the database has, because nothing is flushed to disk.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import stat
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from bakepy.content.database import Database
from bakepy.content.entry import Layer, LayerEntry
from bakepy.content.store import ContentStore
from bakepy.errors import BuildError, EngineError
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor
from bakepy.model.value import dataclass
from bakepy.snapshot import overlay
from bakepy.snapshot.active import Active, View
from bakepy.snapshot.census import Census, Gone, nobody
from bakepy.snapshot.scratch import Scratch
from bakepy.snapshot.tree import remove_tree
from bakepy.snapshot.whole import copy_chain

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
AUTO, OVERLAY, COPY = SNAPSHOTTERS = ("auto", "overlay", "copy")
"""How trees are made: `auto` is overlays where they can be mounted, else copies."""

_NOT_COMPARED = "not-compared"
"""A file beside a snapshot's `fs`: its layer is told without a look at the tree below."""
_UNPACKERS = 4
"""Layers that are unpacked at a time."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A tree on top of `parent`. `layer` is known for layers of images; `lazy`: its files are not here yet."""

    id: str
    parent: str | None
    layer: Layer | None = None
    lazy: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    snapshot: Snapshot
    flat: bool
    origin: str


Fetch = Callable[[Snapshot, str], Awaitable[None]]
Alone = Callable[[str], AbstractAsyncContextManager[None]]
"""Keeps other processes from unpacking the layer of that id at the same time."""


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
        """Opens ROOT/snapshots, and removes what dead processes left in ROOT/tmp. `snapshotter` is one of
        SNAPSHOTTERS: how trees are made; those that are there are read anyway. `gone` is told of snapshots that had to
        be given up."""
        self._snapshotter = snapshotter
        self._folder = root / "snapshots"
        self._folder.mkdir(parents=True, exist_ok=True)
        self.scratch = Scratch(root / "tmp")
        self._database = database
        self._content = content
        self._fetch = fetch
        self._alone = alone
        self._flights: dict[str, anyio.Lock] = {}
        self._unpacked: set[str] = set()
        self._present: set[str] = set()
        self._gone = gone
        self._probe = threading.Lock()
        self.left_out: list[tuple[str, bytes]] = []
        """Device files that an ordinary user could not make: where their layer is from, and their paths."""
        self._empty = self.scratch.new("empty")
        self._empty.chmod(0o755)
        database.create(*_TABLES)

    def close(self) -> None:
        """Removes this process's temporary folder, with whatever is still mounted there."""
        self.scratch.close()

    def __enter__(self) -> SnapshotStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what there is

    def find(self, id: str) -> Snapshot | None:
        rows = self._database.query(f"SELECT {_COLUMNS} FROM snapshot WHERE id = ?", id)
        return _row(rows[0]).snapshot if rows else None

    def present(self, id: str) -> bool:
        """Whether a snapshot is there with all below it, and their files: each folder is looked at once in a run.

        Layers of images that lost their files become lazy again; others are given up, with what is on top of them.
        """
        seen: list[str] = []
        lost: list[tuple[str, bool]] = []
        at: str | None = id
        while at is not None and at not in self._present:
            rows = self._database.query("SELECT number, parent, lazy, layer IS NOT NULL FROM snapshot WHERE id = ?", at)
            if not rows:
                return False
            number, parent, lazy, image = rows[0]
            if not lazy and not _is_untouched(f"{self._folder}/{number}"):
                lost.append((at, bool(image)))
            seen.append(at)
            at = parent
        if lost:
            census = Census(self._folder.parent, self._database, self._gone)
            census.make_lazy([each for each, image in lost if image])
            made = [each for each, image in lost if not image]
            census.drop(made, lambda: self.scratch.name("lost"))
            if made:
                return False
        self._present.update(seen)
        return True

    def chain(self, id: str) -> tuple[Snapshot, ...]:
        """The snapshot with all below it, lowest first. Raises EngineError if it, or one of those, is not there."""
        return tuple(row.snapshot for row in self._rows(id))

    def add_lazy(self, id: str, parent: str | None, layer: Layer, origin: str) -> None:
        """Registers an image's layer on top of `parent`; nothing is fetched. A snapshot that is there is kept."""
        self._database.execute(
            "INSERT OR IGNORE INTO snapshot (id, parent, lazy, flat, layer, diff_id, origin)"
            " VALUES (?, ?, 1, 0, ?, ?, ?)",
            id,
            parent,
            json.dumps(layer.descriptor.to_json()),
            str(layer.diff_id),
            origin,
        )

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

    def origin(self, id: str) -> str:
        """Where an image's layer comes from, as `add_lazy` was told; empty for snapshots that were made here."""
        return self._rows(id)[-1].origin

    async def fetch(self, id: str) -> None:
        """Sees to it that the blob of an image's layer is in the content store, in its full size; unpacks nothing.
        EngineError if the snapshot has no such layer."""
        row = (await anyio.to_thread.run_sync(self._rows, id))[-1]
        layer = row.snapshot.layer
        if layer is None:
            raise EngineError(f"snapshot {id} is not a layer of an image")
        if not self._content.holds(layer.descriptor):
            await self._fetch(row.snapshot, row.origin)

    def size(self, id: str) -> int:
        """Bytes on disk of the snapshot's own files; 0 while it is lazy. Walks them."""
        row = self._rows(id)[-1]
        total = 0
        seen: set[int] = set()
        if not row.snapshot.lazy:
            for folder, folders, files in os.walk(self._fs(row.number)):
                for name in (*folders, *files):
                    facts = os.lstat(os.path.join(folder, name))  # noqa: PTH118
                    if facts.st_nlink == 1 or stat.S_ISDIR(facts.st_mode) or facts.st_ino not in seen:
                        seen.add(facts.st_ino)
                        total += facts.st_blocks * 512
        return total

    def remove(self, id: str) -> None:
        """Removes a snapshot that nothing is on top of; one that is not there is fine. EngineError if it is a
        parent. The caller must know that nobody uses it."""
        doomed = self.scratch.name("removed")
        self._unpacked.discard(id)
        self._present.discard(id)
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

    # ---- trees

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
            return self._open_active(parent, folder, devices)
        except BaseException:
            remove_tree(folder)
            raise

    def _open_active(self, parent: str | None, folder: Path, devices: bool) -> Active:
        upper = folder / "fs"
        upper.mkdir()
        upper.chmod(0o755)
        rows = self._rows(parent) if parent is not None else ()
        if not self.overlays:
            copy_chain(self._lowers(rows), upper)
            if not devices:
                overlay.bind_without_devices(upper)
            return Active(self, parent, folder, upper, flat=True)
        work, target = folder / "work", folder / "m"
        work.mkdir()
        target.mkdir()
        lowers = self._lowers(rows) or [self._empty]
        with _explained(lowers):
            overlay.mount_writable(lowers, upper, work, target, devices=devices)
        return Active(self, parent, folder, target, flat=False)

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
        rows = self._rows(id) if id is not None else ()
        if not rows:
            return View(self._empty, None)
        if rows[-1].flat:
            return View(self._fs(rows[-1].number), None)
        folder = self.scratch.new("view")
        if not self.overlays:
            return self._copied_view(rows, folder)
        lowers = self._readable(rows)
        with _explained(lowers):
            overlay.mount_readonly(lowers, folder)
        return View(folder, folder)

    def _copied_view(self, rows: Sequence[_Row], folder: Path) -> View:
        try:
            copy_chain(self._lowers(rows), folder)
        except BaseException:
            remove_tree(folder)
            raise
        return View(folder, None, copied=True)

    def folder(self, id: str) -> Path | None:
        """Where the files of the snapshot's own layer are, deletions as overlayfs marks them; never to be written to.
        None if only the whole tree is there, as a copy. Nothing is there while the snapshot is lazy."""
        row = self._rows(id)[-1]
        return None if row.flat else self._fs(row.number)

    def changes(self, id: str) -> Iterator[LayerEntry]:
        """The layer of a snapshot: its changes against its parent, in path order. Blocks; `id` must not be lazy.
        Entries' sources stay readable while the snapshot exists."""
        from bakepy.snapshot.changes import tree_changes, upper_changes

        rows = self._rows(id)
        top, below = rows[-1], rows[:-1]
        tree = self._fs(top.number)
        if (tree.parent / _NOT_COMPARED).exists():
            below = ()
        with self._lower_tree(below) as lower:
            yield from tree_changes(tree, lower) if top.flat else upper_changes(tree, lower)

    # ---- lazy layers

    async def materialize(self, id: str) -> None:
        """Fetches and unpacks what is lazy below and in `id`: layers side by side, each once even if many ask."""
        if id in self._unpacked:
            return
        rows = await anyio.to_thread.run_sync(self._rows, id)
        try:
            await self._materialize(rows)
        except BaseExceptionGroup as group:
            # one failure cancels the others; the caller is told of the one
            failures, rest = group.split(Exception)
            raise failures.exceptions[0] if failures is not None and rest is None else group from None
        self._unpacked.add(id)

    async def _materialize(self, rows: Sequence[_Row]) -> None:
        done = [anyio.Event() for _ in rows]
        limiter = anyio.CapacityLimiter(_UNPACKERS)
        async with anyio.create_task_group() as group:
            for index, row in enumerate(rows):
                if row.snapshot.lazy:
                    group.start_soon(self._materialize_one, rows[: index + 1], done[: index + 1], limiter)
                else:
                    done[index].set()

    async def _materialize_one(
        self, rows: Sequence[_Row], done: Sequence[anyio.Event], limiter: anyio.CapacityLimiter
    ) -> None:
        row = rows[-1]
        async with self._flights.setdefault(row.snapshot.id, anyio.Lock()), self._alone(row.snapshot.id):
            found = await anyio.to_thread.run_sync(self.find, row.snapshot.id)
            if found is not None and found.lazy:
                await self._fetch(row.snapshot, row.origin)
                try:
                    await self._unpack_layer(rows, done, limiter)
                except BuildError:
                    if row.snapshot.layer is None or await anyio.to_thread.run_sync(
                        self._content.intact, row.snapshot.layer.descriptor
                    ):
                        raise
                    # not the image is wrong but the blob: it was here before this run, and was damaged
                    await self._fetch(row.snapshot, row.origin)
                    await self._unpack_layer(rows, done, limiter)
        done[-1].set()

    async def _unpack_layer(
        self, rows: Sequence[_Row], done: Sequence[anyio.Event], limiter: anyio.CapacityLimiter
    ) -> None:
        if await anyio.to_thread.run_sync(lambda: self.overlays):
            unpacked = await anyio.to_thread.run_sync(self._unpack_marked, rows[-1], limiter=limiter)
            try:
                for event in done[:-1]:
                    await event.wait()
                await anyio.to_thread.run_sync(self._place_unpacked, rows, *unpacked)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(remove_tree, unpacked[0])
        else:
            for event in done[:-1]:
                await event.wait()
            await anyio.to_thread.run_sync(self._unpack_whole, rows)

    def _unpack_marked(self, row: _Row) -> tuple[Path, tuple[bytes, ...]]:
        folder = self.scratch.new("layer")
        tree = folder / "fs"
        tree.mkdir()
        tree.chmod(0o755)
        try:
            return folder, self._unpack(row, tree, mark=True)
        except BaseException:
            remove_tree(folder)
            raise

    def _place_unpacked(self, rows: Sequence[_Row], folder: Path, implied: tuple[bytes, ...]) -> None:
        if implied:
            from bakepy.snapshot.unpack import adopt_facts

            below = self._rows(rows[-1].snapshot.id)[:-1]
            adopt_facts(folder / "fs", implied, self._lowers(below))
        self._place(rows[-1].snapshot.id, folder, flat=False)

    def _unpack_whole(self, rows: Sequence[_Row]) -> None:
        folder = self.scratch.new("layer")
        tree = folder / "fs"
        tree.mkdir()
        tree.chmod(0o755)
        try:
            below = self._rows(rows[-1].snapshot.id)[:-1]
            copy_chain(self._lowers(below), tree)
            self._unpack(rows[-1], tree, mark=False)
            self._place(rows[-1].snapshot.id, folder, flat=True)
        finally:
            remove_tree(folder)

    def _unpack(self, row: _Row, tree: Path, *, mark: bool) -> tuple[bytes, ...]:
        from bakepy.content.layer import LayerReader
        from bakepy.snapshot.unpack import Unpacker

        layer = row.snapshot.layer
        if layer is None:
            raise EngineError(f"snapshot {row.snapshot.id} is lazy but has no layer")
        with (
            self._content.path(layer.descriptor.digest).open("rb") as blob,
            LayerReader(blob, layer.diff_id) as reader,
            Unpacker(tree, mark=mark) as unpacker,
        ):
            unpacker.apply(reader)
            self.left_out += [(row.origin, path) for path in unpacker.left_out]
            return tuple(unpacker.implied)

    # ---- places

    @functools.cached_property
    def overlays(self) -> bool:
        """Whether trees are overlays here, as chosen or as found out by mounting one on this state root once. Raises
        EngineError if they were to be and can not."""
        if self._snapshotter == COPY:
            return False
        with self._probe:
            folder = self.scratch.new("probe")
            try:
                problem = overlay.problem_in(folder)
            finally:
                remove_tree(folder)
        if problem and self._snapshotter == OVERLAY:
            raise EngineError(
                f"overlays can not be mounted on this state root: {problem}",
                hint="leave the choice of the snapshotter to bakepy, or put the state root on another file system",
            )
        return not problem

    def place(self, id: str, parent: str | None, folder: Path, *, flat: bool, compared: bool = True) -> Snapshot:
        """Makes `folder` (with its `fs`) the snapshot `id`, unless there is one already: then that one stays. Not
        `compared`: its layer is all that it has, also what the tree below has just so."""
        if not compared:
            (folder / _NOT_COMPARED).touch()
        with self._database.transaction():
            known = self.find(id)
            if known is not None:
                return known
            self._database.execute(
                "INSERT INTO snapshot (id, parent, lazy, flat) VALUES (?, ?, 0, ?)", id, parent, int(flat)
            )
            self._move(id, folder)
        self._unpacked.add(id)
        return Snapshot(id, parent)

    def _place(self, id: str, folder: Path, *, flat: bool) -> None:
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
            target.rename(self.scratch.name("orphan"))
        os.utime(folder)  # a rename alone changes this time on most file systems, not on all
        folder.rename(target)

    def _rows(self, id: str) -> tuple[_Row, ...]:
        rows = tuple(_row(values) for values in self._database.query(_CHAIN, id))
        if not rows or rows[0].snapshot.parent is not None:
            missing = rows[0].snapshot.parent if rows else id
            raise EngineError(f"snapshot {missing} is not in the state root")
        return rows

    def _fs(self, number: int) -> Path:
        return self._folder / str(number) / "fs"

    def _lowers(self, rows: Sequence[_Row]) -> list[Path]:
        """The directories of a chain, topmost first, down to one that is a whole tree."""
        paths: list[Path] = []
        for row in reversed(rows):
            if row.snapshot.lazy:
                raise EngineError(f"snapshot {row.snapshot.id} is not unpacked")
            paths.append(self._fs(row.number))
            if row.flat:
                break
        return paths

    def _readable(self, rows: Sequence[_Row]) -> list[Path]:
        """At least two directories: without an upper one, overlayfs wants so."""
        lowers = self._lowers(rows)
        return lowers if len(lowers) > 1 else [*lowers, self._empty]

    @contextmanager
    def _lower_tree(self, rows: Sequence[_Row]) -> Iterator[bytes | None]:
        """A path at which the tree of `rows` can be read; None if it is empty."""
        if not rows:
            yield None
        elif rows[-1].flat:
            yield os.fsencode(self._fs(rows[-1].number))
        elif not self.overlays:
            with closing(self._copied_view(rows, self.scratch.new("lower"))) as view:
                yield os.fsencode(view.path)
        else:
            try:
                tree = overlay.open_detached(self._readable(rows))
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
                    raise
                with self._mounted(rows) as path:
                    yield os.fsencode(path)
                return
            try:
                yield b"/proc/self/fd/%d" % tree
            finally:
                os.close(tree)

    @contextmanager
    def _mounted(self, rows: Sequence[_Row]) -> Iterator[Path]:
        folder = self.scratch.new("lower")
        overlay.mount_readonly(self._readable(rows), folder)
        try:
            yield folder
        finally:
            overlay.unmount(folder)
            folder.rmdir()


def _is_untouched(folder: str) -> bool:
    """Whether a tree is there, and no name at its top was made or taken away since its folder got its place. That makes
    both times of the top younger: one alone may be so in a copy of the state root, or was given by an image."""
    try:
        placed, top = os.stat(folder), os.stat(f"{folder}/fs")  # noqa: PTH116
    except OSError:
        return False
    return stat.S_ISDIR(top.st_mode) and min(top.st_ctime_ns, top.st_mtime_ns) <= placed.st_ctime_ns


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


def _row(values: tuple[Any, ...]) -> _Row:
    number, id, parent, lazy, flat, layer, diff_id, origin = values
    known = _layer(layer, diff_id) if layer else None
    return _Row(number, Snapshot(id, parent, known, bool(lazy)), bool(flat), origin or "")


def _layer(descriptor: str, diff_id: str) -> Layer:
    return Layer(Descriptor.from_json(json.loads(descriptor)), Digest(diff_id))
