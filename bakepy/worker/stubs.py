"""What a runtime makes in the root file system to mount on, and its removal after the step.

As BuildKit does it: only names that were missing before, only if they are still empty, with the time of the folder
that they are in restored, so that mounting leaves no trace in the layer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bakepy.snapshot.rootpath import resolve

ALWAYS = ("/etc/resolv.conf", "/etc/hosts")
KERNEL_FOLDERS = ("/dev", "/proc", "/sys")
"""Made if they are missing, and they stay: an image without them gets them by its first RUN."""


@dataclass(frozen=True, slots=True)
class Stubs:
    """Names below `root` that do not exist yet and may have to go, deepest first for each mount."""

    root: Path
    paths: tuple[str, ...]

    @classmethod
    def before(cls, root: Path, destinations: Iterable[str], *, parents: bool) -> Stubs:
        """To be called before the runtime is started; `parents`: missing parents count as well."""
        paths = []
        for destination in (*ALWAYS, *destinations):
            found = resolve(root, destination)
            parts = found.path.split("/")
            for depth in range(found.missing if parents else min(1, found.missing)):
                paths.append("/".join(parts[: len(parts) - depth]))
        return cls(root, tuple(paths))

    def remove(self) -> None:
        """To be called after the process has ended and before the tree is unmounted."""
        for path in self.paths:
            found = resolve(self.root, path)
            if found.missing or found.path != path:
                continue  # gone, or the step made a symlink of a folder above it
            here = self.root / path
            facts = here.lstat()
            above = here.parent.lstat()
            if stat.S_ISDIR(facts.st_mode):
                try:
                    here.rmdir()
                except OSError:
                    continue  # not empty: the step put something there
            elif facts.st_size == 0:
                here.unlink()
            else:
                continue
            os.utime(here.parent, ns=(above.st_atime_ns, above.st_mtime_ns))
