"""What the solver runs, how often and in which order; shown on ops that add numbers."""

from __future__ import annotations

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from bakepy.solver.scheduler import Solver
from bakepy.solver.vertex import Failure, Limits
from tests.support.toy import Bench, MemoryCache, Number, Toy, ToyEdge, get_and_leave, toy

pytestmark = pytest.mark.anyio


async def _get(bench: Bench, vertices: list[Toy], *edges: ToyEdge) -> list[int]:
    """One run: gets the edges at the same time."""
    values = dict.fromkeys(range(len(edges)), 0)

    async def get(solver: Solver[Number], position: int) -> None:
        values[position] = (await solver.get(edges[position])).value

    async with bench.solver(vertices) as solver, anyio.create_task_group() as group:
        for position in range(len(edges)):
            group.start_soon(get, solver, position)
    return list(values.values())


class TestOnce:
    async def test_a_shared_vertex_runs_once(self) -> None:
        base = toy("base", 1)
        left, right = toy("left", 2, base), toy("right", 3, base)
        top = toy("top", 4, left, right)
        bench = Bench()
        assert await _get(bench, [base, left, right, top], top.edge, left.edge, right.edge) == [11, 3, 4]
        assert bench.counts() == {"base": 1, "left": 1, "right": 1, "top": 1}

    async def test_only_what_is_asked_for_runs(self) -> None:
        base, other = toy("base", 1), toy("other", 2)
        top = toy("top", 3, base)
        bench = Bench()
        assert await _get(bench, [base, other, top], top.edge) == [4]
        assert bench.ran == ["base", "top"]

    async def test_the_outputs_of_one_vertex_are_apart(self) -> None:
        pair = toy("pair", 10, outputs=2)
        low, high = toy("low", 1, pair.out(0)), toy("high", 1, pair.out(1))
        bench = Bench()
        assert await _get(bench, [pair, low, high], low.edge, high.edge) == [11, 12]
        assert bench.counts() == {"pair": 1, "low": 1, "high": 1}

    async def test_vertices_with_equal_keys_run_once(self) -> None:
        """The digests differ (names), but what they do is the same."""
        base = toy("base", 1)
        one, same = toy("one", 5, base), toy("same", 5, base)
        bench = Bench()
        assert await _get(bench, [base, one, same], one.edge, same.edge) == [6, 6]
        assert bench.ran == ["base", "one"]
        assert bench.told([base, one, same])[-2:] == ["done one", "cached same run"]

    async def test_a_deep_chain_needs_no_recursion(self) -> None:
        chain = [toy("0", 0)]
        for number in range(1, 3000):
            chain.append(toy(str(number), 1, chain[-1], op=str(number)))
        bench = Bench()
        assert await _get(bench, chain, chain[-1].edge) == [2999]
        assert await _get(bench, chain, chain[-1].edge) == [2999]
        assert len(bench.ran) == 3000


