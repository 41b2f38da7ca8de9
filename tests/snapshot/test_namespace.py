"""The engine's private namespaces: whoever is killed, nothing is left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.runtime

REPOSITORY = Path(__file__).parents[2]
PROGRAM = """
import os, signal, subprocess, sys, time
from pathlib import Path
from bakepy.snapshot import namespace, syscalls

entered = namespace.enter()
assert entered
folder, token, what = sys.argv[1:]
if what == "exit":
    sys.exit(7)
if what == "signal":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "catch":
    def caught(number, frame):
        os.write(1, b"caught %d\\n" % number)  # print may be under way already
        os._exit(0)
    signal.signal(signal.SIGINT, caught)
    signal.signal(signal.SIGTERM, caught)
if what == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if what == "orphan":
    # a child whose parent is gone is reaped by the first process
    subprocess.run(["sh", "-c", "sleep 0 & exit"], check=True)
    print("pid", os.getpid(), "parent", os.getppid(), flush=True)
    sys.exit(0)
syscalls.mount("tmpfs", folder, "tmpfs")
child = subprocess.Popen(["sh", "-c", "while :; do sleep 1; done", token])
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def token() -> str:
    return f"token-{uuid.uuid4()}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def start(folder: Path, token: str, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, folder, token, what],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def processes_with(token: str) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if token.encode() in command:
                yield int(entry.name)


def wait_until_gone(token: str) -> None:
    """Waits for the kernel to finish its killing: each process is awaited, none is polled for."""
    for pid in tuple(processes_with(token)):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        ended, _, _ = select.select([descriptor], [], [], 120)
        os.close(descriptor)
        assert ended, f"process {pid} lives on"


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("victim", ["outer", "first", "engine"])
def test_kill_leaves_no_process_and_no_mount(folder: Path, token: str, victim: str) -> None:
    with start(folder, token, "stay") as process:
        assert read_line(process) == "ready"
        outer, first, engine = sorted(processes_with(token))[:3]
        assert outer == process.pid
        assert str(folder) not in Path("/proc/self/mountinfo").read_text()
        os.kill({"outer": outer, "first": first, "engine": engine}[victim], signal.SIGKILL)
        assert process.wait() == (-signal.SIGKILL if victim == "outer" else 128 + signal.SIGKILL)
        wait_until_gone(token)
        assert list(processes_with(token)) == []
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "status", "told"),
    [
        ("exit", 7, ""),
        (
            "signal",
            128 + signal.SIGKILL,
            "ERROR: the engine was ended by SIGKILL\nhint: the kernel does that when memory is short\n",
        ),
    ],
)
def test_status_of_the_engine_is_that_of_the_program(
    folder: Path, token: str, capfd: pytest.CaptureFixture[str], what: str, status: int, told: str
) -> None:
    with start(folder, token, what) as process:
        assert process.wait() == status
    assert capfd.readouterr().err == told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_engine(folder: Path, token: str, number: signal.Signals) -> None:
    with start(folder, token, "catch") as process:
        assert read_line(process) == "ready"
        process.send_signal(number)
        assert read_line(process) == f"caught {int(number)}"
        assert process.wait() == 0


def test_a_second_signal_ends_an_engine_that_does_not_hear(folder: Path, token: str) -> None:
    """One that waits for who reads its output, say."""
    with start(folder, token, "deaf") as process:
        assert read_line(process) == "ready"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(60) in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        finally:
            process.kill()
        wait_until_gone(token)
        assert list(folder.iterdir()) == []


def test_engine_is_not_the_first_process(folder: Path, token: str) -> None:
    with start(folder, token, "orphan") as process:
        words = read_line(process).split()
        assert words[0] == "pid" and int(words[1]) > 1 and words[3] == "1"
        assert process.wait() == 0
