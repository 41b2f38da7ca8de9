"""Files that appear whole or not at all, on file systems with files without a name and on others."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bakepy.exporter.files import replacing, write_all


@pytest.fixture(params=["unnamed", "named"])
def named(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> bool:
    """Whether files must have a name from the beginning, as with NFS."""
    if request.param == "unnamed":
        try:
            os.close(os.open(tmp_path, os.O_TMPFILE | os.O_WRONLY))
        except OSError as error:
            pytest.skip(f"files without a name: {error.strerror}")
    if request.param == "named":
        real = os.open

        def refuse(path: str | bytes | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            return real(path, flags, mode, dir_fd=dir_fd)

        monkeypatch.setattr(os, "open", refuse)
    return bool(request.param == "named")


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_appears_when_it_is_whole(tmp_path: Path, named: bool, before: str | None) -> None:
    goal = tmp_path / "folder" / "file"
    if before is not None:
        goal.parent.mkdir()
        goal.write_text(before)
    with replacing(goal) as fd:
        write_all(fd, b"new")
        assert (goal.read_text() if goal.exists() else None) == before
        assert len(list(goal.parent.iterdir())) == named + (before is not None)
    assert goal.read_text() == "new"
    assert list(goal.parent.iterdir()) == [goal]


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_that_fails_leaves_what_was_there(tmp_path: Path, named: bool, before: str | None) -> None:
    goal = tmp_path / "file"
    if before is not None:
        goal.write_text(before)
    with pytest.raises(KeyError), replacing(goal) as fd:
        write_all(fd, b"half")
        raise KeyError
    assert [path.read_text() for path in tmp_path.iterdir()] == ([] if before is None else [before])


def test_who_may_read_it_is_as_with_any_new_file(tmp_path: Path, named: bool) -> None:
    (tmp_path / "other").touch()
    with replacing(tmp_path / "file"):
        pass
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_stays_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with replacing(tmp_path / "link") as fd:
        write_all(fd, b"new")
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "file").read_text()) == (True, "new")
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with replacing(tmp_path / "pipe") as fd:
        write_all(fd, b"new")
    assert os.read(reader, 10) == b"new"
    os.close(reader)