class TestCache:
    async def test_a_second_run_loads_the_head_and_nothing_else(self) -> None:
        base = toy("base", 1)
        top = toy("top", 2, toy("middle", 3, base))
        vertices = [base, toy("middle", 3, base), top]
        bench = Bench()
        await _get(bench, vertices, top.edge)
        bench.forget_calls()
        assert await _get(bench, vertices, top.edge) == [6]
        assert bench.ran == []
        assert bench.results.loads == 1
        assert bench.told(vertices) == ["cached base definition", "cached middle definition", "cached top definition"]

    async def test_equal_content_cuts_the_rebuild_off(self) -> None:
        """`sum` uses only the last digit of what the source gives."""
        bench = Bench()

        async def run(number: int) -> list[int]:
            source = toy("source", number, source=True)
            total = toy("sum", 1, source, op="sum", by_content=True, modulo=10)
            return await _get(bench, [source, total], total.edge)

        assert await run(23) == [4]
        bench.forget_calls()
        assert await run(33) == [4]
        assert bench.ran == ["source"]
        bench.forget_calls()
        assert await run(34) == [5]
        assert bench.ran == ["source", "sum"]

    async def test_what_content_found_is_found_by_definition_the_next_time(self) -> None:
        cache = MemoryCache()
        first, second = toy("source", 3), toy("source", 13)
        for source in (first, second, second):
            bench = Bench(cache=cache)
            total = toy("sum", 1, source, op="sum", by_content=True, modulo=10)
            assert await _get(bench, [source, total], total.edge) == [4]
        assert bench.told([source, total]) == ["cached source definition", "cached sum definition"]

    async def test_two_sources_with_equal_content_run_what_follows_once(self) -> None:
        """Two targets that copy the same files through different filters."""
        one, two = toy("one", 3), toy("two", 13)
        copies = [toy(f"copy {of.name}", 0, of, op="copy", by_content=True, modulo=10) for of in (one, two)]
        builds = [toy(f"build {copy.name}", 7, copy, op="build") for copy in copies]
        bench = Bench()
        assert await _get(bench, [one, two, *copies, *builds], builds[0].edge, builds[1].edge) == [10, 10]
        assert bench.counts() == {"one": 1, "two": 1, "copy one": 1, "build copy one": 1}

    async def test_the_selector_is_part_of_the_key(self) -> None:
        base = toy("base", 1)
        a, b = toy("a", 1, base, op="use", selector="/a"), toy("b", 1, base, op="use", selector="/b")
        bench = Bench()
        await _get(bench, [base, a, b], a.edge, b.edge)
        assert bench.counts() == {"base": 1, "a": 1, "b": 1}

    async def test_a_result_that_is_gone_is_made_again(self) -> None:
        base = toy("base", 1)
        top = toy("top", 2, base)
        cache = MemoryCache()
        bench = Bench(cache=cache)
        async with bench.solver([base, top]) as solver:
            gone = await solver.get(top.edge)
        bench.results.gone.add(gone.id)
        bench.forget_calls()
        assert await _get(bench, [base, top], top.edge) == [3]
        assert bench.ran == ["top"]

    async def test_a_result_that_can_not_be_kept_is_made_in_each_run(self) -> None:
        class Passing:
            def dump(self, result: Number) -> str | None:
                return None

            def load(self, text: str) -> Number | None:
                raise AssertionError("nothing was kept")

        base = toy("base", 1)
        bench = Bench(results=Passing())  # type: ignore[arg-type]
        await _get(bench, [base], base.edge)
        await _get(bench, [base], base.edge)
        assert bench.ran == ["base", "base"]

    async def test_a_source_is_looked_at_once_in_a_run(self) -> None:
        source = toy("source", 1, source=True)
        users = [toy(f"user {number}", number, source) for number in range(3)]
        bench = Bench()
        await _get(bench, [source, *users], *(user.edge for user in users))
        assert bench.mapped == ["source"]


class TestIgnoreCache:
    async def test_it_runs_again_and_so_does_what_is_above(self) -> None:
        base, top = toy("base", 1), toy("top", 2, toy("base", 1))
        bench = Bench()
        await _get(bench, [base, top], top.edge)
        bench.forget_calls()
        anew = toy("base", 1, ignore_cache=True)
        await _get(bench, [anew, top], top.edge)
        assert bench.ran == ["base", "top"]
        assert bench.misses([anew, top]) == {"base": "ignored", "top": "definition"}

    async def test_what_uses_equal_content_is_not_run_again(self) -> None:
        base, anew = toy("base", 1), toy("base", 1, ignore_cache=True)
        bench = Bench()
        top = toy("top", 2, base, by_content=True)
        await _get(bench, [base, top], top.edge)
        bench.forget_calls()
        await _get(bench, [anew, top], top.edge)
        assert bench.ran == ["base"]

    async def test_the_new_result_is_what_later_runs_find(self) -> None:
        base, anew = toy("base", 1), toy("base", 1, ignore_cache=True)
        bench = Bench()
        ids = []
        for vertex in (base, anew, base):
            async with bench.solver([vertex]) as solver:
                ids.append((await solver.get(vertex.edge)).id)
        assert ids[0] != ids[1] == ids[2]

    async def test_two_equal_vertices_that_ignore_the_cache_run_once(self) -> None:
        one, two = toy("one", 1, ignore_cache=True), toy("two", 1, ignore_cache=True)
        bench = Bench()
        assert await _get(bench, [one, two], one.edge, two.edge) == [1, 1]
        assert bench.ran == ["one"]

    async def test_it_does_not_take_what_an_equal_vertex_found_in_the_cache(self) -> None:
        cached, anew = toy("cached", 1), toy("anew", 1, ignore_cache=True)
        bench = Bench()
        await _get(bench, [cached], cached.edge)
        bench.forget_calls()
        async with bench.solver([cached, anew]) as solver:
            await solver.get(cached.edge)
            await solver.get(anew.edge)
        assert bench.ran == ["anew"]


