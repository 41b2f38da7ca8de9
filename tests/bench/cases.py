"""What is measured. Each case yields one or more comparisons; "cold" means that every pair builds something new."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator

from tests.bench.bench import ENGINE, Bench
from tests.bench.compiling import compile
from tests.bench.context import context
from tests.bench.debian import debian
from tests.bench.growth import growth
from tests.bench.language import language
from tests.bench.measure import Command, Result, compare
from tests.bench.pull import pull


def startup(bench: Bench) -> Iterator[Result]:
    """Starting, and reading one small file."""
    yield compare(
        "`bakepy --version`",
        Command([bench.bakepy, "--version"], bench.folder, bench.environment),
        Command([sys.executable, "-c", "pass"], bench.folder, bench.environment),
        goal=6,
        versus="`python -c pass`",
        pairs=bench.pairs * 4,
    )
    folder = bench.place("print", {"docker-bake.json": json.dumps({"target": {"default": {"tags": ["a:b"]}}})})
    yield compare(
        "`run --print`, one target",
        Command([bench.bakepy, "run", "--print"], folder, bench.environment),
        Command(bench.peer.bake("--print"), folder, bench.peer.environment),
        goal=3,
        versus="`buildx bake --print`",
        pairs=bench.pairs * 4,
    )


def demo(bench: Bench) -> Iterator[Result]:
    """The monorepo example when nothing has changed."""
    folder = bench.folder / "examples/monorepo"
    printed = subprocess.run(
        [bench.bakepy, "run", "--print"], cwd=folder, env=bench.environment, check=True, capture_output=True
    )
    definition = json.loads(printed.stdout)
    for target in definition["target"].values():
        target["network"] = "host"  # the peer's engine has no other network
    (folder / "docker-bake.json").write_text(json.dumps(definition))
    (folder / "out").mkdir(exist_ok=True)
    yield bench.both("the monorepo example again, unchanged", folder, goal=0.5, cold=False)


def steps(bench: Bench) -> Iterator[Result]:
    """Twenty steps, one after another, that do nothing."""
    lines = [f"FROM {bench.base}", "ARG STAMP", *(f"RUN true {number}" for number in range(20))]
    folder = bench.place(
        "steps",
        {
            "Dockerfile": "\n".join(lines),
            "docker-bake.json": json.dumps({"target": {"default": {"output": ["type=cacheonly"], "network": "host"}}}),
        },
    )
    yield bench.both("20 × `RUN true`, cold", folder, goal=0.25, cold=True)
    yield bench.memory(bench.bakes(folder, cold=True)[0])


def step(bench: Bench) -> Iterator[Result]:
    """What one step costs: 41 steps less one step, divided by 40; beside the runtime alone on the same bundles, as a
    program between bakepy and crun sees it."""
    runtime = shutil.which("crun") or "crun"
    times = bench.folder / "times"
    between = bench.folder / "between/crun"
    between.parent.mkdir()
    between.write_text(f"""#!/bin/sh
begin=$(date +%s%N)
{runtime} "$@"
status=$?
echo $(($(date +%s%N) - begin)) >> {times}
exit $status
""")
    between.chmod(0o755)

    def run(count: int, stamp: str, environment: dict[str, str]) -> float:
        lines = [f"FROM {bench.base}", "ARG STAMP", *(f"RUN true {number}" for number in range(count))]
        definition = {"target": {"default": {"output": ["type=cacheonly"], "args": {"STAMP": stamp}}}}
        folder = bench.place(
            f"step{count}", {"Dockerfile": "\n".join(lines), "docker-bake.json": json.dumps(definition)}
        )
        return Command([bench.bakepy, "bake", "--progress", "quiet"], folder, environment).seconds(0)

    ours, bare = [], []
    for pair in range(-1, bench.pairs):
        whole = run(41, f"s{pair}", bench.environment) - run(1, f"s{pair}", bench.environment)
        times.unlink(missing_ok=True)
        run(41, f"b{pair}", {**bench.environment, "BAKEPY_RUNTIME": str(between)})
        if pair >= 0:
            ours.append(whole / 40)
            bare.append(statistics.median(int(line) / 1e9 for line in times.read_text().split()))
    yield Result(
        "one `RUN true`, all it costs",
        statistics.median(ours),
        statistics.median(bare),
        bench.pairs,
        4,
        "bare `crun run`",
    )


def matrix(bench: Bench) -> Iterator[Result]:
    """A hundred targets over one Dockerfile."""
    dockerfile = f"""FROM {bench.base} AS base
ARG STAMP
RUN echo $STAMP > /stamp
COPY data /data
FROM base
ARG N
RUN echo $N > /n
"""
    target = {
        "name": "t${n}",
        "matrix": {"n": [str(number) for number in range(100)]},
        "args": {"N": "${n}"},
        "output": ["type=cacheonly"],
        "network": "host",
    }
    folder = bench.place(
        "matrix",
        {
            "Dockerfile": dockerfile,
            "data/file": "x" * 1000,
            "docker-bake.json": json.dumps({"target": {"t": target}, "group": {"default": {"targets": ["t"]}}}),
        },
    )
    yield bench.both("100-target matrix, cold", folder, goal=0.4, cold=True)
    yield bench.memory(bench.bakes(folder, cold=True)[0])
    yield bench.both("100-target matrix, unchanged", folder, goal=0.1, cold=False)


def archive(bench: Bench) -> Iterator[Result]:
    """An OCI archive of a 300 MB layer, half of it random, half of it text."""
    folder = bench.place(
        "archive",
        {
            "Dockerfile": "FROM scratch\nCOPY data /data\n",
            "docker-bake.json": json.dumps({"target": {"default": {"output": ["type=oci,dest=out.tar"]}}}),
        },
    )
    generator = random.Random(7)
    words = [generator.randbytes(generator.randrange(2, 9)).hex() for _ in range(4096)]
    (folder / "data").mkdir()
    for number in range(30):
        text = " ".join(generator.choices(words, k=400_000)).encode()[: 5 << 20]
        (folder / f"data/text{number}").write_bytes(text.ljust(5 << 20))
        (folder / f"data/random{number}").write_bytes(generator.randbytes(5 << 20))

    def stamp(pair: int) -> None:
        (folder / "data/stamp").write_text(f"{pair} {generator.random()}")

    yield compare(
        "OCI archive of a 300 MB layer, gzip",
        Command(
            [bench.bakepy, "bake", "-f", "docker-bake.json", "--progress", "plain"], folder, bench.environment, stamp
        ),
        Command(
            bench.peer.bake("-f", "docker-bake.json", "--progress", "plain", "--provenance=false"),
            folder,
            bench.peer.environment,
            stamp,
        ),
        goal=0.3,
        versus=ENGINE,
        pairs=bench.pairs,
    )


ALL: dict[str, Callable[[Bench], Iterable[Result]]] = {
    "startup": startup,
    "demo": demo,
    "steps": steps,
    "step": step,
    "matrix": matrix,
    "archive": archive,
    "context": context,
    "debian": debian,
    "pull": pull,
    "growth": growth,
    "language": language,
    "compile": compile,
}
