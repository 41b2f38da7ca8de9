"""Merge and diff ops: layers of several trees stacked into one, and layers taken off again.

A merged tree is a chain of snapshots, one for each layer laid on top, so that the same layer on the same tree is one
snapshot whoever merges it. Its files are hard links to those of the layer that it came from: no data is copied.
"""

# bytes paths and bare system calls, as in the trees that are linked
# ruff: noqa: PTH102, PTH108, PTH116

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from bakepy.content.entry import LayerEntry
from bakepy.content.tar_stream import EntryContent, TarStream
from bakepy.errors import BuildError
from bakepy.llb.op import NONE, DiffOp, MergeOp
from bakepy.snapshot.changes import tree_changes
from bakepy.snapshot.overlay import opaque_xattr
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot
from bakepy.snapshot.threads import Stopped, in_thread
from bakepy.snapshot.tree import copy_facts, copy_node, remove_tree
from bakepy.snapshot.unpack import Unpacker
from bakepy.worker.file.run import as_tree
from bakepy.worker.ref import Ref, TreeRef


async def run_merge(
    op: MergeOp, inputs: Sequence[Ref], result_id: str, *, snapshots: SnapshotStore
) -> Sequence[TreeRef]:
    """The inputs' trees laid over each other, the last on top: what a later one has replaces what earlier ones have,
    whatever its kind; folders are united, with the facts of the later one."""
    top: str | None = None
    for number in op.inputs:
        tree = await as_tree(inputs[number], snapshots)
        if top is None:
            top = tree.snapshot
        elif tree.snapshot is not None:
            for layer in snapshots.chain(tree.snapshot):
                top = await _lay_on(top, layer, snapshots)
    return [TreeRef(result_id, top)]


async def run_diff(op: DiffOp, inputs: Sequence[Ref], result_id: str, *, snapshots: SnapshotStore) -> Sequence[TreeRef]:
    """What the upper tree has more or less than the lower one, deletions included, as a tree on nothing. They show
    when it is merged onto another."""
    empty = TreeRef("", None)
    lower = empty if op.lower == NONE else await as_tree(inputs[op.lower], snapshots)
    upper = empty if op.upper == NONE else await as_tree(inputs[op.upper], snapshots)
    if upper.snapshot is None or lower.snapshot is None:
        if lower.snapshot is None:
            return [TreeRef(result_id, upper.snapshot)]
        return [await _compared(lower, upper, result_id, snapshots)]
    below, above = snapshots.chain(lower.snapshot), snapshots.chain(upper.snapshot)
    if [layer.id for layer in above[: len(below)]] != [layer.id for layer in below] or not snapshots.overlays:
        return [await _compared(lower, upper, result_id, snapshots)]
    top: str | None = None
    for layer in above[len(below) :]:
        top = await _lay_on(top, layer, snapshots)
    return [TreeRef(result_id, top)]


async def _lay_on(parent: str | None, layer: Snapshot, snapshots: SnapshotStore) -> str:
    """The snapshot that has the files of `layer` on top of `parent`; made if it is not there."""
    id = "merge:" + hashlib.sha256(f"{parent or ''}\n{layer.id}".encode()).hexdigest()
    if snapshots.find(id) is not None:
        return id
    if layer.lazy and layer.layer is not None:
        # a layer of an image stays where it is until somebody needs its files
        snapshots.add_lazy(id, parent, layer.layer, snapshots.origin(layer.id))
        return id
    files = snapshots.folder(layer.id) if snapshots.overlays else None
    if files is not None:
        if parent is not None:
            await snapshots.materialize(parent)
        await in_thread(lambda stop: _link_layer(id, parent, files, snapshots, stop, first=layer.parent is None))
        return id
    async with snapshots.prepare(parent) as active:
        await in_thread(lambda stop: _apply(snapshots.changes(layer.id), active.path, stop, mark=False))
        await active.commit(id)
    return id


