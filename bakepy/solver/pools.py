"""Limits on what runs at the same time, and the order in which ready vertices start."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic

from bakepy.model.value import dataclass
from bakepy.solver.node import Node, Status
from bakepy.solver.vertex import Limits, R, Share, SolverVertex

Durations = Callable[[Sequence[str]], Mapping[str, float]]
"""Seconds that ops took the last time, by the key of their cache map; only those known."""

Shares = Callable[[SolverVertex], Share]


def no_share(_: SolverVertex) -> Share:
    return Share()


@dataclass(frozen=True, slots=True)
class Claim:
    """What a vertex takes while it runs. Ready vertices with equal claims wait in one line."""

    pools: tuple[str, ...]
    memory: int


class Pools(Generic[R]):
    """Ready vertices by what they claim: the longest way to the end goes first, then definition order.

    Who waits for a place of a pool is overtaken by those who need none there. Who waits for memory alone is not
    overtaken by others who claim memory: a large step would never find enough of it.
    """

    def __init__(
        self,
        nodes: Collection[Node[R]],
        limits: Limits,
        durations: Durations,
        shares: Shares = no_share,
        short: Callable[[], bool] = lambda: False,
    ) -> None:
        """`nodes` in definition order. `durations` is asked once, when the first vertex is ready, `shares` when a
        vertex is. While `short` (of memory) nothing more begins, unless nothing is under way."""
        self._nodes = nodes
        self._limits = limits
        self._durations = durations
        self._shares = shares
        self._short = short
        self._ranked = False
        self._busy: dict[str, int] = {}
        self._count = 0
        self._memory = 0
        self._claims: dict[tuple[str, Share], Claim] = {}
        self._lines: dict[Claim, list[tuple[float, int, Node[R]]]] = {}
        self.held_back = False
        """The last `take` left something waiting because memory is short; nobody will tell when it no longer is."""
        self._told: set[Node[R]] = set()
        self._waits: list[tuple[Node[R], str]] = []

    def put(self, node: Node[R]) -> None:
        """The node is READY."""
        if not self._ranked:
            self._rank()
        if node.claim is None:
            node.claim = self._claim(node)
        heapq.heappush(self._lines.setdefault(node.claim, []), (-node.rank, node.position, node))

    def take(self) -> list[Node[R]]:
        """Nodes for all that is free; they have it until `leave`. What is no longer READY is left out."""
        taken: list[Node[R]] = []
        self.held_back = False
        while (claim := self._next()) is not None:
            if self._count and self._short():
                self.held_back = True
                self._tell(claim, "waits: the machine is short of memory")
                break
            node = heapq.heappop(self._lines[claim])[2]
            for pool in claim.pools:
                self._busy[pool] = self._busy.get(pool, 0) + 1
            self._memory += claim.memory
            self._count += 1
            node.place = True
            taken.append(node)
        return taken

    def leave(self, node: Node[R]) -> None:
        """Gives back what a node has, if it has something."""
        if node.place and node.claim is not None:
            node.place = False
            for pool in node.claim.pools:
                self._busy[pool] -= 1
            self._memory -= node.claim.memory
            self._count -= 1

    def _next(self) -> Claim | None:
        """The line whose first vertex is to start now."""
        if self._limits.total is not None and self._count >= self._limits.total:
            return None
        memory_taken = False
        for _, _, claim in sorted((line[0][0], line[0][1], claim) for claim, line in self._waiting()):
            if all(self._busy.get(pool, 0) < self._limits.of(pool) for pool in claim.pools):
                if not claim.memory or (not memory_taken and self._fits(claim.memory)):
                    return claim
                if not memory_taken:
                    self._tell(claim, f"waits for {claim.memory / (1 << 20):,.0f} MiB of the run's memory budget")
                memory_taken = True
        return None

    def take_waits(self) -> list[tuple[Node[R], str]]:
        """Who has begun to wait for memory, and what is to be told of it; of each once."""
        taken, self._waits = self._waits, []
        return taken

    def _tell(self, claim: Claim, what: str) -> None:
        node = self._lines[claim][0][2]
        if node not in self._told:
            self._told.add(node)
            self._waits.append((node, what))

    def _waiting(self) -> list[tuple[Claim, list[tuple[float, int, Node[R]]]]]:
        """The lines that are not empty, without those at their heads that wait no more."""
        for claim, line in list(self._lines.items()):
            while line and (line[0][2].status is not Status.READY or line[0][2].place):
                heapq.heappop(line)
            if not line:
                del self._lines[claim]
        return list(self._lines.items())

    def _fits(self, memory: int) -> bool:
        """One that wants more than there is has the whole budget for itself."""
        return self._limits.memory is None or not self._memory or self._memory + memory <= self._limits.memory

    def _claim(self, node: Node[R]) -> Claim:
        share = self._shares(node.vertex)
        key = (node.op.pool, share)
        if key not in self._claims:
            self._claims[key] = Claim(tuple(dict.fromkeys((node.op.pool, *share.pools))), share.memory)
        return self._claims[key]

    def _rank(self) -> None:
        """What is not known to be faster is taken for a second."""
        self._ranked = True
        known = self._durations([node.map.key for node in self._nodes if node.map])
        for node in reversed(tuple(self._nodes)):
            own = known.get(node.map.key, 1.0) if node.map else 1.0
            node.rank = own + max((parent.rank for parent in node.parents), default=0.0)