class TestFailure:
    async def test_it_names_the_vertex_that_failed(self) -> None:
        base = toy("base", 1)
        top = toy("top", 2, base)
        bench = Bench(faults={"base": ValueError("no sum")})
        async with bench.solver([base, top]) as solver:
            with pytest.raises(Failure) as caught:
                await solver.get(top.edge)
        assert (caught.value.vertex, str(caught.value.cause)) == (base.digest, "no sum")
        assert bench.told([base, top]) == ["started base", "log base", "failed base"]

    async def test_it_fails_only_what_needs_it(self) -> None:
        base, bad = toy("base", 1), toy("bad", 2)
        good, top = toy("good", 3, base), toy("top", 4, base, bad)
        bench = Bench(faults={"bad": ValueError("no sum")})
        async with bench.solver([base, bad, good, top]) as solver:
            with pytest.raises(Failure):
                await solver.get(top.edge)
            assert (await solver.get(good.edge)).value == 4

    async def test_it_stays_failed_in_this_run_and_is_tried_in_the_next(self) -> None:
        bad = toy("bad", 2)
        bench = Bench(faults={"bad": ValueError("no sum")})
        async with bench.solver([bad]) as solver:
            for _ in range(2):
                with pytest.raises(Failure):
                    await solver.get(bad.edge)
        assert bench.ran == ["bad"]
        bench.faults.clear()
        assert await _get(bench, [bad], bad.edge) == [2]

    async def test_what_only_the_failed_head_needed_is_cancelled(self) -> None:
        slow, shared, bad = toy("slow", 1), toy("shared", 2), toy("bad", 3)
        top, other = toy("top", 4, slow, shared, bad), toy("other", 5, shared)
        bench = Bench(faults={"bad": ValueError("no sum")})
        bench.hold("slow", "shared", "bad")
        vertices = [slow, shared, bad, top, other]
        async with bench.solver(vertices) as solver, anyio.create_task_group() as group:
            group.start_soon(solver.get, other.edge)
            group.start_soon(_expect_failure, solver, top)
            await wait_all_tasks_blocked()
            bench.let_go("bad")
            await wait_all_tasks_blocked()
            assert bench.cancelled == ["slow"]
            bench.let_go("shared")
        assert bench.ended == ["shared", "other"]
        assert "failed slow cancelled" in bench.told(vertices)

    async def test_a_source_that_can_not_be_looked_at_fails_what_is_above(self) -> None:
        source = toy("source", 1, source=True)
        top = toy("top", 2, source)
        bench = Bench(faults={"map source": ValueError("no such name")})
        async with bench.solver([source, top]) as solver:
            with pytest.raises(Failure, match="no such name"):
                await solver.get(top.edge)
        assert bench.ran == []

    async def test_equal_vertices_fail_together(self) -> None:
        one, same = toy("one", 5), toy("same", 5)
        bench = Bench(faults={"one": ValueError("no sum")})
        async with bench.solver([one, same]) as solver, anyio.create_task_group() as group:
            group.start_soon(_expect_failure, solver, one)
            group.start_soon(_expect_failure, solver, same)
        assert bench.ran == ["one"]


async def _expect_failure(solver: Solver[Number], vertex: Toy) -> None:
    with pytest.raises(Failure):
        await solver.get(vertex.edge)


