"""Outputs that are files and no image: a directory, or a tar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread

from bakepy.content.entry import LayerEntry
from bakepy.content.patience import while_wanted
from bakepy.errors import BuildError
from bakepy.exporter import treetar
from bakepy.exporter.directory import DirectoryWriter, prune
from bakepy.exporter.outputs import LocalOutput, TarOutput
from bakepy.exporter.progress import ExportProgress
from bakepy.exporter.result import Exported, TargetResult
from bakepy.exporter.tree import walk
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass
from bakepy.snapshot.store import SnapshotStore

_SECOND = 10**9


@dataclass(frozen=True, slots=True)
class _Tree:
    """A mounted result. `folder` is what it is put into: empty, or the platform's own."""

    platform: Platform
    root: Path
    folder: str


class TreeExporter:
    """Writes the file trees of results. `open_file` opens a destination by what the user wrote."""

    def __init__(self, snapshots: SnapshotStore, open_file: Callable[[str], AbstractContextManager[BinaryIO]]) -> None:
        self._snapshots = snapshots
        self._open_file = open_file

    async def local(
        self, result: TargetResult, output: LocalOutput, epoch: int | None, progress: ExportProgress
    ) -> Exported:
        """Into a directory, with a folder for each platform where the output or the number of platforms says so."""
        split = result.multi_platform if output.split is None else output.split
        async with AsyncExitStack() as mounts:
            trees = await self._mount(result, split, mounts)
            with progress.step("copying files"):
                files, size = await anyio.to_thread.run_sync(self._write_folder, output, trees, epoch)
        return Exported(written=(f"directory {output.dest} ({_count(files, 'file')}, {size_text(size)})",), size=size)

    async def tar(
        self, result: TargetResult, output: TarOutput, epoch: int | None, progress: ExportProgress
    ) -> Exported:
        """As a tar, with a folder for each platform if there are several."""
        async with AsyncExitStack() as mounts:
            trees = await self._mount(result, result.multi_platform, mounts)
            _refuse_equal_folders(trees)
            with progress.step("sending tarball"):
                size = await anyio.to_thread.run_sync(self._write_tar, output.dest, trees, epoch)
        place = "stdout" if output.dest == "-" else f"{output.dest} ({size_text(size)})"
        return Exported(written=(f"tar {place}",), size=size)

    async def _mount(self, result: TargetResult, split: bool, mounts: AsyncExitStack) -> list[_Tree]:
        trees = []
        for entry in result.platforms:
            root = await mounts.enter_async_context(self._snapshots.view(entry.snapshot))
            folder = str(entry.platform).replace("/", "_") if split else ""
            trees.append(_Tree(entry.platform, root, folder))
        return trees

    def _write_folder(self, output: LocalOutput, trees: list[_Tree], epoch: int | None) -> tuple[int, int]:
        dest = Path(output.dest)
        if len(trees) > 1 and not trees[0].folder:
            _refuse_collisions(trees)
        if output.delete:
            prune(dest, {entry.path: entry.kind for tree in trees for entry in _entries(tree, epoch)})
        files = size = 0
        for tree in trees:
            with DirectoryWriter(dest) as writer:
                for entry in _entries(tree, epoch):
                    writer.add(entry)
            files += writer.files
            size += writer.size
        return files, size

    def _write_tar(self, dest: str, trees: list[_Tree], epoch: int | None) -> int:
        with self._open_file(dest) as out:
            return treetar.write_tar((entry for tree in trees for entry in _entries(tree, epoch)), out)


def _entries(tree: _Tree, epoch: int | None) -> Iterator[LayerEntry]:
    """The tree below its folder; notices soon that the run was cancelled."""
    prefix = b""
    if tree.folder:
        root = tree.root.stat()
        yield LayerEntry(
            tree.folder.encode(), "dir", 0o755, mtime_ns=root.st_mtime_ns if epoch is None else epoch * _SECOND
        )
        prefix = tree.folder.encode() + b"/"
    for entry in while_wanted(walk(tree.root, epoch=epoch)):
        if prefix:
            link = prefix + entry.linkname if entry.kind == "hardlink" else entry.linkname
            entry = replace(entry, path=prefix + entry.path, linkname=link)
        yield entry


def _refuse_collisions(trees: list[_Tree]) -> None:
    """Without folders of their own, platforms must not have files of one name."""
    owners: dict[bytes, _Tree] = {}
    for tree in trees:
        for entry in walk(tree.root):
            if entry.kind != "dir" and (other := owners.setdefault(entry.path, tree)) is not tree:
                path = entry.path.decode(errors="replace")
                raise BuildError(
                    f"cannot overwrite {path} from {other.platform} with {tree.platform} when split option is disabled",
                    hint="leave out platform-split=false",
                )


def _refuse_equal_folders(trees: list[_Tree]) -> None:
    """A platform that was asked for twice has one name in a tar (a directory is written twice, as by BuildKit)."""
    for number, tree in enumerate(trees):
        if tree.folder and any(other.folder == tree.folder for other in trees[:number]):
            raise BuildError(f"duplicate path {tree.folder}: file exists", hint="ask for each platform once")


def size_text(size: int) -> str:
    """Bytes for people: `3.2 MB`."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")
