"""Pulling from and pushing to registries (OCI distribution specification 1.1): manifests, blobs, mounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import anyio

from bakepy.content.store import ContentStore
from bakepy.errors import BakeError, RegistryError
from bakepy.model.digest import Digest
from bakepy.model.oci import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor
from bakepy.model.reference import ImageReference
from bakepy.registry.answer import Answer, read_bounded
from bakepy.registry.auth import scope
from bakepy.registry.mirrors import Mirrors, namespace_query
from bakepy.registry.retry import Patience, RetryPolicy, Temporary
from bakepy.registry.transfer import Download, Progress, Upload, digest_of
from bakepy.registry.transport import Transport
from bakepy.session.credentials import Credentials

T = TypeVar("T")

MAX_MANIFEST = 4 << 20
"""Bytes; registries refuse larger ones."""

_ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX, "*/*"))
_TRANSFERS_PER_HOST = 6


class Registry:
    """The registries that one run talks to; an async context manager.

    All methods retry what may go well the next time, with backoff, and then raise RegistryError. A content that is not
    what its digest says never gets into the store. Safe to call from many tasks: a blob on its way is not moved twice.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        insecure: Collection[str] = (),
        policy: RetryPolicy | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        mirrors: Mirrors | None = None,
    ) -> None:
        """`insecure` are hosts to speak plain http with; loopback hosts are anyway. `mirrors` are asked first for what
        is pulled, each once."""
        self._mirrors = mirrors or Mirrors()
        self._down: set[str] = set()
        """Mirrors that did not answer: they are not asked again in this run."""
        self._transport = Transport(credentials, insecure=insecure, policy=policy, patience=patience, sleep=sleep)
        self._limits: dict[str, anyio.CapacityLimiter] = {}
        self._locks: dict[tuple[str, Digest], anyio.Lock] = {}
        self._places: dict[tuple[str, Digest], str] = {}
        """A repository of the host that has the blob, to mount it from."""
        self._pushed: set[tuple[str, Digest]] = set()

    async def __aenter__(self) -> Registry:
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._transport.__aexit__(*error)

    async def resolve(self, ref: ImageReference) -> Descriptor:
        """What `ref` points to: its digest if it has one, else its tag. Refused with status 404 if nothing."""
        wanted = str(ref.digest or ref.with_default_tag().tag)

        async def attempt(ref: ImageReference) -> Descriptor:
            async with self._manifest_request("HEAD", ref, wanted) as response:
                media_type = _media_type(response)
                digest, length = (
                    response.headers.get("Docker-Content-Digest", ""),
                    response.headers.get("Content-Length", ""),
                )
                if digest and length and media_type:
                    return _checked(Descriptor(media_type, _digest(digest), int(length)), ref)
            # the specification leaves these headers to the registry
            async with self._manifest_request("GET", ref, wanted) as response:
                data = await read_bounded(response, MAX_MANIFEST)
                found = digest_of(data, ref.digest.algorithm if ref.digest else "sha256")
                return _checked(Descriptor(_media_type(response), found, len(data)), ref)

        return await self._pulled(f"look up {ref.familiar()}", ref, attempt, resolving=ref.digest is None)

    async def manifest(self, ref: ImageReference, digest: Digest) -> bytes:
        """The manifest or index `digest` of the repository of `ref`, verified."""

        async def attempt(ref: ImageReference) -> bytes:
            async with self._manifest_request("GET", ref, digest) as response:
                data = await read_bounded(response, MAX_MANIFEST)
            if (found := digest_of(data, digest.algorithm)) != digest:
                raise Temporary(f"the content is another one: {found}")
            return data

        return await self._pulled(f"read manifest {digest} of {ref.path}", ref, attempt)

    async def fetch(
        self, ref: ImageReference, descriptor: Descriptor, store: ContentStore, progress: Progress | None = None
    ) -> None:
        """Puts a blob of the repository of `ref` into `store`; nothing to do if it is there.

        What has arrived is kept over failures, and the rest is asked for by Range.
        """
        digest = descriptor.digest
        self._places.setdefault((ref.domain, digest), ref.path)
        async with self._lock("fetch", digest):
            if await anyio.to_thread.run_sync(store.holds, descriptor):
                return
            with store.writer(digest.algorithm) as writer:
                # what one host has given need not be asked of the next
                transfers: dict[str, Download] = {}

                def transfer(ref: ImageReference) -> Download:
                    made = Download(self._transport, ref, descriptor, writer, progress)
                    return transfers.setdefault(ref.domain, made)

                async def attempt(ref: ImageReference) -> None:
                    async with self._limit(ref.domain):
                        await transfer(ref).attempt()

                what = f"pull blob {digest} of {ref.path}"
                await self._pulled(what, ref, attempt, lambda: transfer(ref).furthest)

    async def push_blob(
        self,
        ref: ImageReference,
        descriptor: Descriptor,
        store: ContentStore,
        mount_from: ImageReference | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Sees to it that the repository of `ref` has the blob: it is there, is mounted from another repository of
        that registry (`mount_from`, or one where this run saw it), or is uploaded from `store`."""
        key = (ref.repository, descriptor.digest)
        async with self._lock(*key):
            if key in self._pushed:
                return
            async with self._limit(ref.domain):
                source = self._places.get((ref.domain, descriptor.digest), "")
                if mount_from and mount_from.domain == ref.domain:
                    source = mount_from.path
                upload = Upload(self._transport, ref, descriptor, store, source, progress)
                what = f"push blob {descriptor.digest} to {ref.path}"
                await self._transport.retrying(what, ref.domain, upload.attempt)
            self._pushed.add(key)
            self._places[ref.domain, descriptor.digest] = ref.path

    async def offer_blob(
        self, ref: ImageReference, descriptor: Descriptor, store: ContentStore, mount_from: ImageReference | None = None
    ) -> bool:
        """Whether the repository of `ref` has the blob, or could mount it from `mount_from`; `store` need not have
        it. If not, it has to be pushed."""
        key = (ref.repository, descriptor.digest)
        async with self._lock(*key):
            if key not in self._pushed:
                async with self._limit(ref.domain):
                    source = mount_from.path if mount_from and mount_from.domain == ref.domain else ""
                    upload = Upload(self._transport, ref, descriptor, store, source, None)
                    what = f"offer blob {descriptor.digest} to {ref.path}"
                    if await self._transport.retrying(what, ref.domain, upload.offer):
                        self._pushed.add(key)
            return key in self._pushed

    async def push_manifest(self, ref: ImageReference, data: bytes, media_type: str) -> Digest:
        """Publishes a manifest or index under the tag of `ref`, or by its digest only if `ref` has no tag.

        What it refers to must have been pushed. Returns its digest.
        """
        digest = Digest.of(data)
        name = ref.tag or str(digest)

        async def attempt() -> Digest:
            async with self._transport.request(
                "PUT",
                ref.domain,
                f"/v2/{ref.path}/manifests/{name}",
                scopes=(scope(ref.path, push=True),),
                what=f"push {ref.path}:{ref.tag}" if ref.tag else f"push manifest {digest} to {ref.path}",
                expect=(200, 201, 202),
                headers={"Content-Type": media_type},
                body=data,
            ) as response:
                stored = response.headers.get("Docker-Content-Digest", digest)
                if stored != digest:
                    raise RegistryError(f"{ref.domain}: stored {ref.path} as {stored}, not as {digest}")
            return digest

        return await self._transport.retrying(f"push {ref.path}:{name}", ref.domain, attempt)

    async def _pulled(
        self,
        what: str,
        ref: ImageReference,
        attempt: Callable[[ImageReference], Awaitable[T]],
        progress: Callable[[], int] = lambda: 0,
        *,
        resolving: bool = False,
    ) -> T:
        """What `attempt` gets from a mirror, or else from the registry of `ref` itself, there with patience."""
        mirrors = self._mirrors.known.get(ref.domain)
        if mirrors is None:
            mirrors = await anyio.to_thread.run_sync(self._mirrors.of, ref.domain)
        for mirror in mirrors:
            if mirror.host in self._down or not (mirror.resolves if resolving else mirror.pulls):
                continue
            if mirror.plain:
                self._transport.allow_plain(mirror.host)
            try:
                return await attempt(mirror.of(ref))
            except Temporary:
                self._down.add(mirror.host)
            except RegistryError:
                continue  # it does not have it, or not for us
        return await self._transport.retrying(what, ref.domain, lambda: attempt(ref), progress)

    def _manifest_request(self, method: str, ref: ImageReference, name: str) -> AbstractAsyncContextManager[Answer]:
        return self._transport.request(
            method,
            ref.domain,
            f"/v2/{ref.path}/manifests/{name}{namespace_query(ref)}",
            scopes=(scope(ref.path),),
            what=ref.familiar(),
            expect=(200,),
            headers={"Accept": _ACCEPT},
        )

    def _limit(self, domain: str) -> anyio.CapacityLimiter:
        return self._limits.setdefault(domain, anyio.CapacityLimiter(_TRANSFERS_PER_HOST))

    def _lock(self, place: str, digest: Digest) -> anyio.Lock:
        return self._locks.setdefault((place, digest), anyio.Lock())


def _checked(found: Descriptor, ref: ImageReference) -> Descriptor:
    if ref.digest and found.digest != ref.digest:
        raise Temporary(f"the content is another one: {found.digest}")
    return found


def _media_type(response: Answer) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip()


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except BakeError as error:
        raise Temporary(f"the registry gave a malformed digest: {text[:80]!r}") from error
