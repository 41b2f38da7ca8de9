"""The planner's questions about images and far sources, answered by the engine and shown as steps of the run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio

from bakepy.cli.lending import Lending
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.engine.embedded import Embedded
from bakepy.errors import BakeError
from bakepy.events import Emit, VertexAdded, VertexDone, VertexFailed, VertexStarted
from bakepy.llb.op import SourceOp
from bakepy.model.digest import Digest
from bakepy.model.reference import ImageReference
from bakepy.model.target import Target
from bakepy.model.url import redacted
from bakepy.planner.compiling import ImageResolver
from bakepy.session.secrets import SecretProvider
from bakepy.session.ssh import AgentProvider
from bakepy.source.lent import Lent


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
        with _told(emit, digest, f"[internal] load metadata for {name}"):
            return await resolve(request, layouts)

    return resolve_and_tell


class Remote:
    """Looks into far sources with the engine; each look is told. Implements the planner's `RemoteReader`."""

    def __init__(self, engine: Embedded, emit: Emit, environment: Mapping[str, str], directory: Path) -> None:
        self._sources = engine.remote
        self._emit = emit
        self._environment = environment
        self._directory = directory

    async def is_archive(self, op: SourceOp, targets: Sequence[Target]) -> bool:
        with self._told(op, "remote build context"), self._lent(targets) as lent:
            return await self._sources.is_archive(op, lent)

    async def read(self, op: SourceOp, path: str, targets: Sequence[Target]) -> bytes:
        with self._told(op, path or "remote Dockerfile"), self._lent(targets) as lent:
            return await self._sources.read(op, path, lent)

    async def time(self, op: SourceOp, targets: Sequence[Target]) -> int | None:
        with self._told(op, "time"), self._lent(targets) as lent:
            return await self._sources.time(op, lent)

    def _told(self, op: SourceOp, what: str) -> AbstractContextManager[None]:
        digest = Digest.of(f"{what}\0{op.identifier}\0{sorted(op.attrs.items())}".encode())
        return _told(self._emit, digest, f"[internal] load {what} of {redacted(op.identifier)}")

    @contextmanager
    def _lent(self, targets: Sequence[Target]) -> Iterator[Lent]:
        """What the targets lend, all together: the last entry of an id counts."""
        entries = [entry for one in targets for entry in one.secrets]
        secrets = SecretProvider(entries, self._environment, self._directory)
        agents = [entry for one in targets for entry in one.ssh]
        with AgentProvider(agents, self._environment, self._directory) as provider:
            yield Lending(secrets, provider)


@contextmanager
def _told(emit: Emit, digest: Digest, name: str) -> Iterator[None]:
    """Shows what is done inside as a step of the run."""
    emit(VertexAdded(digest, name))
    emit(VertexStarted(digest, time.time()))
    try:
        yield
    except FileNotFoundError:
        emit(VertexDone(digest, time.time()))  # that it is not there is an answer
        raise
    except (BakeError, OSError) as error:
        emit(VertexFailed(digest, time.time(), error.what if isinstance(error, BakeError) else str(error)))
        raise
    except anyio.get_cancelled_exc_class():
        emit(VertexFailed(digest, time.time(), "cancelled", cancelled=True))
        raise
    emit(VertexDone(digest, time.time()))
