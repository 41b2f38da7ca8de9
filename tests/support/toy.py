"""Toy ops for the solver: they add numbers and count their calls; and a cache that is a dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from bakepy.events import Event, VertexMissed
from bakepy.model.digest import Digest
from bakepy.solver.scheduler import Retry, Solver
from bakepy.solver.vertex import CacheMap, CacheStore, Dependency, KeyLock, Limits, Log, Miss, Record, Share, Step


@dataclass(frozen=True)
class Number:
    """A result: a number with an identity."""

    id: str
    value: int


class Numbers:
    """Numbers as text. `gone` names the ids of results that are no longer there."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.loads = 0

    def dump(self, result: Number) -> str | None:
        return f"{result.id} {result.value}"

    def load(self, text: str) -> Number | None:
        self.loads += 1
        id, _, value = text.rpartition(" ")
        return None if id in self.gone else Number(id, int(value))


@dataclass(frozen=True)
class ToyEdge:
    vertex: Digest
    index: int = 0


@dataclass(frozen=True)
class Toy:
    """A vertex: the sum of its inputs, each after `view` (what of it is really used), plus `plus`.

    Its digest is that of its name, so that two vertices with different names can have equal keys.
    """

    name: str
    plus: int
    inputs: tuple[ToyEdge, ...] = ()
    ignore_cache: bool = False
    op: str = ""
    by_content: bool = False
    modulo: int = 0
    outputs: int = 1
    source: bool = False
    pool: str = "exec"
    selector: str = ""
    share: Share = Share()  # noqa: RUF009

    @property
    def digest(self) -> Digest:
        return Digest.of(self.name.encode())

    @property
    def edge(self) -> ToyEdge:
        return ToyEdge(self.digest)

    def out(self, index: int) -> ToyEdge:
        return ToyEdge(self.digest, index)

    def view(self, value: int) -> int:
        return value % self.modulo if self.modulo else value

    def value(self, inputs: Sequence[int]) -> tuple[int, ...]:
        total = sum(self.view(value) for value in inputs) + self.plus
        return tuple(total + index for index in range(self.outputs))


def toy(name: str, plus: int = 1, *needs: Toy | ToyEdge, **options: object) -> Toy:
    edges = tuple(need.edge if isinstance(need, Toy) else need for need in needs)
    return Toy(name, plus, edges, **options)  # type: ignore[arg-type]


@dataclass
class Bench:
    """Where toys are worked on: gates to hold them, faults to make them fail, and a record of what they did."""

    ran: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    mapped: list[str] = field(default_factory=list)
    digested: list[str] = field(default_factory=list)
    held: dict[str, anyio.Event] = field(default_factory=dict)
    faults: dict[str, Exception] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    results: Numbers = field(default_factory=Numbers)
    cache: CacheStore = field(default_factory=lambda: MemoryCache())
    limits: Limits = field(default_factory=Limits)
    retry: Retry = lambda vertex, error, failures: None
    short: bool = False
    """Whether memory is."""
    running: int = 0
    most: int = 0

    def hold(self, *names: str) -> None:
        """These ops wait inside `run` (or `cache_map`: `map NAME`; or when cancelled: `stop NAME`) until `let_go`."""
        for name in names:
            self.held[name] = anyio.Event()

    def let_go(self, *names: str) -> None:
        for name in names:
            self.held.pop(name).set()

    @asynccontextmanager
    async def solver(self, vertices: Iterable[Toy]) -> AsyncIterator[Solver[Number]]:
        async with Solver[Number].open(
            vertices,
            lambda vertex: ToyOp(vertex, self),  # type: ignore[arg-type]
            cache=self.cache,
            results=self.results,
            limits=self.limits,
            shares=lambda vertex: vertex.share,  # type: ignore[attr-defined]
            short=lambda: self.short,
            retry=self.retry,
            emit=self.events.append,
            clock=lambda: 0.0,
        ) as solver:
            yield solver

    def counts(self) -> Counter[str]:
        return Counter(self.ran)

    def forget_calls(self) -> None:
        """A new run begins."""
        for calls in (self.ran, self.ended, self.cancelled, self.mapped, self.digested, self.events):
            calls.clear()

    def misses(self, vertices: Iterable[Toy]) -> dict[str, str]:
        """Why vertices had to run, by name."""
        names = {vertex.digest: vertex.name for vertex in vertices}
        return {names[event.digest]: event.reason for event in self.events if isinstance(event, VertexMissed)}

    def told(self, vertices: Iterable[Toy]) -> list[str]:
        """The events as `kind name`, but for misses."""
        names = {vertex.digest: vertex.name for vertex in vertices}
        told = []
        for event in self.events:
            if isinstance(event, VertexMissed):
                continue
            kind = type(event).__name__.removeprefix("Vertex").lower()
            extra = getattr(event, "by", "") or ("cancelled" if getattr(event, "cancelled", False) else "")
            told.append(" ".join(filter(None, (kind, names[event.digest], extra))))  # type: ignore[union-attr]
        return told


