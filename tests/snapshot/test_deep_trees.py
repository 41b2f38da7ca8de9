"""Folders in folders in folders: deeper than a path is long, and than a walk may call itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bakepy.snapshot import syscalls
from bakepy.snapshot.census import tree_size
from bakepy.snapshot.tree import remove_tree


def make_deep(top: Path, depth: int, name: str) -> None:
    """By descriptor: there is no path to the lowest."""
    top.mkdir()
    folder = os.open(top, os.O_PATH | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_PATH | os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("leaf", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)


@pytest.mark.parametrize(("depth", "name"), [(1500, "d"), (1500, "twelve_bytes"), (40, "d" * 200)])
def test_a_deep_tree_is_counted_and_removed(tmp_path: Path, depth: int, name: str) -> None:
    make_deep(tmp_path / "deep", depth, name)
    (tmp_path / "deep/beside").write_text("x")
    assert tree_size(tmp_path / "deep") > 0
    remove_tree(tmp_path / "deep")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.runtime
@pytest.mark.parametrize(("depth", "name"), [(30, "d"), (40, "d" * 200)])
def test_a_deep_tree_of_a_lower_layer_is_removed(tmp_path: Path, depth: int, name: str) -> None:
    """Overlayfs moves no folders of lower layers."""
    lower, upper, work, merged = (tmp_path / kind for kind in ("lower", "upper", "work", "merged"))
    for folder in (lower, upper, work, merged):
        folder.mkdir()
    make_deep(lower / "deep", depth, name)
    syscalls.mount("overlay", merged, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
    try:
        remove_tree(merged / "deep")
        assert list(merged.iterdir()) == []
        assert stat.S_ISCHR((upper / "deep").lstat().st_mode)
    finally:
        syscalls.unmount(merged)
    remove_tree(lower)
