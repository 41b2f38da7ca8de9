"""Kills, interrupts, two at once: correct results afterwards, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakepy.snapshot.tree import remove_tree
from tests.e2e.conftest import Bakepy, write

pytestmark = pytest.mark.runtime

STEPS = 6
PATIENCE_SECONDS = 120.0
"""The kernel takes down what is left of a killed run in milliseconds, if the machine has time for it."""
PROJECT = {
    "bake.toml": """
[variable.BASE]
[target.default]
contexts = { busybox = "${BASE}" }
output = ["type=local,dest=out"]
""",
    "Dockerfile": "FROM busybox AS made\n"
    + "".join(f"RUN sleep 0.2; echo {number} >> /log\n" for number in range(STEPS))
    # what is to be hit while it runs must not come to its end before
    + "COPY until /until\nRUN [ -s /until ] || tail -f /dev/null\n"
    + "FROM scratch\nCOPY --from=made /log /\n",
    "until": "",
}
ENDS = {**PROJECT, "until": "the end"}
LOG = "".join(f"{number}\n" for number in range(STEPS))


def start(bakepy: Bakepy, folder: Path, busybox: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [bakepy.program, "run", "--progress", "rawjson"],
        cwd=folder,
        env=bakepy.environment({"BASE": f"oci-layout://{busybox}:latest"}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_steps(process: subprocess.Popen[str], count: int) -> None:
    """Until `count` steps have begun."""
    assert process.stderr
    begun = set()
    for line in process.stderr:
        for vertex in json.loads(line).get("vertexes") or () if line.startswith("{") else ():
            if "sleep" in vertex["name"] and vertex.get("started") and not vertex.get("cached"):
                begun.add(vertex["digest"])
        if len(begun) >= count:
            return
    pytest.fail("ended before the steps had begun")


def processes_of(root: Path) -> list[str]:
    """Processes that have something under the state root open, as their root, or in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                place = os.readlink(entry / "root")  # noqa: PTH115
            except OSError:
                continue
            if str(root) in line or place.startswith(str(root)):
                found.append(line)
    return found


def nothing_is_left(bakepy: Bakepy) -> None:
    assert str(bakepy.root) not in Path("/proc/self/mountinfo").read_text()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := processes_of(bakepy.root):
        assert time.monotonic() < deadline, f"processes left behind: {left}"
        time.sleep(0.02)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_killed_run_leaves_nothing_and_the_next_goes_on(
    bakepy: Bakepy, tmp_path: Path, busybox: Path, steps: int
) -> None:
    folder = write(tmp_path / "project", PROJECT)
    process = start(bakepy, folder, busybox)
    wait_for_steps(process, steps)
    process.kill()
    process.communicate()
    nothing_is_left(bakepy)
    assert not (folder / "out").exists()
    write(folder, ENDS)
    env = {"BASE": f"oci-layout://{busybox}:latest"}
    vertexes = bakepy.vertexes("run", cwd=folder, env=env)
    assert (folder / "out/log").read_text() == LOG
    cached = {vertex["digest"] for vertex in vertexes if vertex.get("cached") and "sleep" in vertex["name"]}
    assert len(cached) >= steps - 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_cleanly(
    bakepy: Bakepy, tmp_path: Path, busybox: Path, number: signal.Signals, status: int
) -> None:
    process = start(bakepy, write(tmp_path / "project", PROJECT), busybox)
    wait_for_steps(process, 1)
    process.send_signal(number)
    _, rest = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == status, rest
    assert "Traceback" not in rest
    nothing_is_left(bakepy)


def test_two_at_once_share_the_work(bakepy: Bakepy, tmp_path: Path, busybox: Path) -> None:
    first, second = (write(tmp_path / name, ENDS) for name in ("one", "two"))
    running = [start(bakepy, folder, busybox) for folder in (first, second)]
    logs = [process.communicate(timeout=PATIENCE_SECONDS)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], logs
    assert (first / "out/log").read_text() == (second / "out/log").read_text() == LOG
    ran = 0
    for log in logs:
        vertexes = [
            v for line in log.splitlines() if line.startswith("{") for v in json.loads(line).get("vertexes") or ()
        ]
        cached = {vertex["digest"] for vertex in vertexes if vertex.get("cached")}
        ran += len({v["digest"] for v in vertexes if v.get("completed") and "sleep" in v["name"]} - cached)
    assert ran == STEPS


