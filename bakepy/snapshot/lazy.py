"""Layers of images whose files are not here yet: fetched and unpacked when somebody needs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.to_thread

from bakepy.content.store import ContentStore
from bakepy.content.tar_read import LayerReader
from bakepy.errors import BuildError, EngineError
from bakepy.snapshot.scratch import Scratch
from bakepy.snapshot.snapshotter import Snapshotter
from bakepy.snapshot.table import Snapshot, SnapshotRow, SnapshotTable
from bakepy.snapshot.tree import remove_tree
from bakepy.snapshot.unpack import Unpacker, adopt_facts
from bakepy.snapshot.whole import copy_chain

_UNPACKERS = 4
"""Layers that are unpacked at a time."""

Fetch = Callable[[Snapshot, str], Awaitable[None]]
"""Puts the blob of a lazy snapshot's layer, which comes from that origin, into the content store."""
Alone = Callable[[str], AbstractAsyncContextManager[None]]
"""Keeps other processes from unpacking the layer of that id at the same time."""


class LazyLayers:
    """Unpacks layers side by side, each once even if many ask. What an ordinary user could not make is added to
    `left_out`."""

    def __init__(
        self,
        table: SnapshotTable,
        content: ContentStore,
        snapshotter: Snapshotter,
        scratch: Scratch,
        fetch: Fetch,
        alone: Alone,
        left_out: list[tuple[str, bytes]],
    ) -> None:
        self._table = table
        self._content = content
        self._snapshotter = snapshotter
        self._scratch = scratch
        self._fetch = fetch
        self._alone = alone
        self._left_out = left_out
        self._flights: dict[str, anyio.Lock] = {}

    async def unpack(self, rows: Sequence[SnapshotRow]) -> None:
        """Sees to it that nothing in a chain is lazy."""
        try:
            await self._unpack_all(rows)
        except BaseExceptionGroup as group:
            # one failure cancels the others; the caller is told of the one
            failures, rest = group.split(Exception)
            raise failures.exceptions[0] if failures is not None and rest is None else group from None

    async def _unpack_all(self, rows: Sequence[SnapshotRow]) -> None:
        done = [anyio.Event() for _ in rows]
        limiter = anyio.CapacityLimiter(_UNPACKERS)
        async with anyio.create_task_group() as group:
            for index, row in enumerate(rows):
                if row.snapshot.lazy:
                    group.start_soon(self._unpack_one, rows[: index + 1], done[: index + 1], limiter)
                else:
                    done[index].set()

    async def _unpack_one(
        self, rows: Sequence[SnapshotRow], done: Sequence[anyio.Event], limiter: anyio.CapacityLimiter
    ) -> None:
        row = rows[-1]
        async with self._flights.setdefault(row.snapshot.id, anyio.Lock()), self._alone(row.snapshot.id):
            found = await anyio.to_thread.run_sync(self._table.find, row.snapshot.id)
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
        self, rows: Sequence[SnapshotRow], done: Sequence[anyio.Event], limiter: anyio.CapacityLimiter
    ) -> None:
        if await anyio.to_thread.run_sync(lambda: self._snapshotter.overlays):
            unpacked = await anyio.to_thread.run_sync(self._unpack_marked, rows[-1], limiter=limiter)
            try:
                for event in done[:-1]:
                    await event.wait()
                await anyio.to_thread.run_sync(self._place, rows[-1], *unpacked)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(remove_tree, unpacked[0])
        else:
            for event in done[:-1]:
                await event.wait()
            await anyio.to_thread.run_sync(self._unpack_whole, rows[-1])

    def _unpack_marked(self, row: SnapshotRow) -> tuple[Path, tuple[bytes, ...]]:
        """A layer in a folder of its own, and the directories in it whose facts are those of the layers below."""
        folder = self._new_folder()
        try:
            return folder, self._apply(row, folder / "fs", mark=True)
        except BaseException:
            remove_tree(folder)
            raise

    def _place(self, row: SnapshotRow, folder: Path, implied: tuple[bytes, ...]) -> None:
        if implied:
            adopt_facts(folder / "fs", implied, self._below(row))
        self._table.fill(row.snapshot.id, folder, flat=False)

    def _unpack_whole(self, row: SnapshotRow) -> None:
        folder = self._new_folder()
        try:
            copy_chain(self._below(row), folder / "fs")
            self._apply(row, folder / "fs", mark=False)
            self._table.fill(row.snapshot.id, folder, flat=True)
        finally:
            remove_tree(folder)

    def _new_folder(self) -> Path:
        folder = self._scratch.new("layer")
        tree = folder / "fs"
        tree.mkdir()
        tree.chmod(0o755)
        return folder

    def _below(self, row: SnapshotRow) -> list[Path]:
        """The directories below a layer as they are now: they may have been unpacked since its chain was read."""
        return self._table.lowers(self._table.chain(row.snapshot.id)[:-1])

    def _apply(self, row: SnapshotRow, tree: Path, *, mark: bool) -> tuple[bytes, ...]:
        layer = row.snapshot.layer
        if layer is None:
            raise EngineError(f"snapshot {row.snapshot.id} is lazy but has no layer")
        with (
            self._content.path(layer.descriptor.digest).open("rb") as blob,
            LayerReader(blob, layer.diff_id) as reader,
            Unpacker(tree, mark=mark) as unpacker,
        ):
            unpacker.apply(reader)
            self._left_out += [(row.origin, path) for path in unpacker.left_out]
            return tuple(unpacker.implied)
