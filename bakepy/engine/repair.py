"""Looking through a state root for what is broken, and taking it away with all that depends on it.

Nothing in a state root is unique: what is taken away is pulled or made again when a build needs it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bakepy.content.database import DamagedDatabase, Database
from bakepy.content.store import ContentStore
from bakepy.engine.root import forget_about, put_aside
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass
from bakepy.snapshot.census import Census, discard, tree_size

_READERS = 4


@dataclass(frozen=True, slots=True)
class Repair:
    """One kind of damage: what was found, and what was done about it. Empty `done`: all is well."""

    name: str
    found: str
    done: str = ""

    def to_json(self) -> dict[str, str]:
        return {"name": self.name, "found": self.found, "done": self.done}


def check_folders(root: Path) -> Repair:
    """The folders of a root must be ours to write to, whatever somebody did to their modes."""
    mended = []
    for path in (root, *(root / name for name in ("blobs", "blobs/sha256", "ingest", "snapshots", "tmp"))):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except FileNotFoundError:
            continue
        if path.stat().st_uid == os.geteuid() and mode & 0o700 != 0o700:
            path.chmod(mode | 0o700)
            mended.append(str(path))
    if mended:
        return Repair("folders", f"not writable: {', '.join(mended)}", "made writable")
    return Repair("folders", "writable")


def check_database(root: Path) -> Repair:
    """All pages of the database, its indexes included. Blocks."""
    if not (root / "state.db").exists():
        return Repair("database", "none yet")
    problem = ""
    try:
        with Database(root / "state.db") as database:
            rows = database.query("PRAGMA integrity_check(1)")
            problem = "" if rows == [("ok",)] else str(rows[0][0]).splitlines()[0]
    except DamagedDatabase as error:
        problem = error.what.rpartition(": ")[2]
    if problem:
        return Repair("database", f"damaged: {problem}", f"put aside as {put_aside(root).name}; a new one is begun")
    return Repair("database", "sound")


def check_contents(root: Path, database: Database, name: Callable[[], Path]) -> Iterator[Repair]:
    """Trees, records, blobs and leftovers. The caller has the root alone; `name` gives unused paths in it."""
    census = Census(root, database, forget_about(database))
    yield _trees(census, name)
    yield _records(database)
    yield _blobs(ContentStore(root))
    yield _leftovers(root, census, name)


def _trees(census: Census, name: Callable[[], Path]) -> Repair:
    entries = census.entries()
    lost, bad = census.broken(entries)
    census.make_lazy([entry.id for entry in lost])
    dropped = census.drop([entry.id for entry in bad], name)
    # the database may have been put aside with a folder of trees that are nobody's now: they are leftovers
    there = f"{len(entries) - len(lost) - dropped} of {len(entries)} are there"
    done = [f"{len(lost)} layers of images are to be unpacked again"] if lost else []
    done += [f"{dropped} dropped, to be made again"] if dropped else []
    return Repair("trees", there, "; ".join(done))


def _records(database: Database) -> Repair:
    tables = {name for (name,) in database.query("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "records" not in tables:
        return Repair("records", "none")
    trees = {id for (id,) in database.query("SELECT id FROM snapshot")}
    rows = database.query("SELECT id, results FROM records")
    broken = [id for id, results in rows if not _names_trees(results, trees)]
    with database.transaction():
        database.execute_many("DELETE FROM records WHERE id = ?", [(id,) for id in broken])
        database.execute("DELETE FROM keys WHERE record NOT IN (SELECT id FROM records)")
        for table in ("content_digests", "file_digests", "exporter_dates"):
            if table in tables:
                database.execute(f"DELETE FROM {table} WHERE snapshot NOT IN (SELECT id FROM snapshot)")
        database.execute("DELETE FROM snapshot_layer WHERE id NOT IN (SELECT id FROM snapshot)")
    found = f"{len(rows) - len(broken)} of {len(rows)} have their trees"
    return Repair("records", found, f"{len(broken)} dropped" if broken else "")


def _names_trees(results: str, trees: set[str]) -> bool:
    try:
        named = [snapshot for _, snapshot in map(json.loads, json.loads(results))]
    except (ValueError, TypeError):
        return False
    return all(snapshot is None or snapshot in trees for snapshot in named)


def _blobs(content: ContentStore) -> Repair:
    paths = [path for path in sorted((content.root / "blobs").glob("*/*")) if path.is_file()]
    size = sum(path.stat().st_size for path in paths)

    def sound(path: Path) -> bool:
        try:
            return content.verified(Digest(f"{path.parent.name}:{path.name}"))
        except ValueError:  # no digest that anybody could ask for
            path.unlink()
            return False

    with ThreadPoolExecutor(_READERS) as threads:
        damaged = len(paths) - sum(threads.map(sound, paths))
    found = f"{len(paths) - damaged} of {len(paths)} are what their names say ({size / 1e6:.1f} MB)"
    return Repair("blobs", found, f"{damaged} removed, to be pulled or written again" if damaged else "")


def _leftovers(root: Path, census: Census, name: Callable[[], Path]) -> Repair:
    swept = ContentStore(root).sweep()
    freed = 0
    orphans = census.orphans(census.entries().values())
    for path in orphans:
        freed += tree_size(path)
        discard(path, name())
    if count := swept + len(orphans):
        return Repair("leftovers", f"{count} of builds that were killed", f"removed ({freed / 1e6:.1f} MB)")
    return Repair("leftovers", "none")
