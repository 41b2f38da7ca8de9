"""The files of this machine, as the planner asks for them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from pathlib import Path


class DiskFiles:
    """Reads below the directory of the command; absolute paths as they are."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, path: str) -> bytes:
        try:
            return (self._directory / path).read_bytes()
        except ValueError:  # there is a NUL in it
            raise FileNotFoundError(2, "no such file or directory", path) from None

    def is_directory(self, path: str) -> bool:
        return (self._directory / path).is_dir()

    def names(self, path: str) -> Iterable[str]:
        try:
            return sorted(os.listdir(self._directory / path))  # noqa: PTH208 (names, not paths, are wanted)
        except OSError:
            return ()

    def absolute(self, path: str) -> str:
        return posixpath.normpath(self._directory / path)
