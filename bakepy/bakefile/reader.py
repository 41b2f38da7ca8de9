"""What bake files ask of the file system, as a protocol: the rooms of the language never touch the disk themselves."""

from __future__ import annotations

from typing import Protocol


class Reader(Protocol):
    """Files by path, relative to the folder of the command."""

    def read(self, path: str) -> bytes:
        """The whole file. Raises OSError, FileNotFoundError if there is none."""
        ...

    def kind(self, path: str) -> str:
        """`file`, `dir`, `socket`, `other` (a device, a pipe), or empty if there is nothing. Links are followed."""
        ...
