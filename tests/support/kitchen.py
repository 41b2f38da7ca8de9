"""File ops on small trees: a context to copy from, images to copy onto, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bakepy.errors import BakeError
from bakepy.llb.op import NONE, Action, CopyAction, FileAction, FileOp
from bakepy.source.local import LocalSource
from bakepy.worker.file.run import run_file
from bakepy.worker.ref import LocalRef, Ref, TreeRef
from tests.support.snapshots import Snapshots
from tests.support.written_tree import make_tree, read_tree

COPY = CopyAction(
    "", "", follow_symlink=True, dir_copy_contents=True, create_dest_path=True, allow_wildcard=True,
    allow_empty_wildcard=True,
)  # fmt: skip
"""As a Dockerfile's COPY is lowered."""

IMAGE = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
    "etc/group": "root:x:0:\nextra:x:3000:app\n",
}


@dataclass
class Kitchen:
    """A store of trees, an image `base`, and a folder to copy from."""

    machine: Snapshots
    context: Path
    runs: int = 0

    async def tree(self, id: str, entries: Mapping[str, str], modes: Mapping[str, int] | None = None) -> TreeRef:
        await self.machine.commit(id, None, lambda root: make_tree(root, entries, modes))
        return TreeRef(id, id)

    async def local(self, **filters: list[str]) -> LocalRef:
        return LocalRef("context", await LocalSource(self.machine.database).open(self.context, **filters))

    async def act(self, *actions: Action, on: TreeRef | None = None, of: Ref | None = None) -> TreeRef:
        """Actions one after the other on `on` (nothing: an empty tree), copies taking from `of`."""
        inputs: list[Ref] = [ref for ref in (on, of) if ref is not None]
        source = len(inputs) - 1 if of is not None else NONE
        entries = []
        for index, action in enumerate(actions):
            below = (0 if on else NONE) if index == 0 else len(inputs) + index - 1
            output = 0 if index == len(actions) - 1 else NONE
            entries.append(FileAction(action, below, source if isinstance(action, CopyAction) else NONE, output))
        self.runs += 1
        (result,) = await run_file(FileOp(tuple(entries)), inputs, f"run{self.runs}", snapshots=self.machine.store)
        return result

    async def copy(self, *copies: CopyAction, on: TreeRef | None = None, of: Ref | None = None) -> TreeRef:
        """Copies, from the context unless `of` says otherwise."""
        return await self.act(*copies, on=on, of=of or await self.local())

    async def show(self, ref: TreeRef) -> dict[str, str]:
        async with self.machine.store.view(ref.snapshot) as root:
            return {name: said for name, said in read_tree(root).items() if name not in ("etc", *IMAGE)}

    async def times(self, ref: TreeRef) -> dict[str, int]:
        async with self.machine.store.view(ref.snapshot) as root:
            return {str(path.relative_to(root)): int(path.lstat().st_mtime) for path in sorted(root.rglob("*"))}


def copy(src: str, dest: str, **rules: object) -> CopyAction:
    return replace(COPY, src=src, dest=dest, **rules)  # type: ignore[arg-type]


async def refusal(kitchen: Kitchen, *actions: Action, on: TreeRef | None = None, of: Ref | None = None) -> str:
    """What the error says that these actions must end in."""
    with pytest.raises(BakeError) as raised:
        await kitchen.act(*actions, on=on, of=of or await kitchen.local())
    return raised.value.what
