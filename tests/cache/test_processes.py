"""The cache under several processes, and under processes that are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.counting_run import graph
from tests.support.toy import naive


def _start(root: Path, length: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.counting_run", str(root), str(length)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _value(process: subprocess.Popen[str]) -> int:
    output, _ = process.communicate()
    assert process.returncode == 0
    return int(output)


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_two_processes_on_one_root_run_each_vertex_once(tmp_path: Path) -> None:
    vertices = graph(60)
    processes = [_start(tmp_path, 60) for _ in range(2)]
    assert [_value(process) for process in processes] == [naive(vertices)[vertices[-1].digest][0]] * 2
    assert Counter(_lines(tmp_path / "began")) == dict.fromkeys((vertex.name for vertex in vertices), 1)


@pytest.mark.slow
def test_a_kill_costs_at_most_the_vertex_in_flight(tmp_path: Path) -> None:
    """Kills at random moments until a run comes through. With one slot, each kill leaves one vertex at most that has
    begun without a record, so that in all not more than one per kill is run again."""
    chance = random.Random(7)
    length, kills = 150, 0
    vertices = graph(length)
    while True:
        process = _start(tmp_path, length)
        done = len(_lines(tmp_path / "ended"))
        goal = done + chance.randrange(5, 40)
        while process.poll() is None and len(_lines(tmp_path / "began")) < goal:
            pass
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert _value(process) == naive(vertices)[vertices[-1].digest][0]
    began = Counter(_lines(tmp_path / "began"))
    assert kills >= 5
    assert set(began) == {vertex.name for vertex in vertices}
    assert sum(began.values()) - len(vertices) <= kills
