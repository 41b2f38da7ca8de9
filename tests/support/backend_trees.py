"""Random trees and random changes to them, made in a snapshot store, and what the store says of them.

    python -m tests.support.backend_trees ROOT SNAPSHOTTER SEEDS

prints it as JSON. The same numbers make the same trees whoever runs it: as root on overlays or copies, or, for an
ordinary user, in its user namespace.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from bakepy.content.compression import Compression
from bakepy.content.database import Database
from bakepy.content.entry import LayerEntry
from bakepy.content.layer import write_layer
from bakepy.content.store import ContentStore
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot

STEPS = 5
DEEP = 130
_NAMES = "abcde"
_OWNERS = (0, 1, 33, 1000, 65534)
_CAPABILITY = bytes.fromhex("0100000202040000000000000000000000000000")
"""cap_net_bind_service+ep, version 2."""
_TIME = 1_600_000_000_000_000_001


def observe(root: Path, snapshotter: str, seeds: int) -> dict[str, Any]:
    """All that is made with the numbers from 0 to `seeds`, by name; `overlays` tells how."""
    return anyio.run(_observe, root, snapshotter, seeds)


async def _observe(root: Path, snapshotter: str, seeds: int) -> dict[str, Any]:
    content = ContentStore(root)

    async def fetch(snapshot: Snapshot, origin: str) -> None:
        assert snapshot.layer is not None and content.has(snapshot.layer.descriptor.digest), "made here"

    found: dict[str, Any] = {}
    with (
        Database(root / "state.db") as database,
        SnapshotStore(root, database, content, fetch, snapshotter=snapshotter) as store,
    ):
        found["overlays"] = store.overlays
        for seed in range(seeds):
            numbers = random.Random(seed)
            changes = [partial(change, numbers=numbers)] * STEPS
            found[f"random {seed}"] = await _build(store, content, f"random {seed}", changes)
        deep = [_one_file(number) for number in range(DEEP)]
        found["deep"] = await _build(store, content, "deep", deep)
    return found


async def _build(
    store: SnapshotStore, content: ContentStore, name: str, changes: Sequence[Callable[[Path], object]]
) -> dict[str, Any]:
    """A chain of snapshots; what each layer holds; and the tree, as made and as unpacked from the layers."""
    parent: str | None = None
    copy: str | None = None
    layers = []
    for number, make in enumerate(changes):
        id = f"{name} {number}"
        async with store.prepare(parent) as active:
            make(active.path)
            await active.commit(id)
        entries = list(store.changes(id))
        layers.append([told(entry) for entry in entries])
        layer = write_layer(entries, content, compression=Compression.parse("uncompressed"))
        store.add_lazy(f"{id} copy", copy, layer, "made here")
        parent, copy = id, f"{id} copy"
    async with store.view(parent) as tree:
        made = list(_walk(tree))
    async with store.view(copy) as tree:
        unpacked = list(_walk(tree))
    return {"layers": layers, "tree": made, "unpacked": unpacked}


def _one_file(number: int) -> Callable[[Path], None]:
    """Each step makes a file, and removes every second one of those before."""

    def make(tree: Path) -> None:
        path = tree / f"f{number}"
        path.write_text(f"{number}")
        os.utime(path, ns=(_TIME, _TIME))
        if number % 2:
            (tree / f"f{number - 1}").unlink()

    return make


def told(entry: LayerEntry) -> str:
    """All that a layer says of an entry, but for the times of folders, which depend on when it was made."""
    data = entry.source.read_bytes() if entry.source is not None else entry.data or b""
    time = 0 if entry.kind == "dir" or entry.path.rpartition(b"/")[2].startswith(b".wh.") else entry.mtime_ns
    return " ".join(
        (
            entry.path.decode(),
            entry.kind,
            f"{entry.mode:o}",
            f"{entry.uid}:{entry.gid}",
            hashlib.sha256(data).hexdigest()[:8],
            entry.linkname.decode(),
            ",".join(f"{name}={value.hex()}" for name, value in sorted(entry.xattrs.items())),
            str(time),
        )
    )


def _walk(tree: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(tree):
        folders.sort()
        for name in sorted((*folders, *files)):
            path = Path(folder, name)
            facts = path.lstat()
            data = ""
            if stat.S_ISREG(facts.st_mode):
                data = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
            elif stat.S_ISLNK(facts.st_mode):
                data = str(path.readlink())
            shown = sorted(os.listxattr(path, follow_symlinks=False))
            yield f"{path.relative_to(tree)} {facts.st_mode:o} {facts.st_uid}:{facts.st_gid} {data} {shown}"


def change(tree: Path, numbers: random.Random) -> None:
    """Some twenty changes of all kinds below `tree`. A file with several names is never written to: overlays split
    those, copies do not."""
    for _ in range(20):
        folders = [tree, *(path for path in sorted(tree.rglob("*")) if path.is_dir() and not path.is_symlink())]
        path = numbers.choice(folders) / numbers.choice(_NAMES)
        numbers.choice(_CHANGES)(path, numbers)


def _write(path: Path, numbers: random.Random) -> None:
    _clear(path)
    path.write_text(str(numbers.random()))
    _dress(path, numbers)


def _rewrite(path: Path, numbers: random.Random) -> None:
    if path.is_file() and not path.is_symlink() and path.lstat().st_nlink == 1:
        path.write_text(str(numbers.random()))
        _dress(path, numbers)


def _make_folder(path: Path, numbers: random.Random) -> None:
    if path.is_symlink() or not path.is_dir():
        _clear(path)
        path.mkdir()
    _dress(path, numbers)


def _renew_folder(path: Path, numbers: random.Random) -> None:
    """The same name, but nothing of what was in it: overlays call it opaque."""
    _clear(path)
    path.mkdir()
    _dress(path, numbers)
    if numbers.random() < 0.5:
        _write(path / numbers.choice(_NAMES), numbers)


def _link(path: Path, numbers: random.Random) -> None:
    _clear(path)
    path.symlink_to(numbers.choice(("a", "/b/c", "../nowhere")))
    os.utime(path, ns=(_TIME, _TIME), follow_symlinks=False)


def _twin(path: Path, numbers: random.Random) -> None:
    _write(path, numbers)
    other = path.with_name(path.name + "twin")
    _clear(other)
    other.hardlink_to(path)


def _fifo(path: Path, numbers: random.Random) -> None:
    _clear(path)
    os.mkfifo(path)
    _dress(path, numbers)


def _remove(path: Path, numbers: random.Random) -> None:
    _clear(path)


def _move(path: Path, numbers: random.Random) -> None:
    if path.is_file() and not path.is_symlink() and path.lstat().st_nlink == 1:
        target = path.with_name(numbers.choice(_NAMES))
        if target != path:
            _clear(target)
            path.rename(target)


def _arm(path: Path, numbers: random.Random) -> None:
    _write(path, numbers)
    os.setxattr(path, "security.capability", _CAPABILITY)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _dress(path: Path, numbers: random.Random) -> None:
    os.chown(path, numbers.choice(_OWNERS), numbers.choice(_OWNERS))
    folder = path.is_dir()
    path.chmod(numbers.choice((0o755, 0o700, 0o1777, 0o2755) if folder else (0o644, 0o600, 0o4755, 0o2711)))
    if not folder:
        time = _TIME + numbers.randrange(10**12)
        os.utime(path, ns=(time, time))


_CHANGES: tuple[Callable[[Path, random.Random], None], ...] = (
    _write, _write, _rewrite, _make_folder, _make_folder, _make_folder, _renew_folder, _link, _twin, _fifo, _remove,
    _remove, _move, _arm,
)  # fmt: skip


if __name__ == "__main__":
    from bakepy.snapshot import namespace, usernamespace

    if os.geteuid() != 0:
        usernamespace.enter()
    namespace.private_mounts()
    print(json.dumps(observe(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
