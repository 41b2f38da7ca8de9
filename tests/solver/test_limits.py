"""Never more in flight than allowed: pools, the total, the memory budget, the pressure on memory; and second tries."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.events import Event, VertexDone, VertexLog, VertexStarted
from bakepy.solver import scheduler
from bakepy.solver.vertex import Failure, Limits, Share
from tests.support.toy import Bench, Toy, get_and_leave, toy

pytestmark = pytest.mark.anyio

GIB = 1 << 30


async def _run_all(bench: Bench, vertices: list[Toy]) -> None:
    async with bench.solver(vertices) as solver, anyio.create_task_group() as group:
        for vertex in vertices:
            group.start_soon(solver.get, vertex.edge)


def _in_flight(events: Iterable[Event], vertices: Iterable[Toy]) -> list[list[Toy]]:
    """What was under way after each start, as the events tell it."""
    by_digest = {vertex.digest: vertex for vertex in vertices}
    now: list[Toy] = []
    found = []
    for event in events:
        if isinstance(event, VertexStarted):
            now.append(by_digest[event.digest])
            found.append(list(now))
        elif isinstance(event, VertexDone):
            now.remove(by_digest[event.digest])
    return found


class TestPools:
    async def test_the_total_counts_over_all_pools(self) -> None:
        vertices = [toy(f"v{number}", number, pool=("exec", "bytes", "network")[number % 3]) for number in range(9)]
        bench = Bench(limits=Limits({"exec": 4}, total=2))
        await _run_all(bench, vertices)
        assert bench.most == 2

    async def test_members_of_a_named_pool_wait_for_each_other_and_for_nobody_else(self) -> None:
        links = [toy(f"link {number}", number, share=Share(("link",))) for number in range(3)]
        others = [toy(f"other {number}", 10 + number) for number in range(3)]
        bench = Bench(limits=Limits({"exec": 4, "link": 1}))
        bench.hold(*(vertex.name for vertex in (*links, *others)))
        async with bench.solver([*links, *others]) as solver, anyio.create_task_group() as group:
            for vertex in (*links, *others):
                group.start_soon(solver.get, vertex.edge)
            await wait_all_tasks_blocked()
            assert bench.ran == ["link 0", "other 0", "other 1", "other 2"]
            bench.let_go("other 0")
            await wait_all_tasks_blocked()
            assert bench.ran[4:] == []
            bench.let_go("link 0")
            await wait_all_tasks_blocked()
            assert bench.ran[4:] == ["link 1"]
            bench.let_go(*list(bench.held))

    async def test_a_vertex_may_be_in_several_pools(self) -> None:
        both = toy("both", 1, share=Share(("link", "licence")))
        link, licence = toy("link", 2, share=Share(("link",))), toy("licence", 3, share=Share(("licence",)))
        bench = Bench(limits=Limits({"link": 1, "licence": 1}))
        await _run_all(bench, [both, link, licence])
        assert [[vertex.name for vertex in now] for now in _in_flight(bench.events, [both, link, licence])] == [
            ["both"],
            ["link"],
            ["link", "licence"],
        ]


def _told(bench: Bench) -> list[tuple[str, str]]:
    """What was told of waiting."""
    logs = [(event.digest, event.data.decode()) for event in bench.events if isinstance(event, VertexLog)]
    return [(digest, text) for digest, text in logs if text.startswith("waits")]


class TestMemory:
    async def test_together_they_claim_no_more_than_the_budget(self) -> None:
        vertices = [toy(f"v{number}", number, share=Share(memory=3 * GIB)) for number in range(6)]
        bench = Bench(limits=Limits(memory=8 * GIB))
        await _run_all(bench, vertices)
        assert max(len(now) for now in _in_flight(bench.events, vertices)) == 2

    async def test_one_that_wants_more_than_there_is_runs_without_others_that_want_memory(self) -> None:
        big, small = toy("big", 1, share=Share(memory=16 * GIB)), toy("small", 2, share=Share(memory=1))
        light = toy("light", 3)
        bench = Bench(limits=Limits(memory=8 * GIB))
        bench.hold("big", "small", "light")
        async with bench.solver([big, small, light]) as solver, anyio.create_task_group() as group:
            for vertex in (big, small, light):
                group.start_soon(solver.get, vertex.edge)
            await wait_all_tasks_blocked()
            assert bench.ran == ["big", "light"]
            bench.let_go("big", "small", "light")

    async def test_small_ones_do_not_keep_a_large_one_from_its_turn(self) -> None:
        first = toy("first", 0, share=Share(memory=GIB))
        large = toy("large", 1, share=Share(memory=8 * GIB))
        small = [toy(f"small {number}", 10 + number, share=Share(memory=GIB)) for number in range(3)]
        bench = Bench(limits=Limits(memory=8 * GIB))
        bench.hold("first", "large")
        async with bench.solver([first, large, *small]) as solver, anyio.create_task_group() as group:
            for vertex in (first, large, *small):
                group.start_soon(solver.get, vertex.edge)
            await wait_all_tasks_blocked()
            assert bench.ran == ["first"]
            bench.let_go("first")
            await wait_all_tasks_blocked()
            assert bench.ran == ["first", "large"]
            bench.let_go("large")
        assert _told(bench) == [
            (large.digest, "waits for 8,192 MiB of the run's memory budget\n"),
            (small[0].digest, "waits for 1,024 MiB of the run's memory budget\n"),
        ]
        assert bench.ran == ["first", "large", "small 0", "small 1", "small 2"]


class TestPressure:
    async def test_while_memory_is_short_only_one_is_under_way(self) -> None:
        vertices = [toy(f"v{number}", number) for number in range(4)]
        bench = Bench(short=True)
        await _run_all(bench, vertices)
        assert (bench.most, len(bench.ran)) == (1, 4)
        waited = [(vertex.digest, "waits: the machine is short of memory\n") for vertex in vertices[1:]]
        assert _told(bench) == waited

    async def test_when_there_is_memory_again_the_others_begin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scheduler, "_SHORT_SECONDS", 0.0)
        vertices = [toy(f"v{number}", number) for number in range(3)]
        bench = Bench(short=True)
        bench.hold("v0")
        async with bench.solver(vertices) as solver, anyio.create_task_group() as group:
            for vertex in vertices:
                group.start_soon(solver.get, vertex.edge)
            while bench.ran != ["v0"]:
                await anyio.lowlevel.checkpoint()
            bench.short = False
            while "v2" not in bench.ended:
                await anyio.lowlevel.checkpoint()
            bench.let_go("v0")


class TestRetry:
    async def test_what_failed_is_tried_again_and_its_place_is_free_meanwhile(self) -> None:
        asked: list[tuple[str, int]] = []

        def retry(vertex: object, error: Exception, failures: int) -> float | None:
            asked.append((str(error), failures))
            if failures == 2:
                bench.faults.clear()
            return 0.001

        bad, other = toy("bad", 1), toy("other", 2)
        bench = Bench(limits=Limits({"exec": 1}), faults={"bad": ValueError("no sum")}, retry=retry)
        await _run_all(bench, [bad, other])
        assert bench.ran == ["bad", "other", "bad", "bad"]
        assert asked == [("no sum", 1), ("no sum", 2)]
        assert bench.told([bad, other])[-1] == "done bad"
        told = [event.data for event in bench.events if isinstance(event, VertexLog) and event.stream == 2]
        assert told == [
            b"no sum\nfailed 1 time, to be tried again in 0.001 s\n",
            b"no sum\nfailed 2 times, to be tried again in 0.001 s\n",
        ]

    async def test_in_the_end_it_fails_with_its_last_error(self) -> None:
        bad = toy("bad", 1)
        bench = Bench(
            faults={"bad": ValueError("no sum")}, retry=lambda vertex, error, failures: 0.0 if failures < 3 else None
        )
        async with bench.solver([bad]) as solver:
            with pytest.raises(Failure, match="no sum"):
                await solver.get(bad.edge)
        assert bench.ran == ["bad"] * 3

    async def test_looking_at_a_source_is_tried_again_too(self) -> None:
        source = toy("source", 1, source=True)
        bench = Bench(faults={"map source": ValueError("no such name")})

        def retry(vertex: object, error: Exception, failures: int) -> float | None:
            bench.faults.clear()
            return 0.0

        bench.retry = retry
        async with bench.solver([source]) as solver:
            assert (await solver.get(source.edge)).value == 1
        assert bench.mapped == ["source", "source"]

    async def test_who_leaves_does_not_wait_for_the_next_try(self) -> None:
        bad = toy("bad", 1)
        bench = Bench(faults={"bad": ValueError("no sum")}, retry=lambda vertex, error, failures: 3600.0)
        async with bench.solver([bad]) as solver:
            await get_and_leave(solver, bad)
        assert bench.told([bad]) == ["started bad", "log bad", "log bad", "failed bad cancelled"]

    async def test_what_fails_while_it_is_stopped_is_not_tried_again_beside_who_starts_it_anew(self) -> None:
        base = toy("base", 1)
        bench = Bench(
            limits=Limits({"exec": 1}),
            faults={"stop base": ValueError("cut off")},
            retry=lambda vertex, error, failures: 0.0,
        )
        bench.hold("base", "stop base")
        async with bench.solver([base]) as solver:
            await get_and_leave(solver, base)
            async with anyio.create_task_group() as group:
                group.start_soon(solver.get, base.edge)
                await wait_all_tasks_blocked()
                bench.let_go("stop base")
                await wait_all_tasks_blocked()
                bench.let_go("base")
        assert (bench.ran, bench.cancelled, bench.most) == (["base", "base"], ["base"], 1)
        assert bench.told([base])[-1] == "done base"


_VERTICES = st.lists(
    st.tuples(
        st.sampled_from(("exec", "bytes")),
        st.sets(st.sampled_from(("link", "licence"))),
        st.sampled_from((0, 1, 2, 5)),
        st.lists(st.integers(0, 30), max_size=2),
    ),
    min_size=1,
    max_size=25,
)


@given(drawn=_VERTICES, total=st.integers(1, 4), link=st.integers(1, 2), memory=st.integers(2, 6))
@settings(max_examples=40)
def test_no_limit_is_ever_passed(
    drawn: list[tuple[str, set[str], int, list[int]]], total: int, link: int, memory: int
) -> None:
    """Any graph, any limits: all is done, and the events never show more under way than allowed."""
    vertices: list[Toy] = []
    for number, (pool, pools, claimed, needs) in enumerate(drawn):
        below = [vertices[need % number] for need in needs] if number else []
        share = Share(tuple(sorted(pools)), claimed)
        vertices.append(toy(f"v{number}", number, *dict.fromkeys(below), op=str(number), pool=pool, share=share))
    limits = Limits({"exec": 2, "link": link, "licence": 1}, total=total, memory=memory)
    bench = Bench(limits=limits)
    anyio.run(_run_all, bench, vertices)
    assert sorted(bench.ended) == sorted(vertex.name for vertex in vertices)
    for now in _in_flight(bench.events, vertices):
        assert len(now) <= total
        for pool, limit in limits.pools.items():
            assert sum(pool in (vertex.pool, *vertex.share.pools) for vertex in now) <= limit
        weighed = [vertex.share.memory for vertex in now if vertex.share.memory]
        assert sum(weighed) <= memory or len(weighed) == 1
