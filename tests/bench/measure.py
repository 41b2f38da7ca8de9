"""Timing whole commands in pairs, alternating who goes first."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Command:
    """A command line to time. `before` is run outside of the timing, with the number of the pair."""

    arguments: Sequence[str] | Callable[[int], Sequence[str]]
    cwd: Path
    environment: Mapping[str, str]
    before: Callable[[int], None] | None = None

    def seconds(self, pair: int) -> float:
        """Runs it once; raises RuntimeError with its output if it fails."""
        if self.before:
            self.before(pair)
        line = self.arguments(pair) if callable(self.arguments) else self.arguments
        with tempfile.TemporaryFile() as output:
            begun = time.perf_counter()
            status = subprocess.run(
                list(line),
                cwd=self.cwd,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            ).returncode
            taken = time.perf_counter() - begun
            if status:
                output.seek(0)
                text = output.read().decode(errors="replace")
                raise RuntimeError(f"{' '.join(line)} ended with {status}:\n{text[-4000:]}")
        return taken


@dataclass(frozen=True, slots=True)
class Result:
    """Medians in seconds of one comparison, and the ratio that is hoped for."""

    name: str
    ours: float
    peer: float
    pairs: int
    goal: float
    versus: str

    @property
    def ratio(self) -> float:
        return self.ours / self.peer

    def row(self) -> str:
        met = "" if self.ratio <= self.goal else " (missed)"
        return (
            f"| {self.name} | {_milliseconds(self.ours)} | {_milliseconds(self.peer)} | {self.versus} "
            f"| {self.ratio:.2f} | ≤ {self.goal:g}{met} | {self.pairs} |"
        )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def compare(name: str, ours: Command, peer: Command, *, goal: float, versus: str, pairs: int, warm: int = 1) -> Result:
    """Times both, `pairs` times after `warm` rounds that do not count."""
    mine, theirs = [], []
    for pair in range(-warm, pairs):
        first, second = (ours, peer) if pair % 2 == 0 else (peer, ours)
        taken = {id(first): first.seconds(pair)}
        taken[id(second)] = second.seconds(pair)
        if pair >= 0:
            mine.append(taken[id(ours)])
            theirs.append(taken[id(peer)])
    return Result(name, statistics.median(mine), statistics.median(theirs), pairs, goal, versus)
