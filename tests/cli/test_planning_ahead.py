"""The plan that the first process makes for the engine's, with answers that come through a pipe."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import cast

import anyio
import pytest

from bakepy.bakefile.load import LoadOptions, load
from bakepy.bakefile.places import portable
from bakepy.cli.channel import Channel, Declined, Found, Planned, Wanted
from bakepy.cli.disk import DiskFiles
from bakepy.cli.job import BakeOptions, Job
from bakepy.cli.planning_ahead import plan_ahead
from bakepy.dockerfile.images import ResolvedImageConfig
from bakepy.errors import DefinitionErrors, ProcessError, RegistryError
from bakepy.model.digest import Digest
from bakepy.model.image_config import ImageConfig
from bakepy.model.location import SourceFile
from bakepy.model.platform import host_platform
from bakepy.planner.compiling import PlanOptions, make_plan
from bakepy.planner.plan import Plan

BASE = ResolvedImageConfig(Digest.of(b"base"), ImageConfig(host_platform()))


def job(folder: Path, text: str) -> Job:
    bake_file = load([SourceFile("bake.toml", text)], LoadOptions(environment={}))
    return Job(portable(bake_file), BakeOptions(folder / "state", {"HOME": str(folder)}, folder))


def channels() -> tuple[Channel, Channel]:
    """Two ends."""
    (there, here), (back, forth) = os.pipe(), os.pipe()
    return Channel(there, forth), Channel(back, here)


def planned(job: Job, answer: Callable[[Wanted], Found]) -> list[object]:
    """What arrives at the other end, questions included."""
    here, there = channels()
    arrived: list[object] = []

    def listen() -> None:
        with suppress(EOFError):
            while True:
                message = there.receive()
                arrived.append(message)
                if isinstance(message, Wanted):
                    there.send(answer(message))

    thread = Thread(target=listen)
    thread.start()
    try:
        plan_ahead(job, here)
    finally:
        here.close()
        thread.join()
        there.close()
    return arrived


def known(wanted: Wanted) -> Found:
    return dict.fromkeys(wanted.images, BASE)


def test_a_plan_is_the_same_in_the_other_process(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\nARG A\nRUN echo $A\nCOPY Dockerfile /\n")
    text = "target = { one = { args = { A = '1' } }, two = { args = { A = '2' } } }\n"
    text += "group.default.targets = ['one', 'two']\n"
    work = job(tmp_path, text)
    asked, end = planned(work, known)
    assert isinstance(asked, Wanted)
    assert [(request.reference, names) for request, names in asked.images.items()] == [
        ("docker.io/library/base:latest", ("one", "two"))
    ]

    async def here() -> Plan:
        async def resolve(wanted: object, layouts: object) -> Found:
            return dict.fromkeys(asked.images, BASE)

        return await make_plan(work.bake_file, files=DiskFiles(tmp_path), resolve=resolve, options=PlanOptions())

    plan = anyio.run(here)
    assert end == Planned(plan)
    assert isinstance(end, Planned) and isinstance(end.outcome, Plan)
    assert [end.outcome.graph[digest].op for digest in plan.graph] == [vertex.op for vertex in plan.graph.values()]


def test_mistakes_arrive_as_they_are_told_here(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\nRUM x\nFORM y\n")
    (end,) = planned(job(tmp_path, "target.default = {}\n"), known)
    assert isinstance(end, Planned) and isinstance(end.outcome, DefinitionErrors)
    assert [error.render().split("\n")[0] for error in end.outcome.errors] == [
        "Dockerfile:2:1: dockerfile parse error on line 2: unknown instruction: RUM",
        "Dockerfile:3:1: dockerfile parse error on line 3: unknown instruction: FORM",
    ]


def test_an_image_that_is_not_there_stays_an_error_of_its_registry(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\n")
    lost = RegistryError("not found", hint="log in")
    _, end = planned(job(tmp_path, "target.default = {}\n"), lambda wanted: dict.fromkeys(wanted.images, lost))
    assert isinstance(end, Planned) and isinstance(end.outcome, RegistryError)
    assert (end.outcome.hint, end.outcome.where is not None) == ("log in", True)


def test_what_is_far_away_is_left_to_the_engine(tmp_path: Path) -> None:
    text = "target.default.context = 'https://example.com/repository.git'\n"
    assert planned(job(tmp_path, text), known) == [Declined()]


@pytest.mark.parametrize("inline", [False, True])
def test_large_plans_are_left_to_the_engine(tmp_path: Path, inline: bool) -> None:
    def ends(lines: int) -> list[object]:
        text = "FROM scratch\n" + "COPY Dockerfile /\n" * (lines - 1)
        (tmp_path / "Dockerfile").write_text(text)
        extra = f", dockerfile-inline = {json.dumps(text)}" if inline else ""
        targets = [f"target.t{number} = {{ tags = [] {extra} }}" for number in range(10)]
        work = job(
            tmp_path, "\n".join([*targets, f"group.default.targets = {[f't{number}' for number in range(10)]}\n"])
        )
        return [type(each) for each in planned(work, known)]

    assert ends(100) == [Planned]
    assert ends(101) == [Declined]


def test_what_nobody_expects_is_left_to_the_engine(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\n")
    nonsense = cast(ResolvedImageConfig, "nonsense")
    asked, end = planned(job(tmp_path, "target.default = {}\n"), lambda wanted: dict.fromkeys(wanted.images, nonsense))
    assert (isinstance(asked, Wanted), end) == (True, Declined())


def test_an_end_that_is_gone_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\n")
    here, there = channels()
    there.close()
    with pytest.raises(BrokenPipeError):
        plan_ahead(job(tmp_path, "target.default = {}\n"), here)
    here.close()


def test_it_is_known_whether_something_has_arrived() -> None:
    here, there = channels()
    before = there.arrived()
    here.send("a")
    assert (before, there.arrived(), there.receive(), there.arrived()) == (False, True, "a", False)
    here.close()
    assert there.arrived()
    with pytest.raises(EOFError):
        there.receive()
    there.close()


def test_errors_can_be_handed_on() -> None:
    error = ProcessError("it failed", status=3, detail=["a line"], hint="do")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.status, again.render()) == (ProcessError, 3, error.render())


def test_an_interrupt_while_it_plans_ends_both(tmp_path: Path) -> None:
    (tmp_path / "bake.toml").write_text("target.default = {}\n")
    os.mkfifo(tmp_path / "Dockerfile")
    command = [sys.executable, "-m", "bakepy", "run", "--progress=plain"]
    environment = {**os.environ, "BAKEPY_ROOT": str(tmp_path / "state")}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        # opens when the other end is opened for reading, which then waits for what is in it
        with (tmp_path / "Dockerfile").open("wb"):
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=240) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