class TestCancellation:
    async def test_work_goes_on_while_one_still_waits(self) -> None:
        base = toy("base", 1)
        bench = Bench()
        bench.hold("base")
        async with bench.solver([base]) as solver, anyio.create_task_group() as group:
            group.start_soon(solver.get, base.edge)
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as leaving:
                    leaving.start_soon(solver.get, base.edge)
                    await wait_all_tasks_blocked()
                    scope.cancel()
            await wait_all_tasks_blocked()
            assert bench.cancelled == []
            bench.let_go("base")
        assert bench.ended == ["base"]

    async def test_it_ends_when_the_last_one_leaves(self) -> None:
        source, base = toy("source", 1, source=True), toy("base", 2)
        top = toy("top", 1, source, base)
        bench = Bench()
        bench.hold("map source", "base")
        async with bench.solver([source, base, top]) as solver:
            await get_and_leave(solver, top)
            assert sorted(bench.cancelled) == ["base", "map source"]

    async def test_a_later_get_starts_it_again(self) -> None:
        base = toy("base", 1)
        top = toy("top", 1, base)
        bench = Bench()
        bench.hold("base")
        async with bench.solver([base, top]) as solver:
            await get_and_leave(solver, top)
            bench.let_go("base")
            assert (await solver.get(top.edge)).value == 2
        assert bench.ran == ["base", "base", "top"]
        assert bench.told([base, top]) == [
            "started base", "log base", "failed base cancelled",
            "started base", "log base", "done base", "started top", "log top", "done top",
        ]  # fmt: skip

    async def test_a_get_that_comes_while_it_is_being_stopped_waits_and_starts_again(self) -> None:
        base = toy("base", 1)
        bench = Bench()
        bench.hold("base")
        async with bench.solver([base]) as solver:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(solver.get, base.edge)
                    await wait_all_tasks_blocked()
                    scope.cancel()
                    bench.held.clear()
            assert (await solver.get(base.edge)).value == 1

    async def test_leaving_the_solver_ends_everything(self) -> None:
        base = toy("base", 1)
        bench = Bench()
        bench.hold("base")
        with anyio.CancelScope() as scope:
            async with bench.solver([base]) as solver, anyio.create_task_group() as group:
                group.start_soon(solver.get, base.edge)
                await wait_all_tasks_blocked()
                scope.cancel()
        assert bench.cancelled == ["base"]
        assert bench.told([base]) == ["started base", "log base", "failed base cancelled"]

    async def test_the_lock_of_a_cancelled_vertex_is_given_back(self) -> None:
        base = toy("base", 1)
        cache = MemoryCache()
        bench = Bench(cache=cache)
        bench.hold("base")
        async with bench.solver([base]) as solver:
            await get_and_leave(solver, base)
            assert cache.locks == set()


class TestOrder:
    async def test_the_longest_way_goes_first(self) -> None:
        short, long = toy("short", 1, op="short"), toy("long", 2, op="long")
        after = toy("after long", 3, long, op="after")
        end = toy("end", 4, short, after, op="end")
        bench = Bench(limits=Limits({"exec": 1}))
        await _get(bench, [short, long, after, end], end.edge)
        assert bench.ran == ["long", "short", "after long", "end"]

    async def test_recorded_durations_count(self) -> None:
        slow, quick = toy("quick", 1, op="quick"), toy("slow", 2, op="slow")
        cache = MemoryCache()
        cache.known_durations = {"slow": 30.0, "quick": 0.1}
        bench = Bench(limits=Limits({"exec": 1}), cache=cache)
        await _get(bench, [slow, quick], slow.edge, quick.edge)
        assert bench.ran == ["slow", "quick"]

    async def test_ties_go_by_definition_order(self) -> None:
        vertices = [toy(f"v{number}", number, op=str(number)) for number in range(9)]
        bench = Bench(limits=Limits({"exec": 1}))
        await _get(bench, vertices, *(vertex.edge for vertex in reversed(vertices)))
        assert bench.ran == [f"v{number}" for number in range(9)]

    async def test_each_pool_has_its_own_limit(self) -> None:
        execs = [toy(f"exec {number}", number) for number in range(4)]
        files = [toy(f"file {number}", 10 + number, pool="bytes") for number in range(4)]
        bench = Bench(limits=Limits({"exec": 2, "bytes": 1}))
        bench.hold(*(vertex.name for vertex in (*execs, *files)))
        async with bench.solver([*execs, *files]) as solver, anyio.create_task_group() as group:
            for vertex in (*execs, *files):
                group.start_soon(solver.get, vertex.edge)
            await wait_all_tasks_blocked()
            assert bench.ran == ["exec 0", "exec 1", "file 0"]
            bench.let_go("exec 1")
            await wait_all_tasks_blocked()
            assert bench.ran == ["exec 0", "exec 1", "file 0", "exec 2"]
            bench.let_go(*list(bench.held))
        assert bench.most == 3


