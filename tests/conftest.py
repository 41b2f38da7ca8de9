"""What all tests share: anyio on asyncio, a state root of their own, and a look at what they leave behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state_root(tmp_path: Path) -> Path:
    """An empty state root, as `--root` takes it."""
    root = tmp_path / "state"
    root.mkdir()
    return root


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


@pytest.fixture(scope="session", autouse=True)
def nothing_left_mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the run if a test left a mount behind in its folders. Mounts elsewhere may be another program's."""
    folder = str(tmp_path_factory.getbasetemp())
    yield
    left = [mount for mount in _mounts() if mount.startswith(folder)]
    assert not left, f"mounts left behind: {sorted(left)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root, a runtime or a registry fail where these are missing on a machine that was set up by
    `make test`; elsewhere they are skipped with the reason."""
    lacking = {
        "runtime": "" if os.geteuid() == 0 and (shutil.which("crun") or shutil.which("runc")) else "root and crun",
        "registry": "" if shutil.which("docker-registry") else "docker-registry",
    }
    for item in items:
        for marker, what in lacking.items():
            if what and item.get_closest_marker(marker) and not os.environ.get("CI"):
                item.add_marker(pytest.mark.skip(reason=f"needs {what}"))
