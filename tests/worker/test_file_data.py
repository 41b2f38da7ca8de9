"""Bytes from one file to another, in each of the ways that a kernel may leave us."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from pathlib import Path

import pytest

from bakepy.snapshot.threads import Stopped
from bakepy.worker.file.data import DataCopier, umask


def transfer(source: Path, target: Path, *, size: int | None = None, copier: DataCopier | None = None) -> bool:
    stop = threading.Event()
    with source.open("rb") as reader, target.open("wb") as writer:
        expected = source.stat().st_size if size is None else size
        return (copier or DataCopier()).copy(reader.fileno(), writer.fileno(), expected, stop)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A kernel that neither clones nor copies; tells how often it was asked."""
    asked: list[str] = []

    def no(what: str) -> None:
        asked.append(what)
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(fcntl, "ioctl", lambda *_: no("clone"))
    monkeypatch.setattr(os, "copy_file_range", lambda *_: no("range"))
    return asked


@pytest.mark.parametrize("size", [0, 5, 65_536, 2_500_000])
def test_without_help_of_the_kernel(tmp_path: Path, refused: list[str], size: int) -> None:
    (tmp_path / "a").write_bytes(os.urandom(size))
    assert transfer(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_what_was_refused_once_is_not_asked_again(tmp_path: Path, refused: list[str]) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)) * 1000)
    copier = DataCopier()
    for _ in range(3):
        assert transfer(tmp_path / "a", tmp_path / "b", copier=copier)
    assert refused == ["clone", "range"]


def test_another_error_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "copy_file_range", full)
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    with pytest.raises(OSError, match="No space left"):
        transfer(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(("size", "expected"), [(10, 9), (10, 11), (100_000, 99_999), (100_000, 100_001)])
def test_a_file_of_another_size_than_expected(tmp_path: Path, size: int, expected: int) -> None:
    (tmp_path / "a").write_bytes(b"x" * size)
    assert not transfer(tmp_path / "a", tmp_path / "b", size=expected)


def test_a_file_that_is_only_a_hole(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(10_000_000)
    assert transfer(tmp_path / "a", tmp_path / "b")
    facts = (tmp_path / "b").stat()
    assert (facts.st_size, facts.st_blocks) == (10_000_000, 0)


def test_copying_stops_when_it_is_told(tmp_path: Path, refused: list[str]) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    stop = threading.Event()
    stop.set()
    with (tmp_path / "a").open("rb") as reader, (tmp_path / "b").open("wb") as writer, pytest.raises(Stopped):
        DataCopier().copy(reader.fileno(), writer.fileno(), 100_000, stop)


def test_the_umask_is_only_read() -> None:
    before = os.umask(0o027)
    try:
        assert umask() == 0o027
    finally:
        os.umask(before)
