"""Where images come from: a repository of a registry, or an OCI layout on disk. Both give descriptors, documents
(manifests, indexes, configs) and layer blobs; what they give has been checked against its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from anyio import to_thread

from bakepy.content.layout_read import MAX_DOCUMENT, Layout, open_layout
from bakepy.content.store import ContentStore
from bakepy.errors import BakeError, BuildError
from bakepy.model.digest import Digest
from bakepy.model.oci import (
    DOCKER_MANIFEST,
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    parse_json_object,
)
from bakepy.model.reference import ImageReference
from bakepy.registry.registry import Registry
from bakepy.registry.transfer import Progress

IMAGE_SCHEME = "docker-image://"
LAYOUT_SCHEME = "oci-layout://"


class ImageOrigin(Protocol):
    """One image name, to be asked about what it points to and for the blobs around it."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def origin(self) -> str:
        """For later runs: `layer_origin` makes an origin of it again that has the same blobs."""
        ...

    async def root(self) -> Descriptor:
        """What the name points to. The media type may be empty if only the content tells."""
        ...

    async def manifest(self, digest: Digest) -> bytes:
        """A manifest or index."""
        ...

    async def blob(self, descriptor: Descriptor, progress: Progress | None = None) -> None:
        """Sees to it that the blob is in the content store."""
        ...


class RegistryOrigin:
    """An image reference at its registry."""

    def __init__(self, ref: ImageReference, registry: Registry, store: ContentStore) -> None:
        self.ref = ref
        self._registry = registry
        self._store = store

    @property
    def name(self) -> str:
        return self.ref.familiar()

    @property
    def origin(self) -> str:
        return f"{IMAGE_SCHEME}{self.ref}"

    async def root(self) -> Descriptor:
        """A digest that the store has is not asked for again: pinned images work without a network."""
        digest = self.ref.digest
        if digest is not None and await to_thread.run_sync(lambda: self._store.has(digest)):
            return Descriptor("", digest, await to_thread.run_sync(self._store.size, digest))
        return await self._registry.resolve(self.ref)

    async def manifest(self, digest: Digest) -> bytes:
        return await self._registry.manifest(self.ref, digest)

    async def blob(self, descriptor: Descriptor, progress: Progress | None = None) -> None:
        await self._registry.fetch(self.ref, descriptor, self._store, progress)


class LayoutOrigin:
    """An image of an OCI layout: by digest, by tag or full name, or the only one there is."""

    def __init__(self, path: Path, tag: str, digest: Digest | None, store: ContentStore) -> None:
        self._path = path
        self._tag = tag
        self._digest = digest
        self._store = store
        self._opened: Layout | None = None

    @property
    def name(self) -> str:
        tag = f":{self._tag}" if self._tag else ""
        return f"{LAYOUT_SCHEME}{self._path}{tag}" + (f"@{self._digest}" if self._digest else "")

    @property
    def origin(self) -> str:
        return f"{LAYOUT_SCHEME}{self._path.absolute()}"

    async def root(self) -> Descriptor:
        return await to_thread.run_sync(self._find)

    async def manifest(self, digest: Digest) -> bytes:
        return await to_thread.run_sync(lambda: self._layout().read(digest))

    async def blob(self, descriptor: Descriptor, progress: Progress | None = None) -> None:
        await to_thread.run_sync(lambda: self._layout().copy(descriptor, self._store))
        if progress:
            progress(descriptor.size, descriptor.size)

    def _layout(self) -> Layout:
        if self._opened is None:
            self._opened = open_layout(self._path)
        return self._opened

    def _find(self) -> Descriptor:
        layout = self._layout()
        if self._digest:
            return Descriptor("", self._digest, len(layout.read(self._digest)))
        entries = layout.index().manifests
        found = layout.find(self._tag) if self._tag else entries[0] if len(entries) == 1 else None
        if found is None:
            names = [name for entry in entries for name in sorted(entry.annotations.values())]
            raise BuildError(f"{self.name}: not found", hint=f"it has {', '.join(names)}" if names else "")
        return found


def layer_origin(text: str, registry: Registry, store: ContentStore) -> ImageOrigin:
    """The origin that `ImageOrigin.origin` told. BuildError if it is of no known kind."""
    if text.startswith(IMAGE_SCHEME):
        return RegistryOrigin(ImageReference.parse(text.removeprefix(IMAGE_SCHEME)), registry, store)
    if text.startswith(LAYOUT_SCHEME):
        return LayoutOrigin(Path(text.removeprefix(LAYOUT_SCHEME)), "", None, store)
    raise BuildError(f"a layer comes from an unknown kind of place: {text}")


def detect_media_type(data: bytes) -> str:
    """The media type of a manifest or index by its content. BuildError if it is neither."""
    if len(data) <= MAX_DOCUMENT:
        try:
            value = parse_json_object(data)
        except BakeError as error:
            raise BuildError(f"neither an image nor an index: {error.what}") from error
        media_type = value.get("mediaType")
        if media_type in INDEX_TYPES or media_type in MANIFEST_TYPES:
            return str(media_type)
        if media_type is None and isinstance(value.get("manifests"), list):
            return OCI_INDEX
        if media_type is None and isinstance(value.get("config"), dict):
            is_docker = str(value["config"].get("mediaType", "")).startswith("application/vnd.docker.")
            return DOCKER_MANIFEST if is_docker else OCI_MANIFEST
    raise BuildError("neither an image nor an index of a known media type")
