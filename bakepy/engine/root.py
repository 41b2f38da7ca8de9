"""The state root: one folder, ours, writable; who uses it at the moment; and what a crash may have made of it."""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from bakepy.content.database import DamagedDatabase, Database, damage_mark
from bakepy.errors import EngineError
from bakepy.snapshot.census import Census, Entry

_HINT = "choose another with --root or BAKEPY_ROOT"
_ABOUT_SNAPSHOTS = (("content_digests", "snapshot"), ("file_digests", "snapshot"), ("exporter_dates", "snapshot"))
"""Tables (and their column) of other rooms that know something of a snapshot."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_WRITEBACK = Path("/proc/sys/vm")
_MARGIN_SECONDS = 60.0


def open_root(root: Path) -> None:
    """Makes the folder if it is not there. Raises EngineError if it can not be used: not writable, not a folder, or
    begun by another user, or of a name that other programs can not take."""
    _check_name(os.fsencode(root.absolute()))
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o755)
        state = root / "state.db"
        owner = state.stat().st_uid if state.exists() else os.geteuid()
    except OSError as error:
        raise EngineError(f"state root {root}: {(error.strerror or str(error)).lower()}", hint=_HINT) from error
    if owner != os.geteuid():
        raise EngineError(f"state root {root} belongs to user {owner}, this is user {os.geteuid()}", hint=_HINT)
    if not os.access(root, os.W_OK | os.X_OK):
        raise EngineError(f"state root {root} is not writable", hint=_HINT)


def _check_name(name: bytes) -> None:
    shown = name.decode(errors="backslashreplace")
    if len(name) > _LONGEST_NAME:
        raise EngineError(
            f"state root {shown[:40]}…: its path has {len(name)} bytes, the database takes {_LONGEST_NAME}", hint=_HINT
        )
    try:
        name.decode()
    except UnicodeDecodeError:
        raise EngineError(
            f"state root {shown}: its path is not UTF-8, which the OCI runtime could not be told", hint=_HINT
        ) from None


_LONGEST_NAME = 490
"""SQLite's own limit is 512 with the names of its files (MAX_PATHNAME)."""

_LOCK = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC


class Use:
    """Who uses a state root: builds share it, what takes things away has it alone. Ends with the process."""

    def __init__(self, root: Path) -> None:
        self._root = root
        try:
            try:
                self._file = os.open(root / "use.lock", _LOCK, 0o644)
            except IsADirectoryError:  # nothing of ours makes one
                (root / "use.lock").rmdir()
                self._file = os.open(root / "use.lock", _LOCK, 0o644)
        except OSError as error:
            raise EngineError(
                f"state root {root}: can not lock it: {(error.strerror or str(error)).lower()}", hint=_HINT
            ) from error

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Use:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def share(self, *, wait: bool = True) -> bool:
        """From now on as a build. Blocks while somebody has it alone; without `wait`, False then."""
        return self._lock(fcntl.LOCK_SH, wait)

    def alone(self, *, wait: bool = False) -> bool:
        """From now on alone, if nobody else uses it (or, with `wait`, when nobody does)."""
        return self._lock(fcntl.LOCK_EX, wait)

    def _lock(self, kind: int, wait: bool) -> bool:
        try:
            fcntl.flock(self._file, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def open_database(root: Path, use: Use, told: Callable[[str], None]) -> Database:
    """The database of a root that is shared already. One that is damaged is put aside and begun anew, which `told`
    hears of; EngineError if others are using it."""
    path = root / "state.db"
    if not damage_mark(path).exists():
        try:
            return Database(path)
        except DamagedDatabase:
            pass
    if not use.alone():
        use.share()
        raise EngineError(
            f"state database {path} is damaged, and another bakepy is using it",
            hint="when that one has ended, run again: it is put aside then, and a new one is begun",
        )
    try:
        aside = put_aside(root)
        database = Database(path)
    finally:
        use.share()
    told(f"the state database was damaged: it is {aside} now, and what it knew is made anew")
    return database


def put_aside(root: Path) -> Path:
    """Gives a damaged database another name, and its snapshots to the sweeper of temporary folders: without it nobody
    knows what they are. Blobs stay: they have their digests. The caller must be alone."""
    path = root / "state.db"
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(2).hex()}")
    try:
        (root / "tmp").mkdir(exist_ok=True)
        if (root / "snapshots").exists():
            (root / "snapshots").rename(root / "tmp" / f"lost-{os.urandom(6).hex()}")
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        if path.exists():
            path.rename(aside)
        damage_mark(path).unlink(missing_ok=True)
    except OSError as error:
        raise EngineError(
            f"state database {path} is damaged and can not be put aside: {(error.strerror or str(error)).lower()}",
            hint=f"remove the state root {root}, nothing in it is unique",
        ) from error
    return aside


