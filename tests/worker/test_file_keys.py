"""What makes two copies the same step, and what digests of copied files cost."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bakepy.errors import BuildError
from bakepy.llb.op import NONE, ChownOpt, CopyAction, FileAction, FileOp, MkFileAction, UserOpt
from bakepy.snapshot.contenthash import Selection
from bakepy.snapshot.filetree import FileTree, Node
from bakepy.worker.file import keys
from bakepy.worker.file.keys import content_digest, file_key
from bakepy.worker.ref import Ref, TreeRef
from tests.support.kitchen import Kitchen, copy
from tests.support.written_tree import make_tree

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]


def op(*copies: CopyAction) -> FileOp:
    return FileOp(
        tuple(
            FileAction(action, 0 if index == 0 else index + 1, 1, 0 if index == len(copies) - 1 else NONE)
            for index, action in enumerate(copies)
        )
    )


async def digest(kitchen: Kitchen, ref: Ref, *selections: Selection) -> str:
    return await content_digest(ref, selections, snapshots=kitchen.machine.store, database=kitchen.machine.database)


def test_where_files_come_from_is_not_in_the_key() -> None:
    one, two = file_key(op(copy("/a/x", "/t/")), 2), file_key(op(copy("/b/x", "/t/")), 2)
    assert one.key == two.key
    assert one.selections == {1: (Selection("/a/x"),)}
    assert two.selections == {1: (Selection("/b/x"),)}


@pytest.mark.parametrize(
    "other",
    [
        copy("/a/x", "/u/"),
        copy("/a/x", "/t/", mode=0o600),
        copy("/a/x", "/t/", mode_str="u+x"),
        copy("/a/x", "/t/", owner=ChownOpt(UserOpt(5))),
        copy("/a/x", "/t/", timestamp=5),
        copy("/a/x", "/t/", attempt_unpack=True),
    ],
)
def test_what_is_in_the_key(other: CopyAction) -> None:
    assert file_key(op(other), 2).key != file_key(op(copy("/a/x", "/t/")), 2).key


def test_an_input_that_is_changed_counts_as_a_whole() -> None:
    onto_itself = FileOp((FileAction(copy("/a", "/b"), 0, 0, 0),))
    assert file_key(onto_itself, 1).selections == {}


def test_a_name_counts_by_the_files_it_is_looked_up_in() -> None:
    owner = ChownOpt(UserOpt(name="app", input=1), UserOpt(name="extra", input=1))
    made = FileOp((FileAction(MkFileAction("/f", 0o644, owner=owner), 0, NONE, 0),))
    found = file_key(made, 2).selections
    assert [selection.path for selection in found[1]] == ["/etc/passwd", "/etc/group"]


def test_every_source_of_an_op_is_selected() -> None:
    found = file_key(op(copy("/a", "/t/"), copy("/*.py", "/t/", exclude_patterns=("x",))), 2).selections
    assert found == {1: (Selection("/a"), Selection("/*.py", wildcard=True, exclude=("x",)))}


async def test_contexts_and_images_with_equal_files_have_equal_digests(kitchen: Kitchen) -> None:
    entries = {"d/x": "x", "d/e/": "", "d/l": "-> x"}
    make_tree(kitchen.context, entries, {"d/x": 0o750})
    image = await kitchen.tree("image", entries, {"d/x": 0o750})
    assert await digest(kitchen, image, Selection("/d")) == await digest(
        kitchen, await kitchen.local(), Selection("/d")
    )


async def test_owners_of_an_image_count_where_a_copy_keeps_them(kitchen: Kitchen) -> None:
    def owned(root: Path) -> None:
        make_tree(root, {"d/x": "x"})
        os.chown(root / "d/x", 5, 5)

    await kitchen.machine.commit("owned", None, owned)
    owned_ref, plain = TreeRef("owned", "owned"), await kitchen.tree("plain", {"d/x": "x"})
    keeps, drops = Selection("/d"), Selection("/d", owners=False)
    assert await digest(kitchen, owned_ref, keeps) != await digest(kitchen, plain, keeps)
    assert await digest(kitchen, owned_ref, drops) == await digest(kitchen, plain, drops)


async def test_capabilities_of_an_image_count(kitchen: Kitchen) -> None:
    def capable(root: Path) -> None:
        make_tree(root, {"d/x": "x"})
        os.setxattr(root / "d/x", "security.capability", bytes.fromhex("0100000202040000000000000000000000000000"))

    await kitchen.machine.commit("capable", None, capable)
    plain = await kitchen.tree("plain", {"d/x": "x"})
    assert await digest(kitchen, TreeRef("c", "capable"), Selection("/d")) != await digest(
        kitchen, plain, Selection("/d")
    )


async def test_the_name_of_a_copied_file_counts_and_that_of_a_folder_does_not(kitchen: Kitchen) -> None:
    tree = await kitchen.tree("tree", {"d/x": "x", "e/x": "x", "f": "x", "g": "x"})
    assert await digest(kitchen, tree, Selection("/d")) == await digest(kitchen, tree, Selection("/e"))
    assert await digest(kitchen, tree, Selection("/f")) != await digest(kitchen, tree, Selection("/g"))


async def test_a_mounted_folder_counts_itself_and_no_name_does(kitchen: Kitchen) -> None:
    tree = await kitchen.tree("tree", {"d/x": "x", "e/x": "x", "f": "x", "g": "x", "l": "-> f"})

    async def mounted(path: str) -> str:
        return await digest(kitchen, tree, Selection(path, contents=False, named=False))

    assert await mounted("/d") == await mounted("/e")
    assert await mounted("/f") == await mounted("/g") == await mounted("/l")

    async with kitchen.machine.store.prepare(tree.snapshot) as active:
        (active.path / "e").chmod(0o700)
        await active.commit("closed")
    closed = await digest(kitchen, TreeRef("closed", "closed"), Selection("/e", contents=False, named=False))
    assert closed != await mounted("/e")


async def test_files_of_an_image_are_read_once(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []
    original = keys._hash

    def counted(tree: FileTree, path: bytes, node: Node, stop: threading.Event) -> bytes:
        read.append(path)
        return original(tree, path, node, stop)

    monkeypatch.setattr(keys, "_hash", counted)
    tree = await kitchen.tree("tree", {"d/x": "x", "d/y": "y"})
    first = await digest(kitchen, tree, Selection("/d/x"))
    assert read == [b"d/x"]
    await digest(kitchen, tree, Selection("/d"))
    assert read == [b"d/x", b"d/y"]
    assert await digest(kitchen, replace(tree, id="another name"), Selection("/d/x")) == first
    assert read == [b"d/x", b"d/y"]


async def test_the_second_time_not_even_the_tree_is_mounted(kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = await kitchen.tree("tree", {"d/x": "x"})
    first = await digest(kitchen, tree, Selection("/d"))
    monkeypatch.setattr(kitchen.machine.store, "view", None)
    assert await digest(kitchen, tree, Selection("/d")) == first


async def test_an_empty_tree(kitchen: Kitchen) -> None:
    empty = TreeRef("", None)
    assert await digest(kitchen, empty, Selection("/")) == await digest(kitchen, await kitchen.local(), Selection("/"))
    with pytest.raises(BuildError, match=r'^"/x": not found'):
        await digest(kitchen, empty, Selection("/x"))


async def test_symlinks_right_below_the_root_lead_somewhere_if_patterns_choose_files(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"bad": "-> nope", "loop": "-> loop", "d/bad": "-> nope", "d/f": "", "good": "-> d"})
    tree = await kitchen.local()
    for exclude, told in (("loop", '"/bad": not found'), ("bad", "too many links: /loop"), ("f", '"/bad": not found')):
        with pytest.raises(BuildError) as caught:
            await digest(kitchen, tree, Selection("/", exclude=(exclude,)))
        assert caught.value.what == told
    # nobody looks where links lead that are left out, are further down, or are copied with all that is there
    for selection in (
        Selection("/", exclude=("*a*", "loop")),
        Selection("/d", exclude=("f",)),
        Selection("/good", exclude=("f",)),
        Selection("/"),
    ):
        assert (await digest(kitchen, tree, selection)).startswith("sha256:")
