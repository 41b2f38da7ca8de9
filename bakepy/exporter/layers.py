"""The layers of a snapshot chain as blobs: known ones are taken as they are, the others are written once.

Once means: in a run, whoever asks, and afterwards, because the snapshot store remembers what a snapshot's changes
became. When a layer was made is remembered too, so that an image that is built again has the same dates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import anyio
import anyio.to_thread

from bakepy.content.blob_pipeline import BlobPipeline
from bakepy.content.compression import Compression, compression_of, read_chunks
from bakepy.content.database import Database
from bakepy.content.entry import Layer, LayerEntry
from bakepy.content.layer import write_layer
from bakepy.content.patience import while_wanted
from bakepy.content.store import ContentStore
from bakepy.errors import BuildError
from bakepy.exporter.image import ExportLayer, time_text
from bakepy.exporter.once import Once
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor
from bakepy.model.value import dataclass
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot

_TABLE = """CREATE TABLE IF NOT EXISTS exporter_dates (
    snapshot TEXT PRIMARY KEY, created INTEGER NOT NULL
) WITHOUT ROWID"""
_READERS = 4
"""Blobs that are compared with their digests at a time."""
_WRITERS = 2
"""Layers that are written at a time; each has threads of its own for hashing and compressing."""


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """How new layers are written. `force`: image layers of another compression are compressed anew. `epoch`: newer
    file times in new layers become this one (seconds)."""

    compression: Compression
    force: bool = False
    epoch: int | None = None

    @property
    def key(self) -> str:
        """Equal for options that make equal bytes of equal changes."""
        return self.compression.key + ("" if self.epoch is None else f"@{self.epoch}")


class Layers:
    """Layers of one run's results."""

    def __init__(
        self,
        content: ContentStore,
        snapshots: SnapshotStore,
        database: Database,
        *,
        now_ns: Callable[[], int],
        wrote: Callable[[Layer], None] = lambda layer: None,
    ) -> None:
        """`wrote` is told of each layer that was compressed, and not taken as it was."""
        self._content = content
        self._snapshots = snapshots
        self._database = database
        self._now_ns = now_ns
        self._wrote = wrote
        self._written: Once[tuple[str, str], Layer] = Once()
        self._ensured: Once[Digest, None] = Once()
        self._options: dict[Digest, LayerOptions] = {}
        """How layers that are not an image's own were written."""
        self._readers = anyio.CapacityLimiter(_READERS)
        self._writers = anyio.CapacityLimiter(_WRITERS)
        database.create(_TABLE)

    async def of(self, top: str | None, options: LayerOptions, steps: Mapping[str, str]) -> tuple[ExportLayer, ...]:
        """The layers of `top`, lowest first. Layers of images may stay where they are, see `fetch`."""
        if top is None:
            return ()
        chain = self._snapshots.chain(top)
        layers: dict[str, Layer] = {}

        async def one(snapshot: Snapshot) -> None:
            layers[snapshot.id] = await self._layer(snapshot, options)

        async with anyio.create_task_group() as group:
            for snapshot in chain:
                group.start_soon(one, snapshot)
        dates = self._dates([snapshot.id for snapshot in chain if snapshot.layer is None])
        return tuple(
            ExportLayer(
                layers[snapshot.id],
                created=time_text(dates[snapshot.id]) if snapshot.id in dates else "",
                step=steps.get(snapshot.id, ""),
                snapshot=snapshot.id,
                epoch=options.epoch if snapshot.layer is None else None,
            )
            for snapshot in chain
        )

    async def fetch(self, layers: tuple[ExportLayer, ...]) -> None:
        """Sees to it that the blobs of `layers` are in the content store, undamaged: each is looked at once in a run,
        and fetched or written again if it is not what its digest says."""
        async with anyio.create_task_group() as group:
            for layer in layers:
                group.start_soon(self._ensure, layer)

    async def _ensure(self, layer: ExportLayer) -> None:
        async def work() -> None:
            if not await anyio.to_thread.run_sync(self._content.intact, layer.layer.descriptor, limiter=self._readers):
                await self._again(layer)

        await self._ensured.get(layer.layer.descriptor.digest, work)

    async def _again(self, layer: ExportLayer) -> None:
        """A layer of an image is fetched, others are written; BuildError if other bytes come out than the image that
        is being exported was made of."""
        snapshot = self._snapshots.chain(layer.snapshot)[-1]
        wanted = layer.layer.descriptor.digest
        if snapshot.layer is not None and snapshot.layer.descriptor.digest == wanted:
            await self._snapshots.fetch(snapshot.id)
            return
        options = self._options[wanted]
        if snapshot.layer is None:
            made = await self._write(snapshot, options)
        else:
            made = await self._convert(snapshot, snapshot.layer, options, _forced(options))
        if made.descriptor.digest != wanted:
            raise BuildError(
                f"layer {wanted} was damaged, and what it was made of gives {made.descriptor.digest} now",
                hint="run again: then the image is made of the new one",
            )

    async def _layer(self, snapshot: Snapshot, options: LayerOptions) -> Layer:
        image_layer = snapshot.layer
        if image_layer is None:
            layer = await self._written.get((snapshot.id, options.key), lambda: self._write(snapshot, options))
            self._options[layer.descriptor.digest] = options
            return layer
        kind = compression_of(image_layer.descriptor.media_type)
        if not options.force or kind == options.compression.type:
            return image_layer
        key = _forced(options)
        layer = await self._written.get((snapshot.id, key), lambda: self._convert(snapshot, image_layer, options, key))
        self._options[layer.descriptor.digest] = options
        return layer

    async def _write(self, snapshot: Snapshot, options: LayerOptions) -> Layer:
        if known := self._known(snapshot, options.key):
            return known

        def work() -> Layer:
            entries = _stamped(self._snapshots.changes(snapshot.id), options.epoch)
            layer = write_layer(entries, self._content, compression=options.compression)
            self._snapshots.remember_layer(snapshot.id, options.key, layer)
            self._wrote(layer)
            return layer

        return await anyio.to_thread.run_sync(work, limiter=self._writers)

    async def _convert(self, snapshot: Snapshot, layer: Layer, options: LayerOptions, key: str) -> Layer:
        if known := self._known(snapshot, key):
            return known
        await self._ensure(ExportLayer(layer, snapshot=snapshot.id))

        def work() -> Layer:
            converted = recompress(layer, self._content, options.compression)
            self._snapshots.remember_layer(snapshot.id, key, converted)
            self._wrote(converted)
            return converted

        return await anyio.to_thread.run_sync(work, limiter=self._writers)

    def _known(self, snapshot: Snapshot, key: str) -> Layer | None:
        layer = self._snapshots.known_layer(snapshot.id, key)
        return layer if layer and self._content.holds(layer.descriptor) else None

    def _dates(self, ids: Sequence[str]) -> dict[str, int]:
        """When each snapshot was first exported, in nanoseconds; now, for those that never were."""
        dates = self._read_dates(ids)
        missing = [id for id in ids if id not in dates]
        if missing:
            # another process may have dated them meanwhile: then its date is the one
            now = self._now_ns()
            self._database.execute_many(
                "INSERT OR IGNORE INTO exporter_dates VALUES (?, ?)", [(id, now) for id in missing]
            )
            dates |= self._read_dates(missing)
        return dates

    def _read_dates(self, ids: Sequence[str]) -> dict[str, int]:
        rows = (
            self._database.query("SELECT snapshot, created FROM exporter_dates WHERE snapshot = ?", id) for id in ids
        )
        return {snapshot: created for found in rows for snapshot, created in found}


