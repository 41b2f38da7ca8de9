"""A context of fifty thousand files that is copied whole."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.bench.bench import ENGINE, Bench
from tests.bench.measure import Result, compare

FILES = 50_000
_MEAN = 2000
_IN_A_FOLDER = 100


def context(bench: Bench) -> Iterator[Result]:
    """Cold: all of the files are new to both. Warm: none has changed."""
    folder = copying(bench, "context")
    at: list[int] = []

    def renew(pair: int) -> None:
        """Once for each pair, so that both see the same."""
        if at != [pair]:
            grow(folder / "files", FILES, seed=pair)
            at[:] = [pair]
        read(folder / "files")

    ours, theirs = bench.bakes(folder, cold=False, before=(renew, renew))
    name = f"{FILES:,} files copied from the context"
    yield compare(f"{name}, all new", ours, theirs, goal=0.4, versus=ENGINE, pairs=bench.pairs)
    yield bench.memory(ours)
    yield bench.both(f"{name}, unchanged", folder, goal=0.4, cold=False)


def copying(bench: Bench, name: str) -> Path:
    """A folder whose Dockerfile copies what `files` in it has."""
    return bench.place(
        name,
        {
            "Dockerfile": f"FROM {bench.base}\nCOPY files /files\n",
            "docker-bake.json": json.dumps({"target": {"default": {"output": ["type=cacheonly"]}}}),
        },
    )


def grow(folder: Path, count: int, seed: int) -> None:
    """Writes `count` files, a hundred in each folder, 2 kB on average, and waits until the disk has them."""
    generator = random.Random(seed)
    text = generator.randbytes(1 << 20)
    for number in range(count):
        inside = folder / f"{number // _IN_A_FOLDER:04}"
        if number % _IN_A_FOLDER == 0:
            inside.mkdir(parents=True, exist_ok=True)
        size = generator.randrange(2 * _MEAN)
        at = generator.randrange(len(text) - size)
        (inside / f"{number}").write_bytes(b"%d %d " % (seed, number) + text[at : at + size])
    subprocess.run(["sync", "--file-system", str(folder)], check=True)


def read(folder: Path) -> None:
    """Has all of the files in memory: how many of those written first are not there any more, as some machines put out
    what lies idle for seconds, is not what is to be measured."""
    for inside in folder.iterdir():
        for path in inside.iterdir():
            path.read_bytes()
