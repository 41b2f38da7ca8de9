"""Looking without doing: which steps of a plan have a known result."""

from __future__ import annotations

from collections.abc import Sequence

from bakepy.errors import BuildError
from bakepy.llb.graph import Vertex
from bakepy.llb.op import SourceOp
from bakepy.model.value import dataclass
from bakepy.solver.vertex import CacheMap, Log, SolverOp
from bakepy.worker.ref import Ref


class WouldRun(BuildError):
    """The step has no known result."""


@dataclass(slots=True)
class LookOnly:
    """An op with the keys of another one, which never runs."""

    op: SolverOp[Ref]

    @property
    def pool(self) -> str:
        return self.op.pool

    @property
    def known_map(self) -> CacheMap[Ref] | None:
        return self.op.known_map

    async def cache_map(self) -> CacheMap[Ref]:
        return await self.op.cache_map()

    async def run(self, inputs: Sequence[Ref], result_id: str, log: Log) -> Sequence[Ref]:
        raise WouldRun("it would run")


def look_only(vertex: Vertex, op: SolverOp[Ref]) -> SolverOp[Ref]:
    """Sources are read (nothing is downloaded by that), everything else is only looked up."""
    return op if isinstance(vertex.op, SourceOp) else LookOnly(op)
