"""Digests of a user's files, remembered by what stat says: an unchanged file is never read twice.

A file is taken for unchanged when device, inode, size, modification and change time are as they were. Nobody can set
the change time, but clocks tick: a file that changed just before it was read could change again within the same tick,
so digests of very young files are used but not remembered (git calls such entries racily clean). A tree with many files
is remembered as a whole as well: then it is enough to look at it.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence

from bakepy.content.database import Database
from bakepy.snapshot.filetree import Node

_TICK_NS = 100_000_000
"""Longer than the tick of any kernel's file times."""
_SECOND_NS = 2_100_000_000
"""File systems that keep whole seconds only, or two of them (FAT)."""


class StatIndex:
    """The table of one state database. Any thread may use it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(
            "CREATE TABLE IF NOT EXISTS local_files (device INTEGER, inode INTEGER, size INTEGER, mtime_ns INTEGER,"
            " ctime_ns INTEGER, sha256 BLOB, PRIMARY KEY (device, inode)) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS local_trees (asked BLOB PRIMARY KEY, facts BLOB, digest TEXT) WITHOUT ROWID",
        )

    def look_up(self, nodes: Sequence[Node]) -> list[bytes | None]:
        """What is remembered of each of `nodes`; one query for each device."""
        by_device: dict[int, list[int]] = defaultdict(list)
        for node in nodes:
            by_device[node.device].append(node.inode)
        known: dict[int, dict[int, tuple[int, int, int, int, bytes]]] = {}
        for device, inodes in by_device.items():
            rows = self._database.query(
                "SELECT inode, size, mtime_ns, ctime_ns, sha256 FROM local_files"
                " WHERE device = ? AND inode IN (SELECT value FROM json_each(?))",
                _signed(device),
                json.dumps([_signed(inode) for inode in inodes]),
            )
            known[device] = {row[0]: row for row in rows}
        return [_unchanged(node, known[node.device].get(_signed(node.inode))) for node in nodes]

    def remember(self, found: Sequence[tuple[Node, bytes]], now: int) -> None:
        """Keeps the digests of nodes that were old enough to trust their times at `now` (ns), before they were read."""
        rows = [
            (_signed(node.device), _signed(node.inode), node.size, node.mtime_ns, node.ctime_ns, sha256)
            for node, sha256 in found
            if is_settled(node, now)
        ]
        if rows:
            # in the order of the table, so that its pages fill one after the other
            rows.sort()
            self._database.execute_many("INSERT OR REPLACE INTO local_files VALUES (?, ?, ?, ?, ?, ?)", rows)

    def tree(self, asked: str, facts: bytes) -> str | None:
        """The digest that `remember_tree` was told for the same."""
        rows = self._database.query(
            "SELECT digest FROM local_trees WHERE asked = ? AND facts = ?", _tree_key(asked), facts
        )
        return str(rows[0][0]) if rows else None

    def remember_tree(self, asked: str, facts: bytes, digest: str) -> None:
        """Keeps the digest of a tree, or of a part of it: `asked` says which one, `facts` is all that stat said of it.
        It replaces what was asked for in the same words before."""
        self._database.execute("INSERT OR REPLACE INTO local_trees VALUES (?, ?, ?)", _tree_key(asked), facts, digest)


def _tree_key(asked: str) -> bytes:
    return hashlib.sha256(f"{_TREES}\n{asked}".encode("utf-8", "surrogateescape")).digest()


_TREES = 1
"""Changes when the digests of trees do."""


def _unchanged(node: Node, row: tuple[int, int, int, int, bytes] | None) -> bytes | None:
    if row is None or row[1] != node.size or row[2] != node.mtime_ns or row[3] != node.ctime_ns:
        return None
    return row[4]


def is_settled(node: Node, now: int) -> bool:
    """Whether a node that changed as its facts say could not change again, at `now` (ns), without other facts."""
    changed = max(node.ctime_ns, node.mtime_ns)
    return changed + (_SECOND_NS if node.ctime_ns % 1_000_000_000 == 0 else _TICK_NS) < now


def _signed(number: int) -> int:
    """SQLite's integers have 63 bits and a sign; some file systems use all 64 for inodes."""
    return number - (1 << 64) if number >= 1 << 63 else number
