"""The layer that a step makes: what is in it, and what is left out. The same for overlays and copies."""

from __future__ import annotations

import os
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.snapshots import Snapshots, remake

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

Change = Callable[[Path], object]


def base(root: Path) -> None:
    (root / "a").mkdir(mode=0o750)
    (root / "a").chmod(0o750)
    os.chown(root / "a", 7, 8)
    for name in ("x", "y"):
        (root / "a" / name).write_text(name)
    (root / "a/sub").mkdir()
    (root / "a/sub/deep").write_text("deep")
    (root / "link").symlink_to("a")
    (root / "one").write_text("linked")
    os.link(root / "one", root / "two")
    for path in (root / "a/x", root / "a/y", root / "one"):
        os.utime(path, ns=(10**18 + 5, 10**18 + 5))


async def layer(machine: Snapshots, change: Change, start: Change = base) -> list[str]:
    await machine.commit("base", None, start)
    await machine.commit("step", "base", change)
    return machine.changes("step")


async def test_first_layer_holds_everything_in_path_order(either: Snapshots) -> None:
    await either.commit("base", None, base)
    assert either.changes("base") == [
        "dir a 750 7:8",
        "dir a/sub 755 0:0",
        "file a/sub/deep 644 0:0 'deep'",
        "file a/x 644 0:0 'x'",
        "file a/y 644 0:0 'y'",
        "symlink link 777 0:0 -> a",
        "file one 644 0:0 'linked'",
        "hardlink two 644 0:0 -> one",
    ]


async def test_changed_file_comes_with_its_parents(either: Snapshots) -> None:
    assert await layer(either, lambda root: (root / "a/sub/deep").write_text("new")) == [
        "dir a 750 7:8",
        "dir a/sub 755 0:0",
        "file a/sub/deep 644 0:0 'new'",
    ]


async def test_step_without_changes_gives_an_empty_layer(either: Snapshots) -> None:
    assert await layer(either, lambda root: None) == []


async def test_deleted_names_are_whiteouts_with_their_parents(either: Snapshots) -> None:
    def change(root: Path) -> None:
        (root / "a/x").unlink()
        shutil.rmtree(root / "a/sub")
        (root / "link").unlink()

    assert await layer(either, change) == [
        "dir a 750 7:8",
        "file a/.wh.sub 0 0:0",
        "file a/.wh.x 0 0:0",
        "file .wh.link 0 0:0",
    ]


async def test_file_made_and_deleted_in_one_step_leaves_nothing(either: Snapshots) -> None:
    def change(root: Path) -> None:
        (root / "a/new").write_text("")
        (root / "a/new").unlink()

    assert await layer(either, change) == []


async def test_folder_deleted_and_made_anew_is_not_opaque(either: Snapshots) -> None:
    def change(root: Path) -> None:
        remake(root / "a")
        (root / "a/x").write_text("again")
        (root / "a/z").write_text("z")

    assert await layer(either, change) == [
        "dir a 755 0:0",
        "file a/.wh.sub 0 0:0",
        "file a/x 644 0:0 'again'",
        "file a/.wh.y 0 0:0",
        "file a/z 644 0:0 'z'",
    ]


async def test_folder_inside_a_remade_folder_gets_single_whiteouts(either: Snapshots) -> None:
    def change(root: Path) -> None:
        remake(root / "a")
        (root / "a/sub").mkdir()
        (root / "a/sub/other").write_text("o")

    assert await layer(either, change) == [
        "dir a 755 0:0",
        "dir a/sub 755 0:0",
        "file a/sub/.wh.deep 0 0:0",
        "file a/sub/other 644 0:0 'o'",
        "file a/.wh.x 0 0:0",
        "file a/.wh.y 0 0:0",
    ]


async def test_type_changes_need_no_whiteout(either: Snapshots) -> None:
    def change(root: Path) -> None:
        shutil.rmtree(root / "a/sub")
        (root / "a/sub").write_text("file")
        (root / "a/x").unlink()
        (root / "a/x").mkdir()
        (root / "a/x/in").write_text("in")
        (root / "link").unlink()
        (root / "link").mkdir()

    assert await layer(either, change) == [
        "dir a 750 7:8",
        "file a/sub 644 0:0 'file'",
        "dir a/x 755 0:0",
        "file a/x/in 644 0:0 'in'",
        "dir link 755 0:0",
    ]


async def test_setting_what_is_set_already_changes_nothing(either: Snapshots) -> None:
    def change(root: Path) -> None:
        (root / "a/x").chmod(0o644)
        os.chown(root / "a/x", 0, 0)
        os.chown(root / "a", 7, 8)
        (root / "a/y").open("a").close()
        os.utime(root / "a/sub")

    assert await layer(either, change) == []


