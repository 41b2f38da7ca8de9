"""What targets say about their steps: shares of pools and memory, and second tries, in real runs."""

from __future__ import annotations

import pytest

from bakepy.engine.protocol import SolveOptions
from bakepy.engine.sharing import pause_after
from bakepy.errors import BuildError, ProcessError, RegistryError
from bakepy.events import VertexAdded, VertexLog
from bakepy.exporter.result import Exported, TargetResult
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import Retry, Target
from bakepy.registry.transport import Refused
from tests.support.baking import Kitchen, target
from tests.support.inflight import in_flight

BUSYBOX = {"busybox": "oci-layout://busybox:latest"}
NETWORK_FAILS, STATUS_3 = RegistryError("no answer"), ProcessError("failed", status=3)


class TestPauses:
    @pytest.mark.parametrize(
        ("on", "error", "again"),
        [
            (("network",), NETWORK_FAILS, True),
            (("network",), STATUS_3, False),
            (("exit",), STATUS_3, True),
            (("exit",), NETWORK_FAILS, False),
            ((3, 28), STATUS_3, True),
            ((28,), STATUS_3, False),
            (("network", "exit"), BuildError("no such file"), False),
            (("network", "exit"), Refused("no such image", status=404), False),
        ],
    )
    def test_reasons(self, on: tuple[str | int, ...], error: Exception, again: bool) -> None:
        assert pause_after([Retry(2, 1.0, on)], error, 1) == (1.0 if again else None)

    def test_each_pause_is_twice_as_long_up_to_a_minute(self) -> None:
        retry = Retry(100, 1.5)
        assert [pause_after([retry], STATUS_3, failures) for failures in (1, 2, 3, 7, 99)] == [
            1.5,
            3.0,
            6.0,
            60.0,
            60.0,
        ]

    def test_there_are_no_more_attempts_than_said(self) -> None:
        assert pause_after([Retry(3, 1.0)], STATUS_3, 2) == 2.0
        assert pause_after([Retry(3, 1.0)], STATUS_3, 3) is None


def _steps(bench: Kitchen) -> list[list[str]]:
    """The RUN steps under way after each start."""
    names = {event.digest: event.name for event in bench.events if isinstance(event, VertexAdded)}
    shown = [[names[digest] for digest in now if " RUN " in names[digest]] for now in in_flight(bench.events)]
    return [[name.partition(" RUN ")[2] for name in now] for now in shown]


def _target(name: str, **options: object) -> Target:
    return target(name, f"FROM busybox\nRUN echo {name}; sleep 0.02\n", contexts=BUSYBOX, **options)


@pytest.mark.runtime
@pytest.mark.anyio
class TestRuns:
    async def test_members_of_a_pool_run_one_after_the_other(self, bench: Kitchen) -> None:
        links = [_target(f"link{number}", pools=("link",)) for number in range(4)]
        others = [_target(f"other{number}") for number in range(4)]
        options = SolveOptions(pools={"link": 1, "exec": 8})
        outcomes = await bench.bake(*links, *others, options=options)
        assert {outcome.outcome for outcome in outcomes.values()} == {"succeeded"}
        steps = _steps(bench)
        assert max(sum("link" in name for name in now) for now in steps) == 1
        assert max(len(now) for now in steps) > 1

    async def test_the_memory_budget_holds(self, bench: Kitchen) -> None:
        heavy = [_target(f"heavy{number}", memory=3 << 30) for number in range(5)]
        await bench.bake(*heavy, options=SolveOptions(pools={"exec": 8}, memory=7 << 30))
        assert max(len(now) for now in _steps(bench)) == 2

    async def test_with_one_slot_nothing_runs_beside_anything(self, bench: Kitchen) -> None:
        (bench.folder / "file").write_text("text")
        copying = [target(f"copy{n}", f"FROM scratch\nCOPY file /{n}\n") for n in range(3)]
        await bench.bake(*copying, *(_target(f"t{number}") for number in range(3)), options=SolveOptions(jobs=1))
        named = {event.digest: event.name for event in bench.events if isinstance(event, VertexAdded)}
        work = [[named[d] for d in now if "RUN" in named[d] or "COPY" in named[d]] for now in in_flight(bench.events)]
        assert max(len(now) for now in work) == 1

    async def test_a_shared_step_is_in_the_pools_of_all_its_targets(self, bench: Kitchen) -> None:
        text = "FROM busybox AS base\nRUN echo {}; sleep 0.02\n"
        one = [target(f"a{number}", text.format(number), contexts=BUSYBOX) for number in range(2)]
        two = [target(f"b{n}", text.format(n), contexts=BUSYBOX, pools=("link",)) for n in range(2)]
        await bench.bake(*one, *two, options=SolveOptions(pools={"link": 1, "exec": 8}))
        assert max(len(now) for now in _steps(bench)) == 1
        assert len(bench.processes) == 2

    async def test_a_step_is_run_again_until_it_works(self, bench: Kitchen) -> None:
        """The cache mount is what stays of an attempt."""
        text = (
            "FROM busybox\n"
            "RUN --mount=type=cache,target=/c echo x >> /c/tries; echo y >> /left; "
            "[ $(wc -l < /c/tries) = 3 ] || exit 28\n"
        )
        one = target("t", text, contexts=BUSYBOX, retry=Retry(3, 0.01, (28,)))
        outcomes = await bench.bake(one)
        assert outcomes["t"].outcome == "succeeded"
        told = b"".join(event.data for event in bench.events if isinstance(event, VertexLog)).decode()
        assert "failed 1 time, to be tried again in 0.01 s\n" in told
        assert "failed 2 times, to be tried again in 0.02 s\n" in told
        (platform,) = bench.exported["t"].platforms
        async with bench.engine.snapshots.view(platform.snapshot) as tree:
            assert (tree / "left").read_text() == "y\n"

    async def test_another_exit_code_is_not_tried_again(self, bench: Kitchen) -> None:
        one = target("t", "FROM busybox\nRUN exit 3\n", contexts=BUSYBOX, retry=Retry(3, 0.01, ("network", 28)))
        outcomes = await bench.bake(one)
        assert outcomes["t"].outcome == "failed"
        assert not bench.steps(VertexLog)

    async def test_an_export_is_tried_again_when_a_registry_fails(self, bench: Kitchen) -> None:
        plan = await bench.plan([target("t", "FROM busybox\n", contexts=BUSYBOX, retry=Retry(2, 0.01))])
        tries = 0

        async def export(result: TargetResult) -> Exported:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise RegistryError("no answer")
            return Exported(metadata=FrozenMap())

        (outcome,) = await bench.engine.solve(plan, export=export)
        assert (outcome.outcome, tries) == ("succeeded", 2)
