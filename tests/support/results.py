"""Results to export, made without an engine: snapshots written by hand, targets with outputs, a registry in memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bakepy.content.compression import Compression
from bakepy.content.database import Database
from bakepy.content.entry import Layer, LayerEntry
from bakepy.content.layer import write_layer
from bakepy.content.store import ContentStore
from bakepy.errors import RegistryError
from bakepy.events import Event
from bakepy.exporter.exporter import Exporter
from bakepy.exporter.result import PlatformResult, TargetResult
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ContainerConfig, HistoryEntry, ImageConfig
from bakepy.model.oci import Descriptor
from bakepy.model.platform import Platform
from bakepy.model.reference import ImageReference
from bakepy.model.target import OutputEntry, Target
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
NOON = 1_700_000_000 * 10**9
"""When everything is exported first, in nanoseconds: 2023-11-14T22:13:20Z."""
NOON_TEXT = "2023-11-14T22:13:20Z"

Fill = Callable[[Path], None]


@dataclass
class CountingRegistry:
    """A registry in memory: blobs and manifests by repository, tags, and every push in order."""

    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    manifests: dict[str, dict[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)
    faults: dict[str, Exception] = field(default_factory=dict)

    async def push_blob(
        self,
        ref: ImageReference,
        descriptor: Descriptor,
        store: ContentStore,
        mount_from: ImageReference | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.calls.append(f"blob {ref.repository} {descriptor.digest}")
        if mount_from is not None:
            self.mounts.append(f"{descriptor.digest} from {mount_from.repository}")
        self.blobs.setdefault(ref.repository, {})[descriptor.digest] = store.read(descriptor.digest)
        if progress:
            progress(descriptor.size, descriptor.size)

    async def offer_blob(
        self, ref: ImageReference, descriptor: Descriptor, store: ContentStore, mount_from: ImageReference | None = None
    ) -> bool:
        self.calls.append(f"offer {ref.repository} {descriptor.digest}")
        if mount_from is None or mount_from.domain != ref.domain:
            return False
        self.mounts.append(f"{descriptor.digest} from {mount_from.repository}")
        return True

    async def push_manifest(self, ref: ImageReference, data: bytes, media_type: str) -> Digest:
        digest = Digest.of(data)
        self.calls.append(f"tag {ref.familiar()}" if ref.tag else f"manifest {ref.repository} {digest}")
        if ref.tag and ref.familiar() in self.faults:
            raise self.faults[ref.familiar()]
        self.manifests.setdefault(ref.repository, {})[digest] = data
        if ref.tag:
            self.tags[ref.familiar()] = digest
        return digest


@dataclass
class House:
    """A state root with snapshots to export from. `compressed` are the layers that were written, in order."""

    root: Path
    content: ContentStore
    database: Database
    snapshots: SnapshotStore
    registry: CountingRegistry = field(default_factory=CountingRegistry)
    compressed: list[Layer] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    remote: dict[str, bytes] = field(default_factory=dict)

    def exporter(self, **options: Any) -> Exporter:
        """For one run."""
        options.setdefault("now_ns", lambda: NOON)
        options.setdefault("wrote", self.compressed.append)
        return Exporter(
            content=self.content,
            snapshots=self.snapshots,
            database=self.database,
            registry=self.registry,
            emit=self.events.append,
            environ=options.pop("environ", {}),
            **options,
        )

    async def snapshot(self, id: str, fill: Fill | Mapping[str, str], parent: str | None = None) -> str:
        """A step's result: `fill` writes files, or is a mapping from paths to texts."""
        async with self.snapshots.prepare(parent) as active:
            if callable(fill):
                fill(active.path)
            else:
                for path, text in fill.items():
                    file = active.path / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text)
            await active.commit(id)
        return id

    def base_layer(
        self, id: str, files: Mapping[str, str], parent: str | None = None, compression: str = "gzip"
    ) -> Layer:
        """A layer of a base image at `registry.test/base`, which was not downloaded yet."""
        away = ContentStore(self.root / "away")
        entries = [
            LayerEntry(path.encode(), "file", 0o644, size=len(text), data=text.encode(), mtime_ns=1_500_000_000 * 10**9)
            for path, text in sorted(files.items())
        ]
        layer = write_layer(entries, away, compression=Compression(compression))
        self.remote[layer.descriptor.digest] = away.read(layer.descriptor.digest)
        self.snapshots.add_lazy(id, parent, layer, f"docker-image://registry.test/base@{layer.descriptor.digest}")
        return layer


@asynccontextmanager
async def open_house(root: Path) -> AsyncIterator[House]:
    """Opens the state root `root`; opening it again is a second run."""
    content = ContentStore(root)
    fetched: list[str] = []
    remote: dict[str, bytes] = {}

    async def fetch(snapshot: Snapshot, origin: str) -> None:
        assert snapshot.layer is not None
        fetched.append(snapshot.id)
        if snapshot.layer.descriptor.digest not in remote:
            raise RegistryError("registry.test is away")
        content.put(remote[snapshot.layer.descriptor.digest])

    with Database(root / "state.db") as database, SnapshotStore(root, database, content, fetch) as snapshots:
        yield House(root, content, database, snapshots, fetched=fetched, remote=remote)


def config(
    *history: str, platform: Platform = AMD64, base: tuple[HistoryEntry, ...] = (), **members: Any
) -> ImageConfig:
    """An image config with an entry of history for each step; steps that begin with `ENV` or `LABEL` have no layer."""
    entries = tuple(
        HistoryEntry(created_by=line, comment="buildkit.dockerfile.v0", empty_layer=line.startswith(("ENV", "LABEL")))
        for line in history
    )
    return ImageConfig(platform, ContainerConfig(**members), history=base + entries)


def output(text: str) -> OutputEntry:
    """Reads `type=oci,dest=out.tar,compression=zstd`."""
    attrs = dict(part.partition("=")[::2] for part in text.split(","))
    return OutputEntry(attrs.pop("type", ""), attrs.pop("dest", ""), FrozenMap(attrs))


def result(
    snapshot: str | None,
    *outputs: str,
    name: str = "app",
    image: ImageConfig | None = None,
    tags: tuple[str, ...] = (),
    annotations: tuple[str, ...] = (),
    epoch: int | None = None,
) -> TargetResult:
    """One platform's result."""
    target = Target(name, tags=tags, annotations=annotations, outputs=tuple(output(text) for text in outputs))
    image = image or config("COPY . / # buildkit")
    return TargetResult(name, target, (PlatformResult(image.platform, snapshot, image),), epoch=epoch)


def multi_result(
    snapshots: Mapping[Platform, str | None], *outputs: str, name: str = "app", annotations: tuple[str, ...] = ()
) -> TargetResult:
    """One result for each platform, to go into an image index."""
    target = Target(name, annotations=annotations, outputs=tuple(output(text) for text in outputs))
    platforms = tuple(
        PlatformResult(platform, snapshot, config("COPY . / # buildkit", platform=platform))
        for platform, snapshot in snapshots.items()
    )
    return TargetResult(name, target, platforms, multi_platform=True)


def tar_of(data: bytes) -> dict[str, tarfile.TarInfo]:
    """The members of a tar by name."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: member for member in archive}


def files_of(data: bytes) -> dict[str, bytes]:
    """The regular files of a tar, with their content."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for member in archive:
            if member.isreg():
                file = archive.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
        return found
