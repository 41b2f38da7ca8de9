"""What is so in a run, and what is next: plain functions from what happened to what is to be done.

It reads no clock, asks no database and awaits nothing. The scheduler tells it what happened (`demand`, `leave`,
`mapped`, `finished`, …) and then takes what follows: questions to answer at once, and commands to carry out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Generic

from bakepy.model.digest import Digest
from bakepy.solver import keys
from bakepy.solver.node import Ask, Command, Do, Node, Question, Status
from bakepy.solver.pools import Durations, Pools, Shares, no_share
from bakepy.solver.vertex import CacheMap, Failure, Limits, R, Record, SolverOp, SolverVertex

_WORKING = frozenset(
    {Status.RESOLVING, Status.DIGESTING, Status.FOLLOWING, Status.READY, Status.RUNNING, Status.PARKED}
)
_WITH_JOB = frozenset({Status.DIGESTING, Status.RUNNING, Status.PARKED})


class State(Generic[R]):
    """The nodes of one run. Every method returns at once; after each, `settle` has to be called."""

    def __init__(
        self,
        vertices: Iterable[SolverVertex],
        bind: Callable[[SolverVertex], SolverOp[R]],
        limits: Limits,
        durations: Durations = lambda ops: {},
        shares: Shares = no_share,
        short: Callable[[], bool] = lambda: False,
        since: float = inf,
    ) -> None:
        """`vertices` in definition order, inputs before what uses them. A vertex that ignores the cache takes records
        that were made after `since`, as those of the run that this one goes on with. The rest is as for `Pools`."""
        self.nodes: dict[Digest, Node[R]] = {}
        for position, vertex in enumerate(vertices):
            node = Node(vertex, bind(vertex), position)
            node.inputs = tuple((self.nodes[edge.vertex], edge.index) for edge in vertex.inputs)
            node.needs = tuple(dict.fromkeys(below for below, _ in node.inputs))
            for below in node.needs:
                below.parents.append(node)
            self.nodes[vertex.digest] = node
        self._pools = Pools(self.nodes.values(), limits, durations, shares, short)
        self._since = since
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
        if record is not None and not self.allows(node, record):
            record = None
        node.record = record
        if self._answered(node, Status.RESOLVING):
            if record is not None:
                self._ask(Ask.LOAD, node)
            else:
                self._enqueue(node)

    def digested(self, node: Node[R], parts: tuple[str, ...]) -> None:
        node.parts = parts
        if not self._end_stopping(node):
            node.become(Status.RESOLVING)
        self._wake(node)

    def parked(self, node: Node[R]) -> None:
        """Another process has the key; the place in the pool is free for something else."""
        self._pools.leave(node)
        if not self._end_stopping(node):
            node.become(Status.PARKED)
            self._commands.append(Command(Do.POLL, node))
        self._wake(node)

    def postponed(self, node: Node[R]) -> None:
        """Its work failed and is tried again later, by the same job; meanwhile its place is free."""
        self._pools.leave(node)
        if not self._end_stopping(node):
            node.become(Status.PARKED)
        self._wake(node)

    def unparked(self, node: Node[R]) -> None:
        """Nobody has the key now, and there is still no record for it; or it is time to try again."""
        if not self._end_stopping(node):
            self._enqueue(node)
        self._wake(node)

    def found(self, node: Node[R], results: tuple[R, ...], record: Record) -> None:
        """Another process has done it while this one was about to."""
        self._pools.leave(node)
        node.record = record
        self._done(node, results, by="content")

    def finished(self, node: Node[R], results: tuple[R, ...], record: Record | None) -> None:
        self._pools.leave(node)
        node.record = record
        node.ran = True
        self._done(node, results, by="")

    def failed(self, node: Node[R], cause: Exception) -> None:
        """A job of it ended with an error. What happens while it is being stopped does not count."""
        self._pools.leave(node)
        node.mapping = False
        if not self._end_stopping(node) and node.failure is None:
            self._fail(node, Failure(node.vertex.digest, cause))
        self._wake(node)

    def stopped(self, node: Node[R]) -> None:
        """A job of it has ended because of CANCEL."""
        self._pools.leave(node)
        node.mapping = False
        self._end_stopping(node)
        self._wake(node)

    def allows(self, node: Node[R], record: Record) -> bool:
        """Whether a vertex may take what a record says."""
        return not node.vertex.ignore_cache or record.created >= self._since

    # What follows

    @property
    def held_back(self) -> bool:
        """Something waits for memory, about which nothing here will tell: ask for commands again in a while."""
        return self._pools.held_back

    def take_waits(self) -> list[tuple[Node[R], str]]:
        """Who has begun to wait for memory, and what is to be told of it."""
        return self._pools.take_waits()

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
        for node in self._pools.take():
            node.become(Status.RUNNING)
            self._commands.append(Command(Do.RUN, node))
        taken, self._commands = self._commands, []
        return taken

    # How it moves

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
            node.become(Status.STOPPING)
        elif node.status in _WORKING or node.status in (Status.DEFINING, Status.DEFINED):
            node.become(Status.IDLE)
        self._release(node)
        node.wanted = node.eager = node.judged = False

    def _define_inputs(self, node: Node[R]) -> None:
        node.become(Status.DEFINING)
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
        node.become(Status.DEFINED)
        self._wake(node)

    def _use_record(self, node: Node[R]) -> None:
        if not node.wanted:
            node.wanted = self._is_surely_needed(node)
            if not node.wanted:
                return
        if node.record is not None:
            self._ask(Ask.LOAD, node)
            return
        node.become(Status.RESOLVING)
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
                node.become(Status.DIGESTING)
                self._commands.append(Command(Do.DIGEST, node))
                return
            node.parts = tuple(
                keys.result_part(result.id, depends(i).selector) for i, result in enumerate(node.input_results())
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
            node.become(Status.FOLLOWING)
            node.leader = owner
            owner.followers.append(node)
            owner.users += 1
            owner.wanted = True
            self._wake(owner)
            self._wake(node)
            return
        self._owners[node.key] = node
        if node.vertex.ignore_cache and self._since == inf:
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
        node.become(Status.READY)
        self._pools.put(node)

    def _done(self, node: Node[R], results: tuple[R, ...], by: str) -> None:
        node.become(Status.DONE)
        node.results = results
        node.by = by
        self._settled(node)

    def _fail(self, node: Node[R], failure: Failure) -> None:
        node.become(Status.FAILED)
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

    def _end_stopping(self, node: Node[R]) -> bool:
        """Whether it was being stopped; then it is IDLE now, and starts again if somebody came back to it."""
        if node.status is not Status.STOPPING:
            return False
        node.become(Status.IDLE)
        return True
