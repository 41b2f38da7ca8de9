"""The cgroups of containers: whether the runtime can make them here, where they go, and their removal.

A container's cgroup is `/bakepy/TOKEN/ID`; TOKEN is the process's folder in the state root, so that what a killed
process left is known and removed by the next.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from bakepy.model.value import dataclass

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Cgroups:
    """`kind` is `unified` (version 2), `legacy` (version 1), `hybrid` (both, with controllers in both) or `none`."""

    kind: str
    hierarchies: tuple[Path, ...]

    @classmethod
    def detect(cls, root: Path = _ROOT) -> Cgroups:
        if (root / "cgroup.controllers").exists():
            return cls("unified", (root,))
        legacy = tuple(sorted(path.parent for path in root.glob("*/cgroup.procs"))) if root.is_dir() else ()
        unified = root / "unified" / "cgroup.controllers"
        if unified.exists() and unified.read_text().split():
            return cls("hybrid", legacy)
        if any((path / "devices.allow").exists() for path in legacy):
            return cls("legacy", legacy)
        return cls("none", legacy)

    def parent(self, token: str) -> str:
        """The parent cgroup of a process's containers, as `cgroupsPath` wants it."""
        return f"/bakepy/{token}"

    def remove(self, tokens: Iterable[str]) -> None:
        """Removes what is left of the cgroups of these processes. A cgroup in use stays."""
        for hierarchy in self.hierarchies:
            for token in tokens:
                folder = hierarchy / "bakepy" / token
                for child in (*folder.glob("*/"), folder):
                    with contextlib.suppress(OSError):  # in use or gone: both are fine
                        child.rmdir()
