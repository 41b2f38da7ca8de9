"""A killed engine, a killed runtime: containers end with them, and what the kernel does not remove is removed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from bakepy.errors import EngineError
from bakepy.worker.cgroups import Cgroups
from tests.support.steps import Steps, open_steps

pytestmark = pytest.mark.runtime

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from bakepy.snapshot import namespace
assert namespace.enter()
import anyio
from tests.support.steps import open_steps

class Shown(list):
    def append(self, item):
        print(item[1].decode(), end="", flush=True)

async def main():
    with open_steps(Path(sys.argv[1])) as steps:
        print(steps.context.token, flush=True)
        await steps.run("echo running; sleep 600 & sleep 600", log=Shown())

anyio.run(main)
"""


def below(pid: int) -> set[int]:
    """All descendants of a process."""
    found = set()
    waiting = [pid]
    while waiting:
        here = waiting.pop()
        for task in Path(f"/proc/{here}/task").iterdir():
            children = [int(child) for child in (task / "children").read_text().split()]
            found.update(children)
            waiting += children
    return found


def leftovers(token: str) -> list[Path]:
    return [path for hierarchy in Cgroups.detect().hierarchies for path in hierarchy.glob(f"bakepy/{token}")]


def test_killed_engine_takes_its_containers_along(private_mounts: None, state_root: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(state_root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        token = process.stdout.readline().strip()
        assert process.stdout.readline() == "running\n"
        family = below(process.pid)
        assert len(family) >= 4  # first process, engine, runtime, shell
        ends = [os.pidfd_open(pid) for pid in family]
        process.send_signal(signal.SIGKILL)
        for end in ends:
            assert select.select([end], [], [], 120)[0], "a process lives on"
            os.close(end)
    with open_steps(state_root) as steps:
        assert steps.machine.store.scratch.swept == (token,)
        assert leftovers(token) == []
        assert list((state_root / "tmp").iterdir()) == [steps.machine.store.scratch.path]
    assert leftovers(steps.context.token) == []


def runtime_with_container() -> tuple[int, set[int]]:
    """The runtime that this process waits for, and what runs below it."""
    found = [(pid, below(pid)) for pid in below(os.getpid()) if below(pid)]
    return max(found, key=lambda pair: len(pair[1]))


@pytest.mark.anyio
async def test_killed_runtime_takes_its_container_along(steps: Steps) -> None:
    log: list[tuple[int, bytes]] = []
    ends: list[int] = []

    async def kill() -> None:
        while (1, b"running\n") not in log:
            await anyio.lowlevel.checkpoint()
        runtime, container = runtime_with_container()
        ends.extend(os.pidfd_open(pid) for pid in container)
        os.kill(runtime, signal.SIGKILL)

    with pytest.raises(EngineError) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(kill)
            try:
                await steps.run("sleep 600 & echo running; wait", log=log)
            except EngineError as error:
                raised = error
        raise raised
    assert caught.value.what == (
        f"{steps.context.runtime.name} was killed (SIGKILL) while process"
        ' "/bin/sh -c sleep 600 & echo running; wait" ran, which was ended with it'
    )
    assert len(ends) == 2  # the shell, and what it started
    for end in ends:
        assert select.select([end], [], [], 120)[0], "a process lives on"
        os.close(end)
    steps.context.launcher.drop()
    assert list((steps.context.volatile / "state").rglob("*")) == []
    assert [path.name for path in leftovers(steps.context.token) for path in path.iterdir() if path.is_dir()] in (
        [],
        ["shared"],
    )


SECRETIVE = """#!/bin/sh
# as a runtime in the moment in which the container runs, and nothing is noted of it yet
case " $* " in
*" run "*) read -r _ <config.json; exec unshare --pid --fork sh -c "echo running; exec sleep 600" ;;
esac
"""


@pytest.mark.anyio
@pytest.mark.parametrize("how", ["cancelled", "killed"])
async def test_a_container_ends_of_which_nothing_is_noted_yet(
    private_mounts: None, state_root: Path, tmp_path: Path, how: str
) -> None:
    runtime = tmp_path / "crun"
    runtime.write_text(SECRETIVE)
    runtime.chmod(0o755)
    log: list[tuple[int, bytes]] = []
    ends: list[int] = []
    raised: list[str] = []
    with open_steps(state_root, str(runtime)) as steps:
        async with anyio.create_task_group() as group:

            async def run() -> None:
                try:
                    await steps.run("true", log=log)
                except EngineError as error:
                    raised.append(error.what)

            group.start_soon(run)
            while (1, b"running\n") not in log:
                await anyio.lowlevel.checkpoint()
            number, container = runtime_with_container()
            ends.extend(os.pidfd_open(pid) for pid in container)
            if how == "cancelled":
                group.cancel_scope.cancel()
            else:
                os.kill(number, signal.SIGKILL)
    assert len(ends) == 1
    for end in ends:
        assert select.select([end], [], [], 0)[0], "the container lives on"
        os.close(end)
    told = 'crun was killed (SIGKILL) while process "/bin/sh -c true" ran, which was ended with it'
    assert raised == ([] if how == "cancelled" else [told])