def test_without_the_right_to_mount_files_are_copied_and_no_step_runs(
    bakepy: Bakepy, tmp_path: Path, busybox: Path
) -> None:
    """As root of a container that was not given the right, or as a user whose namespaces AppArmor holds down."""
    text = "FROM base AS files\nCOPY until /until\nFROM files\nRUN true\n"
    write(tmp_path, {"Dockerfile": text, "until": "the end"})
    less = ("setpriv", "--bounding-set=-sys_admin", bakepy.program, "build", ".")
    more = (f"--build-context=base=oci-layout://{busybox}:latest", "--output=type=local,dest=out")
    ended = []
    for words in ((*less, *more, "--target=files"), (*less, *more)):
        done = subprocess.run(
            words, cwd=tmp_path, env=bakepy.environment(), capture_output=True, text=True, check=False
        )
        ended.append((done.returncode, done.stderr))
    assert ended[0][0] == 0, ended[0][1]
    assert (tmp_path / "out/until").read_text() == "the end"
    assert ended[1][0] == 5, ended[1][1]
    assert "steps can not be run here: nothing may be mounted (operation not permitted)" in ended[1][1]
    assert "hint: bakepy doctor tells what forbids it; COPY and ADD alone need no mounts" in ended[1][1]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_state_roots_of_odd_names(tmp_path: Path, busybox: Path, runtime: str) -> None:
    (tmp_path / "home").mkdir()
    bakepy = Bakepy(tmp_path / 'a:b c=d\\e"ü%s\nf', tmp_path / "home")
    folder = write(tmp_path / "project", {**ENDS, "Dockerfile": "FROM busybox\nRUN echo here > /log\nCOPY until /\n"})
    bakepy.run("run", cwd=folder, env={"BASE": f"oci-layout://{busybox}:latest", "BAKEPY_RUNTIME": runtime})
    assert (folder / "out/log").read_text() == "here\n"
    nothing_is_left(bakepy)


@pytest.fixture
def removed(tmp_path: Path, bakepy: Bakepy) -> Iterator[Path]:
    """A folder that is gone afterwards, as the state root is: pytest can not remove what is deep, as shutil calls
    itself too often."""
    folder = tmp_path / "removed"
    folder.mkdir()
    yield folder
    for left in (folder, bakepy.root):
        remove_tree(left)


@pytest.mark.parametrize("snapshotter", ["overlay", "copy"])
def test_a_tree_of_many_folders_in_folders(bakepy: Bakepy, removed: Path, busybox: Path, snapshotter: str) -> None:
    """More than Python calls itself unless it is told to."""
    steps = "FROM busybox AS a\nCOPY deep /a\nRUN rm -r /a/d/d/other\nFROM scratch\nCOPY --from=a /a /b\n"
    folder = write(removed, {**ENDS, "Dockerfile": steps})
    here = os.open(folder, os.O_RDONLY)
    try:
        os.mkdir("deep", dir_fd=here)
        place = "deep"
        for _ in range(1010):
            place += "/d"
            os.mkdir(place, dir_fd=here)
        os.mkdir("deep/d/d/other", dir_fd=here)
    finally:
        os.close(here)
    env = {"BASE": f"oci-layout://{busybox}:latest"}
    outputs = ("--set", "*.output=type=oci,dest=image.tar", "--set", "*.output+=type=local,dest=out")
    bakepy.run("run", "--snapshotter", snapshotter, *outputs, cwd=folder, env=env)
    assert (folder / "out" / place.replace("deep", "b")).is_dir()
    assert not (folder / "out/b/d/d/other").exists()
    bakepy.run("doctor", "--deep", cwd=folder)
    bakepy.run("prune", "--all", cwd=folder)
    nothing_is_left(bakepy)