def recompress(layer: Layer, store: ContentStore, compression: Compression) -> Layer:
    """The same tar in another compression. Blocks. BuildError if the blob is not what its diff ID says."""
    with (
        store.path(layer.descriptor.digest).open("rb") as stream,
        store.writer() as blob,
        BlobPipeline(compression, blob) as pipeline,
    ):
        for chunk in read_chunks(stream):
            pipeline.write(chunk)
        diff_id = pipeline.finish()
        if diff_id != layer.diff_id:
            raise BuildError(f"layer {layer.descriptor.digest} has diff ID {diff_id}, {layer.diff_id} was expected")
        digest, size = blob.commit_as(diff_id) if compression.type == "uncompressed" else blob.commit()
    return Layer(Descriptor(compression.media_type(), digest, size), diff_id)


def as_written(entries: Iterator[LayerEntry], key: str) -> Iterator[LayerEntry]:
    """The entries of a snapshot as `LayerOptions` with that key write them."""
    _, dated, epoch = key.partition("@")
    return _stamped(entries, int(epoch) if dated else None)


def _stamped(entries: Iterator[LayerEntry], epoch: int | None) -> Iterator[LayerEntry]:
    """Clamps times to the epoch; notices soon that the run was cancelled."""
    limit = None if epoch is None else epoch * 10**9
    for entry in while_wanted(entries):
        if limit is not None and entry.mtime_ns > limit:
            entry = replace(entry, mtime_ns=limit)
        yield entry


def _forced(options: LayerOptions) -> str:
    return f"{options.compression.key}/forced"
