"""mkdir, mkfile, symlink and rm, and how the actions of one op follow each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bakepy.errors import BuildError
from bakepy.llb.op import (
    NONE,
    ChownOpt,
    CopyAction,
    FileAction,
    FileOp,
    MkDirAction,
    MkFileAction,
    RmAction,
    SymlinkAction,
    UserOpt,
)
from bakepy.worker.file.run import run_file
from bakepy.worker.ref import TreeRef
from tests.support.kitchen import Kitchen, refusal
from tests.support.written_tree import make_tree

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

OWNER = ChownOpt(UserOpt(5), UserOpt(6))


async def test_mkdir_with_parents(kitchen: Kitchen) -> None:
    base = await kitchen.tree("base", {"l": "-> real", "there/": ""}, {"there": 0o700})
    result = await kitchen.act(
        MkDirAction("/a/b", 0o711, make_parents=True, owner=OWNER, timestamp=77 * 10**9),
        MkDirAction("/there", 0o755, make_parents=True),
        MkDirAction("/l/x", 0o7755, make_parents=True),
        on=base,
    )
    assert await kitchen.show(result) == {
        "a": "dir 0711 5:6",
        "a/b": "dir 0711 5:6",
        "l": "link 0:0 real",
        "real": "dir 0755 0:0",
        "real/x": "dir 0755 0:0",
        "there": "dir 0700 0:0",
    }
    times = await kitchen.times(result)
    assert (times["a"], times["a/b"]) == (77, 77)


async def test_mkdir_alone(kitchen: Kitchen) -> None:
    base = await kitchen.tree("base", {"there/": ""}, {"there": 0o700})
    result = await kitchen.act(MkDirAction("/a", 0o750, owner=OWNER), MkDirAction("/there", 0o755), on=base)
    assert await kitchen.show(result) == {"a": "dir 0750 5:6", "there": "dir 0700 0:0"}
    assert await refusal(kitchen, MkDirAction("/a/b", 0o755)) == "mkdir /a/b: no such file or directory"


async def test_folders_made_in_a_set_gid_folder_inherit_its_group(kitchen: Kitchen) -> None:
    def shared(root: Path) -> None:
        (root / "s").mkdir()
        os.chown(root / "s", 0, 3000)
        (root / "s").chmod(0o2775)

    await kitchen.machine.commit("base", None, shared)
    result = await kitchen.act(MkDirAction("/s/a", 0o755, make_parents=True), on=TreeRef("base", "base"))
    assert await kitchen.show(result) == {"s": "dir 2775 0:3000", "s/a": "dir 2755 0:3000"}


async def test_mkfile(kitchen: Kitchen) -> None:
    base = await kitchen.tree("base", {"old": "a longer text", "l": "-> d/f", "d/": ""}, {"old": 0o600})
    result = await kitchen.act(
        MkFileAction("/new", 0o6755, b"new", owner=OWNER, timestamp=5 * 10**9),
        MkFileAction("/old", 0o644, b"short"),
        MkFileAction("/l", 0o644, b"through"),
        on=base,
    )
    assert await kitchen.show(result) == {
        "d": "dir 0755 0:0",
        "d/f": "file 0644 0:0 through",
        "l": "link 0:0 d/f",
        "new": "file 0755 5:6 new",
        "old": "file 0600 0:0 short",
    }
    assert (await kitchen.times(result))["new"] == 5
    assert await refusal(kitchen, MkFileAction("/d", 0o644), on=base) == "open /d: is a directory"
    assert await refusal(kitchen, MkFileAction("/no/f", 0o644)) == "open /no/f: no such file or directory"


async def test_symlink(kitchen: Kitchen) -> None:
    result = await kitchen.act(SymlinkAction("../any/where", "/l", owner=OWNER, timestamp=9 * 10**9))
    assert await kitchen.show(result) == {"l": "link 5:6 ../any/where"}
    assert await kitchen.times(result) == {"l": 9}
    base = await kitchen.tree("base", {"f": ""})
    assert await refusal(kitchen, SymlinkAction("x", "/f"), on=base) == "symlink x /f: file exists"
    assert await refusal(kitchen, SymlinkAction("x", "/d/l")) == "symlink x /d/l: no such file or directory"


async def test_rm(kitchen: Kitchen) -> None:
    entries = {"f": "", "d/x/y": "", "d/z": "", "l": "-> d", "k1": "", "k2": "", "stays": ""}
    base = await kitchen.tree("base", entries)
    result = await kitchen.act(
        RmAction("/f"), RmAction("/l/x"), RmAction("/l"), RmAction("/k*", allow_wildcard=True), on=base
    )
    assert await kitchen.show(result) == {"d": "dir 0755 0:0", "d/z": "file 0644 0:0", "stays": "file 0644 0:0"}


async def test_rm_of_what_is_not_there(kitchen: Kitchen) -> None:
    base = await kitchen.tree("base", {"f": ""})
    assert await refusal(kitchen, RmAction("/no"), on=base) == "stat /no: no such file or directory"
    assert await kitchen.show(await kitchen.act(RmAction("/no", allow_not_found=True), on=base)) == {
        "f": "file 0644 0:0"
    }
    assert await refusal(kitchen, RmAction("/"), on=base) == "rm: the root of the file system can not be removed"


async def test_actions_share_one_snapshot(kitchen: Kitchen) -> None:
    result = await kitchen.act(MkDirAction("/d", 0o755), MkFileAction("/d/f", 0o644, b"f"), RmAction("/d/f"))
    assert [snapshot.id for snapshot in kitchen.machine.store.chain("run1")] == ["run1"]
    assert result == TreeRef("run1", "run1")


async def test_outputs_and_results_of_earlier_actions(kitchen: Kitchen) -> None:
    """Two outputs, and a copy from the result of another action."""
    made = FileAction(MkFileAction("/f", 0o644, b"made"), NONE, NONE, 1)
    hidden = FileAction(MkFileAction("/g", 0o644, b"hidden"), NONE, NONE, NONE)
    both = FileAction(CopyAction("/g", "/h"), 0, 1, 0)
    results = await run_file(FileOp((made, hidden, both)), [], "op", snapshots=kitchen.machine.store)
    assert [ref.id for ref in results] == ["op", "op#1"]
    assert await kitchen.show(results[0]) == {"f": "file 0644 0:0 made", "h": "file 0644 0:0 hidden"}
    assert await kitchen.show(results[1]) == {"f": "file 0644 0:0 made"}


@pytest.mark.parametrize(
    ("actions", "what"),
    [
        ((FileAction(MkDirAction("/a", 0o755), 5, NONE, 0),), "invalid input index 5 in file op with 0 inputs"),
        ((FileAction(MkDirAction("/a", 0o755), 0, NONE, 0),), "invalid input index 0 in file op with 0 inputs"),
        (
            (FileAction(MkDirAction("/a", 0o755), 1, NONE, 0), FileAction(MkDirAction("/b", 0o755), 0, NONE, NONE)),
            "invalid input index 1 in file op with 0 inputs",
        ),
        (
            (FileAction(MkDirAction("/a", 0o755), NONE, NONE, 1),),
            "invalid file op: its outputs are not numbered from 0",
        ),
    ],
)
async def test_ops_that_make_no_sense(kitchen: Kitchen, actions: tuple[FileAction, ...], what: str) -> None:
    with pytest.raises(BuildError) as raised:
        await run_file(FileOp(actions), [], "op", snapshots=kitchen.machine.store)
    assert raised.value.what == what


async def test_attacks_on_the_root_of_the_machine(kitchen: Kitchen, tmp_path: Path) -> None:
    base = await kitchen.tree("base", {"out": f"-> {tmp_path}", "up": f"-> ../../../../../../..{tmp_path}"})
    make_tree(tmp_path / "safe", {"f": ""})
    await kitchen.act(
        MkDirAction("/out/made", 0o755, make_parents=True),
        MkFileAction("/up/file", 0o644, b"x"),
        SymlinkAction("x", "/out/link"),
        RmAction("/up/safe/f", allow_not_found=True),
        RmAction("/../../../../../../.." + str(tmp_path / "safe"), allow_not_found=True),
        on=base,
    )
    assert [name for name in ("made", "file", "link") if (tmp_path / name).exists()] == []
    assert (tmp_path / "safe/f").exists()
