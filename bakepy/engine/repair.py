"""Looking through a state root for what is broken, and taking it away with all that depends on it.

Nothing in a state root is unique: what is taken away is pulled or made again when a build needs it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bakepy.content.compression import Compression
from bakepy.content.database import DamagedDatabase, Database
from bakepy.content.layer import write_layer
from bakepy.content.store import ContentStore
from bakepy.engine.root import forget_about, put_aside
from bakepy.errors import BakeError
from bakepy.exporter.layers import as_written
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass
from bakepy.snapshot.census import Census, Entry, discard, tree_size
from bakepy.snapshot.comparison import same_as_layer, written_later
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.tree import remove_tree

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


def check_contents(root: Path, database: Database, snapshots: SnapshotStore, *, deep: bool = False) -> Iterator[Repair]:
    """Trees, their files, records, blobs and leftovers. The caller has the root alone. Files are looked at by their
    times; `deep` compares their bytes, too."""
    name = lambda: snapshots.scratch.name("repaired")  # noqa: E731
    census = Census(root, database, forget_about(database))
    yield _trees(census, name)
    yield _files(census, database, name)
    blobs = _blobs(ContentStore(root))
    if deep:
        yield _bytes(root, census, database, snapshots)
    yield _records(database)
    yield blobs
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


def _files(census: Census, database: Database, name: Callable[[], Path]) -> Repair:
    there = [entry for entry in census.entries().values() if not entry.lazy]
    changed: dict[str, str] = {}
    for entry in there:
        if path := written_later(census.path(entry)):
            changed[entry.id] = os.fsdecode(path)
    if not changed:
        return Repair("files", f"those of {len(there)} trees are not younger than their trees")
    done = _give_up(census, database, changed, name)
    first = next(iter(changed.values()))
    return Repair("files", f"{len(changed)} of {len(there)} trees were written to afterwards: {first}", done)


def _bytes(root: Path, census: Census, database: Database, snapshots: SnapshotStore) -> Repair:
    content, differing, compared, unknown = ContentStore(root), [], 0, 0
    for entry in census.entries().values():
        if entry.lazy:
            continue
        same = _is_same(entry, census, database, snapshots, content)
        compared += same is not None
        unknown += same is None
        if same is False:
            differing.append(entry.id)
    found = f"those of {compared} trees compared with their layers"
    found += f" ({unknown} have none to compare with)" if unknown else ""
    if not differing:
        return Repair("bytes", found)
    done = _give_up(census, database, differing, lambda: snapshots.scratch.name("repaired"))
    return Repair("bytes", f"{found}; {len(differing)} are others", done)


def _is_same(
    entry: Entry, census: Census, database: Database, snapshots: SnapshotStore, content: ContentStore
) -> bool | None:
    """Whether a tree is what its layer says; None if there is no layer to compare with."""
    snapshot = snapshots.find(entry.id)
    if snapshot is None or snapshots.folder(entry.id) is None:
        return None
    scratch = snapshots.scratch.new("compared")
    try:
        if snapshot.layer is not None:
            if not content.holds(snapshot.layer.descriptor):
                return None
            return same_as_layer(census.path(entry) / "fs", snapshot, content, scratch)
        rows = database.query("SELECT compression, diff_id FROM snapshot_layer WHERE id = ? LIMIT 1", entry.id)
        if not rows:
            return None
        key, diff_id = rows[0]
        entries = as_written(snapshots.changes(entry.id), key)
        made = write_layer(entries, ContentStore(scratch), compression=Compression("uncompressed"))
        return made.diff_id == Digest(diff_id)
    except BakeError:  # it can not be read
        return False
    finally:
        remove_tree(scratch)


def _give_up(census: Census, database: Database, ids: Collection[str], name: Callable[[], Path]) -> str:
    """Drops trees and what was made on top of them; layers of images are unpacked again."""
    entries = census.entries()
    images = [id for id in ids if entries[id].image]
    above = [entry.id for entry in entries.values() if not entry.image and _is_on(entry, set(images), entries)]
    dropped = census.drop([*(id for id in ids if not entries[id].image), *above], name)
    forget_about(database)(images)
    census.make_lazy(images)
    for id in images:
        discard(census.path(entries[id]), name())
    done = [f"{len(images)} layers of images are to be unpacked again"] if images else []
    done += [f"{dropped} dropped, to be made again"] if dropped else []
    return "; ".join(done)


def _is_on(entry: Entry, lower: set[str], entries: Mapping[str, Entry]) -> bool:
    at: Entry | None = entry
    while at is not None and at.id not in lower:
        at = entries.get(at.parent) if at.parent is not None else None
    return at is not None


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
    paths = sorted((content.root / "blobs").glob("*/*"))
    size = sum(path.lstat().st_size for path in paths if not path.is_dir())

    def sound(path: Path) -> bool:
        try:
            digest = Digest(f"{path.parent.name}:{path.name}")
        except ValueError:  # no digest that anybody could ask for
            remove_tree(path)
            return False
        if not (whole := content.verified(digest)):
            content.delete(digest)  # a link to nowhere
        return whole

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