def remove_cgroups(swept: Collection[str]) -> None:
    """Of the dead bakes whose temporary folders were swept (`Scratch.swept`): their names are known only now."""
    if swept:
        from bakepy.worker.cgroups import Cgroups  # late: hardly ever needed

        Cgroups.detect().remove(swept)


def forget_about(database: Database) -> Callable[[Collection[str]], None]:
    """Removes what all rooms know of snapshots that are no more; for `Census`."""

    def forget(ids: Collection[str]) -> None:
        for table, column in _ABOUT_SNAPSHOTS:
            if database.query("SELECT 1 FROM sqlite_master WHERE name = ?", table):
                database.execute_many(f"DELETE FROM {table} WHERE {column} = ?", [(id,) for id in ids])

    return forget


# ---- power cuts

_BOOTS = "CREATE TABLE IF NOT EXISTS boots (boot TEXT NOT NULL, place TEXT NOT NULL)"


def distrust_unflushed(
    root: Path,
    database: Database,
    census: Census,
    name: Callable[[], Path],
    *,
    boot_id: Path = _BOOT_ID,
    writeback: Path = _WRITEBACK,
) -> int:
    """Gives up what a power cut may have left half on the disk; returns how many snapshots.

    Nothing of a snapshot is flushed when it is made: the kernel does that within a time that it tells. If the machine
    was started since this root was used last, what was made within that time before the last of it is made anew. A
    root that was copied here was read whole, and is trusted. `name` gives unused paths, as for `Census.drop`.
    """
    try:
        now = (boot_id.read_text().strip(), f"{root.stat().st_ino} {database.path.stat().st_ino}")
    except OSError:
        return 0
    database.create(_BOOTS)
    if database.query("SELECT boot, place FROM boots") == [now]:
        return 0
    with database.transaction():
        before = database.query("SELECT boot, place FROM boots")  # another process may have been here
        doomed = []
        if before and before[0][0] != now[0] and before[0][1] == now[1]:
            doomed = _young(census, _flush_seconds(writeback))
            census.make_lazy([entry.id for entry in doomed if entry.image])
            census.drop([entry.id for entry in doomed if not entry.image], name)
        database.execute("DELETE FROM boots")
        database.execute("INSERT INTO boots VALUES (?, ?)", *now)
    return len(doomed)


def _young(census: Census, seconds: float) -> list[Entry]:
    """Snapshots whose folders got their names within `seconds` before the last of them."""
    times: dict[str, float] = {}
    entries = census.entries()
    for entry in entries.values():
        if not entry.lazy:
            with suppress(FileNotFoundError):
                times[entry.id] = census.path(entry).stat().st_ctime
    since = max(times.values(), default=0.0) - seconds
    return [entries[id] for id, time in times.items() if time >= since]


def _flush_seconds(folder: Path) -> float:
    """How long dirty pages may wait, twice, and a margin. Without periodic flushing nothing is ever safe."""
    try:
        expire, period = (int((folder / f"dirty_{name}_centisecs").read_text()) for name in ("expire", "writeback"))
    except (OSError, ValueError):
        return math.inf
    return 2 * (expire + period) / 100 + _MARGIN_SECONDS if period else math.inf
