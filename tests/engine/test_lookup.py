"""What is cached is told without running anything."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from bakepy.cli.job import BakeOptions
from bakepy.cli.planning import plan_with
from bakepy.engine.embedded import Embedded
from bakepy.events import Event, VertexStarted
from bakepy.exporter.result import Exported, TargetResult
from bakepy.llb.op import SourceOp
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile, Target
from bakepy.planner.views import title


async def nothing(result: TargetResult) -> Exported:
    return Exported()


def bake(**arguments: str) -> BakeFile:
    return BakeFile(FrozenMap({"t": Target("t", args=FrozenMap(arguments))}), FrozenMap())


@pytest.mark.runtime
def test_steps_are_known_after_they_were_done_and_looking_does_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY a /a\nARG DIR=x\nWORKDIR /$DIR\nCOPY a b\n")
    options = BakeOptions(root=tmp_path / "state", environment={}, directory=tmp_path)

    async def known(file: BakeFile, *, build: bool) -> dict[str, bool]:
        async with Embedded.open(options.root, environment={}) as engine:
            plan = await plan_with(engine, file, options)
            started: list[Event] = []
            if build:
                await engine.solve(plan, export=nothing, emit=started.append)
                assert any(isinstance(event, VertexStarted) for event in started)
            cached = await engine.cached(plan)
            return {
                title(vertex): cached[vertex.digest]
                for vertex in plan.graph.values()
                if not isinstance(vertex.op, SourceOp)
            }

    first, second, third = "[1/3] COPY a /a", "[2/3] WORKDIR /x", "[3/3] COPY a b"
    assert anyio.run(lambda: known(bake(), build=False)) == {first: False, second: False, third: False}
    assert anyio.run(lambda: known(bake(), build=True)) == {first: True, second: True, third: True}
    other = anyio.run(lambda: known(bake(DIR="y"), build=False))
    assert other == {first: True, "[2/3] WORKDIR /y": False, third: False}