class TestBeforeAllIsDefined:
    """A head waits for all sources below it; what surely has to run does not."""

    def _graph(self) -> list[Toy]:
        context, base = toy("context", 7, source=True), toy("base", 1)
        setup = toy("setup", 2, base)
        return [context, base, setup, toy("end", 3, setup, context)]

    async def test_a_step_that_is_not_known_starts_while_a_source_is_looked_at(self) -> None:
        vertices = self._graph()
        bench = Bench()
        bench.hold("map context")
        async with bench.solver(vertices) as solver, anyio.create_task_group() as group:
            group.start_soon(solver.get, vertices[-1].edge)
            await wait_all_tasks_blocked()
            assert bench.ended == ["base", "setup"]
            bench.let_go("map context")
        assert bench.ended == ["base", "setup", "context", "end"]

    async def test_a_step_that_is_known_waits(self) -> None:
        vertices = self._graph()
        bench = Bench()
        await _get(bench, vertices, vertices[-1].edge)
        bench.results.loads = 0
        bench.hold("map context")
        async with bench.solver(vertices) as solver, anyio.create_task_group() as group:
            group.start_soon(solver.get, vertices[-1].edge)
            await wait_all_tasks_blocked()
            assert bench.results.loads == 0
            bench.let_go("map context")
        assert bench.results.loads == 1

    async def test_preparing_alone_runs_nothing(self) -> None:
        vertices = self._graph()
        bench = Bench()
        bench.hold("map context")
        async with bench.solver(vertices) as solver:
            solver.prepare([vertices[-1].edge])
            await wait_all_tasks_blocked()
            assert (bench.mapped, bench.ran) == (["context"], [])


class TestTwoRuns:
    async def test_a_vertex_that_another_run_works_on_is_waited_for(self) -> None:
        base = toy("base", 1)
        cache = MemoryCache()
        here, there = Bench(cache=cache), Bench(cache=cache)
        here.hold("base")
        async with here.solver([base]) as first, there.solver([base]) as second, anyio.create_task_group() as group:
            group.start_soon(first.get, base.edge)
            await wait_all_tasks_blocked()
            group.start_soon(second.get, base.edge)
            for _ in range(5):
                await checkpoint()
            here.let_go("base")
        assert (here.ran, there.ran) == (["base"], [])
        assert there.told([base]) == ["cached base content"]

    async def test_its_place_in_the_pool_is_free_meanwhile(self) -> None:
        base, other = toy("base", 1), toy("other", 2)
        cache = MemoryCache()
        here, there = Bench(cache=cache), Bench(cache=cache, limits=Limits({"exec": 1}))
        here.hold("base")
        async with (
            here.solver([base]) as first,
            there.solver([base, other]) as second,
            anyio.create_task_group() as group,
        ):
            group.start_soon(first.get, base.edge)
            await wait_all_tasks_blocked()
            group.start_soon(second.get, base.edge)
            assert (await second.get(other.edge)).value == 2
            here.let_go("base")
        assert there.ran == ["other"]

    async def test_if_the_other_run_gives_up_this_one_does_it(self) -> None:
        base = toy("base", 1)
        cache = MemoryCache()
        here, there = Bench(cache=cache), Bench(cache=cache)
        here.hold("base")
        async with there.solver([base]) as second, anyio.create_task_group() as group, here.solver([base]) as first:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as leaving:
                    leaving.start_soon(first.get, base.edge)
                    await wait_all_tasks_blocked()
                    group.start_soon(second.get, base.edge)
                    for _ in range(5):
                        await checkpoint()
                    scope.cancel()
            here.held.clear()
        assert (here.cancelled, there.ended) == (["base"], ["base"])
