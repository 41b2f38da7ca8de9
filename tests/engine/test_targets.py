"""How targets end, shown on steps that are only waited for."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from bakepy.engine.protocol import Outcome
from bakepy.engine.targets import TargetEvents, TargetRun
from bakepy.errors import BuildError
from bakepy.events import Event, TargetDone, TargetStarted, VertexStarted
from bakepy.exporter.result import Exported, TargetResult
from bakepy.llb.graph import Edge, Graph, Vertex
from bakepy.llb.op import ExecOp, Meta, SourceOp
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.platform import Platform
from bakepy.model.target import Target
from bakepy.planner.plan import Plan, PlannedPlatform, PlannedTarget
from bakepy.solver.groups import single_error
from bakepy.solver.vertex import Failure

pytestmark = pytest.mark.anyio

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
BASE = Vertex.make(SourceOp("docker-image://base"))


def step(name: str, *below: Vertex) -> Vertex:
    return Vertex.make(ExecOp(Meta((name,)), ()), (Edge(vertex.digest) for vertex in below or (BASE,)))


def planned(name: str, *heads: Vertex, links: tuple[str, ...] = (), linked: bool = False) -> PlannedTarget:
    contexts: FrozenMap[str, str] = FrozenMap({link: f"target:{link}" for link in links})
    platforms = (AMD64, ARM64)[: len(heads)]
    return PlannedTarget(
        Target(name, contexts=contexts, linked=linked),
        tuple(
            PlannedPlatform(platform, Edge(head.digest), ImageConfig(platform))
            for platform, head in zip(platforms, heads, strict=True)
        ),
        len(heads) > 1,
    )


@dataclass
class Steps:
    """Stands for the solver: `failed` tells which step makes an edge fail, `held` are waited for without end."""

    failed: dict[Digest, Vertex] = field(default_factory=dict)
    cause: Exception = field(default_factory=lambda: BuildError("no"))
    held: set[Digest] = field(default_factory=set)
    begun: set[Digest] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    exported: list[TargetResult] = field(default_factory=list)

    def fail(self, *heads: Vertex, by: Vertex) -> None:
        self.failed.update({head.digest: by for head in heads})

    async def run(
        self, *targets: PlannedTarget, vertices: tuple[Vertex, ...], keep_going: bool = False, stop: bool = False
    ) -> dict[str, Outcome]:
        plan = Plan(Graph((BASE, *vertices)), targets)
        events = TargetEvents(plan.users(), self.events.append, clock=lambda: 0.0)
        stopped = anyio.Event()

        async def get(edge: Edge) -> str | None:
            await anyio.lowlevel.checkpoint()
            if edge.vertex in self.begun or edge.vertex in self.failed:
                events(VertexStarted(edge.vertex, 0.0))
            if edge.vertex in self.held:
                await anyio.sleep_forever()
            if edge.vertex in self.failed:
                raise Failure(self.failed[edge.vertex].digest, self.cause)
            return f"snapshot of {edge.vertex}"

        async def export(result: TargetResult) -> Exported:
            self.exported.append(result)
            return Exported(written=(result.name,))

        run = TargetRun(plan, get, export, events, keep_going=keep_going)
        found: list[Outcome] = []

        async def go() -> None:
            found.extend(await run.run(stopped))

        async with anyio.create_task_group() as group:
            group.start_soon(go)
            if stop:
                await wait_all_tasks_blocked()
                stopped.set()
        return {outcome.target: outcome for outcome in found}


def endings(outcomes: Mapping[str, Outcome]) -> dict[str, str]:
    return {name: outcome.blocked_by or outcome.outcome for name, outcome in outcomes.items()}


async def test_each_target_is_exported_with_all_its_platforms() -> None:
    one, two = step("one"), step("two")
    steps = Steps()
    outcomes = await steps.run(planned("t", one, two), vertices=(one, two))
    assert outcomes == {"t": Outcome("t", "succeeded", exported=Exported(written=("t",)))}
    (result,) = steps.exported
    assert [entry.snapshot for entry in result.platforms] == [f"snapshot of {head.digest}" for head in (one, two)]
    assert result.multi_platform


async def test_a_target_without_any_step_is_an_empty_tree() -> None:
    steps = Steps()
    empty = PlannedTarget(Target("t"), (PlannedPlatform(AMD64, None, ImageConfig(AMD64)),))
    outcomes = await steps.run(empty, vertices=())
    assert endings(outcomes) == {"t": "succeeded"}
    assert steps.exported[0].platforms[0].snapshot is None


async def test_one_failed_platform_fails_the_target() -> None:
    good, bad = step("good"), step("bad")
    steps = Steps()
    steps.fail(bad, by=bad)
    steps.held.add(good.digest)
    outcomes = await steps.run(planned("t", good, bad), vertices=(good, bad))
    assert (outcomes["t"].outcome, outcomes["t"].vertex) == ("failed", bad.digest)
    assert steps.exported == []


async def test_a_step_that_several_targets_share_fails_all_of_them() -> None:
    shared = step("shared")
    one, two = step("one", shared), step("two", shared)
    steps = Steps()
    steps.fail(one, two, by=shared)
    outcomes = await steps.run(planned("a", one), planned("b", two), vertices=(shared, one, two), keep_going=True)
    assert [(outcome.outcome, outcome.vertex) for outcome in outcomes.values()] == [("failed", shared.digest)] * 2


async def test_who_uses_a_failed_target_is_blocked_by_the_one_that_failed_itself() -> None:
    base = step("base")
    middle = step("middle", base)
    top = step("top", middle)
    steps = Steps()
    steps.fail(base, middle, top, by=base)
    outcomes = await steps.run(
        planned("base", base),
        planned("middle", middle, links=("base",)),
        planned("top", top, links=("middle",)),
        vertices=(base, middle, top),
        keep_going=True,
    )
    assert endings(outcomes) == {"base": "failed", "middle": "base", "top": "base"}


async def test_a_target_with_its_own_failure_is_not_blocked() -> None:
    base = step("base")
    top = step("top", base)
    steps = Steps()
    steps.fail(top, by=top)
    outcomes = await steps.run(
        planned("base", base), planned("top", top, links=("base",)), vertices=(base, top), keep_going=True
    )
    assert endings(outcomes) == {"base": "succeeded", "top": "failed"}


async def test_linked_targets_end_with_those_that_need_them() -> None:
    base, other = step("base"), step("other")
    top, end = step("top", base), step("end", other)
    steps = Steps()
    steps.fail(top, by=base)
    outcomes = await steps.run(
        planned("base", base, linked=True),
        planned("other", other, linked=True),
        planned("top", top, links=("base",)),
        planned("end", end, links=("other",)),
        vertices=(base, other, top, end),
        keep_going=True,
    )
    assert endings(outcomes) == {"base": "failed", "other": "succeeded", "top": "base", "end": "succeeded"}
    assert [result.name for result in steps.exported] == ["end"]


async def test_the_first_failure_cancels_the_others() -> None:
    bad, busy, waiting = step("bad"), step("busy"), step("waiting")
    steps = Steps(held={busy.digest, waiting.digest}, begun={busy.digest})
    steps.fail(bad, by=bad)
    outcomes = await steps.run(
        planned("busy", busy), planned("waiting", waiting), planned("bad", bad), vertices=(bad, busy, waiting)
    )
    assert endings(outcomes) == {"busy": "cancelled", "waiting": "not started", "bad": "failed"}


async def test_stop_cancels_all() -> None:
    busy, waiting, quick = step("busy"), step("waiting"), step("quick")
    steps = Steps(held={busy.digest, waiting.digest}, begun={busy.digest})
    outcomes = await steps.run(
        planned("busy", busy),
        planned("waiting", waiting),
        planned("quick", quick),
        vertices=(busy, waiting, quick),
        stop=True,
    )
    assert endings(outcomes) == {"busy": "cancelled", "waiting": "not started", "quick": "succeeded"}


async def test_a_bug_is_raised_once_whoever_waits_for_it() -> None:
    head = step("head")
    steps = Steps(cause=KeyError("bug"))
    steps.fail(head, by=head)
    with pytest.raises(KeyError), single_error():
        await steps.run(*(planned(f"t{number}", head) for number in range(9)), vertices=(head,), keep_going=True)


async def test_what_the_machine_refuses_is_an_engine_error() -> None:
    head = step("head")
    steps = Steps(cause=OSError(errno.ENOSPC, "No space left on device", "/state/snapshots"))
    steps.fail(head, by=head)
    outcome = (await steps.run(planned("t", head), vertices=(head,)))["t"]
    assert outcome.error is not None
    assert (outcome.outcome, outcome.error.exit_code) == ("failed", 5)
    assert outcome.error.what == "no space left on device: /state/snapshots"


async def test_events_tell_the_first_step_and_the_end_of_each_target() -> None:
    shared, bad = step("shared"), step("bad")
    steps = Steps(begun={shared.digest})
    steps.fail(bad, by=bad)
    await steps.run(
        planned("a", shared), planned("b", shared), planned("c", bad), vertices=(shared, bad), keep_going=True
    )
    told = [event for event in steps.events if not isinstance(event, VertexStarted)]
    assert told[:3] == [TargetStarted("a", 0.0), TargetStarted("b", 0.0), TargetStarted("c", 0.0)]
    assert set(told[3:]) == {
        TargetDone("a", 0.0, "succeeded"),
        TargetDone("b", 0.0, "succeeded"),
        TargetDone("c", 0.0, "failed", "no"),
    }
