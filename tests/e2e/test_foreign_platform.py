"""RUN for another machine, with the kernel's help (binfmt_misc and QEMU)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakepy.worker.emulation import foreign_machines
from tests.e2e.conftest import Bakepy
from tests.support.foreign import arm64_emulation, arm64_program
from tests.support.ordinary_user import command, ordinary_home

pytestmark = pytest.mark.runtime

DOCKERFILE = """\
FROM scratch
ARG TARGETARCH
COPY $TARGETARCH /busybox
RUN ["/busybox", "sh", "-c", "echo amd64 > /made"]
"""


@pytest.fixture
def emulated() -> Iterator[None]:
    with arm64_emulation() as problem:
        if problem:
            pytest.skip(problem)
        yield


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A context with a program for each platform; that for arm64 is no busybox, and writes what it is."""
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    shutil.copy("/bin/busybox", folder / "amd64")
    (folder / "arm64").write_bytes(arm64_program("/made", b"arm64\n"))
    (folder / "arm64").chmod(0o755)
    return folder


def test_one_build_for_two_platforms_runs_the_programs_of_both(
    bakepy: Bakepy, context: Path, emulated: None, tmp_path: Path
) -> None:
    platforms = ("--platform", "linux/amd64,linux/arm64")
    bakepy.run("build", *platforms, "--output", "type=local,dest=out", str(context), cwd=tmp_path)
    made = {folder.name: (folder / "made").read_text() for folder in (tmp_path / "out").iterdir()}
    assert made == {"linux_amd64": "amd64\n", "linux_arm64": "arm64\n"}


def test_an_ordinary_users_build_runs_them_too(context: Path, emulated: None) -> None:
    with ordinary_home() as home:
        shutil.copytree(context, home / "context")
        words = ("build", "--platform=linux/arm64", f"--output=type=local,dest={home}/out", str(home / "context"))
        program = Path(sys.executable).parent / "bakepy"
        environment = {"PATH": os.environ["PATH"], "BAKEPY_ROOT": str(home / "state")}
        done = subprocess.run(
            command(home, program, *words), env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert (home / "out/made").read_text() == "arm64\n"


def test_a_machine_without_an_emulator_is_told_what_to_install(bakepy: Bakepy, context: Path, tmp_path: Path) -> None:
    if "arm64" in foreign_machines():
        pytest.skip("an emulator for arm64 is registered on this machine")
    failed = bakepy.run("build", "--platform", "linux/arm64", str(context), cwd=tmp_path, status=5)
    assert "programs for linux/arm64 can not be run on linux/amd64: no emulator is registered" in failed.stderr
    assert "apt-get install qemu-user-static" in failed.stderr
