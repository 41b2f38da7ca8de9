"""Paths inside a tree end inside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakepy.errors import BuildError
from bakepy.snapshot.rootpath import Found, make_directories, read_text, resolve


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "abs").symlink_to("/a")
    (root / "up").symlink_to("../../../a/b")
    (root / "a/dangling").symlink_to("../none/here")
    (root / "loop").symlink_to("loop")
    (root / "file").write_text("text")
    return root


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/", Found("", 0)),
        ("/../..", Found("", 0)),
        ("/a//b/.", Found("a/b", 0)),
        ("abs/b", Found("a/b", 0)),
        ("/up", Found("a/b", 0)),
        ("/up/../b", Found("a/b", 0)),
        ("/a/x/y", Found("a/x/y", 2)),
        ("/a/x/../y", Found("a/y", 1)),
        ("/a/x/../b", Found("a/b", 0)),
        ("/a/dangling", Found("none/here", 2)),
        ("/file/below", Found("file/below", 1)),
    ],
)
def test_resolved_inside_the_root(root: Path, path: str, found: Found) -> None:
    assert resolve(root, path) == found


def test_loop_is_an_error(root: Path) -> None:
    with pytest.raises(BuildError, match="loop/x: too many links"):
        resolve(root, "loop/x")


def test_missing_folders_are_made_where_links_lead(root: Path) -> None:
    assert make_directories(root, "/abs/new/deep", mode=0o711) == root / "a/new/deep"
    assert [(root / name).stat().st_mode & 0o7777 for name in ("a/new", "a/new/deep")] == [0o711, 0o711]


def test_text_is_read_from_files_only(root: Path) -> None:
    assert (read_text(root, "/file"), read_text(root, "/a"), read_text(root, "/nothing")) == ("text", "", "")
    with pytest.raises(BuildError, match="/file has more than 3 bytes"):
        read_text(root, "/file", limit=3)