async def test_new_mode_owner_and_time_of_a_file_are_changes(either: Snapshots) -> None:
    def change(root: Path) -> None:
        (root / "a/x").chmod(0o600)
        os.chown(root / "a/y", 1, 2)
        os.utime(root / "a/sub/deep", (1, 1))

    assert await layer(either, change) == [
        "dir a 750 7:8",
        "dir a/sub 755 0:0",
        "file a/sub/deep 644 0:0 'deep'",
        "file a/x 600 0:0 'x'",
        "file a/y 644 1:2 'y'",
    ]


async def test_mode_of_a_folder_is_a_change_but_its_time_is_not(either: Snapshots) -> None:
    def change(root: Path) -> None:
        (root / "a/sub").chmod(0o700)
        root.chmod(0o700)

    assert await layer(either, change) == ["dir a 750 7:8", "dir a/sub 700 0:0"]


async def test_equal_whole_second_times_are_decided_by_content(either: Snapshots) -> None:
    def start(root: Path) -> None:
        for name in ("same", "other"):
            (root / name).write_text("abc")
            os.utime(root / name, (5, 5))

    def change(root: Path) -> None:
        for name, text in (("same", "abc"), ("other", "abd")):
            (root / name).unlink()
            (root / name).write_text(text)
            os.utime(root / name, (5, 5))

    assert await layer(either, change, start) == ["file other 644 0:0 'abd'"]


async def test_hard_link_to_a_lower_file_is_a_full_copy(either: Snapshots) -> None:
    assert await layer(either, lambda root: os.link(root / "a/x", root / "new")) == ["file new 644 0:0 'x'"]


async def test_links_made_in_one_step_stay_links(either: Snapshots) -> None:
    def change(root: Path) -> None:
        (root / "m").write_text("m")
        os.link(root / "m", root / "b")
        (root / "s").symlink_to("nowhere")
        os.link(root / "s", root / "t", follow_symlinks=False)

    assert await layer(either, change) == [
        "file b 644 0:0 'm'",
        "hardlink m 644 0:0 -> b",
        "symlink s 777 0:0 -> nowhere",
        "hardlink t 777 0:0 -> s",
    ]


async def test_writing_to_one_of_two_linked_files_splits_them(machine: Snapshots) -> None:
    assert await layer(machine, lambda root: (root / "one").write_text("new")) == ["file one 644 0:0 'new'"]


async def test_sockets_are_left_out(either: Snapshots) -> None:
    def change(root: Path) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(root)
            try:
                listener.bind("sock")
            finally:
                os.chdir("/")

    assert await layer(either, change) == []


async def test_fifos_and_devices_are_kept(either: Snapshots) -> None:
    def change(root: Path) -> None:
        os.mkfifo(root / "pipe")
        os.mknod(root / "null", 0o20666, os.makedev(1, 3))

    await either.commit("base", None, base)
    await either.commit("step", "base", change)
    found = [(e.path, e.kind, e.major, e.minor) for e in either.store.changes("step")]
    assert found == [(b"null", "char", 1, 3), (b"pipe", "fifo", 0, 0)]


async def test_of_the_xattrs_only_capabilities_count(either: Snapshots) -> None:
    capability = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)

    def change(root: Path) -> None:
        os.setxattr(root / "a/x", "user.note", b"hello")
        os.setxattr(root / "a/y", "security.capability", capability)

    await either.commit("base", None, base)
    await either.commit("step", "base", change)
    assert [(e.path, dict(e.xattrs)) for e in either.store.changes("step")] == [
        (b"a", {}),
        (b"a/y", {"security.capability": capability}),
    ]


async def test_names_are_bytes(either: Snapshots) -> None:
    odd = b"caf\xe9 \n\\"
    assert await layer(either, lambda root: Path(os.fsdecode(os.fsencode(root) + b"/" + odd)).write_text("")) == [
        "file caf\\xe9 \n\\ 644 0:0 ''"
    ]


async def test_renamed_folder_is_written_anew(either: Snapshots) -> None:
    assert await layer(either, lambda root: shutil.move(root / "a/sub", root / "moved")) == [
        "dir a 750 7:8",
        "file a/.wh.sub 0 0:0",
        "dir moved 755 0:0",
        "file moved/deep 644 0:0 'deep'",
    ]


async def test_symlink_in_the_lower_tree_is_not_followed(either: Snapshots) -> None:
    def start(root: Path) -> None:
        (root / "etc").symlink_to("/etc")

    def change(root: Path) -> None:
        (root / "etc").unlink()
        (root / "etc").mkdir()
        (root / "etc/passwd").write_text("mine")

    assert await layer(either, change, start) == ["dir etc 755 0:0", "file etc/passwd 644 0:0 'mine'"]
