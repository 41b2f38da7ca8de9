"""A run of toy ops on a state root, as a program: each op that runs appends its name to a file.

python -m tests.support.counting_run ROOT LENGTH
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio

from bakepy.cache.locks import KeyLocks
from bakepy.cache.records import CacheRecords
from bakepy.content.database import Database
from bakepy.solver.scheduler import Solver
from bakepy.solver.vertex import Limits, Log
from tests.support.toy import Bench, Number, Toy, ToyOp, toy


def graph(length: int) -> list[Toy]:
    """Two chains over one source, joined at the end. The ops of the chains differ by their number."""
    left = right = source = toy("source", 1)
    vertices = [source]
    for number in range(length):
        left = toy(f"left {number}", number, left, op=f"left {number}")
        right = toy(f"right {number}", number, right, op=f"right {number}")
        vertices += [left, right]
    return [*vertices, toy("end", 0, left, right)]


class LoggedOp(ToyOp):
    """Writes its name to `ROOT/began` and, when its result is there, to `ROOT/ended`."""

    def __init__(self, vertex: Toy, bench: Bench, root: Path) -> None:
        super().__init__(vertex, bench)
        self._root = root
        self._name = vertex.name

    async def run(self, inputs: Sequence[Number], result_id: str, log: Log) -> Sequence[Number]:
        _append(self._root / "began", self._name)
        results = await super().run(inputs, result_id, log)
        _append(self._root / "ended", self._name)
        return results


def _append(path: Path, line: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


async def run(root: Path, length: int) -> int:
    vertices = graph(length)
    bench = Bench()
    with Database(root / "state.db") as database, KeyLocks(root / "keys.lock") as locks:
        async with Solver[Number].open(
            vertices,
            lambda vertex: LoggedOp(vertex, bench, root),  # type: ignore[arg-type]
            cache=CacheRecords(database, locks),
            results=bench.results,
            limits=Limits({"exec": 1}),
        ) as solver:
            return (await solver.get(vertices[-1].edge)).value


if __name__ == "__main__":
    print(anyio.run(run, Path(sys.argv[1]), int(sys.argv[2])))
