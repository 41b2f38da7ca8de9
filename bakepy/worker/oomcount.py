"""Whether the kernel ended a process of one limited container for lack of memory.

Runtimes remove a container's cgroup, and its counters with it, before they end. So the container gets a cgroup inside
of one that is ours. Version 2 counts there what happens below (memory.events). Version 1 counts only where the victim
is (memory.oom_control), but tells by eventfd where the limit is that was reached: that one is then ours as well.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Mapping
from pathlib import Path

from bakepy.worker.cgroups import Cgroups

INSIDE = "step"
"""The container's cgroup in ours."""

_FILES = {"limit": "memory.limit_in_bytes", "swap": "memory.memsw.limit_in_bytes"}


class OomCount:
    """Watches one container's memory. Close it when the container is gone."""

    def __init__(self, folders: tuple[Path, ...], events: Path | None, signalled: int) -> None:
        self._folders = folders
        self._events = events
        self._signalled = signalled

    @classmethod
    def begin(cls, cgroups: Cgroups, token: str, id: str, limits: Mapping[str, int]) -> OomCount | None:
        """Makes the cgroup that the container's will be in, before that is made. `limits` are `limit` and `swap` of
        the runtime spec. None if the kernel does not let us."""
        folders = tuple(hierarchy / "bakepy" / token / id for hierarchy in cgroups.hierarchies)
        if cgroups.kind == "unified":
            try:
                folders[0].mkdir(parents=True)
            except OSError:
                return None
            # the runtime passes the controller on to here
            return cls(folders, folders[0] / "memory.events", -1)
        own = next((path for path in folders if (path.parents[2] / "memory.oom_control").exists()), None)
        if cgroups.kind != "legacy" or own is None:
            return None
        count = cls(folders, None, os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
        try:
            own.mkdir(parents=True)
            for name, file in _FILES.items():
                if limits.get(name):
                    (own / file).write_text(str(limits[name]))
            with (own / "memory.oom_control").open("rb") as control:
                (own / "cgroup.event_control").write_text(f"{count._signalled} {control.fileno()}")
        except OSError:
            count.close()
            return None
        return count

    def inner(self, limits: Mapping[str, int]) -> dict[str, int]:
        """The limits for the container's own cgroup, so that ours is reached first (version 1)."""
        if self._signalled < 0:
            return dict(limits)
        return {name: value + mmap.PAGESIZE if value > 0 else value for name, value in limits.items()}

    def killed(self) -> bool:
        """Whether there was a kill."""
        if self._events is None:
            with contextlib.suppress(BlockingIOError):
                return os.eventfd_read(self._signalled) > 0
            return False
        with contextlib.suppress(OSError):  # the controller did not come down to here
            for line in self._events.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1]) > 0
        return False

    def close(self) -> None:
        """Removes what is empty of the cgroups."""
        for folder in self._folders:
            for path in (folder / INSIDE, folder):
                with contextlib.suppress(OSError):
                    path.rmdir()
        if self._signalled >= 0:
            os.close(self._signalled)
            self._signalled = -1
