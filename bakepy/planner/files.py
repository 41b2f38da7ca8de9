"""What the planner reads, by protocol: Dockerfiles, ignore files, and whether folders are there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class FileReader(Protocol):
    """Files as the command sees them. Relative paths are meant from the directory of the command."""

    def read(self, path: str) -> bytes:
        """The whole file. Raises OSError (FileNotFoundError, IsADirectoryError, …)."""
        ...

    def is_directory(self, path: str) -> bool:
        """Whether `path` is a folder, symlinks followed."""
        ...

    def names(self, path: str) -> Iterable[str]:
        """What is in a folder; nothing if it can not be read. Asked only to make an error message better."""
        ...

    def absolute(self, path: str) -> str:
        """`path` made absolute and clean; symlinks are not resolved."""
        ...
