"""Taking away what a state root no longer needs: by age, by size, or everything.

What can be taken away by itself is an `Item`: the outcome of a step with the trees that only it needs, an image kept
by name, the copies of a cache mount, a repository, a file from the web. Trees, layers and documents go with the last
item that needs them. All this only while no build uses the root; garbage that belongs to nobody goes at any time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bakepy.content.database import Database
from bakepy.content.layout import reachable
from bakepy.content.store import ContentStore
from bakepy.engine.root import forget_about
from bakepy.errors import BakeError
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor, parse_json_object
from bakepy.model.value import dataclass
from bakepy.snapshot.census import Census, Entry, discard, tree_size

STEP, IMAGE, MOUNT, GIT, WEB = "step", "image", "cache mount", "repository", "web file"
_DOCUMENT = 4 << 20
"""Larger blobs are layers: registries take no larger manifests."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be taken away. `used` is when it was used last (seconds), `key` names it among its kind,
    `trees` and `blobs` are what it needs, `size` are the bytes of what is its alone (folders)."""

    kind: str
    key: str
    used: float
    trees: tuple[str, ...] = ()
    blobs: tuple[Digest, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """What was, or would be, taken away: how many of each kind, and bytes."""

    counts: Mapping[str, int]
    bytes: int


class Stock:
    """What is in a state root. Reads everything when it is made; blocks."""

    def __init__(self, root: Path, database: Database) -> None:
        """The tables must be there, as after any build."""
        self.root = root
        self.database = database
        self.content = ContentStore(root)
        self.census = Census(root, database, forget_about(database))
        self.entries = self.census.entries()
        self.tree_sizes = {id: self.census.size(entry) for id, entry in self.entries.items()}
        self.blob_sizes = dict(_blobs(root))
        self.items = tuple(sorted(self._items(), key=lambda item: item.used))

    @property
    def total(self) -> int:
        """Bytes of all trees, blobs and folders."""
        return sum(self.tree_sizes.values()) + sum(self.blob_sizes.values()) + sum(item.size for item in self.items)

    def _items(self) -> Iterator[Item]:
        for id, results, used in self._rows("records", "id, results, used"):
            trees = tuple(snapshot for _, snapshot in map(json.loads, json.loads(results)) if snapshot is not None)
            yield Item(STEP, str(id), used, trees)
        for name, media_type, digest, size in self._rows("exporter_images", "name, media_type, digest, size"):
            blobs = self._reached(Descriptor(media_type, Digest(digest), size))
            yield Item(IMAGE, name, self._written(Digest(digest)), blobs=blobs)
        for request, digest in self._rows("http_file", "request, digest"):
            yield Item(WEB, request, self._written(Digest(digest)), blobs=(Digest(digest),))
        for kind, folder in ((MOUNT, "cachemounts"), (GIT, "git")):
            for path in filter(Path.is_dir, _folders(self.root / folder)):
                yield Item(kind, path.name, _last_use(path), size=tree_size(path))

    def _rows(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        """Rooms make their tables when they are first used."""
        if not self.database.query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table):
            return []
        return self.database.query(f"SELECT {columns} FROM {table}")

    def _written(self, digest: Digest) -> float:
        try:
            return self.content.path(digest).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _reached(self, top: Descriptor) -> tuple[Digest, ...]:
        try:
            return tuple(blob.digest for blob in reachable(self.content, [top]))
        except BakeError:  # part of it is gone: then it keeps nothing else
            return (top.digest,)


class Pruner:
    """Decides what goes, item by item, counting what each sets free."""

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._tree_users: Counter[str] = Counter()
        self._blob_users: Counter[Digest] = Counter()
        for item in stock.items:
            self._tree_users.update(set(item.trees))
            self._blob_users.update(set(item.blobs))
        for entry in stock.entries.values():
            if entry.parent is not None:
                self._tree_users[entry.parent] += 1
            self._blob_users.update(set(entry.blobs))
        self.items: list[Item] = []
        self.trees: list[Entry] = []
        self.freed = 0
        for id in reversed(list(stock.entries)):
            if not self._tree_users[id]:
                self._drop_tree(id)

    def drop(self, item: Item) -> None:
        """This item goes, and what nothing else needs with it."""
        self.items.append(item)
        self.freed += item.size
        for id in set(item.trees):
            self._leave_tree(id)
        for digest in set(item.blobs):
            self._leave_blob(digest)

    def _leave_tree(self, id: str) -> None:
        while id in self._stock.entries:
            self._tree_users[id] -= 1
            if self._tree_users[id] > 0:
                return
            self._take(id)
            parent = self._stock.entries[id].parent
            if parent is None:
                return
            id = parent

    def _drop_tree(self, id: str) -> None:
        self._take(id)
        if (parent := self._stock.entries[id].parent) is not None:
            self._tree_users[parent] -= 1

    def _take(self, id: str) -> None:
        entry = self._stock.entries[id]
        self.trees.append(entry)
        self.freed += self._stock.tree_sizes[id]
        for digest in set(entry.blobs):
            self._leave_blob(digest)

    def _leave_blob(self, digest: Digest) -> None:
        self._blob_users[digest] -= 1
        if not self._blob_users[digest]:
            self.freed += self._stock.blob_sizes.get(digest, 0)

    def unneeded_blobs(self) -> list[Digest]:
        """Blobs that nothing needs any more. A manifest, an index, a config stays as long as a layer does that belongs
        to its image: then a pinned image is known without asking its registry."""
        kept = {digest for digest, users in self._blob_users.items() if users > 0}
        manifests: dict[Digest, tuple[Digest, ...]] = {}
        indexes: dict[Digest, tuple[Digest, ...]] = {}
        for digest, size in self._stock.blob_sizes.items():
            if size <= _DOCUMENT and digest not in kept:
                self._read(digest, manifests, indexes)
        for digest, (config, *layers) in manifests.items():
            if kept.intersection(layers):
                kept.update((digest, config))
        growing = True
        while growing:  # indexes may be inside of indexes
            above = {digest for digest, children in indexes.items() if kept.intersection(children)} - kept
            kept |= above
            growing = bool(above)
        return [digest for digest in self._stock.blob_sizes if digest not in kept]

    def _read(
        self, digest: Digest, manifests: dict[Digest, tuple[Digest, ...]], indexes: dict[Digest, tuple[Digest, ...]]
    ) -> None:
        """Notes what a manifest (its config first) or an index names. Other blobs are layers, configs, web files."""
        try:
            value = parse_json_object(self._stock.content.path(digest).read_bytes())
            if "manifests" in value:
                indexes[digest] = tuple(Digest(entry["digest"]) for entry in value["manifests"])
            elif "layers" in value:
                manifests[digest] = tuple(Digest(entry["digest"]) for entry in (value["config"], *value["layers"]))
        except (OSError, BakeError, KeyError, TypeError):
            return


def choose(
    stock: Stock,
    *,
    older_than: float | None = None,
    keep: int | None = None,
    everything: bool = False,
    spared: frozenset[str] = frozenset(),
) -> Pruner:
    """What goes: items that were used last before `older_than`; of the rest, the longest unused until no more than
    `keep` bytes are left; all with `everything`; none of the kinds `spared`. With none of these only what nothing
    needs."""
    pruner = Pruner(stock)
    total = stock.total
    for item in stock.items:
        if item.kind in spared:
            continue
        old = older_than is not None and item.used < older_than
        large = keep is not None and total - pruner.freed > keep
        if everything or old or large:
            pruner.drop(item)
    return pruner


def carry_out(stock: Stock, pruner: Pruner, name: Callable[[], Path], *, everything: bool = False) -> Tally:
    """Takes away what was chosen, and garbage. The caller has the root alone. `name` gives unused paths in it."""
    database = stock.database
    counts: Counter[str] = Counter(item.kind for item in pruner.items)
    keys = {kind: [item.key for item in pruner.items if item.kind == kind] for kind in counts}
    with database.transaction():
        for id in keys.get(STEP, ()):
            database.execute("DELETE FROM keys WHERE record = ?", int(id))
            database.execute("DELETE FROM records WHERE id = ?", int(id))
        for kind, table, column in ((IMAGE, "exporter_images", "name"), (WEB, "http_file", "request")):
            if kind in keys:
                database.execute_many(f"DELETE FROM {table} WHERE {column} = ?", [(key,) for key in keys[kind]])
    counts["tree"] = stock.census.drop([entry.id for entry in pruner.trees], name)
    blobs = pruner.unneeded_blobs()
    for digest in blobs:
        stock.content.delete(digest)
    counts["blob"] = len(blobs)
    freed = sum(item.size for item in pruner.items) + sum(stock.tree_sizes[entry.id] for entry in pruner.trees)
    freed += sum(stock.blob_sizes[digest] for digest in blobs)
    for kind, folder in ((MOUNT, "cachemounts"), (GIT, "git")):
        for key in keys.get(kind, ()):
            discard(stock.root / folder / key, name())
    for path in stock.census.orphans(stock.census.entries().values()):
        freed += tree_size(path)
        counts["leftover"] += 1
        discard(path, name())
    freed += _leftovers(stock, counts, name)
    _tidy_rows(stock, everything)
    return Tally({kind: number for kind, number in counts.items() if number}, freed)


def _leftovers(stock: Stock, counts: Counter[str], name: Callable[[], Path]) -> int:
    """Files of writers that are dead, and databases that were put aside."""
    freed = 0
    places = [*_folders(stock.root / "ingest"), *stock.root.glob("state.db.damaged-*")]
    sizes = {path: tree_size(path) for path in places}
    stock.content.sweep()
    for path, size in sizes.items():
        if path.name.startswith("state.db.damaged-"):
            discard(path, name())
        if not path.exists():
            counts["leftover"] += 1
            freed += size
    return freed


_STEPS_KEPT = 20_000
_FILES_KEPT = 1_000_000
_TREES_KEPT = 10_000


def _tidy_rows(stock: Stock, everything: bool) -> None:
    """Rows about what is gone; of what only makes things quicker or explains them, no more than is of use."""
    database = stock.database
    tables = {name for (name,) in database.query("SELECT name FROM sqlite_master WHERE type = 'table'")}
    with database.transaction():
        for table in ("content_digests", "file_digests", "exporter_dates"):
            if table in tables:
                database.execute(f"DELETE FROM {table} WHERE snapshot NOT IN (SELECT id FROM snapshot)")
        if "keys" in tables:
            database.execute("DELETE FROM keys WHERE record NOT IN (SELECT id FROM records)")
        if "snapshot_layer" in tables:
            database.execute("DELETE FROM snapshot_layer WHERE id NOT IN (SELECT id FROM snapshot)")
        if "steps" in tables:
            kept = 0 if everything else _STEPS_KEPT
            database.execute(
                "DELETE FROM steps WHERE key NOT IN (SELECT key FROM steps ORDER BY made DESC LIMIT ?)", kept
            )
            database.execute("DELETE FROM durations WHERE op NOT IN (SELECT op FROM steps)")
        for table, most in (("local_files", _FILES_KEPT), ("local_trees", _TREES_KEPT)):
            if table in tables:
                ((count,),) = database.query(f"SELECT count(*) FROM {table}")
                if everything or count > most:
                    database.execute(f"DELETE FROM {table}")
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _blobs(root: Path) -> Iterator[tuple[Digest, int]]:
    for folder in _folders(root / "blobs"):
        for path in _folders(folder):
            try:
                digest, size = Digest.parse(f"{folder.name}:{path.name}"), path.stat().st_size
            except (BakeError, FileNotFoundError):
                continue
            yield digest, size


def _folders(path: Path) -> Sequence[Path]:
    try:
        return sorted(path.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _last_use(path: Path) -> float:
    """Of a folder: the newest time of it, of its copies and of their locks."""
    return max(each.stat().st_mtime for each in (path, *path.glob("*"), *path.glob("*/*")) if each.exists())


def summary(kinds: Iterable[Item]) -> Mapping[str, int]:
    """How many items of each kind."""
    return Counter(item.kind for item in kinds)
