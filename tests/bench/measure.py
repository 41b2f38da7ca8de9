"""Timing whole commands in pairs, alternating who goes first."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took: seconds, and bytes of memory at its peak."""

    seconds: float
    memory: float


@dataclass(frozen=True, slots=True)
class Command:
    """A command line to time. `before` is run outside of the timing, with the number of the pair."""

    arguments: Sequence[str] | Callable[[int], Sequence[str]]
    cwd: Path
    environment: Mapping[str, str]
    before: Callable[[int], None] | None = None

    def run(self, pair: int, watch: Callable[[int], None] | None = None) -> Taken:
        """Runs it once; raises RuntimeError with its output if it fails. `watch` is called with the number of the
        process while it runs, and has to return when that has ended."""
        if self.before:
            self.before(pair)
        line = self.arguments(pair) if callable(self.arguments) else self.arguments
        with tempfile.TemporaryFile() as output:
            begun = time.perf_counter()
            process = subprocess.Popen(
                list(line),
                cwd=self.cwd,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            if watch:
                watch(process.pid)
            _, status, used = os.wait4(process.pid, 0)
            taken = time.perf_counter() - begun
            process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for already
            if process.returncode:
                output.seek(0)
                text = output.read().decode(errors="replace")
                raise RuntimeError(f"{' '.join(line)} ended with {process.returncode}:\n{text[-4000:]}")
        return Taken(taken, used.ru_maxrss * 1024)

    def seconds(self, pair: int) -> float:
        return self.run(pair).seconds


@dataclass(frozen=True, slots=True)
class Result:
    """Medians of one comparison, and the ratio that is hoped for. `unit`: `s` or `B`."""

    name: str
    ours: float
    peer: float
    pairs: int
    goal: float
    versus: str
    unit: str = "s"

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    def row(self) -> str:
        met = "" if self.ratio <= self.goal else " (missed)"
        shown = _megabytes if self.unit == "B" else _milliseconds
        return (
            f"| {self.name} | {shown(self.ours)} | {shown(self.peer)} | {self.versus} "
            f"| {self.ratio:.2f} | ≤ {self.goal:g}{met} | {self.pairs} |"
        )


def _milliseconds(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"


def taken_in_pairs(ours: Command, peer: Command, pairs: int, warm: int = 1) -> tuple[list[Taken], list[Taken]]:
    """Runs both, `pairs` times after `warm` rounds that do not count."""
    mine, theirs = [], []
    for pair in range(-warm, pairs):
        first, second = (ours, peer) if pair % 2 == 0 else (peer, ours)
        taken = {id(first): first.run(pair)}
        taken[id(second)] = second.run(pair)
        if pair >= 0:
            mine.append(taken[id(ours)])
            theirs.append(taken[id(peer)])
    return mine, theirs


def median(taken: Sequence[Taken]) -> Taken:
    """Of each, by itself."""
    return Taken(statistics.median(t.seconds for t in taken), statistics.median(t.memory for t in taken))


def compare(name: str, ours: Command, peer: Command, *, goal: float, versus: str, pairs: int, warm: int = 1) -> Result:
    """Times both in pairs."""
    mine, theirs = map(median, taken_in_pairs(ours, peer, pairs, warm))
    return Result(name, mine.seconds, theirs.seconds, pairs, goal, versus)
