"""Registries that refuse: the whole program says so at the FROM, and ends with the code of a registry error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Bakepy, write
from tests.support.fake_registry import Answer, FakeRegistry

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
