"""The bake language beside buildx: real files, and matrices of thousands of targets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from statistics import median

from tests.bench import plot, workloads
from tests.bench.bench import Bench
from tests.bench.corpus import BakeCase, real_cases
from tests.bench.measure import Command, Result, Taken, taken_in_pairs
from tests.bench.measure import median as middle

EACH = 4
"""Of the real files, each fourth is run: a round takes half a minute so."""
PEER = "`buildx bake --print`"


def language(bench: Bench) -> Iterator[Result]:
    yield from real_files(bench)
    yield from matrices(bench)


def real_files(bench: Bench) -> Iterator[Result]:
    """One command for each file; and all in one process of bakepy, from its start to its end."""
    cases = [case for case in real_cases(bench.corpus / "bake")[::EACH] if _is_right(bench, case)]
    ours: list[float] = []
    theirs: list[float] = []
    together: list[float] = []
    folders = [str(case.folder) for case in cases]
    inside = [sys.executable, "-m", "tests.bench.inside", "evaluate", *folders]
    one_process = Command(inside, bench.repository, {**bench.environment, "PYTHONPATH": str(bench.repository)})
    for pair in range(bench.pairs):
        commands = [_commands(bench, case) for case in cases]
        order = (0, 1) if pair % 2 == 0 else (1, 0)
        taken = {who: sum(both[who].seconds(pair) for both in commands) for who in order}
        ours.append(taken[0])
        theirs.append(taken[1])
        together.append(one_process.seconds(pair))
    count = len(cases)
    yield Result(f"{count} real files, a command for each", median(ours), median(theirs), bench.pairs, 2, PEER)
    yield Result(f"{count} real files, in one process", median(together), median(theirs), bench.pairs, 0.3, PEER)


def _commands(bench: Bench, case: BakeCase) -> tuple[Command, Command]:
    given = ["--print", *case.arguments]
    return (
        Command([bench.bakepy, "bake", *given], case.cwd, {**bench.environment, **case.environment}),
        Command(bench.peer.bake(*given), case.cwd, {**bench.peer.environment, **case.environment}),
    )


def _is_right(bench: Bench, case: BakeCase) -> bool:
    """Cases that shall fail are not measured."""
    try:
        for command in _commands(bench, case):
            command.seconds(0)
    except RuntimeError:
        return False
    return True


def matrices(bench: Bench) -> Iterator[Result]:
    for count in (1000, 5000):
        mine, peer = map(middle, taken_in_pairs(*_both(bench, count), bench.pairs))
        yield Result(f"a matrix of {count:,} targets", mine.seconds, peer.seconds, bench.pairs, 0.25, PEER)
        yield Result("its memory at the peak", mine.memory, peer.memory, bench.pairs, 2, PEER, unit="B")
    yield from growth(bench)


def _both(bench: Bench, count: int, *flags: str) -> tuple[Command, Command]:
    folder = bench.place(f"matrix{count}", {"docker-bake.hcl": workloads.matrix(count)})
    return (
        Command([bench.bakepy, "bake", "--print", *flags], folder, bench.environment),
        Command(bench.peer.bake("--print", *flags), folder, bench.peer.environment),
    )


def growth(bench: Bench) -> Iterator[Result]:
    """Microseconds for each target beyond the first. With a flag that changes nothing: without one, what the first
    hundreds take is hidden behind the reading of the command line."""
    flag = "--progress=plain"
    lines: dict[str, list[tuple[float, float]]] = {"bakepy": [], "buildx": []}
    base = [_least(command, bench.pairs).seconds for command in _both(bench, 1, flag)]
    for count in (100, 300, 1000, 3000, 5000, 10_000, 20_000):
        for who, command, start in zip(lines, _both(bench, count, flag), base, strict=True):
            if who == "bakepy" or count <= 5000:
                taken = _least(command, bench.pairs if who == "bakepy" else 1)
                lines[who].append((count, (taken.seconds - start) / (count - 1) * 1e6))
    title = "bake --print of a matrix: time per target"
    plot.save(bench.repository / "docs/benchmarks", "matrix", title, "targets", "µs per target", lines)
    first, last = lines["bakepy"][0][1] / 1e6, lines["bakepy"][-1][1] / 1e6
    yield Result("each target of 20,000", last, first, bench.pairs, 1.3, "each of 100")


def _least(command: Command, times: int) -> Taken:
    return min((command.run(number) for number in range(times)), key=lambda taken: taken.seconds)
