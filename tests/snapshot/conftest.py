"""State roots on a file system that takes overlays, and on one that does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bakepy.snapshot import namespace, overlay
from tests.support.snapshots import Snapshots, open_snapshots


@pytest.fixture(scope="session", autouse=True)
def private_mounts() -> None:
    """What these tests mount stays theirs."""
    namespace.private_mounts()


@pytest.fixture
def machine(state_root: Path) -> Iterator[Snapshots]:
    with open_snapshots(state_root) as snapshots:
        assert snapshots.store.overlays
        yield snapshots


@pytest.fixture
def copying_root(tmp_path: Path) -> Iterator[Path]:
    """A state root that is itself on overlayfs, where the kernel mounts no further overlay."""
    for name in ("lower", "upper", "work", "root"):
        (tmp_path / name).mkdir()
    overlay.mount_writable([tmp_path / "lower"], tmp_path / "upper", tmp_path / "work", tmp_path / "root")
    try:
        yield tmp_path / "root"
    finally:
        overlay.unmount(tmp_path / "root")


@pytest.fixture
def copying(copying_root: Path) -> Iterator[Snapshots]:
    with open_snapshots(copying_root) as snapshots:
        assert not snapshots.store.overlays
        yield snapshots


@pytest.fixture(params=["overlay", "copying"])
def either(request: pytest.FixtureRequest) -> Snapshots:
    """Both ways of keeping trees, which must not differ in what they say."""
    found: Snapshots = request.getfixturevalue("machine" if request.param == "overlay" else "copying")
    return found
