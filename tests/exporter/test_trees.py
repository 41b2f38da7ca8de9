"""`type=local` and `type=tar`: file trees, compared with what was built."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from bakepy.content.entry import LayerEntry
from bakepy.errors import BuildError, DefinitionError
from bakepy.exporter.directory import DirectoryWriter
from bakepy.exporter.tree import walk
from tests.support.results import AMD64, ARM64, House, files_of, multi_result, output, result, tar_of

pytestmark = pytest.mark.anyio

TIME = 1_600_000_000


def odd(root: Path) -> None:
    """Modes, links, times, a pipe, an extended attribute."""
    (root / "d").mkdir()
    (root / "d" / "suid").write_text("s\n")
    (root / "d" / "suid").chmod(0o4755)
    (root / "d" / "link").symlink_to("../a")
    (root / "a").write_text("alpha\n")
    os.link(root / "a", root / "b")
    os.mkfifo(root / "p", 0o640)
    os.setxattr(root / "a", "user.note", b"x")
    for path in (root / "a", root / "d" / "suid", root / "p", root / "d"):
        os.utime(path, (TIME, TIME))
    (root / "d").chmod(0o2750)


def facts(path: Path) -> tuple[str, int, int]:
    info = path.lstat()
    return stat.filemode(info.st_mode), info.st_size if stat.S_ISREG(info.st_mode) else 0, int(info.st_mtime)


async def test_a_directory_has_modes_links_times_and_xattrs(house: House, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    exported = await house.exporter().export(result(await house.snapshot("s1", odd), f"type=local,dest={dest}"))
    assert facts(dest / "a") == ("-rw-r--r--", 6, TIME)
    assert facts(dest / "d") == ("drwxr-s---", 0, TIME)
    assert facts(dest / "d" / "suid") == ("-rwsr-xr-x", 2, TIME)
    assert facts(dest / "p") == ("prw-r-----", 0, TIME)
    assert str((dest / "d" / "link").readlink()) == "../a"
    assert (dest / "a").samefile(dest / "b")
    assert os.getxattr(dest / "a", "user.note") == b"x"
    assert exported.written == (f"directory {dest} (5 files, 8 B)",)
    assert exported.descriptor is None


async def test_a_socket_is_an_empty_file(house: House, tmp_path: Path) -> None:
    def listening(root: Path) -> None:
        os.mknod(root / "s", stat.S_IFSOCK | 0o640)
        os.utime(root / "s", (TIME, TIME))

    outputs = (f"type=local,dest={tmp_path / 'out'}", f"type=tar,dest={tmp_path / 't'}")
    await house.exporter().export(result(await house.snapshot("s1", listening), *outputs))
    assert facts(tmp_path / "out" / "s") == ("-rw-r-----", 0, TIME)
    found = tar_of((tmp_path / "t").read_bytes())["s"]
    assert (found.isreg(), found.mode, found.size, found.mtime) == (True, 0o640, 0, TIME)


async def test_other_files_stay_and_old_ones_are_replaced(house: House, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "kept").write_text("kept")
    (dest / "a").write_text("old")
    (dest / "d").write_text("a file where a directory comes")
    (dest / "p").mkdir()
    (dest / "p" / "inside").write_text("a directory where a pipe comes")
    os.link(dest / "a", tmp_path / "other-name")
    await house.exporter().export(result(await house.snapshot("s1", odd), f"type=local,dest={dest}"))
    assert (dest / "kept").read_text() == "kept"
    assert (dest / "a").read_text() == "alpha\n"
    assert (dest / "d" / "suid").read_text() == "s\n"
    assert stat.S_ISFIFO((dest / "p").lstat().st_mode)
    assert (tmp_path / "other-name").read_text() == "old"
    assert sorted(path.name for path in dest.iterdir()) == ["a", "b", "d", "kept", "p"]


async def test_mode_delete_leaves_nothing_else(house: House, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    dest = tmp_path / "out"
    for name in ("d/old", "old/deep/er", "a/was-a-folder"):
        (dest / name).parent.mkdir(parents=True, exist_ok=True)
        (dest / name).write_text("old")
    (dest / "link").symlink_to(outside)
    (dest / "d" / "link").symlink_to(outside)
    top = await house.snapshot("s1", odd)
    await house.exporter().export(result(top, f"type=local,mode=delete,dest={dest}"))
    assert sorted(str(path.relative_to(dest)) for path in dest.rglob("*")) == ["a", "b", "d", "d/link", "d/suid", "p"]
    assert (dest / "a").read_text() == "alpha\n"
    assert facts(dest / "d") == ("drwxr-s---", 0, TIME)
    assert [path.name for path in outside.iterdir()] == ["kept"]


async def test_mode_delete_keeps_the_folders_of_all_platforms(house: House, tmp_path: Path) -> None:
    tops = {AMD64: await house.snapshot("s1", {"a": "1"}), ARM64: await house.snapshot("s2", {"b": "2"})}
    (tmp_path / "out" / "linux_arm").mkdir(parents=True)
    await house.exporter().export(multi_result(tops, f"type=local,mode=delete,dest={tmp_path / 'out'}"))
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == [
        "linux_amd64", "linux_amd64/a", "linux_arm64", "linux_arm64/b",
    ]  # fmt: skip


async def test_symlinks_in_the_directory_are_never_followed(house: House, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "suid").write_text("precious")
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "d").symlink_to(outside)
    (dest / "a").symlink_to(outside / "suid")
    await house.exporter().export(result(await house.snapshot("s1", odd), f"type=local,dest={dest}"))
    assert (outside / "suid").read_text() == "precious"
    assert [path.name for path in outside.iterdir()] == ["suid"]
    assert (dest / "d" / "suid").read_text() == "s\n"


async def test_the_epoch_is_the_time_of_every_file(house: House, tmp_path: Path) -> None:
    dest = tmp_path / "out"
    top = await house.snapshot("s1", odd)
    await house.exporter().export(result(top, f"type=local,dest={dest}", f"type=tar,dest={tmp_path / 't'}", epoch=77))
    assert {path.name: int(path.lstat().st_mtime) for path in dest.rglob("*")} == dict.fromkeys(
        ("a", "b", "d", "link", "p", "suid"), 77
    )
    assert {member.mtime for member in tar_of((tmp_path / "t").read_bytes()).values()} == {77}


async def test_an_output_has_an_epoch_of_its_own(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    outputs = (f"type=tar,dest={tmp_path / 'a'},source-date-epoch=5", f"type=tar,dest={tmp_path / 'b'}")
    await house.exporter().export(result(top, *outputs, epoch=6))
    assert [tar_of((tmp_path / name).read_bytes())["a"].mtime for name in "ab"] == [5, 6]


async def test_each_platform_has_its_folder(house: House, tmp_path: Path) -> None:
    tops = {AMD64: await house.snapshot("s1", {"a": "amd"}), ARM64: await house.snapshot("s2", odd)}
    outputs = (f"type=local,dest={tmp_path / 'out'}", f"type=tar,dest={tmp_path / 't'}")
    await house.exporter().export(multi_result(tops, *outputs))
    assert (tmp_path / "out" / "linux_amd64" / "a").read_text() == "amd"
    assert (tmp_path / "out" / "linux_arm64" / "a").samefile(tmp_path / "out" / "linux_arm64" / "b")
    members = tar_of((tmp_path / "t").read_bytes())
    assert list(members)[:3] == ["linux_amd64", "linux_amd64/a", "linux_arm64"]
    assert (members["linux_arm64/b"].type, members["linux_arm64/b"].linkname) == (b"1", "linux_arm64/a")


async def test_one_platform_has_a_folder_on_request(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    await house.exporter().export(result(top, f"type=local,dest={tmp_path / 'out'},platform-split=true"))
    assert (tmp_path / "out" / "linux_amd64" / "a").read_text() == "1"


async def test_platforms_in_one_folder_must_not_meet(house: House, tmp_path: Path) -> None:
    tops = {AMD64: await house.snapshot("s1", {"d/a": "1"}), ARM64: await house.snapshot("s2", {"d/a": "2"})}
    with pytest.raises(BuildError) as caught:
        await house.exporter().export(multi_result(tops, f"type=local,dest={tmp_path / 'out'},platform-split=false"))
    assert caught.value.render() == (
        "cannot overwrite d/a from linux/amd64 with linux/arm64 when split option is disabled\n"
        "hint: leave out platform-split=false"
    )
    assert not (tmp_path / "out").exists()


async def test_a_platform_twice_is_one_folder_and_no_tar(house: House, tmp_path: Path) -> None:
    twice = replace(multi_result({AMD64: await house.snapshot("s1", {"d/a": "1"})}), multi_platform=True)
    twice = replace(twice, platforms=twice.platforms * 2)

    async def export(written: str) -> str:
        target = replace(twice.target, outputs=(output(written),))
        try:
            await house.exporter().export(replace(twice, target=target))
        except BuildError as error:
            return error.what
        return ""

    assert await export(f"type=local,dest={tmp_path / 'out'}") == ""
    assert (tmp_path / "out/linux_amd64/d/a").read_text() == "1"
    assert await export(f"type=local,dest={tmp_path / 'one'},platform-split=false") == (
        "cannot overwrite d/a from linux/amd64 with linux/amd64 when split option is disabled"
    )
    assert await export(f"type=tar,dest={tmp_path / 't'}") == "duplicate path linux_amd64: file exists"
    assert not (tmp_path / "one").exists() and not (tmp_path / "t").exists()


async def test_platforms_in_one_folder_side_by_side(house: House, tmp_path: Path) -> None:
    tops = {AMD64: await house.snapshot("s1", {"d/amd": "1"}), ARM64: await house.snapshot("s2", {"d/arm": "2"})}
    await house.exporter().export(multi_result(tops, f"type=local,dest={tmp_path / 'out'},platform-split=false"))
    assert sorted(path.name for path in (tmp_path / "out" / "d").iterdir()) == ["amd", "arm"]


async def test_a_tar_is_what_the_tree_is(house: House, tmp_path: Path) -> None:
    def fill(root: Path) -> None:
        odd(root)
        (root / "big").write_bytes(os.urandom(300_000))
        os.chown(root / "d" / "suid", 1000, 1001)
        (root / "d" / "suid").chmod(0o4755)

    top = await house.snapshot("s1", fill)
    exported = await house.exporter().export(result(top, f"type=tar,dest={tmp_path / 't'}"))
    data = (tmp_path / "t").read_bytes()
    members = tar_of(data)
    assert {name: (member.type, oct(member.mode), member.linkname) for name, member in members.items()} == {
        "a": (b"0", "0o644", ""),
        "b": (b"1", "0o644", "a"),
        "big": (b"0", "0o644", ""),
        "d": (b"5", "0o2750", ""),
        "d/link": (b"2", "0o777", "../a"),
        "d/suid": (b"0", "0o4755", ""),
        "p": (b"6", "0o640", ""),
    }
    assert (members["d/suid"].uid, members["d/suid"].gid) == (1000, 1001)
    assert members["a"].pax_headers["SCHILY.xattr.user.note"] == "x"
    assert (members["a"].mtime, len(files_of(data)["big"]), len(data)) == (TIME, 300_000, exported.size)


async def test_an_empty_tree_is_an_empty_tar(house: House) -> None:
    out = io.BytesIO()
    exported = await house.exporter(stdout=out).export(result(None, "type=tar"))
    assert (out.getvalue(), exported.metadata) == (bytes(1024), {})


async def test_a_directory_can_not_be_stdout(house: House) -> None:
    with pytest.raises(DefinitionError) as caught:
        await house.exporter().export(result(None, "type=local,dest=-"))
    assert caught.value.render() == (
        "target.app.output[0]: dest cannot be stdout for local exporter\nhint: add dest=DIRECTORY"
    )


async def test_a_file_is_no_place_for_a_directory(house: House, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(BuildError) as caught:
        await house.exporter().export(result(None, f"type=local,dest={tmp_path / 'out'}"))
    assert caught.value.render() == f"can not write {tmp_path / 'out'}: File exists"


async def test_a_directory_is_no_place_for_a_tar(house: House, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        await house.exporter().export(result(None, f"type=tar,dest={tmp_path}"))
    assert caught.value.render() == f"destination file {tmp_path} is a directory"


async def test_a_terminal_is_refused(house: House) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    with pytest.raises(BuildError) as caught:
        await house.exporter(stdout=Terminal()).export(result(None, "type=tar"))
    assert caught.value.render() == (
        "refusing to write an archive to the terminal\nhint: add dest=FILE, or redirect stdout"
    )


def test_walking_gives_names_in_order_and_byte_for_byte(tmp_path: Path) -> None:
    for name in (b"a", b"a.b", b"a/z", b"\xff"):
        path = tmp_path / os.fsdecode(b"dir/" + name if b"/" not in name else b"dir-" + name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    assert [entry.path for entry in walk(tmp_path)] == [
        b"dir", b"dir/a", b"dir/a.b", b"dir/\xff", b"dir-a", b"dir-a/z",
    ]  # fmt: skip


def test_two_writers_may_fill_one_new_directory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    entries = [
        LayerEntry(b"d", "dir", 0o755),
        LayerEntry(b"d/f", "file", 0o644, size=1, source=source),
        LayerEntry(b"d/l", "symlink", 0o777, linkname=b"f"),
    ]
    with DirectoryWriter(tmp_path / "out") as one, DirectoryWriter(tmp_path / "out") as two:
        for entry in entries:
            two.add(entry)
            one.add(entry)
    assert sorted(path.name for path in (tmp_path / "out" / "d").iterdir()) == ["f", "l"]
