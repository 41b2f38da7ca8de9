"""How the cost grows with the work: targets, files, layers. Twice as many should take twice as long at most."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence

from tests.bench import plot
from tests.bench.bench import Bench
from tests.bench.context import copying, grow, read
from tests.bench.measure import Command, Result

TARGETS = (1, 10, 30, 100, 300, 1000)
FILES = (1, 1000, 3000, 10_000, 30_000, 100_000, 200_000)
LAYERS = (1, 3, 10, 30, 100)

Make = Callable[[int], dict[str, Command]]
"""The commands for an amount of work, by the names of their lines."""


def growth(bench: Bench) -> Iterator[Result]:
    yield from _grown(bench, "targets", TARGETS, lambda count: _targets(bench, count))
    yield bench.memory(_targets(bench, TARGETS[-1])["all new"])
    yield from _grown(bench, "files", FILES, lambda count: _files(bench, count))
    yield from _grown(bench, "layers", LAYERS, lambda count: _layers(bench, count))


def _grown(bench: Bench, name: str, counts: Sequence[int], make: Make) -> Iterator[Result]:
    """The plot of the least that each amount took; and the largest beside the one before, which may be as many times
    longer as there is more of it."""
    for command in make(counts[0]).values():
        command.seconds(-1)  # the base image is here then
    lines: dict[str, list[tuple[float, float]]] = {}
    for count in counts:
        for line, command in make(count).items():
            taken = min(command.seconds(pair) for pair in range(bench.pairs))
            lines.setdefault(line, []).append((count, taken))
    title = f"bakepy: time for so many {name}"
    plot.save(bench.repository / "docs/benchmarks", f"growth-{name}", title, name, "seconds", lines)
    for line, points in lines.items():
        (before, less), (last, most) = points[-2:]
        versus = f"{before:,.0f} {name}"
        yield Result(f"{last:,.0f} {name}, {line}", most, less, bench.pairs, round(last / before, 2), versus)


def _targets(bench: Bench, count: int) -> dict[str, Command]:
    """A matrix over one Dockerfile: a step that all share, and one of its own for each."""
    target = {
        "name": "t${n}",
        "matrix": {"n": [str(number) for number in range(count)]},
        "args": {"N": "${n}"},
        "output": ["type=cacheonly"],
    }
    folder = bench.place(
        f"targets{count}",
        {
            "Dockerfile": f"FROM {bench.base} AS base\nARG STAMP\nRUN echo {count} $STAMP > /stamp\nCOPY data /data\n"
            "FROM base\nARG N\nRUN echo $N > /n\n",
            "data": "x" * 1000,
            "docker-bake.json": json.dumps({"target": {"t": target}, "group": {"default": {"targets": ["t"]}}}),
        },
    )
    return {"all new": bench.bakes(folder, cold=True)[0], "unchanged": bench.bakes(folder, cold=False)[0]}


def _files(bench: Bench, count: int) -> dict[str, Command]:
    """A context that is copied whole. No amount's files are removed before the last is measured: ext4 without a
    journal passes over each inode that was given back in the last minutes whenever it looks for a free one."""
    folder = copying(bench, f"files{count}")

    def renew(pair: int) -> None:
        grow(folder / "files", count, pair)
        read(folder / "files")

    return {
        "all new": bench.bakes(folder, cold=False, before=(renew, None))[0],
        "unchanged": bench.bakes(folder, cold=False)[0],
    }


def _layers(bench: Bench, count: int) -> dict[str, Command]:
    """Steps one after another, each with a layer; and an image of as many layers, pulled for one more step."""
    steps = "".join(f"RUN echo {number} of {count} $STAMP > /file{number}\n" for number in range(count))
    bakefile = json.dumps({"target": {"default": {"output": ["type=cacheonly"]}}})
    folder = bench.place(
        f"layers{count}",
        {"Dockerfile": f"FROM {bench.base}\nARG STAMP\n{steps}", "docker-bake.json": bakefile},
    )
    image = bench.image(f"layers{count}", folder)
    pulling = bench.place(f"pulled{count}", {"Dockerfile": f"FROM {image}\nRUN true\n", "docker-bake.json": bakefile})
    root = bench.folder / "layers-root"

    def forget(_: int) -> None:
        shutil.rmtree(root, ignore_errors=True)

    return {
        "made by steps": bench.bakes(folder, cold=True)[0],
        "pulled": bench.bakes(pulling, cold=False, before=(forget, None), root=root)[0],
    }
