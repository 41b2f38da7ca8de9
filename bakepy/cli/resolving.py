"""The planner's questions about images, answered by the engine and shown as steps of the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import anyio

from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.engine.embedded import Embedded
from bakepy.errors import BakeError
from bakepy.events import Emit, VertexAdded, VertexDone, VertexFailed, VertexStarted
from bakepy.model.digest import Digest
from bakepy.model.reference import ImageReference
from bakepy.planner.compiling import ImageResolver


def resolver(engine: Embedded, emit: Emit) -> ImageResolver:
    """Looks up images with `engine`. What asks a registry is told to `emit`; a layout on this disk takes no time."""

    async def resolve(request: ImageRequest, layouts: Mapping[str, str]) -> ResolvedImageConfig:
        platform = request.platform or engine.host
        found = await engine.resolve_image(
            request.identifier,
            platform,
            {"oci.store": request.store} if request.store else {},
            {name: Path(path) for name, path in layouts.items()},
        )
        return ResolvedImageConfig(found.digest, found.config)

    async def resolve_and_tell(request: ImageRequest, layouts: Mapping[str, str]) -> ResolvedImageConfig:
        if request.store:
            return await resolve(request, layouts)
        name = ImageReference.parse(request.reference).familiar()
        digest = Digest.of(f"load metadata\0{request.reference}\0{request.platform}".encode())
        emit(VertexAdded(digest, f"[internal] load metadata for {name}"))
        emit(VertexStarted(digest, time.time()))
        try:
            found = await resolve(request, layouts)
        except BakeError as error:
            emit(VertexFailed(digest, time.time(), error.what))
            raise
        except anyio.get_cancelled_exc_class():
            emit(VertexFailed(digest, time.time(), "cancelled", cancelled=True))
            raise
        emit(VertexDone(digest, time.time()))
        return found

    return resolve_and_tell
