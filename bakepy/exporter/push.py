"""Pushing in two phases: blobs and untagged manifests as they are ready, tags last and all together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Protocol

import anyio

from bakepy.content.store import ContentStore, DamagedBlob
from bakepy.errors import BakeError, RegistryError
from bakepy.exporter.image import Blob
from bakepy.exporter.once import Once
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor
from bakepy.model.reference import ImageReference
from bakepy.model.value import dataclass

Progress = Callable[[str, str, int, int], None]
"""Id, what is done with it, bytes so far, bytes in all."""


class Registry(Protocol):
    """What pushing asks of a registry client."""

    async def push_blob(
        self,
        ref: ImageReference,
        descriptor: Descriptor,
        store: ContentStore,
        mount_from: ImageReference | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None: ...

    async def offer_blob(
        self, ref: ImageReference, descriptor: Descriptor, store: ContentStore, mount_from: ImageReference | None = None
    ) -> bool: ...

    async def push_manifest(self, ref: ImageReference, data: bytes, media_type: str) -> Digest: ...


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that is to point to `manifest`, once all is there. `target`: who wants it."""

    reference: ImageReference
    manifest: Blob
    target: str


@dataclass(frozen=True, slots=True)
class PushedBlob:
    """A blob to push. `mount_from`: a repository that has it; `fetch`: gets it into the content store, or makes it
    anew there."""

    descriptor: Descriptor
    mount_from: ImageReference | None = None
    fetch: Callable[[], Awaitable[None]] | None = None


class Pusher:
    """Pushes of one run: a blob goes to a repository once, however many images need it."""

    def __init__(self, registry: Registry, content: ContentStore) -> None:
        self._registry = registry
        self._content = content
        self._pushed: Once[tuple[str, Digest], None] = Once()
        self._tags: list[Tag] = []

    async def upload(
        self,
        reference: ImageReference,
        blobs: Collection[PushedBlob],
        manifests: Collection[Blob],
        top: Blob,
        progress: Progress,
    ) -> None:
        """Blobs, then `manifests`, then `top`, all by digest: no tag changes."""
        repository = replace(reference, tag="", digest=None)
        async with anyio.create_task_group() as group:
            for blob in blobs:
                group.start_soon(self._blob, repository, blob, progress)
        async with anyio.create_task_group() as group:
            for manifest in manifests:
                group.start_soon(self._manifest, repository, manifest)
        await self._manifest(repository, top)

    def tag_later(self, tag: Tag) -> None:
        """`publish` will set it. Raises BakeError if another target of this run sets it to something else."""
        for other in self._tags:
            if other.reference == tag.reference and other.manifest.descriptor.digest != tag.manifest.descriptor.digest:
                name = tag.reference.familiar()
                raise BakeError(
                    f"targets {other.target} and {tag.target} push different images as {name}",
                    hint="give each target tags of its own",
                )
        self._tags.append(tag)

    async def publish(self, targets: Collection[str] | None = None) -> tuple[str, ...]:
        """Sets the tags (of `targets`, or all) side by side; returns their names. What was published is not again.

        RegistryError if some could not be set; it says which were.
        """
        chosen = [tag for tag in self._tags if targets is None or tag.target in targets]
        self._tags = [tag for tag in self._tags if tag not in chosen]
        done: list[str] = []
        failed: dict[str, BakeError] = {}

        async def one(reference: ImageReference, manifest: Blob) -> None:
            try:
                await self._registry.push_manifest(reference, manifest.data, manifest.descriptor.media_type)
                done.append(str(reference))
            except BakeError as error:
                failed[str(reference)] = error

        async with anyio.create_task_group() as group:
            for reference, manifest in {tag.reference: tag.manifest for tag in chosen}.items():
                group.start_soon(one, reference, manifest)
        if failed:
            detail = [f"{name}: {error.what}" for name, error in sorted(failed.items())]
            detail += [f"{name}: set" for name in sorted(done)]
            first = failed[min(failed)]
            raise RegistryError(
                f"{len(failed)} of {len(failed) + len(done)} tags could not be set", detail=detail, hint=first.hint
            ) from first
        return tuple(sorted(done))

    async def _blob(self, repository: ImageReference, blob: PushedBlob, progress: Progress) -> None:
        digest = blob.descriptor.digest
        await self._pushed.get((repository.repository, digest), lambda: self._push_blob(repository, blob, progress))

    async def _push_blob(self, repository: ImageReference, blob: PushedBlob, progress: Progress) -> None:
        descriptor = blob.descriptor
        if blob.fetch is not None and not self._content.holds(descriptor):
            # a base image's layer that was never needed here: perhaps it need not pass through this machine at all
            if await self._registry.offer_blob(repository, descriptor, self._content, blob.mount_from):
                return
            await blob.fetch()

        def report(current: int, total: int) -> None:
            progress(str(descriptor.digest), "pushing layer", current, total)

        try:
            await self._registry.push_blob(repository, descriptor, self._content, blob.mount_from, report)
        except DamagedBlob:
            if blob.fetch is None:
                raise
            await blob.fetch()
            await self._registry.push_blob(repository, descriptor, self._content, blob.mount_from, report)

    async def _manifest(self, repository: ImageReference, manifest: Blob) -> None:
        key = (repository.repository, manifest.descriptor.digest)
        await self._pushed.get(key, lambda: self._push_manifest(repository, manifest))

    async def _push_manifest(self, repository: ImageReference, manifest: Blob) -> None:
        by_digest = repository.with_digest(manifest.descriptor.digest)
        await self._registry.push_manifest(by_digest, manifest.data, manifest.descriptor.media_type)
