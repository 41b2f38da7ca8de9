"""`--resume` and `--retry-failed`: what was done is not done again, whatever ended the run before."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bakepy.progress.journal import last
from tests.e2e.conftest import Bakepy, executed, write
from tests.e2e.test_robust import nothing_is_left

pytestmark = pytest.mark.runtime

PROJECT = {
    "bake.toml": """
[variable.BASE]
[variable.TOKEN]
default = ""
sensitive = true
[group.default]
targets = ["good", "odd"]
[target.good]
contexts = { busybox = "${BASE}" }
output = ["type=tar,dest=good.tar"]
metadata-file = "good.json"
dockerfile-inline = '''
FROM busybox
RUN echo good $RANDOM > /number
'''
[target.odd]
contexts = { busybox = "${BASE}", good = "target:good" }
output = ["type=local,dest=odd"]
dockerfile-inline = '''
FROM good AS base
COPY fault /fault
RUN case $(cat /fault) in fail) exit 28;; wait) sleep 100;; esac; cp /number /copy
FROM scratch
COPY --from=base /copy /copy
'''
""",
    "fault": "fail",
}
BASE = {"BASE": "oci-layout://base:latest"}


@pytest.fixture
def project(tmp_path: Path, busybox: Path) -> Path:
    """Two targets of which `odd` fails; its steps are on top of those of `good`."""
    folder = write(tmp_path / "project", PROJECT)
    (folder / "base").symlink_to(busybox)
    return folder


def _facts(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_ino, facts.st_mtime_ns


def _go_on(bakepy: Bakepy, project: Path) -> list[str]:
    """Mends what was wrong, and goes on: the RUN steps that ran."""
    (project / "fault").write_text("none")
    vertexes = bakepy.vertexes("run", "--resume", cwd=project, env=BASE)
    return [name.rpartition("] ")[2].partition(" ")[2].split()[0] for name in executed(vertexes)]


def test_the_rest_is_done_and_what_is_there_is_kept(bakepy: Bakepy, project: Path) -> None:
    bakepy.run("run", "-k", cwd=project, env=BASE, status=3)
    before = _facts(project / "good.tar")
    assert _go_on(bakepy, project) == ["case"]
    assert _facts(project / "good.tar") == before
    assert (project / "odd/copy").read_text().startswith("good ")
    assert json.loads((project / "good.json").read_text())["bakepy.outcome"] == "succeeded"


def test_an_output_that_is_gone_is_written_again(bakepy: Bakepy, project: Path) -> None:
    bakepy.run("run", "-k", cwd=project, env=BASE, status=3)
    (project / "good.tar").unlink()
    assert _go_on(bakepy, project) == ["case"]
    assert (project / "good.tar").exists()


def test_a_run_without_cache_goes_on_with_what_it_has_made_itself(bakepy: Bakepy, project: Path) -> None:
    bakepy.run("run", "good", cwd=project, env=BASE)
    bakepy.run("run", "-k", "--no-cache", cwd=project, env=BASE, status=3)
    before = _facts(project / "good.tar")
    assert _go_on(bakepy, project) == ["case"]
    assert _facts(project / "good.tar") == before


def test_a_run_without_cache_does_not_go_on_with_what_was_there_before(bakepy: Bakepy, project: Path) -> None:
    (project / "fault").write_text("none")
    bakepy.run("run", cwd=project, env=BASE)
    (project / "fault").write_text("fail")
    bakepy.run("run", "-k", "--no-cache", cwd=project, env=BASE, status=3)
    assert _go_on(bakepy, project) == ["case"]


def test_only_what_failed_is_tried_again(bakepy: Bakepy, project: Path) -> None:
    bakepy.run("run", "-k", cwd=project, env=BASE, status=3)
    (project / "good.tar").unlink()
    (project / "fault").write_text("none")
    bakepy.run("run", "--retry-failed", cwd=project, env=BASE)
    assert not (project / "good.tar").exists()
    assert (project / "odd/copy").exists()
    again = bakepy.run("run", "--retry-failed", cwd=project, env=BASE, status=2)
    assert again.stderr == "ERROR: --retry-failed: all targets of the last run have succeeded\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_ended_is_gone_on_with(bakepy: Bakepy, project: Path, number: signal.Signals) -> None:
    (project / "fault").write_text("wait")
    process = subprocess.Popen(
        [bakepy.program, "run", "--progress", "quiet"], cwd=project, env=bakepy.environment(BASE),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while (past := last(bakepy.root, project)) is None or past.succeeded != {"good"}:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == (-number if number is signal.SIGKILL else 128 + number)
    nothing_is_left(bakepy)
    past = last(bakepy.root, project)
    assert past is not None
    if number is not signal.SIGKILL:
        assert past.status == 128 + number
        assert past.ended["odd"]["outcome"] in ("cancelled", "not started")
        assert list((bakepy.root / "tmp").iterdir()) == []
        assert json.loads((project / "good.json").read_text())["bakepy.outcome"] == "succeeded"
    before = _facts(project / "good.tar")
    assert _go_on(bakepy, project) == ["case"]
    assert _facts(project / "good.tar") == before
    assert (project / "odd/copy").exists()


def test_two_signals_at_once_leave_nothing_behind(bakepy: Bakepy, project: Path) -> None:
    (project / "fault").write_text("wait")
    process = subprocess.Popen(
        [bakepy.program, "run", "--progress", "quiet"], cwd=project, env=bakepy.environment(BASE),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while (past := last(bakepy.root, project)) is None or past.succeeded != {"good"}:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (130, 143)
    nothing_is_left(bakepy)


def test_what_can_not_be_gone_on_with(bakepy: Bakepy, project: Path) -> None:
    none = bakepy.run("run", "--resume", cwd=project, env=BASE, status=2)
    assert none.stderr.splitlines()[0] == f"ERROR: --resume: no run is known that began in {project}"
    bakepy.run("run", "-k", cwd=project, env=BASE, status=3)
    more = bakepy.run("run", "good", "--resume", cwd=project, env=BASE, status=2)
    assert more.stderr.splitlines()[0] == (
        "ERROR: --resume goes on with what the last run was asked for: the list of targets can not be changed"
    )
    other = bakepy.run("run", "--push", "--resume", cwd=project, env=BASE, status=2)
    assert "--push can not be changed" in other.stderr


def test_what_was_said_then_may_be_said_again(bakepy: Bakepy, project: Path) -> None:
    """The bake file is the one that is read without `-f`; a path may be written in several ways."""
    bakepy.run("run", "-k", "good", "odd", cwd=project, env=BASE, status=3)
    bakepy.run("run", "-k", "--resume", "-f", "./bake.toml", "good", "odd", cwd=project, env=BASE, status=3)
    (project / "other.toml").write_text(PROJECT["bake.toml"])
    for words in (["-f", "other.toml"], ["-f", "bake.toml", "-f", "other.toml"]):
        other = bakepy.run("run", "--resume", *words, cwd=project, env=BASE, status=2)
        assert "the last run was asked for: --file can not be changed" in other.stderr
    bakepy.run("run", "-f", "other.toml", "odd", cwd=project, env=BASE, status=1)
    back = bakepy.run("run", "--resume", "-f", "bake.toml", cwd=project, env=BASE, status=2)
    assert "--file can not be changed" in back.stderr
    (project / "fault").write_text("none")
    bakepy.run("run", "--retry-failed", "-f", str(project / "other.toml"), cwd=project, env=BASE)
    assert (project / "odd/copy").exists()


def test_values_of_sensitive_variables_are_not_kept(bakepy: Bakepy, project: Path) -> None:
    bakepy.run("run", "-k", "--var", "TOKEN=very-secret", cwd=project, env=BASE, status=3)
    assert all(b"very-secret" not in path.read_bytes() for path in (bakepy.root / "runs").iterdir())
    refused = bakepy.run("run", "--resume", cwd=project, env=BASE, status=2)
    assert refused.stderr.splitlines() == [
        "ERROR: --resume: values of sensitive variables are not kept: TOKEN",
        "hint: --var TOKEN=…",
    ]
    (project / "fault").write_text("none")
    bakepy.run("run", "--resume", "--var", "TOKEN=very-secret", cwd=project, env=BASE)


def test_a_target_without_an_output_is_gone_on_with(bakepy: Bakepy, tmp_path: Path) -> None:
    files = {
        "bake.toml": '[target.default]\nmetadata-file = "m.json"\n',
        "Dockerfile": "FROM scratch\nCOPY a /\n",
        "a": "",
    }
    project = write(tmp_path / "project", files)
    for arguments in ((), ("--resume",)):
        bakepy.run("run", *arguments, cwd=project)
        assert json.loads((project / "m.json").read_text())["bakepy.outcome"] == "succeeded"
