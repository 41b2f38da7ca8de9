"""Images as sources: names resolved to pins (`docker-image://`, `oci-layout://`), and pins to lazy snapshots.

Each name is resolved once in a run, each document read once; layers are fetched when something needs their files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Hashable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import anyio
from anyio import to_thread

from bakepy.content.chain import chain_ids
from bakepy.content.entry import Layer
from bakepy.content.layout_read import MAX_DOCUMENT
from bakepy.content.store import ContentStore, DamagedBlob
from bakepy.errors import BakeError, BuildError
from bakepy.model.digest import Digest
from bakepy.model.image_config import ImageConfig
from bakepy.model.oci import INDEX_TYPES, MANIFEST_TYPES, Descriptor, ImageIndex, Manifest
from bakepy.model.platform import Platform
from bakepy.model.platform_match import choose
from bakepy.model.reference import ImageReference
from bakepy.model.value import dataclass
from bakepy.registry.registry import Registry
from bakepy.registry.transfer import Progress
from bakepy.snapshot.store import SnapshotStore
from bakepy.source.image_origin import (
    IMAGE_SCHEME,
    LAYOUT_SCHEME,
    ImageOrigin,
    LayoutOrigin,
    RegistryOrigin,
    detect_media_type,
    layer_origin,
)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_MAX_INDEX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """One image, pinned."""

    reference: str
    """As asked for: a normalised image reference, or the name of a layout."""
    digest: Digest
    """What the name points to: of an index or of a manifest."""
    manifest: Manifest
    manifest_digest: Digest
    config: ImageConfig
    config_data: bytes
    platform: Platform
    """Of the image, as its config says."""
    layers: tuple[Layer, ...]
    """Lowest first."""
    origin: str
    """Where later runs find the blobs."""

    def key(self) -> str:
        """The chain ID of the layers: a part of cache keys, equal for equal content under other names."""
        chain = chain_ids([layer.diff_id for layer in self.layers])
        return chain[-1] if chain else "scratch"


class ImageSource:
    """Resolves images for one run."""

    def __init__(self, registry: Registry, store: ContentStore, layouts: Mapping[str, Path] | None = None) -> None:
        """`layouts` tells the folder (or tar) behind each store name of an `oci-layout://` source; it is read at each
        resolve."""
        self._registry = registry
        self._store = store
        self._layouts: Mapping[str, Path] = {} if layouts is None else layouts
        self._roots: _Once[str, Descriptor] = _Once()
        self._documents: _Once[Digest, bytes] = _Once()
        self._images: _Once[Hashable, ResolvedImage] = _Once()
        self._seen: dict[Digest, ImageOrigin] = {}
        """Where this run found each layer."""

    async def resolve(
        self, identifier: str, platform: Platform, attrs: Mapping[str, str] | None = None
    ) -> ResolvedImage:
        """Pins `identifier` for `platform`. Nothing but the manifest and config is fetched; both stay in the store.

        Attributes, named as BuildKit's: `oci.store`, `image.checksum` (what the name must point to),
        `image.layerlimit` and `oci.layerlimit` (only so many layers). RegistryError; BuildError if there is no such
        image, or none for the platform.
        """
        attrs = dict(attrs or {})
        platform = platform.normalized()
        return await self._images.get(
            (identifier, platform, frozenset(attrs.items())), lambda: self._resolve(identifier, platform, attrs)
        )

    async def fetch_layer(self, descriptor: Descriptor, origin: str, progress: Progress | None = None) -> None:
        """Puts a layer's blob into the content store: from where this run saw it, else from `origin`."""
        place = self._seen.get(descriptor.digest) or layer_origin(origin, self._registry, self._store)
        await place.blob(descriptor, progress)

    async def _resolve(self, identifier: str, platform: Platform, attrs: Mapping[str, str]) -> ResolvedImage:
        place = self._place(identifier, attrs)
        root = await self._roots.get(place.name, place.root)
        if (checksum := attrs.get("image.checksum")) and root.digest != checksum:
            raise BuildError(f"{place.name}: digest mismatch: it is {root.digest}, {checksum} was expected")
        found, manifest_data = await self._image_for(place, root, platform)
        with _about(place.name):
            manifest = Manifest.from_bytes(manifest_data)
            config_data = await self._config(place, manifest.config)
            config = ImageConfig.from_bytes(config_data)
            if len(config.diff_ids) != len(manifest.layers):
                raise BuildError(f"malformed image: {len(manifest.layers)} layers, {len(config.diff_ids)} diff IDs")
        limit = attrs.get("image.layerlimit") or attrs.get("oci.layerlimit")
        layers = tuple(map(Layer, manifest.layers, config.diff_ids))[: int(limit) if limit else None]
        for layer in layers:
            self._seen.setdefault(layer.descriptor.digest, place)
        origin = place.origin
        if isinstance(place, RegistryOrigin):
            origin = f"{IMAGE_SCHEME}{place.ref.repository}@{found}"
        return ResolvedImage(
            reference=str(place.ref) if isinstance(place, RegistryOrigin) else place.name,
            digest=root.digest,
            manifest=manifest,
            manifest_digest=found,
            config=config,
            config_data=config_data,
            platform=config.platform,
            layers=layers,
            origin=origin,
        )

    def _place(self, identifier: str, attrs: Mapping[str, str]) -> ImageOrigin:
        if identifier.startswith(IMAGE_SCHEME):
            ref = ImageReference.parse(identifier.removeprefix(IMAGE_SCHEME)).with_default_tag()
            return RegistryOrigin(ref, self._registry, self._store)
        if identifier.startswith(LAYOUT_SCHEME):
            name, _, digest = identifier.removeprefix(LAYOUT_SCHEME).partition("@")
            before, _, after = name.rpartition(":")
            tag = after if before and "/" not in after and name not in self._layouts else ""
            layout = attrs.get("oci.store") or (before if tag else name)
            if layout not in self._layouts:
                raise BuildError(f"{identifier}: unknown OCI layout")
            pin = Digest.parse(digest) if digest else None
            return LayoutOrigin(self._layouts[layout], "" if pin else tag, pin, self._store)
        raise BuildError(f"{identifier}: not an image")

    async def _image_for(self, place: ImageOrigin, root: Descriptor, platform: Platform) -> tuple[Digest, bytes]:
        """The manifest for `platform`: the root itself if it is one (whatever its platform), else through indexes."""
        digest = root.digest
        for _ in range(_MAX_INDEX_DEPTH):
            data = await self._document(place, digest)
            with _about(place.name):
                media_type = detect_media_type(data)
                if media_type in MANIFEST_TYPES:
                    return digest, data
                index = ImageIndex.from_bytes(data)
            digest = _choose(index, platform, place.name).digest
        raise BuildError(f"{place.name}: more than {_MAX_INDEX_DEPTH} indexes inside each other")

    async def _document(self, place: ImageOrigin, digest: Digest) -> bytes:
        """A manifest or index, from the content store if it is there; afterwards it is."""

        async def read() -> bytes:
            if await to_thread.run_sync(self._store.has, digest):
                with contextlib.suppress(DamagedBlob):  # then it is asked for as if it had never been here
                    return await to_thread.run_sync(self._store.read, digest)
            data = await place.manifest(digest)
            await to_thread.run_sync(self._keep, digest, data)
            return data

        return await self._documents.get(digest, read)

    def _keep(self, digest: Digest, data: bytes) -> None:
        with self._store.writer(digest.algorithm) as writer:
            writer.write(data)
            writer.commit(digest)

    async def _config(self, place: ImageOrigin, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_DOCUMENT:
            raise BuildError(
                f"{place.name}: its config has {descriptor.size} bytes; at most {MAX_DOCUMENT} are accepted"
            )
        await place.blob(descriptor)
        try:
            return await to_thread.run_sync(self._store.read, descriptor.digest)
        except DamagedBlob:
            await place.blob(descriptor)
            return await to_thread.run_sync(self._store.read, descriptor.digest)


async def layers_to_snapshot(image: ResolvedImage, snapshots: SnapshotStore) -> str | None:
    """Registers the layers of `image` as lazy snapshots, by chain ID; downloads nothing. Returns the topmost one's
    id, None for an image without layers."""
    parent: str | None = None
    for id, layer in zip(chain_ids([layer.diff_id for layer in image.layers]), image.layers, strict=True):
        await to_thread.run_sync(snapshots.add_lazy, str(id), parent, layer, image.origin)
        parent = str(id)
    return parent


def _choose(index: ImageIndex, platform: Platform, name: str) -> Descriptor:
    entries = [entry for entry in index.manifests if entry.media_type in MANIFEST_TYPES | INDEX_TYPES]
    place = choose(platform, [entry.platform for entry in entries])
    if place is not None:
        return entries[place]
    # one entry that says nothing of a platform may be anything; so containerd takes it
    silent = [entry for entry in entries if entry.platform is None]
    if len(silent) == 1:
        return silent[0]
    offered = [str(entry.platform) for entry in entries if entry.platform and entry.platform.os != "unknown"]
    hint = f"it has {', '.join(offered)}" if offered else ""
    raise BuildError(f"{name}: no match for platform in manifest: not found ({platform})", hint=hint)


class _about:
    """Says of which image an error inside the block is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if type(error) in (BakeError, BuildError) and isinstance(error, BakeError):
            raise BuildError(f"{self._name}: {error.what}", hint=error.hint) from error


class _Once(Generic[K, V]):
    """Values that are made once. Who comes second waits for the first, and takes over if the first is cancelled."""

    def __init__(self) -> None:
        self._values: dict[K, V] = {}
        self._locks: dict[K, anyio.Lock] = {}

    async def get(self, key: K, make: Callable[[], Awaitable[V]]) -> V:
        if key not in self._values:
            async with self._locks.setdefault(key, anyio.Lock()):
                if key not in self._values:
                    self._values[key] = await make()
        return self._values[key]
