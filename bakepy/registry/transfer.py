"""Blobs on their way: a download that goes on where it broke off, and an upload in one piece."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import BinaryIO
from urllib.parse import quote

import anyio

from bakepy.content.store import BlobWriter, ContentStore, DamagedBlob
from bakepy.errors import BakeError
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor
from bakepy.model.reference import ImageReference
from bakepy.registry.answer import Answer
from bakepy.registry.auth import scope
from bakepy.registry.mirrors import namespace_query
from bakepy.registry.retry import Temporary
from bakepy.registry.transport import Refused, Transport

Progress = Callable[[int, int], None]
"""(bytes done, bytes in all)"""

_PIECE = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)\Z")


def digest_of(data: bytes, algorithm: str) -> Digest:
    """The digest of `data` by that algorithm."""
    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")


class Download:
    """One blob into one writer. `attempt` may be repeated; what has arrived stays."""

    def __init__(
        self,
        transport: Transport,
        ref: ImageReference,
        descriptor: Descriptor,
        writer: BlobWriter,
        progress: Progress | None,
    ) -> None:
        self._transport = transport
        self._ref = ref
        self._descriptor = descriptor
        self._writer = writer
        self._progress = progress
        self.furthest = 0
        """The most bytes that were ever there."""

    async def attempt(self) -> None:
        """Fetches what is missing and commits. Temporary if that did not work out."""
        size, writer = self._descriptor.size, self._writer
        if writer.size < size or not size:
            await self._receive_rest()
        if writer.size != size:
            raise Temporary(f"the transfer ended after {writer.size} of {size} bytes")
        try:
            await anyio.to_thread.run_sync(writer.commit, self._descriptor.digest, size)
        except BakeError as error:
            writer.restart()
            raise Temporary(f"the content is wrong: {error.what}") from error

    async def _receive_rest(self) -> None:
        writer = self._writer
        headers = {"Range": f"bytes={writer.size}-"} if writer.size else {}
        async with self._transport.request(
            "GET",
            self._ref.domain,
            f"/v2/{self._ref.path}/blobs/{self._descriptor.digest}{namespace_query(self._ref)}",
            scopes=(scope(self._ref.path),),
            what=f"pull blob {self._descriptor.digest} of {self._ref.path}",
            expect=(200, 206, 416),
            headers=headers,
            large=True,
        ) as response:
            if response.status == 416 or (response.status == 206 and _start(response) != writer.size):
                writer.restart()
                raise Temporary("the registry can not continue the transfer where it broke off")
            if response.status == 200 and writer.size:
                writer.restart()
            await self._receive(response)

    async def _receive(self, response: Answer) -> None:
        """Reads from the network while another thread hashes and writes; what was read before a failure is kept."""
        failures: list[Exception] = []
        send, receive = anyio.create_memory_object_stream[list[bytes]](2)

        async def store() -> None:
            async with receive:
                async for pieces in receive:
                    if not failures:
                        try:
                            await anyio.to_thread.run_sync(self._write, pieces)
                        except Exception as error:  # raised below, outside of the task group
                            failures.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(store)
            async with send:
                try:
                    await self._read(response, send.send, failures)
                except Exception as error:  # raised below, when all that arrived is written
                    failures.append(error)
        if failures:
            raise failures[0]

    async def _read(
        self,
        response: Answer,
        send: Callable[[list[bytes]], Awaitable[None]],
        failures: list[Exception],
    ) -> None:
        left = self._descriptor.size - self._writer.size
        pieces: list[bytes] = []
        gathered = 0
        try:
            async for piece in response.pieces():
                left -= len(piece)
                if left < 0:
                    raise Temporary(f"the registry sends more than the {self._descriptor.size} bytes of the blob")
                pieces.append(piece)
                gathered += len(piece)
                if gathered >= _PIECE:
                    await send(pieces)
                    pieces, gathered = [], 0
                if failures:
                    return
        finally:
            if pieces and left >= 0:
                await send(pieces)

    def _write(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self._writer.write(piece)
        self.furthest = max(self.furthest, self._writer.size)
        if self._progress:
            anyio.from_thread.run_sync(self._progress, self._writer.size, self._descriptor.size)


class Upload:
    """One blob from the store into one repository."""

    def __init__(
        self,
        transport: Transport,
        ref: ImageReference,
        descriptor: Descriptor,
        store: ContentStore,
        mount_from: str,
        progress: Progress | None,
    ) -> None:
        self._transport = transport
        self._ref = ref
        self._descriptor = descriptor
        self._store = store
        self._mount_from = mount_from if mount_from != ref.path else ""
        self._progress = progress
        self._what = f"push blob {descriptor.digest} to {ref.path}"

    async def attempt(self) -> None:
        """Does nothing if the repository has the blob already. DamagedBlob if the store's bytes are not its own."""
        if await self._exists():
            return
        try:
            location = await self._start()
        except Refused:
            if not self._mount_from:
                raise
            # no access to the other repository, or no mounts at all: then the bytes go over the wire
            self._mount_from = ""
            location = await self._start()
        if location:
            if not await anyio.to_thread.run_sync(self._store.intact, self._descriptor):
                raise DamagedBlob(self._descriptor.digest)
            await self._put(location)
        self._tell(self._descriptor.size)

    async def offer(self) -> bool:
        """Whether the repository has the blob, or takes it over from the other one; no content is sent."""
        if await self._exists():
            return True
        try:
            return bool(self._mount_from) and not await self._start()
        except Refused:
            return False

    async def _exists(self) -> bool:
        async with self._transport.request(
            "HEAD",
            self._ref.domain,
            f"/v2/{self._ref.path}/blobs/{self._descriptor.digest}",
            scopes=(scope(self._ref.path, push=True),),
            what=self._what,
            expect=(200, 404),
        ) as response:
            return response.status == 200

    async def _start(self) -> str:
        """Where to upload to; empty if the registry mounted the blob."""
        scopes: tuple[str, ...] = (scope(self._ref.path, push=True),)
        query = ""
        if self._mount_from:
            scopes = (*scopes, scope(self._mount_from))
            query = f"?mount={quote(self._descriptor.digest)}&from={quote(self._mount_from, safe='')}"
        async with self._transport.request(
            "POST",
            self._ref.domain,
            f"/v2/{self._ref.path}/blobs/uploads/{query}",
            scopes=scopes,
            what=self._what,
            expect=(201, 202),
            headers={"Content-Length": "0"},
        ) as response:
            if response.status == 201:
                return ""
            location = response.headers.get("Location", "")
        if not location:
            raise Temporary("the registry gave no place to upload to")
        return location

    async def _put(self, location: str) -> None:
        separator = "&" if "?" in location else "?"
        # opened here, because a request that ends early drops the generator of its body without closing it
        with await anyio.to_thread.run_sync(self._open) as file:
            try:
                async with self._transport.request(
                    "PUT",
                    self._ref.domain,
                    f"{location}{separator}digest={quote(self._descriptor.digest, safe='')}",
                    scopes=(scope(self._ref.path, push=True),),
                    what=self._what,
                    expect=(201, 204),
                    headers={
                        "Content-Length": str(self._descriptor.size),
                        "Content-Type": "application/octet-stream",
                    },
                    body=lambda: self._pieces(file),
                ):
                    pass
            except Refused as error:
                if error.status == 404:
                    raise Temporary("the registry lost the upload") from error
                raise

    def _open(self) -> BinaryIO:
        return self._store.path(self._descriptor.digest).open("rb")

    async def _pieces(self, file: BinaryIO) -> AsyncIterator[bytes]:
        file.seek(0)
        done = 0
        while piece := await anyio.to_thread.run_sync(file.read, _PIECE):
            yield piece
            done += len(piece)
            self._tell(done)

    def _tell(self, done: int) -> None:
        if self._progress:
            self._progress(done, self._descriptor.size)


def _start(response: Answer) -> int:
    found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1
