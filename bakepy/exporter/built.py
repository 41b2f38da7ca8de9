"""Putting together the image of a target: layers, config, manifest, image index, stored as blobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import floor, isfinite

import anyio
import anyio.to_thread

from bakepy.content.store import ContentStore
from bakepy.exporter.annotations import check_annotations, select
from bakepy.exporter.image import CREATED, Blob, ExportLayer, Image, build_image, build_index, time_of, time_text
from bakepy.exporter.layers import LayerOptions, Layers
from bakepy.exporter.once import Once
from bakepy.exporter.outputs import ImageOptions
from bakepy.exporter.result import PlatformResult, TargetResult
from bakepy.model.frozen import FrozenMap
from bakepy.model.oci import Descriptor, Manifest
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image, or an image index with one image for each platform. All small blobs are in the content store.

    `descriptor` is that of `top` with platform and annotations. `layers` are those of all platforms, each once.
    """

    top: Blob
    descriptor: Descriptor
    images: tuple[Image, ...]
    layers: tuple[ExportLayer, ...]
    is_index: bool

    @property
    def small_blobs(self) -> tuple[Blob, ...]:
        """Configs and manifests, without `top`."""
        return tuple(image.config for image in self.images) + self.manifests

    @property
    def manifests(self) -> tuple[Blob, ...]:
        """The manifests below `top`."""
        return tuple(image.manifest for image in self.images) if self.is_index else ()

    @property
    def size(self) -> int:
        layers = {entry.layer.descriptor.digest: entry.layer.descriptor.size for entry in self.layers}
        small = {blob.descriptor.digest: len(blob.data) for blob in (*self.small_blobs, self.top)}
        return sum(layers.values()) + sum(small.values())

    @property
    def created(self) -> str:
        """The date of the newest image; empty if none has one."""
        return max((image.created for image in self.images), key=time_of, default="")

    def dated(self) -> Descriptor:
        """`descriptor` with the date as an annotation, in whole seconds, as archives have it."""
        seconds = time_of(self.created)
        if not isfinite(seconds) or CREATED in self.descriptor.annotations:
            return self.descriptor
        return self.descriptor.with_annotations({CREATED: time_text(floor(seconds) * 1_000_000_000)})

    def manifest(self) -> Manifest:
        """The manifest of the only image."""
        return Manifest.from_bytes(self.images[0].manifest.data)


class ImageBuilder:
    """Builds the images of one run; outputs of a target that want the same image share it."""

    def __init__(self, content: ContentStore, layers: Layers) -> None:
        self._content = content
        self._layers = layers
        self._built: Once[tuple[str, ImageOptions, int | None], BuiltImage] = Once()

    async def get(self, result: TargetResult, options: ImageOptions, epoch: int | None) -> BuiltImage:
        nameless = replace(options, names=(), epoch=None)
        return await self._built.get((result.name, nameless, epoch), lambda: self._build(result, nameless, epoch))

    async def _build(self, result: TargetResult, options: ImageOptions, epoch: int | None) -> BuiltImage:
        check_annotations(
            options.annotations,
            [entry.platform for entry in result.platforms],
            multi_platform=result.multi_platform,
            oci_types=options.oci_types,
        )
        layer_options = LayerOptions(options.compression, options.force, epoch if options.rewrite else None)
        chains: dict[int, tuple[ExportLayer, ...]] = {}

        async def one(number: int, entry: PlatformResult) -> None:
            chains[number] = await self._layers.of(entry.snapshot, layer_options, entry.steps)

        async with anyio.create_task_group() as group:
            for number, entry in enumerate(result.platforms):
                group.start_soon(one, number, entry)
        images = [
            build_image(
                entry.image,
                chains[number],
                entry.platform,
                epoch=epoch,
                oci_types=options.oci_types,
                annotations=select(options.annotations, "manifest", entry.platform),
            )
            for number, entry in enumerate(result.platforms)
        ]
        unique = {layer.layer.descriptor.digest: layer for chain in chains.values() for layer in chain}
        built = self._top(result, options, images, tuple(unique.values()))
        await anyio.to_thread.run_sync(self._store, built)
        return built

    def _top(
        self, result: TargetResult, options: ImageOptions, images: Sequence[Image], layers: tuple[ExportLayer, ...]
    ) -> BuiltImage:
        described = []
        for image in images:
            descriptor = image.manifest.descriptor
            annotations = select(options.annotations, "manifest-descriptor", descriptor.platform)
            described.append(replace(descriptor, annotations=annotations))
        if not result.multi_platform:
            return BuiltImage(images[0].manifest, described[0], tuple(images), layers, False)
        index = build_index(described, oci_types=options.oci_types, annotations=select(options.annotations, "index"))
        descriptor = replace(index.descriptor, annotations=FrozenMap(select(options.annotations, "index-descriptor")))
        return BuiltImage(index, descriptor, tuple(images), layers, True)

    def _store(self, built: BuiltImage) -> None:
        for blob in (*built.small_blobs, built.top):
            self._content.put(blob.data)
