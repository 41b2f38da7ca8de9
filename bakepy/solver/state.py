"""What is so in a run, and what is next: plain functions from what happened to what is to be done.

It reads no clock, asks no database and awaits nothing. The scheduler tells it what happened (`demand`, `leave`,
`mapped`, `finished`, …) and then takes what follows: questions to answer at once, and commands to carry out.

A vertex that somebody wants goes this way:

    IDLE → DEFINING   until its cache map and its inputs' definition keys are known
         → DEFINED    its definition key was looked up; waits to be wanted
         → DONE       the record's result is there                                          (by definition)
         → RESOLVING  until the results of its inputs are known
         → DIGESTING  while the content of inputs is digested; most have none
         → FOLLOWING  while an equal vertex of this run does the work                       (by run)
         → DONE       there is a record for the exact key                                   (by content)
         → READY      waits for a free place in its pool
         → RUNNING, or PARKED while another process works on the same key
         → DONE or FAILED

Nobody needs it any more: back to IDLE, through STOPPING while a job of it has to end.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic

from bakepy.model.digest import Digest
from bakepy.solver import keys
from bakepy.solver.vertex import CacheMap, Failure, Limits, R, Record, SolverOp, SolverVertex


class Status(Enum):
    IDLE = "idle"
    DEFINING = "defining"
    DEFINED = "defined"
    RESOLVING = "resolving"
    DIGESTING = "digesting"
    FOLLOWING = "following"
    READY = "ready"
    RUNNING = "running"
    PARKED = "parked"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"


_S = Status
_AFTER: Mapping[Status, frozenset[Status]] = {
    _S.IDLE: frozenset({_S.DEFINING}),
    _S.DEFINING: frozenset({_S.DEFINED, _S.STOPPING, _S.IDLE, _S.FAILED}),
    _S.DEFINED: frozenset({_S.RESOLVING, _S.DONE, _S.IDLE}),
    _S.RESOLVING: frozenset({_S.DIGESTING, _S.FOLLOWING, _S.READY, _S.DONE, _S.IDLE, _S.FAILED}),
    _S.DIGESTING: frozenset({_S.RESOLVING, _S.STOPPING, _S.FAILED}),
    _S.FOLLOWING: frozenset({_S.DONE, _S.FAILED, _S.READY, _S.IDLE}),
    _S.READY: frozenset({_S.RUNNING, _S.IDLE}),
    _S.RUNNING: frozenset({_S.DONE, _S.FAILED, _S.PARKED, _S.STOPPING}),
    _S.PARKED: frozenset({_S.READY, _S.DONE, _S.FAILED, _S.STOPPING}),
    _S.STOPPING: frozenset({_S.IDLE, _S.DONE}),
    _S.DONE: frozenset(),
    _S.FAILED: frozenset(),
}
_WORKING = frozenset({_S.RESOLVING, _S.DIGESTING, _S.FOLLOWING, _S.READY, _S.RUNNING, _S.PARKED})
_WITH_JOB = frozenset({_S.DIGESTING, _S.RUNNING, _S.PARKED})


class Node(Generic[R]):
    """A vertex in this run. Others read it; only `State` writes to it."""

    __slots__ = (
        "asked", "by", "definition_key", "eager", "failure", "followers", "fresh", "holds", "inputs", "judged", "key",
        "leader", "map", "mapping", "needs", "op", "parents", "parts", "place", "position", "queued", "ran", "rank",
        "record", "results", "status", "users", "vertex", "wanted",
    )  # fmt: skip

    def __init__(self, vertex: SolverVertex, op: SolverOp[R], position: int) -> None:
        self.vertex = vertex
        self.op = op
        self.position = position
        """Its place in definition order."""
        self.rank = 0.0
        """Seconds of the longest way from its start to the end of all that needs it."""
        self.inputs: tuple[tuple[Node[R], int], ...] = ()
        self.needs: tuple[Node[R], ...] = ()
        """The vertices of `inputs`, each once."""
        self.parents: list[Node[R]] = []
        self.status = Status.IDLE
        self.map: CacheMap[R] | None = op.known_map
        self.mapping = False
        """Its MAP job is under way."""
        self.definition_key: str | None = None
        self.fresh = False
        """Nothing may be found by the definition key, because something below has to be made anew."""
        self.record: Record | None = None
        self.asked = False
        """A question about it is open; until the answer it does not move."""
        self.parts: tuple[str, ...] | None = None
        """What each input counts as in `key`."""
        self.key = ""
        self.leader: Node[R] | None = None
        self.followers: list[Node[R]] = []
        self.place = False
        """It takes a place of its pool."""
        self.results: tuple[R, ...] | None = None
        self.ran = False
        """This run made its result."""
        self.by = ""
        """How the result was found (`definition`, `content`, `run`); empty if it was made."""
        self.failure: Failure | None = None
        self.users = 0
        """Who waits for it or may come to do so: callers, and vertices above that are under way."""
        self.wanted = False
        """Its result is asked for, not just its definition key."""
        self.eager = False
        """The result of something above is asked for, so its own may come to be."""
        self.judged = False
        self.holds = False
        """It counts among the users of its inputs."""
        self.queued = False

    def __repr__(self) -> str:
        return f"<{self.vertex.name or self.vertex.digest} {self.status.value}>"


class Ask(Enum):
    """Questions that the scheduler answers at once, without awaiting."""

    DEFINITION = "definition"
    """Is there a record for `node.definition_key`? → `defined`"""
    EXACT = "exact"
    """Is there a record for `node.key`? → `looked_up`"""
    LOAD = "load"
    """Is the result of `node.record` there? → `loaded`"""


class Do(Enum):
    """Commands."""

    MAP = "map"
    DIGEST = "digest"
    RUN = "run"
    POLL = "poll"
    CANCEL = "cancel"
    SETTLED = "settled"
    """It is DONE or FAILED now; nothing else will happen to it."""


@dataclass(frozen=True, slots=True)
class Question(Generic[R]):
    kind: Ask
    node: Node[R]


@dataclass(frozen=True, slots=True)
class Command(Generic[R]):
    kind: Do
    node: Node[R]


class State(Generic[R]):
    """The nodes of one run. Every method returns at once; after each, `settle` has to be called."""

    def __init__(
        self,
        vertices: Iterable[SolverVertex],
        bind: Callable[[SolverVertex], SolverOp[R]],
        limits: Limits,
        durations: Callable[[Sequence[str]], Mapping[str, float]] = lambda ops: {},
    ) -> None:
        """`vertices` in definition order, inputs before what uses them."""
        self.nodes: dict[Digest, Node[R]] = {}
        for position, vertex in enumerate(vertices):
            node = Node(vertex, bind(vertex), position)
            node.inputs = tuple((self.nodes[edge.vertex], edge.index) for edge in vertex.inputs)
            node.needs = tuple(dict.fromkeys(below for below, _ in node.inputs))
            for below in node.needs:
                below.parents.append(node)
            self.nodes[vertex.digest] = node
        self._durations = durations
        self._ranked = False
        self._limits = limits
        self._busy: dict[str, int] = {}
        self._ready: dict[str, list[tuple[float, int, Node[R]]]] = {}
        self._queue: deque[Node[R]] = deque()
        self._owners: dict[str, Node[R]] = {}
        self._questions: list[Question[R]] = []
        self._commands: list[Command[R]] = []

    # What happened

    def demand(self, node: Node[R], *, result: bool = True) -> None:
        """One more caller needs `node`: its result, or only its definition key."""
        node.users += 1
        node.wanted = node.wanted or result
        node.eager = node.eager or result
        self._wake(node)

    def leave(self, node: Node[R]) -> None:
        """A caller needs it no more."""
        node.users -= 1
        self._wake(node)

    def mapped(self, node: Node[R], map: CacheMap[R]) -> None:
        node.map = map
        node.mapping = False
        self._end_stopping(node)
        self._wake(node)

    def defined(self, node: Node[R], record: Record | None) -> None:
        """The answer to DEFINITION."""
        node.record = record
        if self._answered(node, Status.DEFINING):
            self._set_defined(node)

    def loaded(self, node: Node[R], results: tuple[R, ...] | None) -> None:
        """The answer to LOAD."""
        exact = node.status is Status.RESOLVING
        if results is None:
            node.record = None
        if self._answered(node, Status.DEFINED, Status.RESOLVING):
            if results is not None:
                self._done(node, results, by="content" if exact else "definition")
            elif exact:
                self._enqueue(node)

    def looked_up(self, node: Node[R], record: Record | None) -> None:
        """The answer to EXACT."""
        node.record = record
        if self._answered(node, Status.RESOLVING):
            if record is not None:
                self._ask(Ask.LOAD, node)
            else:
                self._enqueue(node)

    def digested(self, node: Node[R], parts: tuple[str, ...]) -> None:
        node.parts = parts
        if not self._end_stopping(node):
            self._set(node, Status.RESOLVING)
        self._wake(node)

    def parked(self, node: Node[R]) -> None:
        """Another process has the key; the place in the pool is free for something else."""
        self._leave_pool(node)
        if not self._end_stopping(node):
            self._set(node, Status.PARKED)
            self._commands.append(Command(Do.POLL, node))
        self._wake(node)

    def unparked(self, node: Node[R]) -> None:
        """Nobody has the key now, and there is still no record for it."""
        if not self._end_stopping(node):
            self._enqueue(node)
        self._wake(node)

    def found(self, node: Node[R], results: tuple[R, ...], record: Record) -> None:
        """Another process has done it while this one was about to."""
        self._leave_pool(node)
        node.record = record
        self._done(node, results, by="content")

    def finished(self, node: Node[R], results: tuple[R, ...], record: Record | None) -> None:
        self._leave_pool(node)
        node.record = record
        node.ran = True
        self._done(node, results, by="")

    def failed(self, node: Node[R], cause: Exception) -> None:
        """A job of it ended with an error. What happens while it is being stopped does not count."""
        self._leave_pool(node)
        node.mapping = False
        if not self._end_stopping(node) and node.failure is None:
            self._fail(node, Failure(node.vertex.digest, cause))
        self._wake(node)

    def stopped(self, node: Node[R]) -> None:
        """A job of it has ended because of CANCEL."""
        self._leave_pool(node)
        node.mapping = False
        self._end_stopping(node)
        self._wake(node)

    # What follows

    def settle(self) -> None:
        """Moves every vertex as far as it goes on its own."""
        while self._queue:
            node = self._queue.popleft()
            node.queued = False
            self._step(node)

    def take_questions(self) -> list[Question[R]]:
        taken, self._questions = self._questions, []
        return taken

    def take_commands(self) -> list[Command[R]]:
        """Call it when there is no question left; fills the free places of the pools first."""
        for pool, waiting in self._ready.items():
            while waiting and self._busy.get(pool, 0) < self._limits.of(pool):
                node = heapq.heappop(waiting)[2]
                if node.status is Status.READY:
                    self._busy[pool] = self._busy.get(pool, 0) + 1
                    node.place = True
                    self._set(node, Status.RUNNING)
                    self._commands.append(Command(Do.RUN, node))
        taken, self._commands = self._commands, []
        return taken

    # How it moves

    def _set(self, node: Node[R], status: Status) -> None:
        if status not in _AFTER[node.status]:
            raise RuntimeError(f"{node.vertex.name} ({node.vertex.digest}): {node.status.value} → {status.value}")
        node.status = status

    def _wake(self, node: Node[R]) -> None:
        if not node.queued:
            node.queued = True
            self._queue.append(node)

    def _step(self, node: Node[R]) -> None:
        if node.users == 0:
            self._rest(node)
        elif node.asked:
            return
        elif node.status is Status.IDLE:
            self._define_inputs(node)
        elif node.status is Status.DEFINING:
            self._define(node)
        elif node.status is Status.DEFINED:
            self._use_record(node)
        elif node.status is Status.RESOLVING:
            self._resolve(node)
        elif node.status is Status.FOLLOWING:
            self._follow(node)

    def _rest(self, node: Node[R]) -> None:
        """Nobody needs it: whatever is under way ends, and its inputs are needed one time less."""
        if node.status in _WITH_JOB or (node.status is Status.DEFINING and node.mapping):
            self._commands.append(Command(Do.CANCEL, node))
            self._set(node, Status.STOPPING)
        elif node.status in _WORKING or node.status in (Status.DEFINING, Status.DEFINED):
            self._set(node, Status.IDLE)
        self._release(node)
        node.wanted = node.eager = node.judged = False

    def _define_inputs(self, node: Node[R]) -> None:
        self._set(node, Status.DEFINING)
        node.holds = True
        for below in node.needs:
            below.users += 1
            below.eager = below.eager or node.eager
            self._wake(below)
        if node.map is None:
            node.mapping = True
            self._commands.append(Command(Do.MAP, node))
        self._wake(node)

    def _define(self, node: Node[R]) -> None:
        for below in node.needs:
            if below.definition_key is None and below.failure:
                if node.mapping:
                    self._commands.append(Command(Do.CANCEL, node))
                self._fail(node, below.failure)
                return
        if node.map is None or any(below.definition_key is None for below in node.needs):
            return
        if node.definition_key is not None:
            self._set_defined(node)
            return
        depends = node.map.dependency
        node.definition_key = keys.definition_key(
            node.map.key,
            ((below.definition_key or "", index, depends(i).selector) for i, (below, index) in enumerate(node.inputs)),
        )
        node.fresh = node.vertex.ignore_cache or any(below.fresh for below in node.needs)
        for parent in node.parents:
            if parent.status is Status.DEFINING:
                self._wake(parent)
        if node.fresh:
            self._set_defined(node)
        else:
            self._ask(Ask.DEFINITION, node)

    def _set_defined(self, node: Node[R]) -> None:
        self._set(node, Status.DEFINED)
        self._wake(node)

    def _use_record(self, node: Node[R]) -> None:
        if not node.wanted:
            node.wanted = self._is_surely_needed(node)
            if not node.wanted:
                return
        if node.record is not None:
            self._ask(Ask.LOAD, node)
            return
        self._set(node, Status.RESOLVING)
        for below in node.needs:
            if not below.wanted:
                below.wanted = True
                self._wake(below)
        self._wake(node)

    def _is_surely_needed(self, node: Node[R]) -> bool:
        """Whether it can begin before all that waits for it is defined: nothing is known of it, so nothing will be
        known of a vertex above that still waits for a source to be looked at. Asked once."""
        if node.judged or not node.eager or node.record is not None or node.op.known_map is None:
            return False
        node.judged = True
        return any(parent.eager and parent.definition_key is None and not parent.failure for parent in node.parents)

    def _resolve(self, node: Node[R]) -> None:
        for below in node.needs:
            if below.failure:
                self._fail(node, below.failure)
                return
        if any(below.results is None for below in node.needs):
            return
        assert node.map is not None
        depends = node.map.dependency
        if node.parts is None:
            if any(depends(i).content for i in range(len(node.inputs))):
                self._set(node, Status.DIGESTING)
                self._commands.append(Command(Do.DIGEST, node))
                return
            node.parts = tuple(
                keys.result_part(result.id, depends(i).selector) for i, result in enumerate(inputs_of(node))
            )
        node.key = keys.exact_key(node.map.key, node.parts)
        self._claim(node)

    def _claim(self, node: Node[R]) -> None:
        """Equal keys of one run share the work. One that must not use the cache shares only what this run made."""
        owner = self._owners.get(node.key)
        shared = owner is not None and owner is not node and owner.status is not Status.IDLE
        if owner is not None and node.vertex.ignore_cache and owner.status is Status.DONE:
            shared = shared and owner.ran
        if owner is not None and shared:
            self._set(node, Status.FOLLOWING)
            node.leader = owner
            owner.followers.append(node)
            owner.users += 1
            owner.wanted = True
            self._wake(owner)
            self._wake(node)
            return
        self._owners[node.key] = node
        if node.vertex.ignore_cache:
            self._enqueue(node)
        else:
            self._ask(Ask.EXACT, node)

    def _follow(self, node: Node[R]) -> None:
        leader = node.leader
        assert leader is not None
        if leader.results is not None:
            if node.vertex.ignore_cache and not leader.ran:
                self._unfollow(node)
                self._owners[node.key] = node
                self._enqueue(node)
                return
            node.record = leader.record
            self._done(node, leader.results, by="run")
        elif leader.failure:
            self._fail(node, leader.failure)

    def _enqueue(self, node: Node[R]) -> None:
        if not self._ranked:
            self._rank()
        self._set(node, Status.READY)
        heapq.heappush(self._ready.setdefault(node.op.pool, []), (-node.rank, node.position, node))

    def _done(self, node: Node[R], results: tuple[R, ...], by: str) -> None:
        self._set(node, Status.DONE)
        node.results = results
        node.by = by
        self._settled(node)

    def _fail(self, node: Node[R], failure: Failure) -> None:
        self._set(node, Status.FAILED)
        node.failure = failure
        self._settled(node)

    def _settled(self, node: Node[R]) -> None:
        self._release(node)
        self._commands.append(Command(Do.SETTLED, node))
        for other in (*node.parents, *node.followers):
            self._wake(other)

    def _release(self, node: Node[R]) -> None:
        if node.holds:
            node.holds = False
            for below in node.needs:
                below.users -= 1
                self._wake(below)
        self._unfollow(node)

    def _unfollow(self, node: Node[R]) -> None:
        if node.leader is not None:
            node.leader.users -= 1
            node.leader.followers.remove(node)
            self._wake(node.leader)
            node.leader = None

    def _ask(self, kind: Ask, node: Node[R]) -> None:
        node.asked = True
        self._questions.append(Question(kind, node))

    def _answered(self, node: Node[R], *expected: Status) -> bool:
        """Whether the answer still matters: the node may have been given up while the question was open."""
        node.asked = False
        self._wake(node)
        return node.users > 0 and node.status in expected

    def _leave_pool(self, node: Node[R]) -> None:
        if node.place:
            node.place = False
            self._busy[node.op.pool] -= 1

    def _end_stopping(self, node: Node[R]) -> bool:
        """Whether it was being stopped; then it is IDLE now, and starts again if somebody came back to it."""
        if node.status is not Status.STOPPING:
            return False
        self._set(node, Status.IDLE)
        return True

    def _rank(self) -> None:
        """Done only when something has to run. What is not known to be faster is taken for a second."""
        self._ranked = True
        known = self._durations([node.map.key for node in self.nodes.values() if node.map])
        for node in reversed(self.nodes.values()):
            own = known.get(node.map.key, 1.0) if node.map else 1.0
            node.rank = own + max((parent.rank for parent in node.parents), default=0.0)


def inputs_of(node: Node[R]) -> list[R]:
    """The results that its edges name; all inputs are DONE."""
    return [below.results[index] for below, index in node.inputs if below.results is not None]
