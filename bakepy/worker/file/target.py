"""The tree that a file op writes to: paths resolved inside it, folders made on the way.

Nothing else changes the tree meanwhile, so a path resolved once has no symlinks in it until this op makes one.
"""

# bytes paths and bare system calls, as in the trees that are copied from
# ruff: noqa: PTH101, PTH102, PTH115, PTH116

from __future__ import annotations

import os
import stat
from pathlib import Path

from bakepy.errors import BuildError
from bakepy.model.value import dataclass
from bakepy.snapshot.filetree import LinkLoop, resolve_links, show


@dataclass(frozen=True, slots=True)
class Owner:
    uid: int
    gid: int


class Target:
    """A writable tree at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = os.fsencode(root)

    def path(self, path: bytes) -> bytes:
        return self.root + b"/" + path if path else self.root

    def resolve(self, path: str) -> bytes:
        """Follows symlinks inside the tree, the last one too; what does not exist stays as written. BuildError for
        loops and for a path through a file."""
        written = path.encode("utf-8", "surrogateescape")
        try:
            return resolve_links(written, self._peek)[0]
        except LinkLoop as loop:
            raise self._beyond(loop, written) from None

    def _beyond(self, loop: LinkLoop, path: bytes) -> BuildError:
        """The error for a path that may go on behind a loop, where BuildKit meets the kernel's own limit."""
        steps = [step for step in path.split(b"/") if step not in (b"", b".")]
        for count in range(1, len(steps)):
            try:
                resolve_links(b"/".join(steps[:count]), self._peek)
            except LinkLoop:
                behind = b"/".join(steps[: count + 1])
                return BuildError(f"lstat /{show(behind)}: too many levels of symbolic links", hint=loop.hint)
        return loop

    def _peek(self, path: bytes) -> tuple[os.stat_result | None, bytes | None]:
        facts = self.facts(path)
        if facts is not None and stat.S_ISLNK(facts.st_mode):
            return facts, os.readlink(self.path(path))
        return facts, None

    def facts(self, path: bytes) -> os.stat_result | None:
        """lstat; None if there is nothing."""
        try:
            return os.lstat(self.path(path))
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise BuildError(f"lstat /{show(path)}: not a directory") from error

    def make_folders(self, path: bytes, mode: int, owner: Owner | None) -> list[bytes]:
        """Makes the folder `path` (resolved) and the parents that it lacks, all with the permission bits of `mode`;
        returns those made, outermost first. What is there stays as it is. BuildError if a file is in the way."""
        made: list[bytes] = []
        missing: list[bytes] = []
        here = path
        while here:
            try:
                facts = os.lstat(self.path(here))
            except FileNotFoundError:
                missing.append(here)
            except NotADirectoryError:
                pass
            else:
                if not stat.S_ISDIR(facts.st_mode):
                    raise BuildError(f"mkdir /{show(here)}: not a directory")
                break
            here = here.rpartition(b"/")[0]
        for folder in reversed(missing):
            real = self.path(folder)
            os.mkdir(real)
            dress_folder(real, mode, owner)
            made.append(folder)
        return made

    def set_times(self, paths: list[bytes], time_ns: int | None) -> None:
        """Gives folders that were made the time of the op, innermost first; None leaves them the time of the build."""
        if time_ns is not None:
            for path in reversed(paths):
                os.utime(self.path(path), ns=(time_ns, time_ns), follow_symlinks=False)


def dress_folder(real: bytes, mode: int, owner: Owner | None) -> None:
    """Gives a folder just made its owner and permission bits. Set-gid, and without an owner the group, it has from
    the folder that it is in, as mkdir(2) has it."""
    if owner is not None:
        os.chown(real, owner.uid, owner.gid)
    os.chmod(real, mode & 0o777 | os.stat(real).st_mode & stat.S_ISGID)
