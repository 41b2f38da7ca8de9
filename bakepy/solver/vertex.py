"""What the solver asks of others: vertices, ops, results, and the store of cache records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Generic, Protocol, TypeVar

from bakepy.model.digest import Digest
from bakepy.model.value import dataclass


class Result(Protocol):
    """One output of a vertex."""

    @property
    def id(self) -> str:
        """Its identity for the keys of those that depend on it; differs between the outputs of one vertex."""
        ...


R = TypeVar("R", bound=Result)


class SolverEdge(Protocol):
    """One output of a vertex of the graph."""

    @property
    def vertex(self) -> Digest: ...
    @property
    def index(self) -> int: ...


class SolverVertex(Protocol):
    """A vertex of the graph."""

    @property
    def digest(self) -> Digest: ...
    @property
    def inputs(self) -> Sequence[SolverEdge]: ...
    @property
    def name(self) -> str: ...
    @property
    def ignore_cache(self) -> bool:
        """Run it although a result may be known; the new result is kept for later runs."""
        ...


@dataclass(frozen=True, slots=True)
class Dependency(Generic[R]):
    """How one input counts in the key. Without `content` the identity of the input's result counts, together with
    `selector`; with it, only the text that `content` returns (a digest of what is really used of the result)."""

    selector: str = ""
    content: Callable[[R], Awaitable[str]] | None = None


@dataclass(frozen=True, slots=True)
class CacheMap(Generic[R]):
    """What makes an op what it is. `key` covers everything but the inputs; `dependencies` are parallel to the inputs,
    and an input beyond their end counts by its result's identity."""

    key: str
    dependencies: tuple[Dependency[R], ...] = ()

    def dependency(self, position: int) -> Dependency[R]:
        return self.dependencies[position] if position < len(self.dependencies) else Dependency()


Log = Callable[[int, bytes], None]
"""Takes output of a process: stream (1 or 2) and data."""


class SolverOp(Protocol[R]):
    """The work of one vertex."""

    @property
    def pool(self) -> str:
        """Which limit its `run` counts against."""
        ...

    @property
    def known_map(self) -> CacheMap[R] | None:
        """The cache map if it takes no look at the world; None: `cache_map` has to be asked."""
        ...

    async def cache_map(self) -> CacheMap[R]:
        """Looks at the world (resolves a name, reads a folder). Asked once in a run, outside of all pools."""
        ...

    async def run(self, inputs: Sequence[R], result_id: str, log: Log) -> Sequence[R]:
        """Does the work; one result for each output. The first result's id is `result_id`, the others' derive from it.

        Cancellation must leave nothing behind. Raises BakeError when the work can not be done.
        """
        ...


class ResultStore(Protocol[R]):
    """Results as text, for the records of later runs."""

    def dump(self, result: R) -> str | None:
        """None: it means nothing outside this run, so its vertex has no record."""
        ...

    def load(self, text: str) -> R | None:
        """None: what it stands for is gone."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """A known outcome of a vertex: its results as text, one for each output. `cost` are the seconds that it took,
    `created` is when it was made (seconds since the epoch)."""

    id: int
    results: tuple[str, ...]
    cost: float
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """How a record came about, so that a later miss can be explained: the op, and what each input counted as."""

    op: str
    name: str
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Miss:
    """Why there was no record, in the words of `events.VertexMissed`."""

    reason: str
    changed: tuple[int, ...] = ()


class KeyLock(Protocol):
    """The right to be the only one that works on a key."""

    def release(self) -> None: ...


class CacheStore(Protocol):
    """Cache records, shared by all runs and processes. Look-ups answer at once; all may raise EngineError."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """The records of those keys that have one."""
        ...

    async def save(self, keys: Sequence[str], results: Sequence[str], cost: float, step: Step) -> Record:
        """Makes a record and lets `keys` point to it, from now on and after a kill. The first key is the exact one,
        to which `step` belongs."""
        ...

    def link(self, key: str, record: Record) -> None:
        """Lets one more key point to a record. May be written later, with `flush` at the latest."""
        ...

    def flush(self) -> None:
        """Writes what was put off. A kill before that costs time in a later run, nothing else."""
        ...

    def forget(self, record: Record) -> None:
        """Removes a record whose result is gone."""
        ...

    def durations(self, ops: Iterable[str]) -> Mapping[str, float]:
        """Seconds that ops took the last time, by the key of their cache map; only those known."""
        ...

    def explain(self, key: str, step: Step) -> Miss:
        """Why there was no record for `key`."""
        ...

    def try_lock(self, key: str) -> KeyLock | None:
        """The lock of a key, None if another run has it. Ends with the process at the latest."""
        ...


class Failure(Exception):
    """A vertex could not be done. `vertex` is the one that failed itself, not one that needed it."""

    def __init__(self, vertex: Digest, cause: Exception) -> None:
        super().__init__(str(cause))
        self.vertex = vertex
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Share:
    """What a vertex takes while it runs, besides a place of its op's pool: a place of each of `pools`, and `memory`
    (bytes) of the budget."""

    pools: tuple[str, ...] = ()
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many vertices run at the same time: by pool (one that is not named has no limit), and in `total`; and how
    much `memory` (bytes) they may claim together."""

    pools: Mapping[str, int] = field(default_factory=dict)
    total: int | None = None
    memory: int | None = None

    def of(self, pool: str) -> float:
        return self.pools.get(pool, float("inf"))


def postponed(error: Exception, failures: int, pause: float) -> str:
    """What is told of work that has failed so often, and is tried again after `pause` seconds."""
    first, *_ = str(error).splitlines() or [""]
    return f"{first}\nfailed {failures} time{'s' * (failures > 1)}, to be tried again in {pause:g} s"
