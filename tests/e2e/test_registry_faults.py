"""Registries that refuse: the whole program says so at the FROM, and ends with the code of a registry error."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bakepy.progress.journal import last
from tests.e2e.conftest import Bakepy, write
from tests.support.fake_registry import Answer, FakeRegistry, Stall

pytestmark = pytest.mark.runtime


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_image_that_is_refused_is_told_at_its_line(status: int, bakepy: Bakepy, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        registry.fail("manifests", *[Answer(status)] * 9)
        files = {"bake.toml": "[target.default]\n", "Dockerfile": f"FROM {registry.host}/none:1\nCOPY . /\n"}
        done = bakepy.run("run", cwd=write(tmp_path / "project", files), status=4)
    assert "Dockerfile:1:6: " in done.stderr
    assert f"    FROM {registry.host}/none:1\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_while_tags_move_is_told_like_any(bakepy: Bakepy, tmp_path: Path) -> None:
    """The registry never answers when the tag is set; what was built by then is in the metadata and in the journal."""
    with FakeRegistry() as registry:
        registry.fail(r"PUT .*/manifests/1$", Stall())
        files = {
            "bake.toml": f"""
[target.default]
output = ["type=registry"]
tags = ["{registry.host}/app:1"]
metadata-file = "meta.json"
""",
            "Dockerfile": "FROM scratch\nCOPY Dockerfile /\n",
        }
        folder = write(tmp_path / "project", files)
        process = subprocess.Popen(
            [bakepy.program, "run", "--progress", "quiet"], cwd=folder, env=bakepy.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while not registry.asked(r"PUT .*/manifests/1$"):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 128 + signal.SIGINT
    assert json.loads((folder / "meta.json").read_text())["bakepy.outcome"] == "succeeded"
    past = last(bakepy.root, folder)
    assert past is not None
    assert (past.status, past.succeeded) == (128 + signal.SIGINT, frozenset({"default"}))
