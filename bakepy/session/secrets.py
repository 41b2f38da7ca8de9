"""Secrets by id, from files or variables, read when a step asks for them and never kept.

Values appear in no representation and no error message.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from bakepy.errors import UsageError
from bakepy.model.target import SecretEntry

MAX_SIZE = 500 * 1024
"""Bytes; BuildKit's limit."""


class SecretProvider:
    """The secrets of one run."""

    def __init__(self, entries: Iterable[SecretEntry], environment: Mapping[str, str], directory: Path) -> None:
        """`directory` is where relative paths start. UsageError if a file is missing or too large, or an id is.

        An entry with neither file nor variable means the variable of that name, else the file of that name. Of two
        entries with one id the later counts.
        """
        self._environment = environment
        self._files: dict[str, Path] = {}
        self._variables: dict[str, str] = {}
        for entry in entries:
            if not entry.id:
                raise UsageError("secret missing ID", hint="give it one: id=NAME")
            variable = entry.env or (entry.id if not entry.src and entry.id in environment else "")
            self._files.pop(entry.id, None)
            self._variables.pop(entry.id, None)
            if variable:
                self._variables[entry.id] = variable
            else:
                self._files[entry.id] = _checked(entry.id, directory / (entry.src or entry.id))

    def get(self, id: str) -> bytes | None:
        """The value; None if there is no such secret. An unset variable is an empty secret. Blocks for files."""
        if id in self._variables:
            return self._environment.get(self._variables[id], "").encode(errors="surrogateescape")
        if id in self._files:
            path = _checked(id, self._files[id])
            try:
                return path.read_bytes()
            except OSError as error:
                raise UsageError(f"secret {id}: can not read {path}: {error.strerror}") from error
        return None

    def __repr__(self) -> str:
        return f"SecretProvider({', '.join(sorted({*self._files, *self._variables}))})"


def _checked(id: str, path: Path) -> Path:
    try:
        facts = path.stat()
    except OSError as error:
        raise UsageError(f"secret {id}: can not read {path}: {error.strerror}") from error
    if stat.S_ISREG(facts.st_mode) and facts.st_size > MAX_SIZE:
        raise UsageError(f"secret {id}: {path} has {facts.st_size} bytes; at most {MAX_SIZE} are allowed")
    return path
