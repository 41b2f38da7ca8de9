"""How much memory there is to build with, and whether it is short at the moment: of the machine, or of the cgroup that
this process is in, whichever has less. Sources: proc(5), Documentation/accounting/psi.rst, cgroups(7).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

_LOOK_SECONDS = 0.1
"""How long an answer holds: looking costs some system calls."""
_STALLED_PERCENT = 10.0
"""Short if in the last ten seconds no process could go on for so much of the time, because all waited for memory."""
_FREE_PART = 0.04
"""Short if less than this part of the memory could be had without swapping."""


class Memory:
    """The memory of this process's surroundings. `root` is where /proc and /sys are."""

    def __init__(self, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic) -> None:
        self._proc = root / "proc"
        self._groups = tuple(_groups(root))
        self._clock = clock
        self._until = 0.0
        self._short = False

    def total(self) -> int:
        """Bytes that there are for all processes here; 0 if nothing tells."""
        machine = self._machine().get("MemTotal", 0)
        limits = [limit for group in self._groups if (limit := group.limit()) is not None]
        return min([machine, *limits]) if machine else min(limits, default=0)

    def is_short(self) -> bool:
        """Whether nothing more should begin now. Cheap: looks ten times a second at most."""
        now = self._clock()
        if now >= self._until:
            self._until = now + _LOOK_SECONDS
            self._short = self._look()
        return self._short

    def _look(self) -> bool:
        if _stalled(self._proc / "pressure/memory") >= _STALLED_PERCENT:
            return True
        machine = self._machine()
        total = machine.get("MemTotal", 0)
        if machine.get("MemAvailable", total) < total * _FREE_PART:
            return True
        return any(group.is_short() for group in self._groups)

    def _machine(self) -> dict[str, int]:
        """/proc/meminfo in bytes."""
        found = {}
        for line in _lines(self._proc / "meminfo"):
            name, _, rest = line.partition(":")
            words = rest.split()
            if words and words[0].isdecimal():
                found[name] = int(words[0]) * 1024
        return found


class _Group:
    """A cgroup with its files for the limit, for what is used, and for how much of that could be dropped."""

    def __init__(self, folder: Path, limit: str, used: str, droppable: str) -> None:
        self._folder = folder
        self._limit = limit
        self._used = used
        self._droppable = droppable

    def limit(self) -> int | None:
        return _number(self._folder / self._limit)

    def is_short(self) -> bool:
        limit, used = self.limit(), _number(self._folder / self._used)
        if limit is None or used is None:
            return False
        if _stalled(self._folder / "memory.pressure") >= _STALLED_PERCENT:
            return True
        for line in _lines(self._folder / "memory.stat"):
            name, _, number = line.partition(" ")
            if name == self._droppable and number.isdecimal():
                used -= int(number)
        return limit - used < limit * _FREE_PART


def _groups(root: Path) -> Iterator[_Group]:
    """The memory cgroups that this process is in, of both versions, up to the top; those that say nothing give None."""
    top = root / "sys/fs/cgroup"
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _upwards(top, path):
                yield _Group(folder, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            for folder in _upwards(top / "memory", path):
                yield _Group(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _upwards(top: Path, path: str) -> Iterator[Path]:
    folder = top / path.strip("/")
    while True:
        yield folder
        if folder == top or top not in folder.parents:
            return
        folder = folder.parent


def _number(path: Path) -> int | None:
    """The number in a file; None for `max` and for what is not there."""
    text = "".join(_lines(path)[:1]).strip()
    return int(text) if text.isdecimal() else None


def _stalled(path: Path) -> float:
    """Percent of the last ten seconds in which all that could have run waited for memory."""
    for line in _lines(path):
        words = line.split()
        if words[:1] == ["full"]:
            return next((float(word[6:]) for word in words if word.startswith("avg10=")), 0.0)
    return 0.0


def _lines(path: Path) -> list[str]:
    """None of these files must be there: kernels and containers differ."""
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError):
        return []
