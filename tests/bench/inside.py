"""One measurement inside one fresh process, so that nothing is warm and peak memory is its own. Prints JSON. Times are
of the processor: nothing here waits.

python -m tests.bench.inside compile STAMP 1000       seconds, distinct steps, bytes
python -m tests.bench.inside evaluate FOLDER …        evaluates the bake files of these cases
python -m tests.bench.inside slowest FOLDER           seconds and steps of each Dockerfile case
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from tests.support.fake_images import resolve
from tests.support.files import MemoryFiles


def compiled(how: str, count: int) -> dict[str, float]:
    """Plans `count` targets: from resolved targets and files in memory to one graph."""
    from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
    from bakepy.errors import BakeError
    from bakepy.model.platform import Platform
    from bakepy.model.target import Target
    from bakepy.planner.compiling import PlanOptions, make_plan
    from bakepy.planner.images import side_by_side
    from tests.bench import workloads

    async def answer(
        request: ImageRequest, layouts: Mapping[str, str], targets: Sequence[Target]
    ) -> ResolvedImageConfig:
        found = resolve(request)
        if isinstance(found, BakeError):
            raise found
        return found

    found: dict[str, float] = {}

    async def go() -> None:
        begun = time.process_time()
        plan = await make_plan(
            bake, files=reader, resolve=side_by_side(answer), options=PlanOptions(Platform("linux", "amd64"))
        )
        found["seconds"] = time.process_time() - begun
        found["steps"] = len(plan.graph)

    bake, files = workloads.distinct(count) if how == "distinct" else workloads.differing(how, count)
    reader = MemoryFiles(files)
    gc.set_threshold(500_000, 20, 100)  # as the command does
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    anyio.run(go)
    found["memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return found


def evaluated(folders: list[str]) -> dict[str, float]:
    """What `bake --print` would print for these cases, which all are right, one after another."""
    from bakepy.bakefile import load, render
    from bakepy.bakefile.lookup import read_files
    from bakepy.bakefile.request import Request
    from bakepy.cli.reading import Disk
    from tests.bench.corpus import BakeCase

    disk, characters = Disk(), 0
    for folder in folders:
        case = BakeCase.read(Path(folder))
        os.chdir(case.cwd)
        environment = {"HOME": folder, **case.environment}
        options = Request(targets=case.targets, overrides=case.overrides).options(environment, disk, "linux/amd64")
        characters += len(render(load(read_files(case.files, environment, disk), options)))
    return {"characters": characters}


def slowest(folder: str) -> list[tuple[str, float, int]]:
    """Each case compiled once, cold but for what Python has imported, the slowest first."""
    from bakepy.errors import BakeError
    from tests.conformance.llb import Case, compile_case

    found = []
    for path in sorted(Path(folder).glob("*/case.json")):
        case = Case(path.parent, json.loads(path.read_text()))
        best, steps = 1e9, 0
        for _ in range(3):
            begun = time.process_time()
            try:
                out: dict[str, Any] = compile_case(case)
                steps = len(out.get("ops", ()))
            except BakeError:
                pass
            best = min(best, time.process_time() - begun)
        found.append((path.parent.name, best, steps))
    return sorted(found, key=lambda entry: -entry[1])


def main() -> None:
    match sys.argv[1:]:
        case ["compile", how, count]:
            json.dump(compiled(how, int(count)), sys.stdout)
        case ["evaluate", *folders]:
            json.dump(evaluated(folders), sys.stdout)
        case ["slowest", folder]:
            json.dump(slowest(folder), sys.stdout)


if __name__ == "__main__":
    main()
