"""The cgroups of containers: whether the runtime can make them here, where they go, and their removal.

A container's cgroup is `BASE/bakepy/TOKEN/ID`, or in that one (`oomcount`); TOKEN is the process's folder in the state
root, so that what a killed process left is known and removed by the next of that root. `BASE/bakepy/TOKEN` of one
hierarchy is locked while its process lives, so that any other knows as well. BASE is the top for root. An ordinary user
has cgroups only where version 2 is delegated to it, below there (`delegation`).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from bakepy.model.value import dataclass
from bakepy.snapshot import usernamespace
from bakepy.worker.delegation import MEMBERSHIP, ROOT, Delegated

LIMITS = {"cpus": "cpuset", "mems": "cpuset"}
"""The controllers of those limits of processors that are not `cpu`'s."""

READ_ONLY = "read-only"
"""What `obstacle` says of cgroups that nothing can be made in."""

_ABANDONED_SECONDS = 3600.0
_LEAVING_TRIES = 100

_DEVICES = (
    "c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm",
    "c 5:2 rwm", "c 136:* rwm",
)  # fmt: skip
"""What runtimes let containers do that may use no device: make any, use null, zero, full, random and the terminals."""


@dataclass(frozen=True, slots=True)
class SharedCgroup:
    """A cgroup of version 1 for all containers that need none of their own: it keeps them from devices."""

    folder: Path

    def enter(self) -> None:
        """Moves the calling thread, with what it starts from now on. The kernel may take 10 ms for that, and longer if
        processors are idle. Raises OSError."""
        (self.folder / "tasks").write_text("0")

    def remove(self) -> None:
        """Removes it when the threads in it have ended. If that fails, the next process of the same state root does."""
        for _ in range(_LEAVING_TRIES):
            try:
                self.folder.rmdir()
            except OSError as error:
                if error.errno != errno.EBUSY:
                    return
                time.sleep(0.001)  # Python sees the end of a thread a little sooner than the kernel


@dataclass(frozen=True, slots=True)
class Cgroups:
    """`kind` is `unified` (version 2), `legacy` (version 1), `hybrid` (both, with controllers in both) or `none`.
    `controllers` are those that can limit a container; None: all."""

    kind: str
    hierarchies: tuple[Path, ...]
    base: str = ""
    controllers: frozenset[str] | None = None

    @classmethod
    def detect(cls, root: Path = ROOT, own: Path = MEMBERSHIP, *, restricted: bool | None = None) -> Cgroups:
        """Looks below `root`. `restricted`: this process is not root of the machine (None: find out); `own` tells
        of the cgroup that it is in."""
        if usernamespace.is_inside() if restricted is None else restricted:
            return cls._detect_delegated(root, own)
        if (root / "cgroup.controllers").exists():
            return cls("none" if obstacle(root) else "unified", (root,))
        legacy = tuple(sorted(path.parent for path in root.glob("*/cgroup.procs"))) if root.is_dir() else ()
        unified = root / "unified" / "cgroup.controllers"
        if unified.exists() and unified.read_text().split():
            return cls("hybrid", legacy)
        if any((path / "devices.allow").exists() for path in legacy):
            return cls("legacy", legacy)
        return cls("none", legacy)

    @classmethod
    def _detect_delegated(cls, root: Path, own: Path) -> Cgroups:
        delegated = Delegated.find(root, own)
        # with processes in it a cgroup passes nothing on, and runtimes wait for seconds for it to do so
        if delegated is None or delegated.processes():
            return cls("none", ())
        return cls("unified", (delegated.folder,), delegated.name, delegated.passed())

    def parent(self, token: str) -> str:
        """The parent cgroup of a process's containers, as `cgroupsPath` wants it."""
        return f"{self.base}/bakepy/{token}"

    def share(self, token: str) -> SharedCgroup | None:
        """Makes a process's shared cgroup; None with version 2, where only the runtime can keep devices away."""
        devices = next((path for path in self.hierarchies if (path / "devices.allow").exists()), None)
        if self.kind != "legacy" or devices is None:
            return None
        folder = devices / "bakepy" / token / "shared"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "devices.deny").write_text("a")
            for rule in _DEVICES:
                (folder / "devices.allow").write_text(rule)
        except OSError:
            return None  # the runtime then says what is wrong with this machine's cgroups
        return SharedCgroup(folder)

    def can_limit(self, controller: str) -> bool:
        """Whether containers can be limited by a controller here."""
        return self.kind != "none" and (self.controllers is None or controller in self.controllers)

    def hold(self, token: str) -> int | None:
        """Makes a process's folder in the first hierarchy that allows it and locks it; the descriptor is the lock. None
        where there are no cgroups for us."""
        for hierarchy in self.hierarchies if self.kind != "none" else ():
            folder = hierarchy / "bakepy" / token
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(held, fcntl.LOCK_EX)
                return held
        return None

    def abandoned(self, clock: Callable[[], float] = time.time) -> set[str]:
        """The tokens of dead processes, whatever their state root was: folders that nobody has locked, and that nothing
        was made in for an hour."""
        latest = clock() - _ABANDONED_SECONDS
        found: set[str] = set()
        alive: set[str] = set()
        for hierarchy in self.hierarchies if self.kind != "none" else ():
            for folder in (hierarchy / "bakepy").glob("*/"):
                found.add(folder.name)
                if not _is_abandoned(folder, latest):
                    alive.add(folder.name)
        return found - alive

    def remove(self, tokens: Iterable[str]) -> None:
        """Removes what is left of the cgroups of these processes. A cgroup in use stays."""
        for hierarchy in self.hierarchies:
            for token in tokens:
                folder = hierarchy / "bakepy" / token
                if not folder.is_dir():
                    continue  # nearly always: looking for what is in it would take longer
                for child in (*folder.glob("*/*/"), *folder.glob("*/"), folder):
                    with contextlib.suppress(OSError):  # in use or gone: both are fine
                        child.rmdir()


def obstacle(root: Path = ROOT, *, alone: bool = False) -> str:
    """What keeps root's containers from cgroups of version 2 below `root`, as somebody in a container meets it; empty
    if nothing does. `alone`: this process does not count, as a run in its place would move away from there."""
    top = Delegated(root, "")
    if not os.access(root, os.W_OK):
        return READ_ONLY
    if not top.is_machines_top and (top.has_others(os.getpid()) if alone else top.processes()):
        return "with other processes than bakepy at this container's top"
    return ""


def _is_abandoned(folder: Path, latest: float) -> bool:
    try:
        if folder.stat().st_mtime > latest:
            return False
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return True  # it goes while we look
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
