"""What the cache key of a file op is made of: its text, and the content of what it copies from each input."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bakepy.content.database import Database
from bakepy.llb.op import NONE, ChownOpt, CopyAction, FileOp, SymlinkAction, UserOpt
from bakepy.model.patterns import has_wildcards
from bakepy.model.value import dataclass
from bakepy.snapshot.contenthash import Selection, digest, hash_files
from bakepy.snapshot.filetree import FileTree, Node, unreadable
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.threads import in_thread
from bakepy.snapshot.xattrs import fingerprint
from bakepy.source.local import hash_fd
from bakepy.worker.ref import LocalRef, Ref


@dataclass(frozen=True, slots=True)
class FileKey:
    """`key` stands for the op without what its `selections` (by input) stand for. An input without selections counts
    as a whole, by its result id."""

    key: str
    selections: dict[int, tuple[Selection, ...]]


def file_key(op: FileOp, inputs: int) -> FileKey:
    """The key of a file op with so many inputs.

    A source path that is selected by content does not count itself: the same files copied from elsewhere, to the same
    place in the same way, are the same step.
    """
    selections: dict[int, list[Selection]] = defaultdict(list)
    whole: set[int] = set()
    texts: list[Any] = []
    for entry in op.actions:
        action = entry.action
        whole.add(entry.input)
        if not isinstance(action, SymlinkAction) and (owner := getattr(action, "owner", None)) is not None:
            for number, file in _account_files(owner):
                selections[number].append(Selection(file, owners=False, contents=False))
        if isinstance(action, CopyAction) and 0 <= entry.secondary_input < inputs:
            selections[entry.secondary_input].append(selection_of(action))
            action = replace(action, src="", include_patterns=(), exclude_patterns=(), required_paths=())
        texts.append([entry.input, entry.secondary_input, entry.output, type(action).__name__, _plain(action)])
    text = json.dumps(["file", texts], separators=(",", ":"))
    kept = {number: tuple(some) for number, some in selections.items() if number not in whole and 0 <= number < inputs}
    return FileKey("sha256:" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(), kept)


def selection_of(action: CopyAction) -> Selection:
    """What a copy takes from its source."""
    return Selection(
        action.src,
        wildcard=action.allow_wildcard and has_wildcards(action.src),
        follow=action.follow_symlink,
        include=action.include_patterns,
        exclude=action.exclude_patterns,
        required=action.required_paths,
        owners=action.owner is None,
        contents=action.dir_copy_contents,
    )


def _account_files(owner: ChownOpt) -> Iterable[tuple[int, str]]:
    for user, file in ((owner.user, "/etc/passwd"), (owner.group, "/etc/group")):
        if isinstance(user, UserOpt) and user.id is None and user.input != NONE:
            yield user.input, file


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


async def content_digest(
    ref: Ref, selections: Sequence[Selection], *, snapshots: SnapshotStore, database: Database
) -> str:
    """The digest of what `selections` take from `ref`. Equal content gives equal digests, in contexts and images.

    Of a snapshot the answer, and the digest of each file read for it, are kept in the database. Raises BuildError for
    a source that is not there.
    """
    if isinstance(ref, LocalRef):
        return await ref.tree.digest(selections)
    memory = _Memory(database, ref.snapshot or "")
    asked = "\n".join(selection.key for selection in selections)
    if (known := await in_thread(lambda stop: memory.find(asked))) is not None:
        return known
    async with snapshots.view(ref.snapshot) as path:
        return await in_thread(lambda stop: memory.compute(path, selections, asked, stop))


class _Memory:
    """Digests of one snapshot's files and of selections from it. A snapshot never changes, so neither do they."""

    def __init__(self, database: Database, snapshot: str) -> None:
        self._database = database
        self._snapshot = snapshot
        database.create(
            "CREATE TABLE IF NOT EXISTS content_digests (snapshot TEXT, selection TEXT, digest TEXT,"
            " PRIMARY KEY (snapshot, selection)) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS file_digests (snapshot TEXT, path BLOB, sha256 BLOB,"
            " PRIMARY KEY (snapshot, path)) WITHOUT ROWID",
        )

    def find(self, selection: str) -> str | None:
        rows = self._database.query(
            "SELECT digest FROM content_digests WHERE snapshot = ? AND selection = ?", self._snapshot, selection
        )
        return str(rows[0][0]) if rows else None

    def compute(self, path: Path, selections: Sequence[Selection], asked: str, stop: threading.Event) -> str:
        tree = FileTree(path)
        files = partial(self._files, tree, stop=stop)
        found = digest(tree, selections, files, lambda path, _: fingerprint(tree.path(path)))
        self._database.execute("INSERT OR REPLACE INTO content_digests VALUES (?, ?, ?)", self._snapshot, asked, found)
        return found

    def _files(self, tree: FileTree, files: Sequence[tuple[bytes, Node]], stop: threading.Event) -> list[bytes]:
        known: dict[bytes, bytes] = {}
        if len(files) == 1:
            rows = self._database.query(
                "SELECT path, sha256 FROM file_digests WHERE snapshot = ? AND path = ?", self._snapshot, files[0][0]
            )
            known.update(rows)
        elif files:
            known.update(
                self._database.query("SELECT path, sha256 FROM file_digests WHERE snapshot = ?", self._snapshot)
            )
        missing = [(path, node) for path, node in files if path not in known]
        threads = min(4, len(os.sched_getaffinity(0)))
        found = hash_files(missing, partial(_hash, tree), threads, stop)
        new = [(path, sha256) for (path, _), sha256 in zip(missing, found, strict=True)]
        if new:
            self._database.execute_many(
                "INSERT OR REPLACE INTO file_digests VALUES (?, ?, ?)",
                [(self._snapshot, path, sha256) for path, sha256 in new],
            )
        known.update(new)
        return [known[path] for path, _ in files]


def _hash(tree: FileTree, path: bytes, node: Node, stop: threading.Event) -> bytes:
    try:
        fd = os.open(tree.path(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        return hash_fd(fd, node.size, stop)
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        os.close(fd)
