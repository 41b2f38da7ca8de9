"""The engine on this machine: no daemon, state below one folder, containers by an OCI runtime."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, cast

import anyio
import anyio.to_thread

from bakepy.cache.locks import KeyLocks
from bakepy.cache.records import CacheRecords
from bakepy.content.database import Database
from bakepy.content.store import ContentStore
from bakepy.engine.lookup import WouldRun, look_only
from bakepy.engine.memory import Memory
from bakepy.engine.protocol import Export, Outcome, SolveOptions
from bakepy.engine.root import Use, distrust_unflushed, forget_about, open_database, open_root, remove_cgroups
from bakepy.engine.sharing import Sharing
from bakepy.engine.targets import TargetEvents, TargetRun
from bakepy.errors import EngineError, UsageError, nearest
from bakepy.events import Emit, Event, VertexAdded, VertexCached, VertexStatus
from bakepy.llb.graph import Edge, Vertex
from bakepy.llb.op import ExecOp, NetMode
from bakepy.model.digest import Digest
from bakepy.model.platform import Platform, host_platform
from bakepy.model.value import dataclass
from bakepy.planner.plan import Plan
from bakepy.registry.mirrors import Mirrors
from bakepy.registry.registry import Registry
from bakepy.registry.retry import RetryPolicy
from bakepy.session.credentials import Credentials
from bakepy.snapshot.census import Census
from bakepy.snapshot.snapshotter import AUTO, SNAPSHOTTERS
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot
from bakepy.snapshot.tree import allow_deep_trees
from bakepy.snapshot.usernamespace import as_caller
from bakepy.solver.scheduler import Solver
from bakepy.solver.vertex import Failure, Limits
from bakepy.source.image import ImageSource, ResolvedImage
from bakepy.source.lent import NOTHING, Lent
from bakepy.source.local import LocalSource
from bakepy.source.remote import RemoteSources
from bakepy.worker.bind import BYTES, EXEC, NETWORK, Binder, Workshop, located
from bakepy.worker.execkey import caches_to_clear
from bakepy.worker.ref import Ref, RefStore

if TYPE_CHECKING:
    from bakepy.worker.context import ExecContext, Secrets, SshAgents

_LOOK_SECONDS = 0.05
_STATUS_SECONDS = 0.1
"""How often the progress of a transfer is told."""


class Embedded:
    """An open state root. Implements `protocol.Engine`; use `Embedded.open`."""

    def __init__(
        self,
        root: Path,
        *,
        database: Database,
        content: ContentStore,
        registry: Registry,
        locks: KeyLocks,
        environment: Mapping[str, str],
        host: Platform,
        policy: RetryPolicy | None = None,
    ) -> None:
        self.root = root
        self.database = database
        self.content = content
        self.registry = registry
        self.host = host
        self._environment = environment
        self._layouts: dict[str, Path] = {}
        self._images = ImageSource(registry, content, self._layouts)
        self._local = LocalSource(database, root)
        self.remote = RemoteSources(root, environment, database, content, policy=policy)
        self._locks = locks
        self._pulls: _Pulls | None = None
        self.snapshots = SnapshotStore(
            root,
            database,
            content,
            self._fetch,
            lambda id: locks.alone(f"unpack {id}"),
            snapshotter=_snapshotter(environment),
            gone=forget_about(database),
        )
        self.mended: tuple[str, ...] = ()
        """What was wrong with the state root, and has been put right: a line for each thing."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        root: Path,
        *,
        environment: Mapping[str, str] | None = None,
        insecure: Collection[str] = (),
        host: Platform | None = None,
        policy: RetryPolicy | None = None,
    ) -> AsyncIterator[Embedded]:
        """Opens the state root, or makes it. `insecure` are registries to speak plain http with, `policy` says how
        often servers are asked again.

        `environment` is the caller's (BAKEPY_SNAPSHOTTER and what the rooms below read). Raises EngineError if the
        root can not be used.
        """
        environment = os.environ if environment is None else environment
        open_root(root)
        allow_deep_trees()
        mended: list[str] = []
        async with AsyncExitStack() as stack:
            use = stack.enter_context(Use(root))
            # while somebody takes things away; a thread that waits for it could not be cancelled
            while not use.share(wait=False):  # noqa: ASYNC110
                await anyio.sleep(_LOOK_SECONDS)
            database = stack.enter_context(open_database(root, use, mended.append))
            content = ContentStore(root)
            registry = await stack.enter_async_context(
                Registry(
                    Credentials.load(environment, as_caller),
                    insecure=insecure,
                    policy=policy,
                    mirrors=Mirrors.of_machine(environment),
                )
            )
            locks = stack.enter_context(KeyLocks(root / "keys.lock"))
            engine = cls(
                root,
                database=database,
                content=content,
                registry=registry,
                locks=locks,
                environment=environment,
                host=host or host_platform(),
                policy=policy,
            )
            stack.enter_context(engine.snapshots)
            engine._mend(mended)
            stack.push_async_callback(engine.remote.aclose)
            yield engine

    def _mend(self, told: list[str]) -> None:
        """Gives up what a power cut may have spoiled, cleans up after the dead, and keeps what is to be told."""
        remove_cgroups(self.snapshots.scratch.swept)
        census = Census(self.root, self.database, forget_about(self.database))
        given_up = distrust_unflushed(
            self.root, self.database, census, lambda: self.snapshots.scratch.name("unflushed")
        )
        if given_up:
            told.append(
                f"the machine was started anew since the last build: the {given_up} youngest trees may not have"
                " reached the disk, and are made anew"
            )
        self.mended = tuple(told)

    async def resolve_image(
        self, identifier: str, platform: Platform, attrs: Mapping[str, str], layouts: Mapping[str, Path]
    ) -> ResolvedImage:
        """Pins an image for the planner. Raises RegistryError, or BuildError if there is no such image."""
        self._layouts.update(layouts)
        return await self._images.resolve(identifier, platform, attrs)

    async def solve(
        self,
        plan: Plan,
        *,
        export: Export,
        emit: Emit = lambda event: None,
        options: SolveOptions = SolveOptions(),  # noqa: B008
        stop: anyio.Event | None = None,
    ) -> tuple[Outcome, ...]:
        """Builds all targets of `plan`; see `protocol.Engine.solve`."""
        self._layouts.update((name, Path(path)) for name, path in plan.layouts.items())
        heads = [head for target in plan.targets if not target.target.linked for head in target.heads]
        vertices = plan.graph.reachable(heads)
        users = plan.users()
        events = TargetEvents(users, emit)
        for vertex in vertices:
            emit(_added(vertex, users))
        if options.since == inf and (caches := caches_to_clear(vertices)):
            from bakepy.worker.cachemounts import CacheMounts

            await anyio.to_thread.run_sync(CacheMounts(self.root).clear, caches)
        self._pulls = _Pulls(emit)
        sharing = Sharing((planned.target for planned in plan.targets), users)
        memory = Memory()
        async with _ExecContexts(self, options, users) as contexts:
            binder = Binder(self._workshop(plan, contexts.of, self._pulls.vertices, contexts.lent))
            with KeyLocks(self.root / "keys.lock") as locks:
                async with Solver[Ref].open(
                    vertices,
                    lambda vertex: binder.op_of(cast(Vertex, vertex)),
                    cache=CacheRecords(self.database, locks),
                    results=RefStore(self.snapshots),
                    limits=_limits(options, memory.total()),
                    shares=sharing.share,
                    short=memory.is_short,
                    retry=sharing.retry,
                    since=options.since,
                    emit=events,
                ) as solver:
                    solver.prepare(heads)

                    async def get(edge: Edge) -> str | None:
                        return await binder.snapshot_of(await solver.get(edge))

                    return await TargetRun(plan, get, export, events, keep_going=options.keep_going).run(stop)

    async def cached(self, plan: Plan) -> Mapping[Digest, bool]:
        """Tells of every step of `plan` whether its result is known. Runs no step and downloads no layer; folders are
        scanned and image names resolved, as their keys need it."""
        self._layouts.update((name, Path(path)) for name, path in plan.layouts.items())
        vertices = plan.graph.reachable(head for target in plan.targets for head in target.heads)
        found = {vertex.digest: False for vertex in vertices}

        def note(event: Event) -> None:
            if isinstance(event, VertexCached):
                found[event.digest] = True

        binder = Binder(self._workshop(plan, _nothing_runs, {}))
        with KeyLocks(self.root / "keys.lock") as locks:
            async with Solver[Ref].open(
                vertices,
                lambda vertex: look_only(cast(Vertex, vertex), binder.op_of(cast(Vertex, vertex))),
                cache=CacheRecords(self.database, locks),
                results=RefStore(self.snapshots),
                limits=_limits(SolveOptions(), 0),
                emit=note,
            ) as solver:
                for vertex in vertices:
                    try:
                        await solver.get(Edge(vertex.digest))
                    except Failure as failure:
                        if not isinstance(failure.cause, WouldRun):
                            raise located(failure.cause, plan.graph[failure.vertex]) from failure
        return found

    def _workshop(
        self,
        plan: Plan,
        exec_context: Callable[[Vertex], Awaitable[ExecContext]],
        pulled_for: MutableMapping[Digest, Digest],
        lent: Callable[[Vertex], Lent] = lambda vertex: NOTHING,
    ) -> Workshop:
        return Workshop(
            snapshots=self.snapshots,
            database=self.database,
            images=self._images,
            local=self._local,
            remote=self.remote,
            locals={name: Path(path) for name, path in plan.locals.items()},
            host=self.host,
            exec_context=exec_context,
            pulled_for=pulled_for,
            lent=lent,
        )

    async def _fetch(self, snapshot: Snapshot, origin: str) -> None:
        """Gets the blob of a lazy layer into the content store."""
        if snapshot.layer is None:
            raise EngineError(f"snapshot {snapshot.id} has no layer to fetch")
        descriptor = snapshot.layer.descriptor
        progress = self._pulls.progress(descriptor.digest) if self._pulls else None
        async with self._locks.alone(f"fetch {descriptor.digest}"):
            await self._images.fetch_layer(descriptor, origin, progress)


