"""Steps run in real containers, with this test process in a mount namespace of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakepy.snapshot import namespace
from tests.support.kitchen import Kitchen
from tests.support.snapshots import open_snapshots
from tests.support.steps import Steps, open_steps
from tests.support.written_tree import make_tree


@pytest.fixture(scope="session")
def private_mounts() -> None:
    """What these tests mount stays theirs."""
    namespace.private_mounts()


@pytest.fixture(params=["crun", "runc"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Each OCI runtime in turn: what a step sees must not depend on it, but for what the tests tell."""
    name = str(request.param)
    if not (shutil.which(name) or Path("/usr/sbin", name).exists()) and not os.environ.get("CI"):
        pytest.skip(f"needs {name}")
    return name


@pytest.fixture
def steps(private_mounts: None, state_root: Path, runtime: str) -> Iterator[Steps]:
    """A busybox image as the snapshot `base`, and everything that running steps on it takes."""
    with open_steps(state_root, runtime) as steps:
        yield steps
    assert list((state_root / "tmp").rglob("*")) == []


@pytest.fixture
def kitchen(private_mounts: None, state_root: Path, tmp_path: Path) -> Iterator[Kitchen]:
    """Somewhere to try file ops."""
    with open_snapshots(state_root) as machine:
        yield Kitchen(machine, make_tree(tmp_path / "context", {}))
