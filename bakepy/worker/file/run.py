"""Runs a file op: its actions in one writable tree, committed as the op's result.

An action whose result is an output, or is used by more than the next action, gets a snapshot of its own; otherwise
actions follow each other in the same tree.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bakepy.errors import BuildError, disk_hint
from bakepy.llb.op import NONE, CopyAction, FileAction, FileOp, MkDirAction, MkFileAction, RmAction, SymlinkAction
from bakepy.snapshot import usernamespace
from bakepy.snapshot.filetree import FileTree
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.threads import in_thread
from bakepy.worker.file import actions
from bakepy.worker.file.owners import owner_of
from bakepy.worker.file.target import Owner, Target
from bakepy.worker.ref import LocalRef, Ref, TreeRef


async def run_file(op: FileOp, inputs: Sequence[Ref], result_id: str, *, snapshots: SnapshotStore) -> Sequence[TreeRef]:
    """One result for each output of `op`, in order. The first is `result_id`, others `result_id#1`, and so on.

    Raises BuildError for what can not be done; then nothing is committed but what earlier actions finished.
    """
    return await _Run(op, inputs, result_id, snapshots).outputs()


async def as_tree(ref: Ref, snapshots: SnapshotStore) -> TreeRef:
    """`ref` as a tree of the snapshot store: a folder of the user is copied into one, as it was when it was scanned."""
    if isinstance(ref, TreeRef):
        return ref
    id = f"local:{ref.id}"
    if snapshots.find(id) is None:
        whole = CopyAction("/", "/", dir_copy_contents=True, create_dest_path=True)
        await run_file(FileOp((FileAction(whole, NONE, 0, 0),)), [ref], id, snapshots=snapshots)
    return TreeRef(ref.id, id)


class _Run:
    def __init__(self, op: FileOp, inputs: Sequence[Ref], result_id: str, snapshots: SnapshotStore) -> None:
        self._actions = op.actions
        self._inputs = inputs
        self._id = result_id
        self._snapshots = snapshots
        self._done: dict[int, TreeRef] = {}
        self._uses = Counter[int]()
        for index, entry in enumerate(op.actions):
            for number in _numbers(entry):
                # an action uses inputs and what actions before it made
                if not NONE <= number < len(inputs) + index:
                    raise BuildError(f"invalid input index {number} in file op with {len(inputs)} inputs")
            self._uses[entry.input] += 1
            # looked at by another action than the one that goes on from it
            self._uses.update(2 * [number for number in _numbers(entry)[1:] if number != entry.input])

    async def outputs(self) -> list[TreeRef]:
        by_output = {entry.output: index for index, entry in enumerate(self._actions) if entry.output != NONE}
        if sorted(by_output) != list(range(len(by_output))) or not by_output:
            raise BuildError("invalid file op: its outputs are not numbered from 0")
        return [await self._tree(len(self._inputs) + by_output[output]) for output in range(len(by_output))]

    def _is_kept(self, number: int) -> bool:
        return self._actions[number - len(self._inputs)].output != NONE or self._uses[number] > 1

    async def _tree(self, number: int) -> TreeRef:
        """The committed tree of the input or action `number`."""
        if number == NONE:
            return TreeRef("", None)
        if number < len(self._inputs):
            return await as_tree(self._inputs[number], self._snapshots)
        if (known := self._done.get(number)) is not None:
            return known
        chain = [number]
        while (below := self._action(chain[-1]).input) >= len(self._inputs) and not self._is_kept(below):
            chain.append(below)
        base = await self._tree(self._action(chain[-1]).input)
        output = self._action(number).output
        id = self._id if output == 0 else f"{self._id}#{output}" if output > 0 else f"{self._id}+{number}"
        async with self._snapshots.prepare(base.snapshot) as active:
            for step in reversed(chain):
                await self._apply(self._action(step), active.path)
            await active.commit(id)
        self._done[number] = result = TreeRef(id, id)
        return result

    def _action(self, number: int) -> FileAction:
        return self._actions[number - len(self._inputs)]

    async def _apply(self, entry: FileAction, path: Path) -> None:
        async with AsyncExitStack() as mounts:
            source: Callable[[], FileTree] | None = None
            if isinstance(entry.action, CopyAction):
                source = await self._source(entry, path, mounts)
            trees = {entry.input: path}
            for number in _numbers(entry)[2:]:
                if number not in trees and number != NONE:
                    trees[number] = await self._view(number, mounts)

            def work(stop: threading.Event) -> None:
                _act(entry, Target(path), trees, source, stop)

            await in_thread(work)

    async def _source(self, entry: FileAction, path: Path, mounts: AsyncExitStack) -> Callable[[], FileTree]:
        number = entry.secondary_input
        if number == entry.input and number != NONE:
            # a tree copied onto itself is read as it is now
            return lambda: FileTree(path)
        ref = self._inputs[number] if 0 <= number < len(self._inputs) else None
        if isinstance(ref, LocalRef):
            tree = ref.tree
            return lambda: tree
        view = await self._view(number, mounts)
        return lambda: FileTree(view)

    async def _view(self, number: int, mounts: AsyncExitStack) -> Path:
        tree = await self._tree(number)
        return await mounts.enter_async_context(self._snapshots.view(tree.snapshot))


def _numbers(entry: FileAction) -> list[int]:
    """The inputs that an action names: the tree it changes, the one it copies from, those of user names."""
    owner = getattr(entry.action, "owner", None)
    users = (owner.user, owner.group) if owner is not None else ()
    named = [user.input for user in users if user is not None and user.id is None]
    return [entry.input, entry.secondary_input, *named]


def _act(
    entry: FileAction,
    target: Target,
    trees: dict[int, Path],
    source: Callable[[], FileTree] | None,
    stop: threading.Event,
) -> None:
    def owner() -> Owner | None:
        chown = None if isinstance(entry.action, RmAction) else entry.action.owner
        return owner_of(chown, trees.__getitem__)

    try:
        match entry.action:
            case CopyAction() as copy if source is not None:
                actions.copy(target, copy, owner(), source(), stop)
            case MkDirAction() as make:
                actions.make_folder(target, make, owner())
            case MkFileAction() as make:
                actions.make_file(target, make, owner())
            case SymlinkAction() as link:
                actions.make_symlink(target, link, owner())
            case RmAction() as remove:
                actions.remove(target, remove)
    except OSError as error:
        raise _explained(error, target, None if isinstance(entry.action, RmAction) else owner()) from error


def _explained(error: OSError, target: Target, owner: Owner | None) -> BuildError:
    if unowned := usernamespace.unowned(error, owner.uid if owner else None, owner.gid if owner else None):
        return BuildError(unowned.what, hint=unowned.mend)
    name = error.filename
    path = name if isinstance(name, bytes) else str(name or "").encode("utf-8", "surrogateescape")
    path = path.removeprefix(target.root) or b"/"
    what = (error.strerror or str(error)).lower()
    if hint := disk_hint(error.errno):
        return BuildError(what if name is None else f"{path.decode('utf-8', 'replace')}: {what}", hint=hint)
    return BuildError(f"{path.decode('utf-8', 'replace')}: {what}")
