"""Overlay mounts by the old and the new way, and their limits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakepy.errors import BuildError
from bakepy.snapshot import overlay, syscalls

pytestmark = pytest.mark.runtime


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "m"
    path.mkdir()
    yield path
    overlay.unmount(path)


def layers(folder: Path, count: int) -> list[Path]:
    """Topmost first; each has a file of its own and one that all have."""
    paths = []
    for number in range(count):
        layer = folder / "a folder with a long name" / f"{number:03}"
        layer.mkdir(parents=True)
        (layer / f"only{number}").write_text("")
        (layer / "all").write_text(str(number))
        paths.append(layer)
    return paths[::-1]


@pytest.fixture(params=["new", "classic"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """`classic`: as on a kernel that lacks the new calls."""
    if request.param == "classic":

        def missing(kind: str) -> int:
            raise OSError(38, "Function not implemented")

        monkeypatch.setattr(syscalls, "fsopen", missing)
    return str(request.param)


def test_tree_of_150_layers(way: str, tmp_path: Path, target: Path) -> None:
    overlay.mount_readonly(layers(tmp_path, 150), target)
    assert len(os.listdir(target)) == 151  # noqa: PTH208
    assert (target / "all").read_text() == "149"
    with pytest.raises(OSError, match="Read-only file system"):
        (target / "new").write_text("")


def test_writes_go_to_the_upper_folder(way: str, tmp_path: Path, target: Path) -> None:
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    overlay.mount_writable(layers(tmp_path, 2), tmp_path / "upper", tmp_path / "work", target, devices=False)
    (target / "all").write_text("changed")
    (target / "only0").unlink()
    assert sorted(os.listdir(tmp_path / "upper")) == ["all", "only0"]  # noqa: PTH208
    os.mknod(target / "null", 0o20666, os.makedev(1, 3))
    with pytest.raises(PermissionError):
        (target / "null").read_bytes()


def test_folders_of_any_name(way: str, tmp_path: Path, target: Path) -> None:
    folder = tmp_path / "a\\b:c,d=\\,e f\n"
    upper, work = folder / "upper", folder / "work"
    for path in (upper, work):
        path.mkdir(parents=True)
    lower = layers(folder, 1)
    overlay.mount_writable(lower, upper, work, target)
    (target / "new").write_text("")
    assert [path.name for path in upper.iterdir()] == ["new"]
    assert sorted(path.name for path in target.iterdir()) == ["all", "new", "only0"]


def test_too_many_layers_are_told(tmp_path: Path, target: Path) -> None:
    with pytest.raises(BuildError, match=r"^image has 481 layers, overlayfs takes 480\n"):
        overlay.mount_readonly([tmp_path] * 481, target)


def test_unmounting_what_is_in_use_or_not_mounted(tmp_path: Path, target: Path) -> None:
    overlay.mount_readonly(layers(tmp_path, 2), target)
    with (target / "all").open():
        overlay.unmount(target)
    assert list(target.iterdir()) == []
    overlay.unmount(target)
    overlay.unmount(tmp_path / "nothing")


def test_mounts_below_a_folder_are_all_taken_away(tmp_path: Path, target: Path) -> None:
    odd = tmp_path / "with space\\and\nline"
    odd.mkdir()
    for path in (odd, target, target):
        syscalls.mount("tmpfs", path, "tmpfs")
    overlay.unmount_below(tmp_path)
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