def _link_layer(
    id: str, parent: str | None, files: Path, snapshots: SnapshotStore, stop: threading.Event, *, first: bool
) -> None:
    """`first`: the layer was made on nothing. It stays the layer that it was, whatever it is laid on: an image has it
    in full also where the tree below has the same files."""
    folder = snapshots.scratch.new("merge")
    try:
        tree = folder / "fs"
        tree.mkdir()
        base = os.fsencode(tree)
        deletions: list[bytes] = []
        _link_tree(os.fsencode(files), base, deletions, opaque_xattr(), stop)
        if deletions and parent is not None:
            _drop_void(deletions, base, parent, snapshots)
        snapshots.place(id, parent, folder, flat=False, compared=not first or bool(deletions))
    finally:
        remove_tree(folder)


def _drop_void(deletions: Sequence[bytes], base: bytes, parent: str, snapshots: SnapshotStore) -> None:
    """Removes the marks of deletions that delete nothing here: in a folder that the parent does not have, overlayfs
    would list them."""
    view = snapshots.open_view(parent)
    try:
        for mark in deletions:
            if not os.path.lexists(os.fsencode(view.path) + mark.removeprefix(base)):
                os.unlink(mark)
    finally:
        view.close()


def _link_tree(source: bytes, target: bytes, deletions: list[bytes], opaque: str, stop: threading.Event) -> None:
    """Hard links of all that is below `source` in the folder `target`, with folders of the same facts, opaque marks
    included; marks of deletions are listed. Where no more links can be made the file is copied."""
    with os.scandir(source) as entries:
        for entry in entries:
            if stop.is_set():
                raise Stopped
            path = target + b"/" + entry.name
            if entry.is_dir(follow_symlinks=False):
                os.mkdir(path, 0o700)
                _link_tree(entry.path, path, deletions, opaque, stop)
                continue
            if not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
                    deletions.append(path)
            try:
                os.link(entry.path, path, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EXDEV, errno.EPERM):
                    raise
                copy_node(entry.path, path, entry.stat(follow_symlinks=False))
    copy_facts(source, target, os.stat(source, follow_symlinks=False))
    try:
        os.setxattr(target, opaque, os.getxattr(source, opaque))
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise


async def _compared(lower: TreeRef, upper: TreeRef, result_id: str, snapshots: SnapshotStore) -> TreeRef:
    """The difference of two trees that have nothing to do with each other, found by walking both."""
    if not snapshots.overlays:
        raise BuildError("the difference of two trees can not be kept here", hint="it needs overlayfs")

    def work(old: Path, new: Path, stop: threading.Event) -> None:
        folder = snapshots.scratch.new("diff")
        try:
            tree = folder / "fs"
            tree.mkdir(mode=0o755)
            _apply(tree_changes(new, os.fsencode(old)), tree, stop, mark=True)
            snapshots.place(result_id, None, folder, flat=False)
        finally:
            remove_tree(folder)

    async with snapshots.view(lower.snapshot) as old, snapshots.view(upper.snapshot) as new:
        await in_thread(lambda stop: work(old, new, stop))
    return TreeRef(result_id, result_id)


def _apply(changes: Iterable[LayerEntry], tree: Path, stop: threading.Event, *, mark: bool) -> None:
    """Applies the entries of a layer whose files are on this disk."""

    def items() -> Iterator[tuple[LayerEntry, EntryContent | None]]:
        for entry in changes:
            if stop.is_set():
                raise Stopped
            if entry.source is None:
                yield entry, None
                continue
            with entry.source.open("rb") as file:
                chunks = iter(lambda: file.read(1 << 20), b"")
                # a stream of one file, padded as a tar would pad it, is a file's content in a tar
                yield entry, EntryContent(TarStream(chain(chunks, [bytes(512)])), entry.size, entry.path)

    with Unpacker(tree, mark=mark) as unpacker:
        unpacker.apply(items())
