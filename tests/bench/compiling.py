"""Compiling Dockerfiles: many targets over one, and many different ones. Each number comes from a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import plot
from tests.bench.bench import Bench
from tests.bench.measure import Result

WAYS = {
    "labels": "labels differ",
    "STAMP": "an argument of the last two steps differs",
    "STAMP_EARLY": "an argument of all 22 steps differs",
}


def compile(bench: Bench) -> Iterator[Result]:
    """From resolved targets and Dockerfiles in memory to one graph; images are answered from a table."""
    one = _compiled(bench, "labels", 1)
    for how, said in WAYS.items():
        many = _compiled(bench, how, 1000)
        yield Result(f"1,000 targets, {said}", many["seconds"], one["seconds"], bench.pairs, 40, "one target")
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, how, counts in (
        ("one Dockerfile, two steps differ", "STAMP", (10, 100, 1000, 5000)),
        ("one Dockerfile, all steps differ", "STAMP_EARLY", (10, 100, 1000)),
        ("Dockerfiles of their own", "distinct", (10, 30, 100, 300, 500)),
    ):
        found = [_compiled(bench, how, count) for count in counts]
        lines[name] = [
            (count, (each["seconds"] - one["seconds"]) / (each["steps"] - one["steps"]) * 1e6)
            for count, each in zip(counts, found, strict=True)
        ]
        first, last = lines[name][0][1] / 1e6, lines[name][-1][1] / 1e6
        yield Result(f"{name}: each step of {counts[-1]:,} targets", last, first, bench.pairs, 1.3, f"of {counts[0]}")
        sizes = [(each["memory"] - one["memory"]) / (each["steps"] - one["steps"]) for each in (found[-2], found[-1])]
        yield Result("its memory", sizes[1], sizes[0], bench.pairs, 1.2, f"each step of {counts[-2]:,}", unit="B")
    plot.save(
        bench.repository / "docs/benchmarks",
        "compile",
        "Compiling: time per distinct step",
        "targets",
        "µs per step beyond those of one target",
        lines,
    )


def _compiled(bench: Bench, how: str, count: int) -> dict[str, float]:
    """Medians."""
    found = [_inside(bench.repository, "compile", how, str(count)) for _ in range(bench.pairs)]
    return {key: median(each[key] for each in found) for key in found[0]}


def _inside(repository: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "tests.bench.inside", *arguments]
    return json.loads(subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout)


def slowest(bench: Bench, count: int = 20) -> str:
    """The slowest files among the conformance cases, as a table."""
    found = _inside(bench.repository, "slowest", str(bench.corpus / "dockerfile"))
    rows = [
        f"| {name} | {seconds * 1e3:.1f} ms | {steps or '–'} | {f'{seconds / steps * 1e6:.0f} µs' if steps else '–'} |"
        for name, seconds, steps in found[:count]
    ]
    whole = sum(seconds for _, seconds, _ in found)
    head = f"All {len(found)} cases take {whole:.1f} s in one process; the {count} slowest:"
    return "\n".join([head, "", "| case | time | steps | per step |", "| --- | ---: | ---: | ---: |", *rows])
