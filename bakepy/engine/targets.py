"""From vertices to targets: waits for the heads of each, has it exported, and says how each ended.

It knows neither containers nor the cache: it is given `get`, which waits for one edge.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio

from bakepy.engine.protocol import BLOCKED, CANCELLED, FAILED, NOT_STARTED, SUCCEEDED, Export, Outcome
from bakepy.engine.sharing import tried
from bakepy.errors import BakeError
from bakepy.events import Emit, Event, TargetDone, TargetStarted, VertexStarted
from bakepy.exporter.result import Exported, PlatformResult, TargetResult
from bakepy.llb.graph import Edge
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.planner.plan import Plan, PlannedTarget
from bakepy.solver.groups import single_error
from bakepy.solver.vertex import Failure
from bakepy.worker.bind import located

_EXPORTS = 16
"""Targets that are exported at the same time: bounds open files and memory, not speed."""

Snapshot = str | None


class TargetEvents:
    """Passes events on, and tells when targets begin and end."""

    def __init__(
        self, users: Mapping[Digest, tuple[str, ...]], emit: Emit, clock: Callable[[], float] = time.time
    ) -> None:
        """`users` tells which targets need a vertex."""
        self._emit = emit
        self._clock = clock
        self._users = users
        self._seen: set[tuple[str, ...]] = set()
        self.started: set[str] = set()

    def __call__(self, event: Event) -> None:
        if isinstance(event, VertexStarted):
            users = self._users.get(event.digest, ())
            if users not in self._seen:
                self._seen.add(users)
                for name in users:
                    self.start(name)
        self._emit(event)

    def start(self, name: str) -> None:
        if name not in self.started:
            self.started.add(name)
            self._emit(TargetStarted(name, self._clock()))

    def done(self, outcome: Outcome) -> None:
        if outcome.outcome != NOT_STARTED:
            self.start(outcome.target)
        message = outcome.error.what if outcome.error else ""
        self._emit(TargetDone(outcome.target, self._clock(), outcome.outcome, message))


class TargetRun:
    """The targets of one plan in one run. Linked targets are not asked for by themselves: they are built as far as
    others need them, and end as those do."""

    def __init__(
        self,
        plan: Plan,
        get: Callable[[Edge], Awaitable[Snapshot]],
        export: Export,
        events: TargetEvents,
        *,
        keep_going: bool,
    ) -> None:
        self._plan = plan
        self._get = get
        self._export = export
        self._events = events
        self._keep_going = keep_going
        self._links = _links(plan)
        self._exports = anyio.CapacityLimiter(_EXPORTS)
        self._outcomes: dict[str, Outcome] = {}
        self._bug: Exception | None = None

    async def run(self, stop: anyio.Event | None = None) -> tuple[Outcome, ...]:
        """Builds and exports; returns when every target has ended, one way or another. Raises what a step raised that
        is no error of the build but a bug."""
        with single_error():
            async with anyio.create_task_group() as waiting:
                if stop is not None:
                    waiting.start_soon(self._cancel_when, stop, waiting.cancel_scope)
                async with anyio.create_task_group() as group:
                    for target in self._plan.targets:
                        if not target.target.linked:
                            group.start_soon(self._target, target, group.cancel_scope)
                waiting.cancel_scope.cancel()
        if self._bug is not None:
            raise self._bug
        for target in self._plan.targets:
            if target.name not in self._outcomes:
                self._end(self._unasked(target))
        return tuple(self._outcomes[target.name] for target in self._plan.targets)

    @functools.cached_property
    def _needed(self) -> Mapping[str, frozenset[Digest]]:
        """The vertices that each target needs; asked only when something failed."""
        sets: dict[int, frozenset[Digest]] = {}
        return {name: sets.setdefault(id(some), frozenset(some)) for name, some in self._plan.needed().items()}

    async def _cancel_when(self, stop: anyio.Event, scope: anyio.CancelScope) -> None:
        await stop.wait()
        scope.cancel()

    async def _target(self, target: PlannedTarget, scope: anyio.CancelScope) -> None:
        try:
            exported = await self._build(target)
        except Failure as failure:
            try:
                outcome = self._failed(target, failure)
            except Exception as bug:
                # many targets may end with it; it is shown once
                self._bug = bug
                scope.cancel()
                return
        except BakeError as error:
            outcome = Outcome(target.name, FAILED, error)
        except anyio.get_cancelled_exc_class():
            started = target.name in self._events.started
            self._end(Outcome(target.name, CANCELLED if started else NOT_STARTED))
            raise
        else:
            outcome = Outcome(target.name, SUCCEEDED, exported=exported)
        self._end(outcome)
        if outcome.error is not None and not self._keep_going:
            scope.cancel()

    async def _build(self, target: PlannedTarget) -> Exported:
        heads = [planned.head for planned in target.platforms]
        snapshots = await self._all(heads)
        self._events.start(target.name)
        result = TargetResult(
            name=target.name,
            target=target.target,
            platforms=tuple(
                PlatformResult(planned.platform, snapshot, planned.image, self._top_step(planned.head, snapshot))
                for planned, snapshot in zip(target.platforms, snapshots, strict=True)
            ),
            multi_platform=target.multi_platform,
            epoch=target.epoch,
        )
        async with self._exports:
            return await tried([target.target.retry], lambda: self._export(result))

    def _top_step(self, head: Edge | None, snapshot: Snapshot) -> FrozenMap[str, str]:
        """The name of the step whose layer is the topmost, for a history that has no line for it."""
        if head is None or snapshot is None:
            return FrozenMap()
        return FrozenMap({snapshot: self._plan.graph[head.vertex].name})

    async def _all(self, heads: Sequence[Edge | None]) -> list[Snapshot]:
        """The results of all heads; if one fails the others are not waited for, and its error is raised."""
        results: list[Snapshot] = [None] * len(heads)
        failures: list[Failure] = []

        async def one(number: int, head: Edge, scope: anyio.CancelScope) -> None:
            try:
                results[number] = await self._get(head)
            except Failure as failure:
                failures.append(failure)
                scope.cancel()

        wanted = [(number, head) for number, head in enumerate(heads) if head is not None]
        if len(wanted) == 1:
            number, head = wanted[0]
            results[number] = await self._get(head)
            return results
        async with anyio.create_task_group() as group:
            for number, head in wanted:
                group.start_soon(one, number, head, group.cancel_scope)
        if failures:
            raise failures[0]
        return results

    def _failed(self, target: PlannedTarget, failure: Failure) -> Outcome:
        error = located(failure.cause, self._plan.graph[failure.vertex])
        for name in self._links[target.name]:
            if failure.vertex in self._needed[name]:
                return Outcome(target.name, BLOCKED, error, failure.vertex, blocked_by=name)
        return Outcome(target.name, FAILED, error, failure.vertex)

    def _unasked(self, target: PlannedTarget) -> Outcome:
        """A linked target: it failed if one of its steps did, was cut short if all that need it were."""
        users = [
            self._outcomes[name] for name in self._links if target.name in self._links[name] and name in self._outcomes
        ]
        for outcome in self._outcomes.values():
            if outcome.vertex is not None and outcome.vertex in self._needed[target.name]:
                for name in self._links[target.name]:
                    if outcome.vertex in self._needed[name]:
                        return Outcome(target.name, BLOCKED, outcome.error, outcome.vertex, blocked_by=name)
                return Outcome(target.name, FAILED, outcome.error, outcome.vertex)
        if users and all(outcome.outcome in (CANCELLED, NOT_STARTED) for outcome in users):
            return Outcome(target.name, CANCELLED if target.name in self._events.started else NOT_STARTED)
        return Outcome(target.name, SUCCEEDED)

    def _end(self, outcome: Outcome) -> None:
        self._outcomes[outcome.target] = outcome
        self._events.done(outcome)


def _links(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The targets that each one uses through its contexts, also through others; the deepest first."""
    links: dict[str, tuple[str, ...]] = {}
    for target in plan.targets:
        names: dict[str, None] = {}
        for value in target.target.contexts.values():
            if value.startswith("target:"):
                name = value.removeprefix("target:")
                names.update(dict.fromkeys(links.get(name, ())))
                names[name] = None
        links[target.name] = tuple(name for name in names if name in links)
    return links
