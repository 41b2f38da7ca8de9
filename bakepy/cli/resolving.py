"""The planner's questions about images and far sources, answered by the engine and shown as steps of the run."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio

from bakepy.cli.lending import Lending
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.engine.embedded import Embedded
from bakepy.engine.sharing import tried
from bakepy.errors import BakeError
from bakepy.events import Emit, VertexAdded, VertexDone, VertexFailed, VertexLog, VertexStarted
from bakepy.llb.op import SourceOp
from bakepy.model.digest import Digest
from bakepy.model.reference import ImageReference
from bakepy.model.target import Target
from bakepy.model.url import redacted
from bakepy.planner.images import side_by_side
from bakepy.session.secrets import SecretProvider
from bakepy.session.ssh import AgentProvider
from bakepy.source.lent import Lent

if TYPE_CHECKING:
    from bakepy.planner.compiling import ImageResolver

T = TypeVar("T")


def resolver(engine: Embedded, emit: Emit) -> ImageResolver:
    """Looks up images with `engine`, as often as `retry` of the targets says. What asks a registry is told to `emit`;
    a layout on this disk takes no time."""

    async def resolve(request: ImageRequest, layouts: Mapping[str, str]) -> ResolvedImageConfig:
        platform = request.platform or engine.host
        found = await engine.resolve_image(
            request.identifier,
            platform,
            {"oci.store": request.store} if request.store else {},
            {name: Path(path) for name, path in layouts.items()},
        )
        return ResolvedImageConfig(found.digest, found.config)

    async def resolve_and_tell(
        request: ImageRequest, layouts: Mapping[str, str], targets: Sequence[Target]
    ) -> ResolvedImageConfig:
        if request.store:
            return await resolve(request, layouts)
        name = ImageReference.parse(request.reference).familiar()
        digest = Digest.of(f"load metadata\0{request.reference}\0{request.platform}".encode())
        with _told(emit, digest, f"[internal] load metadata for {name}") as told:
            return await _tried(targets, lambda: resolve(request, layouts), told)

    return side_by_side(resolve_and_tell)


class Remote:
    """Looks into far sources with the engine; each look is told. Implements the planner's `RemoteReader`."""

    def __init__(self, engine: Embedded, emit: Emit, environment: Mapping[str, str], directory: Path) -> None:
        self._sources = engine.remote
        self._emit = emit
        self._environment = environment
        self._directory = directory

    async def is_archive(self, op: SourceOp, targets: Sequence[Target]) -> bool:
        with self._told(op, "remote build context") as told, self._lent(targets) as lent:
            return await _tried(targets, lambda: self._sources.is_archive(op, lent), told)

    async def read(self, op: SourceOp, path: str, targets: Sequence[Target]) -> bytes:
        with self._told(op, path or "remote Dockerfile") as told, self._lent(targets) as lent:
            return await _tried(targets, lambda: self._sources.read(op, path, lent), told)

    async def time(self, op: SourceOp, targets: Sequence[Target]) -> int | None:
        with self._told(op, "time") as told, self._lent(targets) as lent:
            return await _tried(targets, lambda: self._sources.time(op, lent), told)

    def _told(self, op: SourceOp, what: str) -> AbstractContextManager[Callable[[str], None]]:
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


async def _tried(targets: Sequence[Target], work: Callable[[], Awaitable[T]], told: Callable[[str], None]) -> T:
    """A look-up for several targets gets the most attempts, as a step that they share."""
    return await tried([target.retry for target in targets], work, told)


@contextmanager
def _told(emit: Emit, digest: Digest, name: str) -> Iterator[Callable[[str], None]]:
    """Shows what is done inside as a step of the run; gives what writes lines into its log."""
    emit(VertexAdded(digest, name))
    emit(VertexStarted(digest, time.time()))
    try:
        yield lambda line: emit(VertexLog(digest, 2, f"{line}\n".encode(), time.time()))
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
