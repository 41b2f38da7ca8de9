"""The solver: carries out what `state` decides. Everything here runs in one event loop; nothing is locked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Generic

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from bakepy.events import Emit, VertexCached, VertexDone, VertexFailed, VertexLog, VertexMissed, VertexStarted
from bakepy.solver import keys
from bakepy.solver.groups import single_error
from bakepy.solver.node import Ask, Command, Do, Node, Question, Status
from bakepy.solver.pools import Shares, no_share
from bakepy.solver.state import State
from bakepy.solver.vertex import (
    CacheStore,
    Failure,
    Limits,
    Miss,
    R,
    Record,
    ResultStore,
    SolverEdge,
    SolverOp,
    SolverVertex,
    Step,
    postponed,
)

_POLL_SECONDS = (0.005, 0.2)
"""The first and the longest pause between looks at a key that another process works on."""
_SHORT_SECONDS = 0.2
"""The pause between looks whether memory is still short."""

Retry = Callable[[SolverVertex, Exception, int], float | None]
"""Whether a vertex whose work failed for the nth time is tried again: after so many seconds, or not (None)."""


def _never(vertex: SolverVertex, error: Exception, failures: int) -> None:
    return None


class Solver(Generic[R]):
    """Evaluates edges of one graph on demand, in one run. Use `open`.

    Any number of `get` may wait at the same time, for the same edge or for others; all share the work. What nobody
    waits for any more is cancelled, and a later `get` starts it again. A vertex that failed stays failed.
    """

    def __init__(
        self,
        state: State[R],
        cache: CacheStore,
        results: ResultStore[R],
        emit: Emit,
        clock: Callable[[], float],
        retry: Retry = _never,
    ) -> None:
        self._state = state
        self._cache = cache
        self._results = results
        self._emit = emit
        self._clock = clock
        self._retry = retry
        self._group: TaskGroup | None = None
        self._awake = False
        self._looking = False
        self._scopes: dict[Node[R], anyio.CancelScope] = {}
        self._settled: dict[Node[R], anyio.Event] = {}
        self._prepared: set[Node[R]] = set()
        self._started: set[Node[R]] = set()
        self._reported: set[Node[R]] = set()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        vertices: Iterable[SolverVertex],
        bind: Callable[[SolverVertex], SolverOp[R]],
        *,
        cache: CacheStore,
        results: ResultStore[R],
        limits: Limits | None = None,
        shares: Shares = no_share,
        short: Callable[[], bool] = lambda: False,
        retry: Retry = _never,
        since: float = inf,
        emit: Emit = lambda event: None,
        clock: Callable[[], float] = time.time,
    ) -> AsyncIterator[Solver[R]]:
        """A solver for `vertices`, given in definition order. Leaving the block cancels what is still under way and
        waits until it has ended.

        `shares` tells what each vertex takes of the `limits` besides a place of its op's pool. While memory is `short`
        nothing more begins, unless nothing is under way. What was made after `since` is taken even by vertices that
        ignore the cache.
        """
        state = State(vertices, bind, limits or Limits(), cache.durations, shares, short, since)
        solver = cls(state, cache, results, emit, clock, retry)
        with single_error():
            async with anyio.create_task_group() as group:
                solver._group = group
                try:
                    yield solver
                finally:
                    group.cancel_scope.cancel()
                    solver._end()

    def prepare(self, edges: Iterable[SolverEdge]) -> None:
        """Says which edges will be asked for, so that their keys are looked up together. Optional."""
        for edge in edges:
            node = self._state.nodes[edge.vertex]
            if node not in self._prepared:
                self._prepared.add(node)
                self._state.demand(node, result=False)
        self._go_on_soon()

    async def get(self, edge: SolverEdge) -> R:
        """The result of one edge. Raises Failure if its vertex, or one that it needs, could not be done."""
        node = self._state.nodes[edge.vertex]
        self._state.demand(node)
        if node in self._prepared:
            self._prepared.remove(node)
            self._state.leave(node)
        try:
            if node.status is not Status.DONE and node.status is not Status.FAILED:
                self._go_on_soon()
                await self._settled.setdefault(node, anyio.Event()).wait()
        finally:
            self._state.leave(node)
            self._go_on()
        if node.failure is not None:
            raise Failure(node.failure.vertex, node.failure.cause)
        assert node.results is not None
        return node.results[edge.index]

    def _go_on_soon(self) -> None:
        """Once all that is asked for at this moment is known: then keys are looked up together, and the order of the
        first steps does not depend on which caller came first."""
        if not self._awake:
            self._awake = True
            assert self._group is not None
            self._group.start_soon(self._wake_up)

    async def _wake_up(self) -> None:
        await anyio.lowlevel.checkpoint()
        self._awake = False
        self._go_on()

    def _go_on(self) -> None:
        while True:
            self._state.settle()
            if questions := self._state.take_questions():
                self._answer(questions)
                continue
            commands = self._state.take_commands()
            for node, told in self._state.take_waits():
                self._emit(VertexLog(node.vertex.digest, 2, f"{told}\n".encode(), self._clock()))
            if self._state.held_back:
                self._look_again()
            if not commands:
                return
            for command in commands:
                self._carry_out(command)

    def _look_again(self) -> None:
        """After a while, whether there is memory now."""
        if not self._looking:
            self._looking = True
            assert self._group is not None
            self._group.start_soon(self._go_on_later)

    async def _go_on_later(self) -> None:
        await anyio.sleep(_SHORT_SECONDS)
        self._looking = False
        self._go_on()

    def _answer(self, questions: list[Question[R]]) -> None:
        wanted = {id(q.node): q.node.definition_key or "" for q in questions if q.kind is Ask.DEFINITION}
        wanted |= {id(q.node): q.node.key for q in questions if q.kind is Ask.EXACT}
        records = self._cache.find(list(wanted.values())) if wanted else {}
        for question in questions:
            node = question.node
            if question.kind is Ask.DEFINITION:
                self._state.defined(node, records.get(wanted[id(node)]))
            elif question.kind is Ask.EXACT:
                self._state.looked_up(node, records.get(wanted[id(node)]))
            else:
                self._state.loaded(node, self._load(node.record))

    def _load(self, record: Record | None) -> tuple[R, ...] | None:
        if record is None:
            return None
        results: list[R] = []
        for text in record.results:
            result = self._results.load(text)
            if result is None:
                self._cache.forget(record)
                return None
            results.append(result)
        return tuple(results)

    def _carry_out(self, command: Command[R]) -> None:
        node = command.node
        if command.kind is Do.CANCEL:
            if scope := self._scopes.get(node):
                scope.cancel()
        elif command.kind is Do.SETTLED:
            self._report(node)
            if event := self._settled.pop(node, None):
                event.set()
        else:
            work = {Do.MAP: self._map, Do.DIGEST: self._digest, Do.RUN: self._run, Do.POLL: self._poll}[command.kind]
            scope = self._scopes[node] = anyio.CancelScope()
            assert self._group is not None
            self._group.start_soon(self._job, node, work, scope)

    # Jobs: one piece of work for one vertex. Each tells the state how it ended as its last act.

    async def _job(self, node: Node[R], work: Callable[[Node[R]], Awaitable[None]], scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await work(node)
            except Exception as error:
                self._state.failed(node, error)
        del self._scopes[node]
        if scope.cancelled_caught:
            self._state.stopped(node)
        self._go_on()

    async def _map(self, node: Node[R]) -> None:
        with self._under_way(node):
            failures = 0
            while True:
                try:
                    map = await node.op.cache_map()
                    break
                except Exception as error:
                    failures += 1
                    pause = self._pause(node, error, failures)
                    if pause is None:
                        raise
                await anyio.sleep(pause)
        self._state.mapped(node, map)

    async def _digest(self, node: Node[R]) -> None:
        assert node.map is not None
        parts = [""] * len(node.inputs)

        async def digest(position: int, content: Callable[[R], Awaitable[str]], result: R) -> None:
            parts[position] = keys.content_part(await content(result))

        with single_error():
            async with anyio.create_task_group() as group:
                for position, result in enumerate(node.input_results()):
                    dependency = node.map.dependency(position)
                    if dependency.content is None:
                        parts[position] = keys.result_part(result.id, dependency.selector)
                    else:
                        group.start_soon(digest, position, dependency.content, result)
        self._state.digested(node, tuple(parts))

    async def _run(self, node: Node[R]) -> None:
        lock = self._cache.try_lock(node.key)
        if lock is None:
            self._state.parked(node)
            return
        pause: float | None = None
        try:
            if known := self._find(node):
                self._state.found(node, *known)
            else:
                await self._make(node)
        except Exception as error:
            node.attempts += 1
            pause = self._pause(node, error, node.attempts)
            if pause is None:
                raise
        finally:
            lock.release()
        if pause is not None:
            self._state.postponed(node)
            self._go_on()
            with self._under_way(node):
                await anyio.sleep(pause)
            self._state.unparked(node)

    def _pause(self, node: Node[R], error: Exception, failures: int) -> float | None:
        """How long to wait before a failed piece of work is tried again, None if it is not; told in its log. What is
        being stopped is not: whoever needs it again starts it anew."""
        if node.status is Status.STOPPING:
            return None
        pause = self._retry(node.vertex, error, failures)
        if pause is not None:
            told = f"{postponed(error, failures, pause)}\n"
            self._emit(VertexLog(node.vertex.digest, 2, told.encode(), self._clock()))
        return pause

    async def _make(self, node: Node[R]) -> None:
        vertex, parts, digest = node.vertex, node.parts, node.vertex.digest
        assert node.map is not None and parts is not None and node.definition_key is not None
        step = Step(node.map.key, vertex.name, parts)
        miss = Miss("ignored") if vertex.ignore_cache else self._cache.explain(node.key, step)
        self._emit(VertexMissed(digest, miss.reason, miss.changed))

        def log(stream: int, data: bytes) -> None:
            self._emit(VertexLog(digest, stream, data, self._clock()))

        with self._under_way(node):
            began = self._clock()
            result_id = keys.fresh_id(node.key) if vertex.ignore_cache else node.key
            results = tuple(await node.op.run(node.input_results(), result_id, log))
            texts = [text for text in map(self._results.dump, results) if text is not None]
            record = None
            if len(texts) == len(results):
                cost = max(0.0, self._clock() - began)
                record = await self._cache.save((node.key, node.definition_key), texts, cost, step)
        self._state.finished(node, results, record)

    async def _poll(self, node: Node[R]) -> None:
        """Waits until no other process has the key, then looks whether that one has left a record."""
        pause, longest = _POLL_SECONDS
        while (lock := self._cache.try_lock(node.key)) is None:
            await anyio.sleep(pause)
            pause = min(pause * 1.5, longest)
        try:
            known = self._find(node)
        finally:
            lock.release()
        if known:
            self._state.found(node, *known)
        else:
            self._state.unparked(node)

    def _find(self, node: Node[R]) -> tuple[tuple[R, ...], Record] | None:
        record = self._cache.find([node.key]).get(node.key)
        if record is None or not self._state.allows(node, record):
            return None
        results = self._load(record)
        return (results, record) if results is not None else None

    # Events

    @contextmanager
    def _under_way(self, node: Node[R]) -> Iterator[None]:
        """Tells that a vertex has begun, and if this is cancelled, that it has ended; `_report` tells other ends."""
        if node not in self._started:
            self._started.add(node)
            self._reported.discard(node)
            self._emit(VertexStarted(node.vertex.digest, self._clock()))
        try:
            yield
        except anyio.get_cancelled_exc_class():
            self._started.discard(node)
            self._emit(VertexFailed(node.vertex.digest, self._clock(), "cancelled", cancelled=True))
            raise

    def _report(self, node: Node[R]) -> None:
        """Tells the end of a vertex, unless it was told before; keeps what was learnt about its definition key."""
        digest, now = node.vertex.digest, self._clock()
        if node.failure is not None:
            if node.failure.vertex == digest:
                self._emit(VertexFailed(digest, now, str(node.failure)))
            return
        if node.by in ("content", "run") and node.record is not None and node.definition_key is not None:
            self._cache.link(node.definition_key, node.record)
        if node.by == "definition":
            self._report_below(node, now)
        if node not in self._reported:
            self._reported.add(node)
            self._emit(VertexCached(digest, now, node.by) if node.by else VertexDone(digest, now))

    def _end(self) -> None:
        """At the end of the run: what was put off is written, and what was begun but not needed is told as done."""
        self._cache.flush()
        for node in sorted(self._started - self._reported, key=lambda node: node.position):
            if node.failure is None and node not in self._scopes:
                self._emit(VertexDone(node.vertex.digest, self._clock()))

    def _report_below(self, node: Node[R], now: float) -> None:
        """What is below a vertex that was found needs no work either, unless somebody else wants it. It is told as
        cached if it has a record of its own, or was begun."""
        below: list[Node[R]] = []
        stack = [node]
        while stack:
            for need in stack.pop().needs:
                if need not in self._reported and not need.wanted:
                    self._reported.add(need)
                    stack.append(need)
                    if need.record is not None or need in self._started:
                        below.append(need)
        for need in sorted(below, key=lambda need: need.position):
            self._emit(VertexCached(need.vertex.digest, now, "definition"))
