"""Merge and diff: what lies on top wins, layers are shared, no data is copied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bakepy.llb.op import NONE, DiffOp, MergeOp
from bakepy.worker.merge import run_diff, run_merge
from bakepy.worker.ref import Ref, TreeRef
from tests.support.kitchen import Kitchen, copy
from tests.support.written_tree import make_tree, write_entries

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

EMPTY = TreeRef("", None)


async def merge(kitchen: Kitchen, *trees: Ref) -> TreeRef:
    op = MergeOp(tuple(range(len(trees))))
    (result,) = await run_merge(op, trees, "merged", snapshots=kitchen.machine.store)
    return result


async def on(kitchen: Kitchen, parent: TreeRef, id: str, entries: dict[str, str], *removed: str) -> TreeRef:
    """A tree with one more layer."""

    def change(root: Path) -> None:
        for name in removed:
            path = root / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        write_entries(root, entries)

    await kitchen.machine.commit(id, parent.snapshot, change)
    return TreeRef(id, id)


async def test_the_later_tree_wins_whatever_the_kinds(kitchen: Kitchen) -> None:
    lower = await kitchen.tree("lower", {"lib": "-> usr/lib", "usr/lib/x": "", "dir/in": "", "file": "old", "d/1": ""})
    upper = await kitchen.tree("upper", {"lib/y": "y", "dir": "file", "file/in": "", "d/2": ""}, {"d": 0o700})
    assert await kitchen.show(await merge(kitchen, lower, upper)) == {
        "d": "dir 0700 0:0",
        "d/1": "file 0644 0:0",
        "d/2": "file 0644 0:0",
        "dir": "file 0644 0:0 file",
        "file": "dir 0755 0:0",
        "file/in": "file 0644 0:0",
        "lib": "dir 0755 0:0",
        "lib/y": "file 0644 0:0 y",
        "usr": "dir 0755 0:0",
        "usr/lib": "dir 0755 0:0",
        "usr/lib/x": "file 0644 0:0",
    }


async def test_all_layers_of_a_tree_come_along_with_their_deletions(kitchen: Kitchen) -> None:
    lower = await kitchen.tree("lower", {"a": "", "d/x": "", "d/y": "", "keep": ""})
    first = await kitchen.tree("first", {"a": "", "d/x": "", "d/z": "", "f": ""})
    second = await on(kitchen, first, "second", {"d/new": "", "g": ""}, "a", "d")
    merged = await merge(kitchen, lower, second)
    assert list(await kitchen.show(merged)) == ["d", "d/new", "f", "g", "keep"]
    assert len(kitchen.machine.store.chain(str(merged.snapshot))) == 3


async def test_the_same_layer_on_the_same_tree_is_one_snapshot(kitchen: Kitchen) -> None:
    lower, upper = await kitchen.tree("lower", {"a": ""}), await kitchen.tree("upper", {"b": ""})
    once, twice = await merge(kitchen, lower, upper), await merge(kitchen, lower, upper)
    assert once.snapshot == twice.snapshot
    assert kitchen.machine.changes(str(once.snapshot)) == kitchen.machine.changes("upper")


async def test_files_are_links_and_not_copies(kitchen: Kitchen) -> None:
    lower, upper = await kitchen.tree("lower", {"a": ""}), await kitchen.tree("upper", {"d/b": "x" * 10_000})
    merged = await merge(kitchen, lower, upper)
    store = kitchen.machine.store
    theirs, ours = store.folder("upper"), store.folder(str(merged.snapshot))
    assert theirs is not None and ours is not None and (theirs / "d/b").samefile(ours / "d/b")
    written = await kitchen.copy(copy("f", "/d/b"), on=merged, of=await kitchen.tree("other", {"f": "new"}))
    assert (await kitchen.show(written))["d/b"] == "file 0644 0:0 new"
    assert (await kitchen.show(upper))["d/b"] == "file 0644 0:0 " + "x" * 10_000


async def test_a_layer_stays_whole_where_the_tree_below_has_the_same(kitchen: Kitchen) -> None:
    upper = await kitchen.tree("upper", {"d/f": "1", "e/": ""})
    once = await merge(kitchen, await kitchen.tree("lower", {"d/f": "0", "e/g": ""}), upper)
    twice = await merge(kitchen, once, upper)
    assert twice.snapshot != once.snapshot
    layers = [kitchen.machine.changes(str(tree.snapshot)) for tree in (upper, once, twice)]
    assert layers == [["dir d 755 0:0", "file d/f 644 0:0 '1'", "dir e 755 0:0"]] * 3


async def test_facts_of_folders_are_kept(kitchen: Kitchen) -> None:
    def odd(root: Path) -> None:
        make_tree(root, {"d/f": ""}, {"d": 0o2750})
        os.chown(root / "d", 5, 6)
        os.utime(root / "d", (77, 77))

    await kitchen.machine.commit("odd", None, odd)
    merged = await merge(kitchen, await kitchen.tree("lower", {"a": ""}), TreeRef("odd", "odd"))
    # a change of owner clears nothing of a folder
    assert (await kitchen.show(merged))["d"] == "dir 2750 5:6"
    assert (await kitchen.times(merged))["d"] == 77


async def test_empty_trees_and_contexts(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"c": "c"})
    tree = await kitchen.tree("tree", {"a": ""})
    assert await merge(kitchen, EMPTY, EMPTY) == TreeRef("merged", None)
    assert await merge(kitchen, EMPTY, tree, EMPTY) == TreeRef("merged", "tree")
    assert list(await kitchen.show(await merge(kitchen, tree, await kitchen.local()))) == ["a", "c"]


async def diff(kitchen: Kitchen, lower: TreeRef | None, upper: TreeRef | None) -> TreeRef:
    inputs = [tree for tree in (lower, upper) if tree is not None]
    op = DiffOp(NONE if lower is None else 0, NONE if upper is None else len(inputs) - 1)
    (result,) = await run_diff(op, inputs, "diff", snapshots=kitchen.machine.store)
    return result


async def test_a_difference_carries_changes_and_deletions_elsewhere(kitchen: Kitchen) -> None:
    lower = await kitchen.tree("lower", {"a": "", "b": "", "d/x": ""})
    upper = await on(kitchen, lower, "upper", {"b": "new", "c": ""}, "a", "d")
    elsewhere = await kitchen.tree("elsewhere", {"a": "mine", "d/y": "", "z": ""})
    taken = await diff(kitchen, lower, upper)
    assert await kitchen.show(taken) == {"b": "file 0644 0:0 new", "c": "file 0644 0:0"}
    assert list(await kitchen.show(await merge(kitchen, elsewhere, taken))) == ["b", "c", "z"]


async def test_trees_that_have_nothing_to_do_with_each_other(kitchen: Kitchen) -> None:
    lower = await kitchen.tree("lower", {"a": "", "b": "same", "d/x": "", "d/y": ""})
    upper = await kitchen.tree("upper", {"b": "same", "c": "new", "d/x": ""})
    taken = await diff(kitchen, lower, upper)
    assert list(await kitchen.show(await merge(kitchen, lower, taken))) == ["b", "c", "d", "d/x"]
    copied = await kitchen.copy(copy("/", "/t"), of=taken)
    assert list(await kitchen.show(copied)) == ["t", "t/c", "t/d"]


async def test_deletions_of_what_is_not_there_do_not_show(kitchen: Kitchen) -> None:
    tree = await kitchen.tree("tree", {"d/x": "", "d/y": ""})
    upper = await on(kitchen, tree, "upper", {"d/z": ""}, "d/x")
    taken = await diff(kitchen, tree, upper)
    assert list(await kitchen.show(await merge(kitchen, await kitchen.tree("e", {"a": ""}), taken))) == [
        "a",
        "d",
        "d/z",
    ]


async def test_differences_to_nothing(kitchen: Kitchen) -> None:
    tree = await kitchen.tree("tree", {"a": ""})
    assert await diff(kitchen, None, tree) == TreeRef("diff", "tree")
    assert await diff(kitchen, None, None) == TreeRef("diff", None)
    gone = await diff(kitchen, tree, None)
    assert list(await kitchen.show(await merge(kitchen, tree, gone))) == []
