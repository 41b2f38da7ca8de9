"""Random graphs, random equalities of content: every result is that of a naive evaluation, no key runs twice."""

from __future__ import annotations

import contextlib

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.model.digest import Digest
from bakepy.solver.scheduler import Solver
from bakepy.solver.vertex import Failure, Limits
from tests.support.toy import Bench, MemoryCache, Number, Toy, ToyEdge, naive, toy


@st.composite
def graphs(draw: st.DrawFn) -> list[Toy]:
    """Small numbers, so that equal ops on equal contents are frequent."""
    vertices: list[Toy] = []
    for number in range(draw(st.integers(1, 12))):
        edges = [vertex.out(index) for vertex in vertices for index in range(vertex.outputs)]
        needs = draw(st.lists(st.sampled_from(edges), max_size=3)) if edges else []
        vertices.append(
            toy(
                f"v{number}",
                draw(st.integers(0, 2)),
                *needs,
                modulo=draw(st.sampled_from([0, 0, 2])),
                outputs=draw(st.integers(1, 2)),
                by_content=draw(st.booleans()),
                source=draw(st.booleans()),
                ignore_cache=draw(st.sampled_from([False, False, False, True])),
            )
        )
    return vertices


async def _evaluate(bench: Bench, vertices: list[Toy], edges: list[ToyEdge]) -> dict[ToyEdge, int]:
    values: dict[ToyEdge, int] = {}

    async with bench.solver(vertices) as solver, anyio.create_task_group() as group:

        async def get(edge: ToyEdge) -> None:
            values[edge] = (await solver.get(edge)).value

        for edge in edges:
            group.start_soon(get, edge)
    return values


@settings(max_examples=150)
@given(vertices=graphs(), data=st.data())
def test_results_are_those_of_a_naive_evaluation(vertices: list[Toy], data: st.DataObject) -> None:
    edges = [vertex.out(index) for vertex in vertices for index in range(vertex.outputs)]
    right = naive(vertices)
    cache = MemoryCache()
    bench = Bench(limits=Limits({"exec": data.draw(st.integers(1, 3))}), cache=cache)
    known: list[str] = []
    for _ in range(3):
        wanted = data.draw(st.lists(st.sampled_from(edges), min_size=1, unique=True))
        bench.forget_calls()
        # by position: how many there are depends on the order in which tasks ran, what is drawn must not
        positions = data.draw(st.lists(st.integers(0, 60), max_size=4))
        bench.results.gone = {known[position % len(known)] for position in positions} if known else set()
        values = anyio.run(_evaluate, bench, vertices, wanted)
        known = sorted(text.rpartition(" ")[0] for record in cache.records.values() for text in record.results)
        assert values == {edge: right[edge.vertex][edge.index] for edge in wanted}
        assert max(bench.counts().values(), default=0) <= 1


@settings(max_examples=100)
@given(vertices=graphs())
def test_each_key_runs_once_and_in_a_second_run_only_what_must(vertices: list[Toy]) -> None:
    """What a vertex does is given by its op and by the values that its inputs count as."""
    bench = Bench()
    edges = [vertex.edge for vertex in vertices]
    anyio.run(_evaluate, bench, vertices, edges)
    right = naive(vertices)

    def work(vertex: Toy) -> tuple[object, ...]:
        used = tuple(vertex.view(right[edge.vertex][edge.index]) for edge in vertex.inputs)
        return (vertex.plus, vertex.modulo, vertex.outputs, used)

    by_name = {vertex.name: vertex for vertex in vertices}
    content_based = [work(by_name[name]) for name in bench.ran if by_name[name].by_content]
    assert len(content_based) == len(set(content_based))

    bench.forget_calls()
    anyio.run(_evaluate, bench, vertices, edges)
    anew: set[str] = set()
    for vertex in vertices:
        below = any(v.name in anew for v in vertices if v.digest in {edge.vertex for edge in vertex.inputs})
        if vertex.ignore_cache or (below and not vertex.by_content):
            anew.add(vertex.name)
    assert set(bench.ran) <= anew


@settings(max_examples=100)
@given(vertices=graphs(), data=st.data())
def test_callers_that_come_and_go_leave_no_trace(vertices: list[Toy], data: st.DataObject) -> None:
    """Callers of two runs on one cache, some cancelled at random moments, some steps failing: those that stay get what
    they asked for, or the failure of a step below."""
    caller_plans = st.tuples(st.booleans(), st.sampled_from(vertices), st.integers(0, 6), st.booleans())
    plan = data.draw(st.lists(caller_plans, max_size=8))
    bad = data.draw(st.lists(st.sampled_from(vertices), max_size=2))
    right = naive(vertices)
    cache = MemoryCache()
    faults: dict[str, Exception] = {vertex.name: ValueError("no sum") for vertex in bad}
    here, there = (Bench(limits=Limits({"exec": 2}), cache=cache, faults=faults) for _ in range(2))
    by_digest = {vertex.digest: vertex for vertex in vertices}

    def needs(vertex: Toy) -> set[str]:
        return {vertex.name}.union(*(needs(by_digest[edge.vertex]) for edge in vertex.inputs))

    async def main() -> None:
        async with here.solver(vertices) as one, there.solver(vertices) as two, anyio.create_task_group() as group:

            async def caller(first: bool, vertex: Toy, patience: int, stays: bool) -> None:
                solver = one if first else two
                if stays:
                    try:
                        assert (await solver.get(vertex.edge)).value == right[vertex.digest][0]
                    except Failure as failure:
                        assert by_digest[failure.vertex].name in faults
                        assert bad and not faults.keys().isdisjoint(_equals(vertices, right, needs(vertex)))
                    return
                async with anyio.create_task_group() as impatient:
                    impatient.start_soon(_get_or_fail, solver, vertex)
                    for _ in range(patience):
                        await anyio.lowlevel.checkpoint()
                    impatient.cancel_scope.cancel()

            for entry in plan:
                group.start_soon(caller, *entry)
        assert (here.running, there.running, cache.locks) == (0, 0, set())

    anyio.run(main)


async def _get_or_fail(solver: Solver[Number], vertex: Toy) -> None:
    with contextlib.suppress(Failure):
        await solver.get(vertex.edge)


def _equals(vertices: list[Toy], right: dict[Digest, tuple[int, ...]], names: set[str]) -> set[str]:
    """The names of all vertices that may share work with one of `names`: same op, same worth."""
    works = {(v.plus, v.modulo, v.outputs, right[v.digest]) for v in vertices if v.name in names}
    return {v.name for v in vertices if (v.plus, v.modulo, v.outputs, right[v.digest]) in works}
