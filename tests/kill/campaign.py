"""Many kills, one after the other: what was killed when, and what was wrong afterwards."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.kill.victim import Blow, Project, Traces, strike

TRIES = 20
"""Bakes that may end before they are hit, for one blow."""


@dataclass
class Result:
    """`blows` that struck, and what was `wrong` after which."""

    blows: list[Blow] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Campaign:
    """Kills bakes of one project in a state root of their own; compares what comes after with an undisturbed bake."""

    def __init__(self, project: Project, folder: Path, seed: int) -> None:
        self._project = project
        self._root = folder / "state"
        self._chance = random.Random(seed)
        project.clean()
        started = time.monotonic()
        self._bake(folder / "undisturbed")
        self.seconds = time.monotonic() - started
        """How long a bake takes that finds nothing."""
        self._right = project.contents()
        shutil.rmtree(folder / "undisturbed")

    def run(self, times: int, tell: Callable[[str], None] = lambda line: None) -> Result:
        """As many blows. After each the same bake is let to its end, and looked at; sometimes it is killed again
        before, and sometimes the state root is kept for the next blow."""
        result = Result()
        while len(result.blows) < times:
            traces = Traces(self._root)
            self._project.clean()
            if self._chance.random() < 0.7:
                shutil.rmtree(self._root, ignore_errors=True)
            blows = []
            for _ in range(self._chance.choice((1, 1, 2))):
                if (blow := self._strike(traces, result)) is not None:
                    blows.append(blow)
            if not blows:
                continue
            result.blows += blows
            title = " and ".join(map(str, blows))
            try:
                self._bake(self._root)
                if (found := self._project.contents()) != self._right:
                    names = sorted(name for name in {*found, *self._right} if found.get(name) != self._right.get(name))
                    result.wrong.append(f"{title}: other contents: {', '.join(names)}")
            except Exception as error:
                result.wrong.append(f"{title}: {type(error).__name__}: {error}")
            result.wrong += [f"{title}: left behind: {line}" for line in traces.left_at_rest()]
            tell(f"{len(result.blows):>4}  {title}")
        shutil.rmtree(self._root, ignore_errors=True)
        return result

    def _strike(self, traces: Traces, result: Result) -> Blow | None:
        for _ in range(TRIES):
            process = self._project.start(self._root)
            try:
                blow = strike(process, self._chance.uniform(0, 1.1 * self.seconds), self._chance)
                output, _ = process.communicate(timeout=240)
            finally:
                process.kill()
                process.wait()
            if blow is not None:
                result.wrong += [f"{blow}: left behind: {line}" for line in traces.left()]
                if b"Traceback" in output:
                    result.wrong.append(f"{blow}: traceback: {output.decode(errors='replace')[-2000:]}")
                return blow
            shutil.rmtree(self._root, ignore_errors=True)
        return None

    def _bake(self, root: Path) -> None:
        """To its end. AssertionError with the whole output if it fails."""
        process = self._project.start(root)
        output, _ = process.communicate(timeout=240)
        if process.returncode or b"Traceback" in output:
            raise AssertionError(f"status {process.returncode}: {output.decode(errors='replace')[-4000:]}")
