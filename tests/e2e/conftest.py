"""Running bakepy as a program, and a copy of the examples with their base image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Bakepy:
    """The command with a state root of its own and nothing of the caller's environment."""

    root: Path
    home: Path

    @property
    def program(self) -> str:
        return str(Path(sys.executable).parent / "bakepy")

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "BAKEPY_ROOT": str(self.root),
            **(extra or {}),
        }

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, status: int | None = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Runs it; fails with its whole output if it does not end with `status`."""
        done = subprocess.run(
            [self.program, *arguments],
            cwd=cwd,
            env=self.environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=240,
            check=False,
        )
        if status is not None and done.returncode != status:
            pytest.fail(f"bakepy {' '.join(arguments)}: ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        assert "Traceback" not in done.stderr
        return done

    def vertexes(self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """What `--progress rawjson` tells of each vertex, in the order of the messages."""
        done = self.run(*arguments, "--progress", "rawjson", cwd=cwd, env=env)
        messages = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
        return [vertex for message in messages for vertex in message.get("vertexes") or ()]


def executed(vertexes: list[dict[str, Any]], word: str = " RUN ") -> list[str]:
    """The names of the steps with `word` that really ran, each as often as it was started."""
    cached = {vertex["digest"] for vertex in vertexes if vertex.get("cached")}
    ended = [vertex for vertex in vertexes if vertex.get("completed") and vertex["digest"] not in cached]
    return [vertex["name"] for vertex in ended if word in vertex["name"]]


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Makes `folder` with these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def bakepy(tmp_path: Path) -> Bakepy:
    home = tmp_path / "home"
    home.mkdir()
    return Bakepy(tmp_path / "state", home)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox base image as an OCI layout, made by examples/busybox."""
    folder = tmp_path_factory.mktemp("busybox")
    shutil.copytree(REPOSITORY / "examples/busybox", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("out"))
    (folder / "out").mkdir()
    shutil.copy("/bin/busybox", folder / "out/busybox")
    Bakepy(folder / "state", folder).run("run", "--progress", "plain", cwd=folder)
    return folder / "out/image"