@dataclass(slots=True)
class _Lent:
    """What several targets lend to a step that they share: the first that has it gives it."""

    secrets: tuple[Secrets, ...]
    agents: tuple[SshAgents, ...]

    def get(self, id: str) -> bytes | None:
        return next((value for lender in self.secrets if (value := lender.get(id)) is not None), None)

    def socket(self, id: str) -> Path | None:
        return next((path for lender in self.agents if (path := lender.socket(id)) is not None), None)


class _ExecContexts:
    """The means to run processes, opened when the first is to be run: a run that finds everything needs none."""

    def __init__(self, engine: Embedded, options: SolveOptions, users: Mapping[Digest, tuple[str, ...]]) -> None:
        self._engine = engine
        self._options = options
        self._users = users
        self._lock = anyio.Lock()
        self._stack = AsyncExitStack()
        self._context: ExecContext | None = None

    async def __aenter__(self) -> _ExecContexts:
        return self

    async def __aexit__(self, *error: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def of(self, vertex: Vertex) -> ExecContext:
        async with self._lock:
            if self._context is None:
                self._context = await self._open(vertex)
        lent = self.lent(vertex)
        return replace(self._context, secrets=lent, ssh=lent)

    def lent(self, vertex: Vertex) -> _Lent:
        """What the targets that need a step lend to it."""
        names = self._users.get(vertex.digest, ())
        return _Lent(
            tuple(self._options.secrets[name] for name in names if name in self._options.secrets),
            tuple(self._options.ssh[name] for name in names if name in self._options.ssh),
        )

    async def _open(self, first: Vertex) -> ExecContext:
        from bakepy.worker.context import open_exec_context

        opening = open_exec_context(
            self._engine.root,
            self._engine.snapshots,
            host=self._engine.host,
            entitlements=self._options.entitlements,
            environment=self._engine._environment,
            sandbox=isinstance(first.op, ExecOp) and first.op.network is NetMode.SANDBOX,
        )
        context = await anyio.to_thread.run_sync(opening.__enter__)
        self._stack.push_async_callback(anyio.to_thread.run_sync, opening.__exit__, None, None, None)
        return context


class _Pulls:
    """Tells how far the layers of images are, at the step that names the image."""

    def __init__(self, emit: Emit, clock: Callable[[], float] = time.time) -> None:
        self._emit = emit
        self._clock = clock
        self.vertices: dict[Digest, Digest] = {}
        """The vertex of the image that has a layer."""

    def progress(self, layer: Digest) -> Callable[[int, int], None] | None:
        vertex = self.vertices.get(layer)
        if vertex is None:
            return None
        last = 0.0

        def tell(current: int, total: int) -> None:
            nonlocal last
            now, done = self._clock(), current >= total
            if done or now - last >= _STATUS_SECONDS:
                last = now
                self._emit(VertexStatus(vertex, str(layer), "downloading", current, total, now, done))

        return tell


def _snapshotter(environment: Mapping[str, str]) -> str:
    wanted = environment.get("BAKEPY_SNAPSHOTTER") or AUTO
    if wanted not in SNAPSHOTTERS:
        raise UsageError(
            f"unknown snapshotter '{wanted}', must be one of {', '.join(SNAPSHOTTERS)}",
            hint=nearest(wanted, SNAPSHOTTERS),
        )
    return wanted


async def _nothing_runs(vertex: Vertex) -> ExecContext:
    raise AssertionError(f"{vertex.name} was not to be run")


def _added(vertex: Vertex, users: Mapping[Digest, tuple[str, ...]]) -> VertexAdded:
    group = vertex.metadata.progress_group
    inputs = tuple(edge.vertex for edge in vertex.inputs)
    return VertexAdded(vertex.digest, vertex.name, inputs, users.get(vertex.digest, ()), group.id if group else "")


def _limits(options: SolveOptions, memory: int) -> Limits:
    """A few more processes than processors: steps also wait for disks and networks."""
    processors, jobs = len(os.sched_getaffinity(0)), options.jobs
    usual = {EXEC: jobs or max(4, processors), BYTES: max(4, processors), NETWORK: 16}
    return Limits({**usual, **options.pools}, total=jobs, memory=options.memory or memory or None)
