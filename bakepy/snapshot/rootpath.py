"""Paths inside a tree: symlinks followed as if the tree were the root of the file system.

For trees that nobody changes meanwhile (no process runs in them yet, or no more).
"""

# Each step looks up a dozen names: text is several times as fast as Path.
# ruff: noqa: PTH115

from __future__ import annotations

import os
import stat
from pathlib import Path

from bakepy.errors import BuildError
from bakepy.model.value import dataclass

MAX_LINKS = 255


@dataclass(frozen=True, slots=True)
class Found:
    """Where a path leads. `path` is below the root, without symlinks or a leading slash; of it the last `missing`
    components do not exist."""

    path: str
    missing: int

    def under(self, root: Path) -> Path:
        return root / self.path if self.path else root


def resolve(root: Path, path: str) -> Found:
    """Follows `path` inside `root`, `..` never above it. Raises BuildError for more than 255 symlinks."""
    top = os.fspath(root)
    done: list[str] = []
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    missing = links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            missing = max(0, missing - 1) if done else 0
            del done[-1:]
            continue
        done.append(part)
        if missing:
            missing += 1
            continue
        here = f"{top}/{'/'.join(done)}"
        try:
            mode = os.lstat(here).st_mode
        except (FileNotFoundError, NotADirectoryError):
            missing = 1
            continue
        if stat.S_ISLNK(mode):
            links += 1
            if links > MAX_LINKS:
                raise BuildError(f"{path}: too many links")
            target = os.readlink(here)
            done = [] if target.startswith("/") else done[:-1]
            todo += [name for name in reversed(target.split("/")) if name not in ("", ".")]
    return Found("/".join(done), missing)


def make_directories(root: Path, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> Path:
    """Makes `path` inside `root` with the parents it lacks, all with this mode and owner; returns the real path.
    What is there stays as it is."""
    found = resolve(root, path)
    parts = found.path.split("/") if found.path else []
    for end in range(len(parts) - found.missing + 1, len(parts) + 1):
        folder = root.joinpath(*parts[:end])
        folder.mkdir()
        os.chown(folder, uid, gid)
        folder.chmod(mode)
    return found.under(root)


def read_text(root: Path, path: str, limit: int = 10 << 20, *, strict: bool = False) -> str:
    """The text of a regular file inside `root`; empty if there is none. BuildError if it is longer than `limit`;
    with `strict` also if there is something else."""
    found = resolve(root, path)
    real = found.under(root)
    if found.missing or not real.is_file():
        if strict and not found.missing:
            raise BuildError(f"{path} is not a regular file")
        return ""
    with real.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BuildError(f"{path} has more than {limit} bytes")
    return data.decode(errors="surrogateescape")
