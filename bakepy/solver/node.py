"""A vertex in a run: what is known of it, how far it is, and what is asked and ordered about it.

A vertex that somebody wants goes this way:

    IDLE → DEFINING   until its cache map and its inputs' definition keys are known
         → DEFINED    its definition key was looked up; waits to be wanted
         → DONE       the record's result is there                                          (by definition)
         → RESOLVING  until the results of its inputs are known
         → DIGESTING  while the content of inputs is digested; most have none
         → FOLLOWING  while an equal vertex of this run does the work                       (by run)
         → DONE       there is a record for the exact key                                   (by content)
         → READY      waits for a free place in its pool
         → RUNNING, or PARKED while another process works on the same key, or until it is tried again
         → DONE or FAILED

Nobody needs it any more: back to IDLE, through STOPPING while a job of it has to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Generic

from bakepy.model.value import dataclass
from bakepy.solver.vertex import CacheMap, Failure, R, Record, SolverOp, SolverVertex

if TYPE_CHECKING:
    from bakepy.solver.pools import Claim


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


class Node(Generic[R]):
    """One vertex. Others read it; only `State` (and the pools, for `place`) writes to it."""

    __slots__ = (
        "asked", "attempts", "by", "claim", "definition_key", "eager", "failure", "followers", "fresh", "holds",
        "inputs", "judged", "key", "leader", "map", "mapping", "needs", "op", "parents", "parts", "place", "position",
        "queued", "ran", "rank", "record", "results", "status", "users", "vertex", "wanted",
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
        self.claim: Claim | None = None
        """What it takes while it runs; known once it is READY."""
        self.place = False
        """It has what it claims."""
        self.attempts = 0
        """How often its work was begun and failed."""
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
        """Whether it can begin early was asked."""
        self.holds = False
        """It counts among the users of its inputs."""
        self.queued = False

    def become(self, status: Status) -> None:
        """The only way to change the status. Raises RuntimeError for a step that can not be."""
        if status not in _AFTER[self.status]:
            raise RuntimeError(f"{self.vertex.name} ({self.vertex.digest}): {self.status.value} → {status.value}")
        self.status = status

    def input_results(self) -> list[R]:
        """The results that its edges name; all inputs are DONE."""
        return [below.results[index] for below, index in self.inputs if below.results is not None]

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
