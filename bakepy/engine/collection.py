"""Garbage collection after runs: a state root that would fill its disk becomes smaller by itself.

The limits are BuildKit's defaults (`DetectDefaultGCCap`): at most 80 % of the disk and 100 GB, a fifth of the disk
stays free, but 10 % of it (at most 10 GB) is kept whatever the others take. What was unused for longest goes first;
images that were kept by name stay. Why and how: docs/decisions/collection.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bakepy.content.database import Database
from bakepy.content.store import ContentStore
from bakepy.engine.root import Use, remove_cgroups
from bakepy.errors import UsageError
from bakepy.model.size import parse_size
from bakepy.model.value import dataclass
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot

if TYPE_CHECKING:
    from bakepy.engine.upkeep import Stock, Tally

KEEP = "BAKEPY_KEEP_STORAGE"
OFF = "off"
_MARK = "collected"
_EVERY_SECONDS = 3600.0
_GB = 10**9


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes of the file system of a state root."""

    total: int
    free: int

    @classmethod
    def of(cls, root: Path) -> Disk:
        facts = os.statvfs(root)
        return cls(facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes: what a root may hold, what is to be free on its disk, and what it may hold even so."""

    held: int
    free: int = 0
    kept: int = 0

    @classmethod
    def chosen(cls, environment: Mapping[str, str], disk: Disk) -> Limits | None:
        """Those of BAKEPY_KEEP_STORAGE, or the default ones; None: there are none. UsageError."""
        text = environment.get(KEEP, "")
        if text == OFF:
            return None
        if text:
            try:
                return cls(parse_size(text))
            except ValueError:
                raise UsageError(f"{KEEP}: '{text}' is no size", hint=f"write 10g, 500m or {OFF}") from None
        return cls(min(disk.total * 80 // 100, 100 * _GB), disk.total // 5, min(disk.total // 10, 10 * _GB))

    def keep(self, held: int, disk: Disk) -> int:
        """How much of what is held may stay."""
        too_much = max(held - self.held, self.free - disk.free, 0)
        return max(held - too_much, min(held, self.kept))

    def may_be_exceeded(self, disk: Disk) -> bool:
        """False: there is nothing to do, however much of the disk is the root's."""
        return disk.total - disk.free > self.held or disk.free < self.free


def check(environment: Mapping[str, str]) -> None:
    """Raises UsageError for a limit that can not be read."""
    Limits.chosen(environment, Disk(0, 0))


def collect(root: Path, environment: Mapping[str, str], *, clock: float | None = None) -> tuple[Tally, int] | None:
    """What was taken away, of how many bytes; None if there was nothing to do: the limits hold, the last look was less
    than an hour ago, or somebody uses the root. Blocks. UsageError for a limit that can not be read."""
    now = time.time() if clock is None else clock
    disk = Disk.of(root)
    limits = Limits.chosen(environment, disk)
    mark = root / _MARK
    if limits is None or not limits.may_be_exceeded(disk):
        return None
    if mark.exists() and 0 <= now - mark.stat().st_mtime < _EVERY_SECONDS:
        return None
    with Use(root) as use:
        if not use.alone():
            return None
        mark.touch()
        os.utime(mark, (now, now))
        from bakepy.engine.upkeep import IMAGE, carry_out, choose  # late: most runs end above

        with opened(root) as (stock, snapshots):
            held = stock.total
            keep = limits.keep(held, disk)
            if keep >= held:
                return None
            chosen = choose(stock, keep=keep, spared=frozenset({IMAGE}))
            return carry_out(stock, chosen, lambda: snapshots.scratch.name("collected")), held


@contextmanager
def opened(root: Path) -> Iterator[tuple[Stock, SnapshotStore]]:
    """What is in a root that is locked already, and the store whose scratch folder takes what goes."""
    with (
        Database(root / "state.db") as database,
        SnapshotStore(root, database, ContentStore(root), _no_fetch) as snapshots,
    ):
        from bakepy.engine.upkeep import Stock

        remove_cgroups(snapshots.scratch.swept)
        yield Stock(root, database), snapshots


async def _no_fetch(snapshot: Snapshot, origin: str) -> None:
    raise AssertionError(f"nothing is pulled to be removed: {snapshot.id}")
