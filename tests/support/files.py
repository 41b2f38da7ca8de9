"""Files that exist only in a dict, as the planner reads them; it counts how often each is read."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping


class MemoryFiles:
    """The directory of the command is `/work`; folders exist when a file is below them."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {self.absolute(path): text.encode() for path, text in files.items()}
        self._folders = {"/work"}
        for path in self._files:
            while (path := posixpath.dirname(path)) not in self._folders:
                self._folders.add(path)
        self.reads: Counter[str] = Counter()

    def read(self, path: str) -> bytes:
        absolute = self.absolute(path)
        self.reads[path] += 1
        if absolute in self._folders:
            raise IsADirectoryError(21, "Is a directory", path)
        if absolute not in self._files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self._files[absolute]

    def is_directory(self, path: str) -> bool:
        return self.absolute(path) in self._folders

    def names(self, path: str) -> Iterable[str]:
        folder = self.absolute(path)
        return sorted(
            posixpath.basename(name)
            for name in (*self._files, *self._folders)
            if posixpath.dirname(name) == folder and name != folder
        )

    def absolute(self, path: str) -> str:
        return posixpath.normpath(posixpath.join("/work", path))
