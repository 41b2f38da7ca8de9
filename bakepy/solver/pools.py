"""Limits on what runs at the same time, and the order in which ready vertices start."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Generic

from bakepy.solver.node import Node, Status
from bakepy.solver.vertex import Limits, R

Durations = Callable[[Sequence[str]], Mapping[str, float]]
"""Seconds that ops took the last time, by the key of their cache map; only those known."""


class Pools(Generic[R]):
    """Ready vertices by pool: the longest way to the end goes first, then definition order."""

    def __init__(self, nodes: Collection[Node[R]], limits: Limits, durations: Durations) -> None:
        """`nodes` in definition order. `durations` is asked once, when the first vertex is ready."""
        self._nodes = nodes
        self._limits = limits
        self._durations = durations
        self._ranked = False
        self._busy: dict[str, int] = {}
        self._ready: dict[str, list[tuple[float, int, Node[R]]]] = {}

    def put(self, node: Node[R]) -> None:
        """The node is READY."""
        if not self._ranked:
            self._rank()
        heapq.heappush(self._ready.setdefault(node.op.pool, []), (-node.rank, node.position, node))

    def take(self) -> list[Node[R]]:
        """Nodes for all places that are free; they have them until `leave`. What is no longer READY is left out."""
        taken = []
        for pool, waiting in self._ready.items():
            while waiting and self._busy.get(pool, 0) < self._limits.of(pool):
                node = heapq.heappop(waiting)[2]
                if node.status is Status.READY and not node.place:
                    self._busy[pool] = self._busy.get(pool, 0) + 1
                    node.place = True
                    taken.append(node)
        return taken

    def leave(self, node: Node[R]) -> None:
        """Gives the place of a node back, if it has one."""
        if node.place:
            node.place = False
            self._busy[node.op.pool] -= 1

    def _rank(self) -> None:
        """What is not known to be faster is taken for a second."""
        self._ranked = True
        known = self._durations([node.map.key for node in self._nodes if node.map])
        for node in reversed(tuple(self._nodes)):
            own = known.get(node.map.key, 1.0) if node.map else 1.0
            node.rank = own + max((parent.rank for parent in node.parents), default=0.0)