class ToyOp:
    """The op of a toy."""

    def __init__(self, vertex: Toy, bench: Bench) -> None:
        self._toy = vertex
        self._bench = bench
        self.pool = vertex.pool
        self.known_map: CacheMap[Number] | None = None if vertex.source else self._map()

    def _map(self) -> CacheMap[Number]:
        vertex = self._toy
        content: Callable[[Number], Awaitable[str]] | None = self._content if vertex.by_content else None
        one: Dependency[Number] = Dependency(vertex.selector, content)
        return CacheMap(vertex.op or f"{vertex.plus}/{vertex.modulo}/{vertex.outputs}", (one,) * len(vertex.inputs))

    async def _content(self, result: Number) -> str:
        self._bench.digested.append(self._toy.name)
        await anyio.lowlevel.checkpoint()
        return str(self._toy.view(result.value))

    async def cache_map(self) -> CacheMap[Number]:
        self._bench.mapped.append(self._toy.name)
        await self._pass(f"map {self._toy.name}")
        return self._map()

    async def run(self, inputs: Sequence[Number], result_id: str, log: Log) -> Sequence[Number]:
        name, bench = self._toy.name, self._bench
        bench.ran.append(name)
        bench.running += 1
        bench.most = max(bench.most, bench.running)
        log(1, b"adding\n")
        try:
            await self._pass(name)
        finally:
            bench.running -= 1
        bench.ended.append(name)
        values = self._toy.value([result.value for result in inputs])
        return [Number(f"{result_id}#{index}" if index else result_id, value) for index, value in enumerate(values)]

    async def _pass(self, name: str) -> None:
        try:
            await anyio.lowlevel.checkpoint()
            if gate := self._bench.held.get(name):
                await gate.wait()
        except anyio.get_cancelled_exc_class():
            self._bench.cancelled.append(name)
            if gate := self._bench.held.get(f"stop {name}"):
                with anyio.CancelScope(shield=True):
                    await gate.wait()
            if fault := self._bench.faults.get(f"stop {name}"):
                raise fault  # noqa: B904  as work does that notices its own end only
            raise
        if fault := self._bench.faults.get(name):
            raise fault


async def get_and_leave(solver: Solver[Number], vertex: Toy) -> None:
    """Asks for a result, and gives up when nothing moves any more."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(solver.get, vertex.edge)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    await anyio.wait_all_tasks_blocked()


class MemoryCache:
    """Cache records in dictionaries. Several runs may share one; `locks` are the keys that are being worked on."""

    def __init__(self) -> None:
        self.records: dict[int, Record] = {}
        self.keys: dict[str, int] = {}
        self.steps: dict[str, Step] = {}
        self.known_durations: dict[str, float] = {}
        self.locks: set[str] = set()
        self.looked_up = 0
        self._last = 0

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        self.looked_up += 1
        return {key: self.records[self.keys[key]] for key in keys if self.keys.get(key) in self.records}

    async def save(self, keys: Sequence[str], results: Sequence[str], cost: float, step: Step) -> Record:
        self._last += 1
        record = Record(self._last, tuple(results), cost)
        self.records[record.id] = record
        self.keys.update(dict.fromkeys(keys, record.id))
        self.steps[keys[0]] = step
        return record

    def link(self, key: str, record: Record) -> None:
        self.keys[key] = record.id

    def flush(self) -> None:
        pass

    def forget(self, record: Record) -> None:
        self.records.pop(record.id, None)

    def durations(self, ops: Iterable[str]) -> Mapping[str, float]:
        return {op: self.known_durations[op] for op in ops if op in self.known_durations}

    def explain(self, key: str, step: Step) -> Miss:
        return Miss("definition")

    def try_lock(self, key: str) -> KeyLock | None:
        if key in self.locks:
            return None
        self.locks.add(key)
        return _Lock(self.locks, key)


class _Lock:
    def __init__(self, locks: set[str], key: str) -> None:
        self._locks, self._key = locks, key

    def release(self) -> None:
        self._locks.discard(self._key)


def naive(vertices: Iterable[Toy]) -> dict[Digest, tuple[int, ...]]:
    """What every vertex is worth, computed one after another without any cache."""
    values: dict[Digest, tuple[int, ...]] = {}
    for vertex in vertices:
        values[vertex.digest] = vertex.value([values[edge.vertex][edge.index] for edge in vertex.inputs])
    return values
