"""From layers and a config to the JSON of an image: config, manifest, image index. Pure; nothing is written here.

Rules for dates and for a history that does not fit the layers: BuildKit `exporter/containerimage/writer.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bakepy.content.entry import Layer
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import LAYERS, HistoryEntry, ImageConfig
from bakepy.model.oci import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    ImageIndex,
    Manifest,
)
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass

CREATED = "org.opencontainers.image.created"
REWRITTEN = "buildkit/rewritten-timestamp"
"""Annotation of layers whose newer times became the epoch, as BuildKit writes it; the epoch is the value."""
_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"


@dataclass(frozen=True, slots=True)
class ExportLayer:
    """A layer, when it was made (RFC 3339; empty: not known, as for layers of a base image), by which step, the
    snapshot that it is of, and the epoch (seconds) that newer times in it became."""

    layer: Layer
    created: str = ""
    step: str = ""
    snapshot: str = ""
    epoch: int | None = None

    def described(self, oci_types: bool) -> Descriptor:
        """The descriptor for a manifest; Docker's has no annotations."""
        descriptor = self.layer.descriptor
        rewritten = oci_types and self.epoch is not None
        return Descriptor(
            layer_type(descriptor.media_type, oci_types),
            descriptor.digest,
            descriptor.size,
            annotations=FrozenMap({REWRITTEN: str(self.epoch)} if rewritten else {}),
        )


@dataclass(frozen=True, slots=True)
class Blob:
    """A small blob to be stored."""

    descriptor: Descriptor
    data: bytes

    @classmethod
    def of(cls, media_type: str, data: bytes) -> Blob:
        return cls(Descriptor(media_type, Digest.of(data), len(data)), data)


@dataclass(frozen=True, slots=True)
class Image:
    """One platform's image, complete. `manifest.descriptor` has the platform."""

    manifest: Blob
    config: Blob
    layers: tuple[Descriptor, ...]
    created: str

    @property
    def size(self) -> int:
        """Bytes of all blobs; a layer that occurs twice counts once."""
        layers = {layer.digest: layer.size for layer in self.layers}
        return len(self.manifest.data) + len(self.config.data) + sum(layers.values())


def time_text(nanoseconds: int) -> str:
    """RFC 3339 in UTC with as many digits as needed, the way Go writes times."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


def time_of(text: str) -> float:
    """Seconds since 1970 of an RFC 3339 text; minus infinity for what is none, so that it is later than nothing."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return float("-inf")


def build_image(
    config: ImageConfig,
    layers: Sequence[ExportLayer],
    platform: Platform,
    *,
    epoch: int | None = None,
    oci_types: bool = True,
    annotations: FrozenMap[str, str] | None = None,
) -> Image:
    """Config and manifest of one platform."""
    history = fill_history(config.history, layers, epoch)
    created = _created(config, history, epoch)
    diff_ids = tuple(entry.layer.diff_id for entry in layers)
    final = replace(config, created=created, history=history, diff_ids=diff_ids, rootfs_type=LAYERS)
    config_blob = Blob.of(OCI_CONFIG if oci_types else DOCKER_CONFIG, final.to_bytes())
    descriptors = tuple(entry.described(oci_types) for entry in layers)
    manifest = Manifest(
        config_blob.descriptor,
        descriptors,
        media_type=OCI_MANIFEST if oci_types else DOCKER_MANIFEST,
        annotations=annotations or FrozenMap(),
    )
    blob = Blob.of(manifest.media_type, manifest.to_bytes())
    return Image(
        replace(blob, descriptor=replace(blob.descriptor, platform=platform)), config_blob, descriptors, created
    )


def build_index(
    manifests: Sequence[Descriptor], *, oci_types: bool = True, annotations: FrozenMap[str, str] | None = None
) -> Blob:
    """An image index over manifests whose descriptors have their platforms."""
    index = ImageIndex(tuple(manifests), OCI_INDEX if oci_types else DOCKER_INDEX, annotations or FrozenMap())
    return Blob.of(index.media_type, index.to_bytes())


def layer_type(media_type: str, oci_types: bool) -> str:
    """The same layer's type in the other family; what belongs to neither stays."""
    docker = {"": "", "gzip": ".gzip", "zstd": ".zstd"}
    oci = {"": "", "gzip": "+gzip", "zstd": "+zstd"}
    for old_base, new_base in ((DOCKER_LAYER, OCI_LAYER), (_FOREIGN, _NONDISTRIBUTABLE)):
        for kind in docker:
            if media_type in (old_base + docker[kind], new_base + oci[kind]):
                return new_base + oci[kind] if oci_types else old_base + docker[kind]
    return media_type


def fill_history(
    history: Sequence[HistoryEntry], layers: Sequence[ExportLayer], epoch: int | None
) -> tuple[HistoryEntry, ...]:
    """A history with one non-empty entry for each layer, and with a date on every entry.

    An entry's date is its layer's; entries without a layer take that of the first new layer, or of the layer before
    them. With an epoch, every entry that had no date gets the epoch; a base image's entries keep theirs.
    """
    entries = _fitted(list(history), layers)
    number = 0
    for index, entry in enumerate(entries):
        if not entry.empty_layer:
            if not entry.created:
                entries[index] = replace(entry, created="" if epoch is not None else layers[number].created)
            number += 1
    if epoch is not None:
        return tuple(entry if entry.created else replace(entry, created=time_text(epoch * 10**9)) for entry in entries)
    current, missing = "", False
    for entry in entries:
        if entry.created:
            current = entry.created
            if missing:
                break
        else:
            missing = True
    missing = False
    for index, entry in enumerate(entries):
        if entry.created:
            current = entry.created if missing else current
        else:
            missing = True
            entries[index] = replace(entry, created=current)
    return tuple(entries)


def _fitted(entries: list[HistoryEntry], layers: Sequence[ExportLayer]) -> list[HistoryEntry]:
    """As many entries with a layer as there are layers."""
    found = 0
    for index, entry in enumerate(entries):
        if not entry.empty_layer:
            found += 1
            if found > len(layers):
                entries[index] = replace(entry, empty_layer=True)
    # an entry for each layer that the history does not tell of, as for a stage that starts from a local folder
    for layer in layers[found:]:
        entries.append(
            HistoryEntry(
                created=layer.created,
                created_by=layer.step or "created by bakepy",
                comment="buildkit.exporter.image.v0",
            )
        )
    return entries


def _created(config: ImageConfig, history: Sequence[HistoryEntry], epoch: int | None) -> str:
    if epoch is None:
        return config.created or _last(history)
    if config.created and time_of(config.created) <= epoch:
        return config.created
    return time_text(epoch * 10**9)


def _last(history: Sequence[HistoryEntry]) -> str:
    return next((entry.created for entry in reversed(history) if entry.created), "")
