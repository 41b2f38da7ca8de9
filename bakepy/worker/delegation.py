"""The cgroup that was delegated to an ordinary user, or is the top of a container, made fit for steps with limits.

cgroups(7): a user may have cgroups of version 2 below one whose folder and files belong to it; root in a cgroup
namespace has them below its top. One that has processes in it passes no controllers on to those below ("no internal
processes"), and bakepy itself is in it. So, where nobody else is, all of bakepy's processes go into a cgroup beside
those of the steps (`OWN`), before the engine enters a PID namespace, from which it would not see the others. Where
somebody else is, nothing is moved: steps then have no cgroups of their own. Decided in docs/decisions/rootless.md and
engine-isolation.md.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from bakepy.model.value import dataclass

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")

OWN = "bakepy-self"
"""The cgroup of bakepy's own processes in the delegated one."""

_PASSES = 100
"""Our processes may start others while they are moved: how often is looked."""


@dataclass(frozen=True, slots=True)
class Delegated:
    """Such a cgroup: its folder, and its name as `cgroupsPath` of the runtime spec has it."""

    folder: Path
    name: str

    @classmethod
    def find(cls, root: Path = ROOT, membership: Path = MEMBERSHIP) -> Delegated | None:
        """The one that this process is in, or is in the `OWN` cgroup of; None if it is not delegated to this user."""
        try:
            lines = membership.read_text().splitlines()
        except OSError:
            return None
        name = next((line[3:].rstrip("/") for line in lines if line.startswith("0::/")), None)
        if name is None or not (root / "cgroup.controllers").exists():
            return None
        name = name.removesuffix(f"/{OWN}")
        folder = root / name.lstrip("/")
        files = (".", "cgroup.procs", "cgroup.subtree_control")
        return cls(folder, name) if all(os.access(folder / file, os.W_OK) for file in files) else None

    def processes(self) -> frozenset[int]:
        """Those directly in it; 0 is any that this process's PID namespace does not have."""
        return frozenset(map(int, (self.folder / "cgroup.procs").read_text().split()))

    @property
    def is_machines_top(self) -> bool:
        """Whether it is above all others, and so may have processes and pass its controllers on. That one alone has no
        events."""
        return not (self.folder / "cgroup.events").exists()

    def has_others(self, first: int) -> bool:
        """Whether there are processes in it other than `first` and those that it has started."""
        return any(not _descends(process, first) for process in self.processes())

    def passed(self) -> frozenset[str]:
        """The controllers that cgroups below have."""
        return frozenset((self.folder / "cgroup.subtree_control").read_text().split())

    def offered(self) -> frozenset[str]:
        """The controllers that it could pass on."""
        return frozenset((self.folder / "cgroup.controllers").read_text().split())


def settle(first: int, root: Path = ROOT, membership: Path = MEMBERSHIP) -> None:
    """Makes the delegated cgroup pass its controllers on, if there is one with no processes but `first` and its like.
    What the kernel refuses stays as it was. For root it is the top of its cgroup namespace, if bakepy is in that: root
    could write to any other, too, but nobody gave it to bakepy."""
    delegated = Delegated.find(root, membership)
    if delegated is None:
        return
    if os.geteuid() == 0 and (delegated.name or delegated.is_machines_top):
        return
    own = delegated.folder / OWN / "cgroup.procs"
    with contextlib.suppress(OSError):
        for _ in range(_PASSES):
            if not (there := delegated.processes()) or delegated.has_others(first):
                break
            own.parent.mkdir(exist_ok=True)
            for process in there:
                with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                    own.write_text(str(process))
        for controller in sorted(delegated.offered() - delegated.passed()) if own.exists() else ():
            with contextlib.suppress(OSError):
                (delegated.folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _descends(process: int, first: int) -> bool:
    while process > 1 and process != first:
        try:
            process = int(Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            return True  # it has ended: it is in nobody's way
    return process == first
