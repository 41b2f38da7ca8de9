"""ADD of archives: what counts as one, how members are unpacked, and that nothing leaves the destination."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from bakepy.llb.op import ChownOpt, CopyAction, UserOpt
from tests.support.kitchen import COPY, Kitchen, refusal
from tests.support.written_tree import make_tree

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

NOW = 1_234_567_890


def member(name: str, text: str = "", kind: bytes = tarfile.REGTYPE, **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mtime = NOW
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    data = text.encode()
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, data


def folder(name: str, **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, "", tarfile.DIRTYPE, **facts)


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE, **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, "", kind, linkname=target, **facts)


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def add(src: str, dest: str, **rules: object) -> CopyAction:
    return replace(COPY, src=src, dest=dest, attempt_unpack=True, **rules)  # type: ignore[arg-type]


async def unpacked(kitchen: Kitchen, data: bytes, dest: str = "/t/", **onto: str) -> dict[str, str]:
    (kitchen.context / "file").write_bytes(data)
    base = await kitchen.tree(f"base{kitchen.runs}", onto) if onto else None
    return await kitchen.show(await kitchen.copy(add("file", dest), on=base))


async def refused(kitchen: Kitchen, data: bytes) -> str:
    (kitchen.context / "file").write_bytes(data)
    return await refusal(kitchen, add("file", "/t/"))


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
async def test_archives_are_known_by_content(kitchen: Kitchen, pack: Callable[[bytes], bytes]) -> None:
    assert await unpacked(kitchen, pack(tar(member("a", "text"))), "/t") == {
        "t": "dir 0755 0:0",
        "t/a": "file 0644 0:0 text",
    }


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain text",
        b"x" * 2000,
        tar(),
        bytes(1024),
        gzip.compress(b"no tar", mtime=0),
        gzip.compress(tar(member("a", "text")), mtime=0)[:40],
        b"BZh9 but no bzip2",
        b"\xfd7zXZ\x00 but no xz",
        b"\x28\xb5\x2f\xfd but no zstd",
        b"PK\x03\x04" + bytes(600),
    ],
    ids=["empty", "text", "long text", "empty tar", "zeros", "gzip of text", "cut gzip", "bzip2", "xz", "zstd", "zip"],
)
async def test_what_is_no_archive_is_copied(kitchen: Kitchen, data: bytes) -> None:
    (kitchen.context / "file").write_bytes(data)
    result = await kitchen.copy(add("file", "/t"))
    async with kitchen.machine.store.view(result.snapshot) as root:
        assert (root / "t").read_bytes() == data


async def test_members_keep_what_they_say(kitchen: Kitchen) -> None:
    archive = tar(
        folder("d", mode=0o2750, uid=5, gid=6),
        member("d/f", "f", mode=0o4755, uid=7, gid=8, uname="root"),
        link("d/s", "/etc/passwd"),
        link("d/h", "d/f", tarfile.LNKTYPE, mode=0o4755, uid=7, gid=8),
        member("d/p", kind=tarfile.FIFOTYPE, mode=0o600),
        member("d/c", kind=tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
        member("d/b", kind=tarfile.BLKTYPE, devmajor=7, devminor=1),
        member("implied/x/f"),
        member(".wh.gone", "whiteout"),
    )
    assert await unpacked(kitchen, archive) == {
        "t": "dir 0755 0:0",
        "t/.wh.gone": "file 0644 0:0 whiteout",
        "t/d": "dir 2750 5:6",
        "t/d/b": "block 0644 0:0 7,1",
        "t/d/c": "char 0666 0:0 1,3",
        "t/d/f": "file 4755 7:8 f",
        "t/d/h": "hardlink t/d/f",
        "t/d/p": "fifo 0600 0:0",
        "t/d/s": "link 0:0 /etc/passwd",
        "t/implied": "dir 0755 0:0",
        "t/implied/x": "dir 0755 0:0",
        "t/implied/x/f": "file 0644 0:0",
    }


async def test_times_of_members(kitchen: Kitchen) -> None:
    (kitchen.context / "file").write_bytes(tar(folder("d"), member("d/f", mtime=5), member("old", mtime=-5)))
    times = await kitchen.times(await kitchen.copy(add("file", "/t/")))
    assert {name: times[name] for name in ("t/d", "t/d/f", "t/old")} == {"t/d": NOW, "t/d/f": 5, "t/old": 0}


async def test_time_of_a_folder_counts_for_what_takes_its_place(kitchen: Kitchen) -> None:
    replaced = tar(folder("d", mtime=5), member("d", mtime=6), folder("l", mtime=7), link("l", "f"), member("f"))
    (kitchen.context / "file").write_bytes(replaced)
    times = await kitchen.times(await kitchen.copy(add("file", "/t/")))
    assert {name: times[name] for name in ("t/d", "t/f", "t/l")} == {"t/d": 5, "t/f": 7, "t/l": NOW}
    assert await refused(kitchen, tar(folder("d"), folder("d/e"), member("d"))) == (
        "can not unpack /d/e: not a directory"
    )


async def test_chown_counts_for_all_members_and_chmod_for_none(kitchen: Kitchen) -> None:
    (kitchen.context / "file").write_bytes(tar(folder("d", uid=5), member("d/f", uid=5), link("l", "d")))
    owner = ChownOpt(UserOpt(9), UserOpt(10))
    result = await kitchen.copy(add("file", "/t/", owner=owner, mode=0o700, exclude_patterns=("d",)))
    assert await kitchen.show(result) == {
        "t": "dir 0755 9:10",
        "t/d": "dir 0755 9:10",
        "t/d/f": "file 0644 9:10",
        "t/l": "link 9:10 d",
    }


async def test_capabilities_are_unpacked(kitchen: Kitchen) -> None:
    capability = "0100000202040000000000000000000000000000"
    value = bytes.fromhex(capability).decode("latin-1")
    (kitchen.context / "file").write_bytes(
        tar(
            member(
                "f", pax_headers={"SCHILY.xattr.security.capability": value, "SCHILY.xattr.trusted.overlay.opaque": "y"}
            )
        )
    )
    result = await kitchen.copy(add("file", "/t/"))
    async with kitchen.machine.store.view(result.snapshot) as root:
        assert os.getxattr(root / "t/f", "security.capability").hex() == capability


async def test_members_replace_what_is_in_the_way(kitchen: Kitchen) -> None:
    archive = tar(
        member("was-dir", "f"), folder("was-file", mode=0o700), member("was-file/x"), folder("dir", mode=0o711)
    )
    onto = {"t/was-dir/x": "", "t/was-file": "", "t/dir/kept": "", "t/dirlink": "-> dir"}
    assert await unpacked(kitchen, archive, **onto) == {
        "t": "dir 0755 0:0",
        "t/dir": "dir 0711 0:0",
        "t/dir/kept": "file 0644 0:0",
        "t/dirlink": "link 0:0 dir",
        "t/was-dir": "file 0644 0:0 f",
        "t/was-file": "dir 0700 0:0",
        "t/was-file/x": "file 0644 0:0",
    }


async def test_links_of_the_image_and_of_the_archive_lead_inside(kitchen: Kitchen) -> None:
    archive = tar(member("abs/1"), member("up/2"), link("own", "/real"), member("own/3"))
    onto = {"t/abs": "-> /real", "t/up": "-> ../../real", "t/real/": "", "real/": ""}
    assert await unpacked(kitchen, archive, **onto) == {
        "real": "dir 0755 0:0",
        "t": "dir 0755 0:0",
        "t/abs": "link 0:0 /real",
        "t/own": "link 0:0 /real",
        "t/real": "dir 0755 0:0",
        "t/real/1": "file 0644 0:0",
        "t/real/2": "file 0644 0:0",
        "t/real/3": "file 0644 0:0",
        "t/up": "link 0:0 ../../real",
    }


async def test_hostile_names_are_clamped(kitchen: Kitchen, tmp_path: Path) -> None:
    archive = tar(member("../../up"), member(f"{tmp_path}/abs"), member("a/../../b"), member("//c"))
    inside = await unpacked(kitchen, archive)
    assert {name for name, said in inside.items() if said.startswith("file")} == {
        "t/up",
        f"t{tmp_path}/abs",
        "t/b",
        "t/c",
    }
    assert not (tmp_path / "abs").exists()


async def test_hostile_links_lead_to_nothing(kitchen: Kitchen, tmp_path: Path) -> None:
    make_tree(tmp_path / "victim", {"f": "mine"})
    outside = f"../../../../../../../../../..{tmp_path}/victim"
    assert await refused(kitchen, tar(link("out", outside), member("out/f", "evil"))) == (
        "can not unpack /out/f: no such file or directory"
    )
    assert await refused(kitchen, tar(link("h", f"{outside}/f", tarfile.LNKTYPE))) == (
        "can not unpack /h: no such file or directory"
    )
    assert await refused(kitchen, tar(member("f"), member("f/x"))) == "can not unpack /f/x: not a directory"
    assert (tmp_path / "victim/f").read_text() == "mine"


async def test_a_link_made_and_replaced_does_not_mislead_later_members(kitchen: Kitchen) -> None:
    archive = tar(folder("a"), folder("b"), link("d", "a"), member("d/1"), link("d", "b"), member("d/2"))
    shown = await unpacked(kitchen, archive)
    assert {name for name, said in shown.items() if said.startswith("file")} == {"t/a/1", "t/b/2"}


async def test_a_damaged_archive_is_an_error(kitchen: Kitchen) -> None:
    good = tar(member("a", "x" * 5000), member("b"))
    assert await refused(kitchen, good[:3000]) == "unexpected EOF: the tar ends inside a"
    # its first header can be read: it is an archive, not a file to copy
    cut_short = "unexpected EOF: compressed data is cut short"
    for compress in (gzip.compress, lzma.compress):
        packed = compress(tar(member("a", "x" * 5000), member("b", random.Random(5).randbytes(5000).hex())))
        assert await refused(kitchen, packed[: len(packed) * 2 // 3]) == cut_short
    small = gzip.compress(tar(member("a" * 200), *(member(f"b{number}") for number in range(40))))
    assert await refused(kitchen, small[: len(small) * 2 // 3]) == cut_short
    packed = gzip.compress(tar(member("a", random.Random(5).randbytes(5000).hex())))
    damaged = packed[:3000] + b"\xff\xff\xff" + packed[3003:]
    assert (await refused(kitchen, damaged)).startswith("compressed data is damaged: Error -3 ")
    for kind, number in ((b"V", 86), (b"7", 55), (b"S", 83)):
        assert await refused(kitchen, tar(member("v", kind=kind))) == f"unhandled tar header type {number}: v"


@pytest.mark.parametrize(
    ("pack", "unpack", "position"),
    [
        (gzip.compress, gzip.decompress, -8),
        (bz2.compress, bz2.decompress, -2),
        (lzma.compress, lzma.decompress, -1),
        (zstandard.ZstdCompressor(write_checksum=True).compress, zstandard.ZstdDecompressor().decompress, -1),
    ],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
async def test_checksums_behind_the_end_of_an_archive_do_not_matter(
    kitchen: Kitchen, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes], position: int
) -> None:
    """Who reads the tar has seen its end before. Layers of images are read to the very end, and refused."""
    data = random.Random(7).randbytes(600_000)
    written = tar(member("a"), member("b", data.hex()))
    end = len(written.rstrip(b"\0")) // 512 * 512 + 512 + 1024
    archive = bytearray(pack(written[:end]))  # without blocks that nobody reads behind the two that end it
    archive[position] ^= 1
    with pytest.raises((OSError, lzma.LZMAError, zstandard.ZstdError)):  # the checksum is looked at there
        unpack(bytes(archive))
    (kitchen.context / "file").write_bytes(archive)
    made = await kitchen.copy(add("file", "/t/"))
    async with kitchen.machine.store.view(made.snapshot) as root:
        assert (root / "t/b").read_text() == data.hex()


async def test_what_follows_the_end_of_an_archive_does_not_matter(kitchen: Kitchen) -> None:
    plain = tar(member("a", "1"))
    for archive in (
        plain + b"rubbish",
        gzip.compress(plain) + b"rubbish",
        gzip.compress(plain)[:-8],
        gzip.compress(plain[:700]) + gzip.compress(plain[700:]),
        bz2.compress(plain) + b"rubbish",
        bz2.compress(plain[:700]) + bz2.compress(plain[700:]),
        lzma.compress(plain[:700]) + lzma.compress(plain[700:]),
    ):
        assert await unpacked(kitchen, archive) == {"t": "dir 0755 0:0", "t/a": "file 0644 0:0 1"}


async def test_archives_inside_folders_are_copied(kitchen: Kitchen) -> None:
    (kitchen.context / "d").mkdir()
    (kitchen.context / "d/x.tar").write_bytes(tar(member("a")))
    assert list(await kitchen.show(await kitchen.copy(add("d", "/t/")))) == ["t", "t/x.tar"]


async def test_a_link_to_an_archive_and_a_wildcard(kitchen: Kitchen) -> None:
    (kitchen.context / "x.tar").write_bytes(tar(member("a", "1")))
    (kitchen.context / "y.link").symlink_to("x.tar")
    (kitchen.context / "z.txt").write_text("z")
    (kitchen.context / "z.txt").chmod(0o644)
    assert await kitchen.show(await kitchen.copy(add("y.link", "/t/"))) == {
        "t": "dir 0755 0:0",
        "t/a": "file 0644 0:0 1",
    }
    assert await kitchen.show(await kitchen.copy(add("[xz].*", "/t/"))) == {
        "t": "dir 0755 0:0",
        "t/a": "file 0644 0:0 1",
        "t/z.txt": "file 0644 0:0 z",
    }
