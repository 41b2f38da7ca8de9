"""COPY: sources, destinations, what is kept. The rules are those of the conformance suite's build engine (1-36)."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from bakepy.errors import BuildError
from bakepy.llb.op import NONE, ChownOpt, FileAction, FileOp, UserOpt
from bakepy.worker.file.run import run_file
from bakepy.worker.ref import Ref, TreeRef
from tests.support.kitchen import IMAGE, Kitchen, copy, refusal
from tests.support.written_tree import OLD, make_tree

NET_BIND = bytes.fromhex("0100000202040000000000000000000000000000")
"""The attribute with which a program may listen below port 1024."""

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

# sources


async def test_sources_are_clamped_to_the_context(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a.txt": "a", "abs": "-> /a.txt", "out": "-> ../../../a.txt"})
    result = await kitchen.copy(copy("../../a.txt", "/1"), copy("/abs", "/2"), copy("out", "/3"))
    assert await kitchen.show(result) == dict.fromkeys(["1", "2", "3"], "file 0644 0:0 a")


async def test_a_named_link_is_followed_and_a_found_one_kept(kitchen: Kitchen) -> None:
    make_tree(
        kitchen.context, {"d/x": "x", "d/gone": "-> nowhere", "d/root": "-> /etc", "one": "-> two", "two": "-> d"}
    )
    assert await kitchen.show(await kitchen.copy(copy("one", "/t"))) == {
        "t": "dir 0755 0:0",
        "t/gone": "link 0:0 nowhere",
        "t/root": "link 0:0 /etc",
        "t/x": "file 0644 0:0 x",
    }


@pytest.mark.parametrize("source", ["d", "d/", "d/.", "/d"])
async def test_a_folder_stands_for_its_content(kitchen: Kitchen, source: str) -> None:
    make_tree(kitchen.context, {"d/x": "x"})
    assert await kitchen.show(await kitchen.copy(copy(source, "/t/"))) == {
        "t": "dir 0755 0:0",
        "t/x": "file 0644 0:0 x",
    }


async def test_a_file_may_end_in_a_slash(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a"})
    assert await kitchen.show(await kitchen.copy(copy("a/", "/t"))) == {"t": "file 0644 0:0 a"}


async def test_wildcards_stop_at_slashes_and_match_leading_dots(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {".h": "h", "a": "a", "d/b": "b", "d/e/c": "c"})
    everything = {"t": "dir 0755 0:0", "t/.h": "file 0644 0:0 h", "t/a": "file 0644 0:0 a", "t/b": "file 0644 0:0 b"}
    nested = {"t/e": "dir 0755 0:0", "t/e/c": "file 0644 0:0 c"}
    assert await kitchen.show(await kitchen.copy(copy("*", "/t/"))) == everything | nested
    assert await kitchen.show(await kitchen.copy(copy("**/b", "/t/"))) == {
        "t": "dir 0755 0:0",
        "t/b": "file 0644 0:0 b",
    }
    assert await kitchen.show(await kitchen.copy(copy("d/[a-b]", "/t/"))) == {
        "t": "dir 0755 0:0",
        "t/b": "file 0644 0:0 b",
    }


async def test_equal_names_from_a_wildcard_overwrite_in_order(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a/x": "first", "b/x": "last"})
    assert (await kitchen.show(await kitchen.copy(copy("*", "/t/"))))["t/x"] == "file 0644 0:0 last"


async def test_a_wildcard_without_match_makes_nothing(kitchen: Kitchen) -> None:
    assert await kitchen.show(await kitchen.copy(copy("no*", "/t/"))) == {}
    assert await refusal(kitchen, copy("no*", "/t/", allow_empty_wildcard=False)) == "no* not found"


async def test_missing_sources(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a", "gone": "-> nowhere", "ring": "-> ring"})
    assert await refusal(kitchen, copy("/b", "/t")) == '"/b": not found'
    assert await refusal(kitchen, copy("a/x", "/t")) == '"/a/x": not found'
    assert await refusal(kitchen, copy("gone", "/t")) == '"/gone": not found'
    assert await refusal(kitchen, copy("g*", "/t")) == '"/gone": not found'
    assert await refusal(kitchen, copy("ring", "/t")) == "too many links: /ring"
    assert await refusal(kitchen, copy("no/*.txt", "/t")) == "lstat /no: no such file or directory"


async def test_what_the_context_ignores_is_not_there(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a", "b": "b"})
    local = await kitchen.local(exclude=["b"])
    assert await refusal(kitchen, copy("/b", "/t"), of=local) == '"/b": not found'
    assert await kitchen.show(await kitchen.copy(copy("*", "/t/"), of=local)) == {
        "t": "dir 0755 0:0",
        "t/a": "file 0644 0:0 a",
    }


# destinations


async def test_links_in_the_destination_are_followed_inside_the_tree(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a"})
    base = await kitchen.tree(
        "base", {"real/x": "x", "dir": "-> /real", "file": "-> real/x", "gone": "-> /new/y", "up": "-> ../../../real"}
    )
    result = await kitchen.copy(
        copy("a", "/dir/1"), copy("a", "/up/2"), copy("a", "/file"), copy("a", "/gone"), copy("a", "/dir"), on=base
    )
    assert await kitchen.show(result) == {
        "dir": "link 0:0 /real",
        "file": "link 0:0 real/x",
        "gone": "link 0:0 /new/y",
        "new": "dir 0755 0:0",
        "new/y": "file 0644 0:0 a",
        "real": "dir 0755 0:0",
        "real/1": "file 0644 0:0 a",
        "real/2": "file 0644 0:0 a",
        "real/a": "file 0644 0:0 a",
        "real/x": "file 0644 0:0 a",
        "up": "link 0:0 ../../../real",
    }


async def test_loops_and_files_in_the_way_of_the_destination(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a", "d/x": "x"})
    base = await kitchen.tree("base", {"ring": "-> ring", "file": "f"})
    assert await refusal(kitchen, copy("a", "/ring"), on=base) == "too many links: /ring"
    assert await refusal(kitchen, copy("a", "/ring/x"), on=base) == "too many links: /ring"
    assert await refusal(kitchen, copy("a", "/ring/x/y"), on=base) == "lstat /ring/x: too many levels of symbolic links"
    assert await refusal(kitchen, copy("a", "/file/x"), on=base) == "mkdir /file: not a directory"
    assert await refusal(kitchen, copy("a", "/file/x/y"), on=base) == "lstat /file/x: not a directory"
    assert await refusal(kitchen, copy("a", "/file/"), on=base) == "mkdir /file: not a directory"
    assert await refusal(kitchen, copy("d", "/file"), on=base) == "cannot copy to non-directory: /file"


async def test_nothing_leaves_the_tree(kitchen: Kitchen, tmp_path: Path) -> None:
    make_tree(kitchen.context, {"a": "mine"})
    victim = tmp_path / "victim"
    base = await kitchen.tree("base", {"out": f"-> {victim}", "far": f"-> ../../../../../../../..{tmp_path}"})
    await kitchen.copy(copy("a", "/out"), copy("a", "/far/escape"), copy("a", "/../../../x"), on=base)
    assert not victim.exists()
    assert not (tmp_path / "escape").exists()


async def test_kinds_that_meet_inside_a_copied_tree(kitchen: Kitchen) -> None:
    base = await kitchen.tree("base", {"t/d/": "", "t/l": "-> d", "t/f": "old", "t/ld": "-> d"})
    make_tree(kitchen.context / "1", {"l": "new", "f": "-> x"})
    assert await kitchen.show(await kitchen.copy(copy("1", "/t"), on=base)) == {
        "t": "dir 0755 0:0",
        "t/d": "dir 0755 0:0",
        "t/f": "link 0:0 x",
        "t/l": "file 0644 0:0 new",
        "t/ld": "link 0:0 d",
    }
    make_tree(kitchen.context / "2", {"d": "file"})
    assert await refusal(kitchen, copy("2", "/t"), on=base) == "cannot replace to directory /t/d with file"
    make_tree(kitchen.context / "3", {"d": "-> x"})
    assert await refusal(kitchen, copy("3", "/t"), on=base) == "cannot replace to directory /t/d with file"
    make_tree(kitchen.context / "4", {"f/x": ""})
    assert await refusal(kitchen, copy("4", "/t"), on=base) == "cannot copy to non-directory: /t/f"
    make_tree(kitchen.context / "5", {"ld/x": ""})
    assert await refusal(kitchen, copy("5", "/t"), on=base) == "cannot copy to non-directory: /t/ld"


async def test_replacing_whatever_is_in_the_way(kitchen: Kitchen) -> None:
    base = await kitchen.tree("base", {"t/d/x": "", "t/f": "old", "t/l": "-> d"})
    make_tree(kitchen.context, {"d": "file", "f/y": "y", "l/z": "z"})
    assert await kitchen.show(await kitchen.copy(copy("/", "/t", always_replace=True), on=base)) == {
        "t": "dir 0755 0:0",
        "t/d": "file 0644 0:0 file",
        "t/f": "dir 0755 0:0",
        "t/f/y": "file 0644 0:0 y",
        "t/l": "dir 0755 0:0",
        "t/l/z": "file 0644 0:0 z",
    }


async def test_existing_folders_take_the_facts_of_the_source_but_the_topmost(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"s/d/x": "x"}, {"s": 0o700, "s/d": 0o2750})
    os.utime(kitchen.context / "s", (OLD + 1, OLD + 1))
    base = await kitchen.tree("base", {"t/d/old": ""}, {"t": 0o711, "t/d": 0o777})
    result = await kitchen.copy(copy("s", "/t"), on=base)
    assert await kitchen.show(result) == {
        "t": "dir 0711 0:0",
        "t/d": "dir 2750 0:0",
        "t/d/old": "file 0644 0:0",
        "t/d/x": "file 0644 0:0 x",
    }
    assert await kitchen.times(result) == {"t": OLD + 1, "t/d": OLD, "t/d/old": OLD, "t/d/x": OLD}


async def test_a_replaced_file_is_a_new_one(kitchen: Kitchen) -> None:
    def old(root: Path) -> None:
        make_tree(root, {"f": "old"}, {"f": 0o4755})
        os.chown(root / "f", 7, 7)
        (root / "g").hardlink_to(root / "f")

    await kitchen.machine.commit("base", None, old)
    make_tree(kitchen.context, {"f": "new"})
    assert await kitchen.show(await kitchen.copy(copy("f", "/"), on=TreeRef("base", "base"))) == {
        "f": "file 0644 0:0 new",
        "g": "file 0755 7:7 old",
    }


async def test_several_sources_to_one_name(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a", "b": "b"})
    assert await kitchen.show(await kitchen.copy(copy("a", "/t"), copy("b", "/t"))) == {"t": "file 0644 0:0 b"}


# what is kept


async def test_modes_times_links_and_kinds_of_a_context(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"d/a": "a", "d/s/": ""}, {"d/a": 0o6751, "d/s": 0o1777})
    (kitchen.context / "d/b").hardlink_to(kitchen.context / "d/a")
    os.mkfifo(kitchen.context / "d/p", 0o640)
    os.chown(kitchen.context / "d/s", 5, 6)
    (kitchen.context / "d/p").chmod(0o640)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(kitchen.context / "d/k"))
        (kitchen.context / "d/k").chmod(0o755)
        result = await kitchen.copy(copy("d", "/t/"))
    assert await kitchen.show(result) == {
        "t": "dir 0755 0:0",
        "t/a": "file 6751 0:0 a",
        "t/b": "hardlink t/a",
        "t/k": "file 0755 0:0",
        "t/p": "fifo 0640 0:0",
        "t/s": "dir 1777 0:0",
    }


async def test_hard_links_end_at_the_source(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a"})
    (kitchen.context / "b").hardlink_to(kitchen.context / "a")
    expected = {"t": "dir 0755 0:0", "t/a": "file 0644 0:0 a", "t/b": "file 0644 0:0 a"}
    assert await kitchen.show(await kitchen.copy(copy("[ab]", "/t/"))) == expected
    assert await kitchen.show(await kitchen.copy(copy("a", "/t/"), copy("b", "/t/"))) == expected


async def test_times(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"d/x": "x", "d/e/y": "y"})
    # by the clock of files, which is a bit behind
    (kitchen.context / "now").touch()
    before = int((kitchen.context / "now").stat().st_mtime)
    times = await kitchen.times(await kitchen.copy(copy("d/x", "/p/q/x"), copy("d", "/r")))
    assert {name: when for name, when in times.items() if name not in ("p", "p/q")} == {
        "p/q/x": OLD,
        "r": OLD,
        "r/e": OLD,
        "r/e/y": OLD,
        "r/x": OLD,
    }
    assert times["p"] >= before and times["p/q"] >= before
    fixed = await kitchen.times(await kitchen.copy(copy("d", "/p/r", timestamp=77 * 10**9)))
    assert set(fixed.values()) == {77}


async def test_from_a_stage_owners_capabilities_and_devices_are_kept(kitchen: Kitchen) -> None:
    def stage(root: Path) -> None:
        make_tree(root, {"d/a": "a", "d/l": "-> a"})
        os.mknod(root / "d/c", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(root / "d/b", 0o660 | stat.S_IFBLK, os.makedev(7, 1))
        (root / "d/c").chmod(0o666)
        (root / "d/b").chmod(0o660)
        for name in ("a", "l", "c"):
            os.chown(root / "d" / name, 5, 6, follow_symlinks=False)
        (root / "d/a").chmod(0o4755)
        os.setxattr(root / "d/a", "security.capability", NET_BIND)
        os.setxattr(root / "d/a", "user.note", b"hello")
        os.setxattr(root / "d/a", "trusted.note", b"hello")

    await kitchen.machine.commit("stage", None, stage)
    result = await kitchen.copy(copy("d", "/t"), of=TreeRef("stage", "stage"))
    assert await kitchen.show(result) == {
        "t": "dir 0755 0:0",
        "t/a": "file 4755 5:6 a",
        "t/b": "char 0660 0:0 7,1",
        "t/c": "char 0666 5:6 1,3",
        "t/l": "link 5:6 a",
    }
    owned = await kitchen.copy(copy("d/a", "/a", owner=ChownOpt(UserOpt(9), UserOpt(9))), of=TreeRef("stage", "stage"))
    assert await kitchen.show(owned) == {"a": "file 4755 9:9 a"}
    for ref, name in ((result, "t/a"), (owned, "a")):
        async with kitchen.machine.store.view(ref.snapshot) as root:
            assert os.getxattr(root / name, "security.capability") == NET_BIND
            assert os.getxattr(root / name, "user.note") == b"hello"
            assert os.getxattr(root / name, "trusted.note") == b"hello"


async def test_attributes_of_a_context_are_kept_but_not_what_programs_may_do(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"d/a": "a"})
    for name, value in (("user.note", b"hello"), ("security.capability", NET_BIND)):
        os.setxattr(kitchen.context / "d/a", name, value)
    os.setxattr(kitchen.context / "d", "user.note", b"hello")
    result = await kitchen.copy(copy("/", "/t"))
    async with kitchen.machine.store.view(result.snapshot) as root:
        assert os.getxattr(root / "t/d/a", "user.note") == b"hello"
        assert os.listxattr(root / "t/d/a") == ["user.note"]
        assert os.getxattr(root / "t/d", "user.note") == b"hello"


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 3_000_000])
async def test_contents_of_all_sizes(kitchen: Kitchen, size: int) -> None:
    data = os.urandom(size)
    (kitchen.context / "f").write_bytes(data)
    result = await kitchen.copy(copy("f", "/f"))
    async with kitchen.machine.store.view(result.snapshot) as root:
        assert (root / "f").read_bytes() == data


async def test_holes_stay_holes(kitchen: Kitchen) -> None:
    with (kitchen.context / "f").open("wb") as file:
        file.seek(50_000_000)
        file.write(b"middle")
        file.truncate(100_000_000)
    result = await kitchen.copy(copy("f", "/f"))
    async with kitchen.machine.store.view(result.snapshot) as root:
        facts = (root / "f").stat()
        assert facts.st_size == 100_000_000
        assert facts.st_blocks * 512 < 1_000_000
        with (root / "f").open("rb") as file:
            file.seek(50_000_000)
            assert file.read(7) == b"middle\0"


async def test_a_file_that_changed_since_the_scan_is_an_error(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"d/a": "a", "d/b": "b"})
    local = await kitchen.local()
    (kitchen.context / "d/b").write_text("changed")
    assert await refusal(kitchen, copy("d", "/t"), of=local) == "/d/b changed while the build was reading it"
    (kitchen.context / "d/b").unlink()
    (kitchen.context / "d/b").symlink_to("/etc/passwd")
    assert await refusal(kitchen, copy("d", "/t"), of=local) == "/d/b changed while the build was reading it"


# --chown, --chmod


def user(name: str = "", group: str = "") -> ChownOpt:
    def option(text: str) -> UserOpt | None:
        return (UserOpt(int(text)) if text.isdigit() else UserOpt(name=text, input=0)) if text else None

    return ChownOpt(option(name), option(group))


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        (user("app"), "1000:1001"),
        (user("app", "extra"), "1000:3000"),
        (user("app", "7"), "1000:7"),
        (user("5"), "5:5"),
        (user("", "extra"), "0:3000"),
        (user("nobody-knows"), "0:0"),
        (user("app", "nobody-knows"), "1000:1001"),
    ],
)
async def test_owners_by_name_and_number(kitchen: Kitchen, owner: ChownOpt, expected: str) -> None:
    make_tree(kitchen.context, {"a": "a"})
    base = await kitchen.tree("base", IMAGE)
    assert await kitchen.show(await kitchen.copy(copy("a", "/p/a", owner=owner), on=base)) == {
        "p": f"dir 0755 {expected}",
        "p/a": f"file 0644 {expected} a",
    }


async def test_a_name_needs_a_tree_to_be_looked_up_in(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a"})
    nowhere = ChownOpt(UserOpt(name="app", input=NONE))
    assert await refusal(kitchen, copy("a", "/a", owner=nowhere)) == "invalid user index: -1"


async def test_a_passwd_that_is_no_file_is_an_error(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a"})
    base = await kitchen.tree("base", {"etc/passwd/": ""})
    owned = copy("a", "/a", owner=user("app"))
    assert await refusal(kitchen, owned, on=base) == "/etc/passwd is not a regular file"


async def test_names_are_looked_up_in_the_tree_as_it_is_at_that_step(kitchen: Kitchen) -> None:
    """The passwd file that an earlier action copied counts for the next."""
    make_tree(kitchen.context, {"passwd": "late:x:42:43::/:\n"})
    base = await kitchen.tree("base", IMAGE)
    late = ChownOpt(UserOpt(name="late", input=2))
    result = await kitchen.copy(copy("passwd", "/etc/passwd"), copy("passwd", "/f", owner=late), on=base)
    assert (await kitchen.show(result))["f"] == "file 0644 42:43 late:x:42:43::/:\n".rstrip()


async def test_octal_modes(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"d/a": "a", "d/e/": "", "d/l": "-> a"})
    assert await kitchen.show(await kitchen.copy(copy("d", "/p/q", mode=0o7644))) == {
        "p": "dir 0644 0:0",
        "p/q": "dir 0644 0:0",
        "p/q/a": "file 7644 0:0 a",
        "p/q/e": "dir 7644 0:0",
        "p/q/l": "link 0:0 a",
    }


async def test_symbolic_modes(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"d/a": "a", "d/x": "x", "d/e/": ""}, {"d/a": 0o600, "d/x": 0o711, "d/e": 0o700})
    assert await kitchen.show(await kitchen.copy(copy("d", "/p/q", mode_str="u=rwX,go=rX"))) == {
        "p": "dir 0755 0:0",
        "p/q": "dir 0755 0:0",
        "p/q/a": "file 0644 0:0 a",
        "p/q/e": "dir 0755 0:0",
        "p/q/x": "file 0755 0:0 x",
    }


# --parents, --exclude


async def test_parents_come_along_with_their_modes(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a/b/c": "c", "a/b/no": "", "a/n": ""}, {"a": 0o711, "a/b": 0o700})

    def existing(root: Path) -> None:
        make_tree(root, {"t/a/": ""})
        os.chown(root / "t/a", 5, 6)

    await kitchen.machine.commit("base", None, existing)
    base = TreeRef("base", "base")
    result = await kitchen.copy(copy("/", "/t/", include_patterns=("a/b/c",), required_paths=("/a/b/c",)), on=base)
    assert await kitchen.show(result) == {
        "t": "dir 0755 0:0",
        "t/a": "dir 0711 5:6",
        "t/a/b": "dir 0700 0:0",
        "t/a/b/c": "file 0644 0:0 c",
    }


async def test_a_missing_path_is_required_only_where_it_is_literal(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a/b": "b", "l": "-> a"})
    missing = copy("/", "/t/", include_patterns=("a/c",), required_paths=("/a/c",))
    assert await refusal(kitchen, missing) == '"/a/c": not found'
    through = copy("/", "/t/", include_patterns=("l/b",), required_paths=("/l/b",))
    assert await refusal(kitchen, through) == '"/l/b": not found'
    begins = copy("/l", "/t/", include_patterns=("b",), required_paths=("/l/b",))
    assert await refusal(kitchen, begins) == '"/l/b": not found'
    begins = copy("/no", "/t/", include_patterns=("b/c",), required_paths=("/no/b/c",))
    assert await refusal(kitchen, begins) == '"/no/b/c": not found'
    assert await kitchen.show(await kitchen.copy(copy("/", "/t/", include_patterns=("**/*.no",)))) == {
        "t": "dir 0755 0:0"
    }


async def test_a_file_where_a_parent_is_to_be(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a/b/c": "c"})
    base = await kitchen.tree("base", {"1/a": "", "2/a/b": "", "3/a": "-> /2"})
    parents = {"include_patterns": ("a/b/c",), "required_paths": ("/a/b/c",)}
    assert [await refusal(kitchen, copy("/", f"/{place}/", **parents), on=base) for place in "123"] == [
        "lstat /1/a/b: not a directory",
        "lstat /2/a/b/c: not a directory",
        "cannot copy to non-directory: /3/a",
    ]


async def test_a_missing_source_of_a_filtered_copy_from_a_stage(kitchen: Kitchen) -> None:
    stage = await kitchen.tree("stage", {"f": "", "d/": ""})
    sources = ("/d/a", "/f/a", "/n/a/b")
    assert [await refusal(kitchen, copy(one, "/t", exclude_patterns=("x",)), of=stage) for one in sources] == [
        "lstat /d/a: no such file or directory",
        "lstat /f/a: not a directory",
        "lstat /n/a/b: no such file or directory",
    ]


async def test_excludes_are_relative_to_the_source(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"d/a.md": "", "d/e/b.md": "", "d/e/keep.md": "k", "d/x": "x"})
    result = await kitchen.copy(copy("d", "/t", exclude_patterns=("**/*.md", "!e/keep.md", "d")))
    assert await kitchen.show(result) == {
        "t": "dir 0755 0:0",
        "t/e": "dir 0755 0:0",
        "t/e/keep.md": "file 0644 0:0 k",
        "t/x": "file 0644 0:0 x",
    }
    named = await kitchen.copy(copy("d/a.md", "/a.md", exclude_patterns=("*.md",)))
    assert await kitchen.show(named) == {"a.md": "file 0644 0:0"}


async def test_a_bad_pattern_names_its_list(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"d/a": ""})
    assert await refusal(kitchen, copy("d", "/t", exclude_patterns=("a", "["))) == (
        'invalid excludepatterns: [a []: syntax error in pattern: "["'
    )
    assert await refusal(kitchen, copy("d", "/t", exclude_patterns=("!", "a"))) == (
        'invalid excludepatterns: [! a]: illegal exclusion pattern: "!"'
    )


# the tree as a whole


async def test_an_image_can_be_copied_onto_itself(kitchen: Kitchen) -> None:
    base = await kitchen.tree("base", {"a": "a"})
    op = FileOp((FileAction(copy("a", "/b"), 0, 0, 0),))
    (result,) = await run_file(op, [base], "twice", snapshots=kitchen.machine.store)
    assert await kitchen.show(result) == {"a": "file 0644 0:0 a", "b": "file 0644 0:0 a"}


async def test_a_failed_copy_leaves_no_snapshot(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a"})
    with pytest.raises(BuildError):
        await kitchen.copy(copy("a", "/a"), copy("gone", "/b"))
    assert kitchen.machine.store.find("run1") is None


async def test_a_context_as_the_tree_to_change(kitchen: Kitchen) -> None:
    make_tree(kitchen.context, {"a": "a"})
    local: Sequence[Ref] = [await kitchen.local()]
    op = FileOp((FileAction(copy("a", "/b"), 0, 0, 0),))
    (result,) = await run_file(op, local, "result", snapshots=kitchen.machine.store)
    assert await kitchen.show(result) == {"a": "file 0644 0:0 a", "b": "file 0644 0:0 a"}
    assert len(kitchen.machine.store.chain("result")) == 2
