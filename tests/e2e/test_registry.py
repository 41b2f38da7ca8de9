"""Pushing to and pulling from a real registry; and registries that fail."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Bakepy, write
from tests.support.registry import RegistryServer, registry_server

__all__ = ["registry_server"]

pytestmark = [pytest.mark.runtime, pytest.mark.registry]


def inspect(reference: str) -> dict[str, object]:
    done = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", reference], check=True, capture_output=True, text=True
    )
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def test_push_then_build_on_what_was_pushed(
    bakepy: Bakepy, tmp_path: Path, busybox: Path, registry_server: RegistryServer
) -> None:
    registry = registry_server.host
    files = {
        "bake.toml": f"""
[target.base]
contexts = {{ busybox = "oci-layout://{busybox}:latest" }}
tags = ["{registry}/base:1", "{registry}/base:latest"]
[target.app]
dockerfile = "app.Dockerfile"
tags = ["{registry}/app:1"]
""",
        "Dockerfile": "FROM busybox\nRUN echo base > /base\n",
        "app.Dockerfile": f"FROM {registry}/base:1\nRUN cat /base > /app\n",
    }
    folder = write(tmp_path / "project", files)
    bakepy.run("run", "base", "--push", cwd=folder)
    assert inspect(f"docker://{registry}/base:1")["Digest"] == inspect(f"docker://{registry}/base:latest")["Digest"]
    fresh = Bakepy(tmp_path / "other-state", bakepy.home)
    fresh.run("run", "app", "--push", "--metadata-file", "out.json", cwd=folder)
    metadata = json.loads((folder / "out.json").read_text())["app"]
    assert inspect(f"docker://{registry}/app:1")["Digest"] == metadata["containerimage.digest"]


def test_a_registry_that_is_away_is_exit_code_4(bakepy: Bakepy, tmp_path: Path) -> None:
    files = {"bake.toml": "[target.default]\n", "Dockerfile": "FROM 127.0.0.1:9/none:1\nRUN true\n"}
    done = bakepy.run("run", cwd=write(tmp_path / "project", files), status=4)
    assert "127.0.0.1:9" in done.stderr


def test_nothing_is_tagged_when_a_target_fails(
    bakepy: Bakepy, tmp_path: Path, busybox: Path, registry_server: RegistryServer
) -> None:
    registry = registry_server.host
    files = {
        "bake.toml": f"""
[group.default]
targets = ["good", "bad"]
[target.good]
dockerfile-inline = "FROM busybox\\nRUN echo good > /good\\n"
contexts = {{ busybox = "oci-layout://{busybox}:latest" }}
tags = ["{registry}/atomic-good:1"]
[target.bad]
dockerfile-inline = "FROM busybox\\nRUN sleep 1; exit 3\\n"
contexts = {{ busybox = "oci-layout://{busybox}:latest" }}
tags = ["{registry}/atomic-bad:1"]
""",
    }
    folder = write(tmp_path / "project", files)
    bakepy.run("run", "--push", cwd=folder, status=1)
    tags = subprocess.run(
        ["skopeo", "list-tags", "--tls-verify=false", f"docker://{registry}/atomic-good"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tags.returncode != 0 or json.loads(tags.stdout)["Tags"] in ([], None)
