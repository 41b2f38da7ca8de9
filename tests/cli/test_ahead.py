"""The engine's process that is started ahead: when it is, what it is given, and that it never outlives its reason."""

from __future__ import annotations

import json
import marshal
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bakepy.bakefile.load import LoadOptions, load
from bakepy.cli import ahead, app
from bakepy.cli.job import BakeOptions, Job
from bakepy.model.location import SourceFile

EXAMPLE = Path(__file__).parent.parent.parent / "examples/monorepo/bake.toml"


@pytest.mark.parametrize(
    "line",
    [
        *("", "--help", "plan", "doctor", "run -h", "ls run", "build . --call=check", "build . --print"),
        *("bake --list=targets", "run --print --list=targets"),
    ],
)
def test_commands_that_bake_nothing_start_nothing(line: str) -> None:
    assert ahead.start(line.split()) is None


PLAIN = ["--print", "run --print web -f a.hcl api --file b.hcl", "bake web --print"]
OTHERS = ["--print --pull", "--print -f -", "--print -f", "--print https://x.test/x.git", "--print github.com/x/y"]


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_command_line_is_understood_before_it_is_read(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[object] = []

    def hand_over(asked: dict[str, object], allowed: list[str]) -> None:
        handed.append((marshal.loads(marshal.dumps(asked)), list(allowed)))
        sys.exit(0)

    reader = ahead.Reader(0, 0)
    monkeypatch.setattr(ahead.Reader, "hand_over", lambda self, *given: hand_over(*given))
    words = line.split() if line[0] != "-" else ["run", *line.split()]
    assert app.run(words, reader) == 0
    assert handed == [(ahead.plain_request(words), [])]


@pytest.mark.parametrize("line", OTHERS)
def test_other_command_lines_are_read_first(line: str) -> None:
    assert ahead.plain_request(["run", *line.split()]) is None


def test_standard_input_named_by_the_environment_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDX_BAKE_FILE", "-")
    assert ahead.plain_request(["run", "--print"]) is None


def test_what_is_printed_is_the_same_however_the_line_is_read(tmp_path: Path) -> None:
    (tmp_path / "bake.toml").write_text("[target.web]\ntags = ['web:1']\n")
    plain, read = run(tmp_path, "--print", "web"), run(tmp_path, "--print", "--pull=false", "web")
    assert json.loads(plain.stdout)["target"]["web"] | {"pull": False} == json.loads(read.stdout)["target"]["web"]
    assert (plain.returncode, plain.stderr) == (0, "")
    refused = run(tmp_path, "--print", "web", "--nonsense")
    assert (refused.returncode, refused.stdout) == (2, "")
    wrong = run(tmp_path, "--print", "wep")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("wep")) == (2, "", 1)


def test_a_job_is_the_same_in_the_other_process() -> None:
    bake_file = load([SourceFile("bake.toml", EXAMPLE.read_text())], LoadOptions(environment={}))
    job = Job(bake_file, BakeOptions(Path("/state"), {"A": "b"}, notes=("a note",), jobs=3))
    assert pickle.loads(pickle.dumps(job)) == job


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BAKEPY_ROOT": str(folder / "state")}
    command = [sys.executable, "-m", "bakepy", "run", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def processes_of(folder: Path) -> list[str]:
    """Processes that were given this state root."""
    mark = f"BAKEPY_ROOT={folder / 'state'}".encode()
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and mark in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_text())
        except OSError:
            continue  # it has just ended, or is nobody's business
    return found


def test_a_mistake_in_the_bake_file_is_told_once_and_ends_both(tmp_path: Path) -> None:
    (tmp_path / "bake.toml").write_text("[target.web]\ndockerfil = 'x'\n")
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("dockerfil") == 3, done.stderr
    assert not (tmp_path / "state").exists()


def test_nothing_is_left_when_the_first_process_ends_without_a_job(tmp_path: Path) -> None:
    (tmp_path / "bake.toml").write_text("[group.default]\ntargets = ['gone']\n")
    assert run(tmp_path).returncode == 2
    deadline = time.monotonic() + 120
    while left := processes_of(tmp_path):  # the kernel ends them a moment after the first
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def test_what_is_printed_is_read_by_the_other_process(tmp_path: Path) -> None:
    (tmp_path / "bake.toml").write_text("[target.web]\ntags = ['a:${1 + 1}']\n")
    done = run(tmp_path, "--print", "web", "--set", "web.args.A=b")
    target = {"context": ".", "dockerfile": "Dockerfile", "args": {"A": "b"}, "tags": ["a:2"]}
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"group": {"default": {"targets": ["web"]}}, "target": {"web": target}}
    assert not (tmp_path / "state").exists()
    assert processes_of(tmp_path) == []


def test_a_mistake_in_what_is_to_be_printed_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "bake.toml").write_text("[target.web]\n")
    done = run(tmp_path, "--print", "wep")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("ERROR: there is no target 'wep'") == 1
    done = run(tmp_path, "--print", "--no-print", "--bogus")
    assert (done.returncode, done.stdout) == (2, "")


def test_switches_that_take_printing_back_are_obeyed(tmp_path: Path) -> None:
    target = "[target.web]\ndockerfile-inline = 'FROM scratch'\noutput = ['type=cacheonly']\n"
    (tmp_path / "bake.toml").write_text(target)
    done = run(tmp_path, "web", "--print", "--no-print", "--progress", "quiet")
    assert done.returncode == 0, done.stderr
    assert '"context"' not in done.stdout
