"""Looking after snapshots as a whole: which there are, which have lost their files, which folders belong to none.

What is known of a snapshot goes with it: whoever keeps such facts elsewhere is told by `gone`.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from bakepy.content.database import Database
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass
from bakepy.snapshot.tree import remove_tree

Gone = Callable[[Collection[str]], None]
"""Told of snapshots that are no more, inside of the transaction that removes them."""


def nobody(_: Collection[str]) -> None:
    """There is nothing known elsewhere."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One snapshot as the database has it. `image`: it is a layer of an image, which can be unpacked again."""

    id: str
    parent: str | None
    number: int
    lazy: bool
    image: bool
    blobs: tuple[Digest, ...] = ()
    """Its layer as a blob: as it was pulled, and as it was written for exports."""


class Census:
    """The snapshots below ROOT/snapshots. Methods block; any thread may call them."""

    def __init__(self, root: Path, database: Database, gone: Gone = nobody) -> None:
        """The tables must be there (`SnapshotTable` makes them)."""
        self.folder = root / "snapshots"
        self._database = database
        self._gone = gone

    def entries(self) -> Mapping[str, Entry]:
        """All snapshots by id, parents before what is on top of them (they were made first)."""
        written: dict[str, list[Digest]] = {}
        for id, layer in self._database.query("SELECT id, layer FROM snapshot_layer"):
            written.setdefault(id, []).append(Digest(json.loads(layer)["digest"]))
        rows = self._database.query("SELECT id, parent, number, lazy, layer FROM snapshot ORDER BY number")
        return {
            id: Entry(
                id,
                parent,
                number,
                bool(lazy),
                layer is not None,
                ((Digest(json.loads(layer)["digest"]),) if layer else ()) + tuple(written.get(id, ())),
            )
            for id, parent, number, lazy, layer in rows
        }

    def find(self, id: str) -> Entry | None:
        """One snapshot, without its blobs."""
        rows = self._database.query("SELECT parent, number, lazy, layer IS NOT NULL FROM snapshot WHERE id = ?", id)
        if not rows:
            return None
        parent, number, lazy, image = rows[0]
        return Entry(id, parent, number, bool(lazy), bool(image))

    def path(self, entry: Entry) -> Path:
        return self.folder / str(entry.number)

    def size(self, entry: Entry) -> int:
        """Bytes on disk. Walks the files."""
        return 0 if entry.lazy else tree_size(self.path(entry))

    def orphans(self, entries: Collection[Entry]) -> list[Path]:
        """Folders that no snapshot has: a process was killed before it could say so, or a database was lost."""
        known = {str(entry.number) for entry in entries if not entry.lazy}
        return sorted(path for path in self.folder.iterdir() if path.name not in known)

    def broken(self, entries: Mapping[str, Entry]) -> tuple[list[Entry], list[Entry]]:
        """Snapshots without their files or without a parent, all that is on top of such included: first the layers of
        images (to be unpacked again), then those that only their steps can make again."""
        lost: list[Entry] = []
        bad: dict[str, Entry] = {}
        for entry in entries.values():
            if entry.parent is not None and (entry.parent in bad or entry.parent not in entries):
                bad[entry.id] = entry
            elif not entry.lazy and not (self.path(entry) / "fs").is_dir():
                if entry.image:
                    lost.append(entry)
                else:
                    bad[entry.id] = entry
        return lost, list(bad.values())

    def present(self, id: str, known: set[str], name: Callable[[], Path]) -> bool:
        """Whether a snapshot is there with all below it, and their files. Those that are `known` to be are not looked
        at; what is found to be is added.

        Layers of images that lost their files become lazy again; others are given up, with what is on top of them
        (`drop`).
        """
        seen: list[str] = []
        lost: list[Entry] = []
        at: str | None = id
        while at is not None and at not in known:
            entry = self.find(at)
            if entry is None:
                return False
            if not entry.lazy and not _is_untouched(f"{self.folder}/{entry.number}"):
                lost.append(entry)
            seen.append(at)
            at = entry.parent
        if lost:
            self.make_lazy([entry.id for entry in lost if entry.image])
            made = [entry.id for entry in lost if not entry.image]
            self.drop(made, name)
            if made:
                return False
        known.update(seen)
        return True

    def make_lazy(self, ids: Collection[str]) -> None:
        """Layers of images whose files are gone: they are unpacked again when somebody needs them."""
        with self._database.transaction():
            for id in ids:
                self._database.execute("UPDATE snapshot SET lazy = 1, flat = 0 WHERE id = ? AND layer IS NOT NULL", id)

    def drop(self, ids: Collection[str], name: Callable[[], Path]) -> int:
        """Removes snapshots with all that is on top of them; returns how many. The caller must know that nobody uses
        them. `name` gives unused paths on the same file system, where files go before they are removed."""
        doomed: list[tuple[str, int]] = []
        with self._database.transaction():
            for id in ids:
                doomed += self._database.query(
                    "WITH RECURSIVE above (id, number) AS (SELECT id, number FROM snapshot WHERE id = ?"
                    " UNION SELECT s.id, s.number FROM snapshot s JOIN above ON s.parent = above.id)"
                    " SELECT id, number FROM above",
                    id,
                )
            doomed = list(dict.fromkeys(doomed))
            for id, _ in doomed:
                self._database.execute("DELETE FROM snapshot_layer WHERE id = ?", id)
                self._database.execute("DELETE FROM snapshot WHERE id = ?", id)
            self._gone([id for id, _ in doomed])
        for _, number in doomed:
            discard(self.folder / str(number), name())
        return len(doomed)


def _is_untouched(folder: str) -> bool:
    """Whether a tree is there, and no name at its top was made or taken away since its folder got its place. That makes
    both times of the top younger: one alone may be so in a copy of the state root, or was given by an image."""
    try:
        placed, top = os.stat(folder), os.stat(f"{folder}/fs")  # noqa: PTH116
    except OSError:
        return False
    return stat.S_ISDIR(top.st_mode) and min(top.st_ctime_ns, top.st_mtime_ns) <= placed.st_ctime_ns


def discard(path: Path, aside: Path) -> None:
    """Removes a tree; at once for everybody else."""
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    remove_tree(aside)


def tree_size(path: Path) -> int:
    """Bytes on disk of a file or of all below a folder; files with several names count once, those whose path would be
    too long for the kernel not at all."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for facts in _walk(path):
        if facts.st_nlink > 1 and not stat.S_ISDIR(facts.st_mode):
            if (facts.st_dev, facts.st_ino) in seen:
                continue
            seen.add((facts.st_dev, facts.st_ino))
        total += facts.st_blocks * 512
    return total


_OUT_OF_REACH = (errno.ENOENT, errno.ENAMETOOLONG)
"""It goes while we look, or a step made folders so deep that their path is longer than PATH_MAX."""


def _walk(path: Path) -> Iterator[os.stat_result]:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    yield facts
    if not stat.S_ISDIR(facts.st_mode):
        return
    stack = [os.fsencode(path)]
    while stack:
        try:
            entries = os.scandir(stack.pop())
        except OSError as error:
            if error.errno not in _OUT_OF_REACH:
                raise
            continue
        with entries:
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except OSError as error:
                    if error.errno not in _OUT_OF_REACH:
                        raise
                    continue
                yield facts
                if stat.S_ISDIR(facts.st_mode):
                    stack.append(entry.path)
