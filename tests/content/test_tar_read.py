"""Tars that others made, and tars that nobody should have made."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import subprocess
import tarfile
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from bakepy.content.entry import LayerEntry
from bakepy.content.layer import read_layer
from bakepy.content.tar_header import encode_header, padding
from bakepy.content.tar_read import clean_path
from bakepy.errors import BuildError
from bakepy.model.digest import Digest

END = bytes(1024)


def read(data: bytes) -> list[tuple[LayerEntry, bytes | None]]:
    return [(entry, content.read() if content else None) for entry, content in read_layer(io.BytesIO(data))]


def python_tar(format: int, *members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def member(name: str, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def header(
    name: bytes = b"f", typeflag: bytes = b"0", size: int = 0, *, raw_size: bytes = b"", raw_mode: bytes = b""
) -> bytes:
    """A header with whatever is in the raw fields, its checksum right."""
    block = bytearray(encode_header(LayerEntry(name, "file", 0o644, size=size)))
    block[156:157] = typeflag
    block[100 : 100 + len(raw_mode)] = raw_mode
    block[124 : 124 + len(raw_size)] = raw_size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(padding(len(data)))


def record(key: str, value: object) -> bytes:
    text = f" {key}={value}\n"
    length = len(text)
    while len(f"{length}{text}") != length:
        length += 1
    return f"{length}{text}".encode()


def pax(*records: bytes) -> bytes:
    body = b"".join(records)
    return header(b"pax", b"x", len(body)) + padded(body)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_formats_of_other_programs(format: int) -> None:
    long = "d/" * 40 + "n" * 90
    data = python_tar(
        format,
        (member("./a//b/../c", mode=0o104755, uid=7, gid=8, mtime=1_600_000_000), b"abc"),
        (member(long), b"long"),
        (member("link", type=tarfile.SYMTYPE, linkname="../x/./y"), b""),
        (member("/hard", type=tarfile.LNKTYPE, linkname="./a/c"), b""),
        (member("dir/", type=tarfile.DIRTYPE, mode=0o1777), b""),
        (member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3), b""),
    )

    entries = [entry for entry, _ in read(data)]

    assert [(entry.path, entry.kind) for entry in entries] == [
        (b"a/c", "file"),
        (long.encode(), "file"),
        (b"link", "symlink"),
        (b"hard", "hardlink"),
        (b"dir", "dir"),
        (b"null", "char"),
    ]
    assert (entries[0].mode, entries[0].uid, entries[0].gid, entries[0].mtime_ns) == (
        0o4755,
        7,
        8,
        1_600_000_000 * 10**9,
    )
    assert [entries[2].linkname, entries[3].linkname] == [b"../x/./y", b"a/c"]
    assert (entries[5].major, entries[5].minor) == (1, 3)
    assert [content for _, content in read(data)] == [b"abc", b"long", None, None, None, None]


def test_gnu_names_numbers_and_links_that_have_no_room() -> None:
    info = member("n" * 300, type=tarfile.SYMTYPE, linkname="l" * 300, uid=2**31, gid=2**40, mtime=-7)

    [(entry, _)] = read(python_tar(tarfile.GNU_FORMAT, (info, b"")))

    assert (entry.path, entry.linkname) == (b"n" * 300, b"l" * 300)
    assert (entry.uid, entry.gid, entry.mtime_ns) == (2**31, 2**40, -7 * 10**9)


def test_pax_times_keep_their_fraction() -> None:
    info = member("f", pax_headers={"mtime": "1600000000.123456789"})

    assert read(python_tar(tarfile.PAX_FORMAT, (info, b"")))[0][0].mtime_ns == 1_600_000_000_123_456_789


def test_global_headers_have_no_effect() -> None:
    body = b"15 path=/etc/x\n"

    [(entry, _)] = read(header(b"g", b"g", len(body)) + padded(body) + header(b"real") + END)

    assert entry.path == b"real"


@pytest.mark.parametrize("format", ["gnu", "pax"])
@pytest.mark.parametrize("version", ["0.0", "0.1", "1.0"])
def test_sparse_files_have_their_holes(tmp_path: Path, format: str, version: str) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as out:
        for offset in range(0, 40 << 20, 4 << 20):
            out.seek(offset + 4096)
            out.write(b"island" * 100)
        out.truncate(50 << 20)
    how = (f"--format={format}", f"--sparse-version={version}")
    command = ["tar", "-S", *how, "-C", str(tmp_path), "-cf", "-", "sparse"]
    tar = subprocess.run(command, check=True, capture_output=True).stdout
    assert len(tar) < 1 << 20

    [(entry, content)] = read(tar)
    assert (entry.path, entry.size) == (b"sparse", 50 << 20)
    assert content == file.read_bytes()

    copy = tmp_path / "copy"
    with copy.open("wb") as out:
        for _, reader in read_layer(io.BytesIO(tar)):
            assert reader
            reader.copy_to(out.fileno())
    assert copy.read_bytes() == content
    assert copy.stat().st_blocks * 512 < 1 << 20


def test_content_that_nobody_reads_is_passed_over() -> None:
    data = python_tar(tarfile.USTAR_FORMAT, (member("a"), b"x" * 5000), (member("b"), b"y" * 3_000_000))

    assert [entry.path for entry, _ in read_layer(io.BytesIO(data))] == [b"a", b"b"]


def test_content_is_copied_to_a_file(tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    tar = gzip.compress(python_tar(tarfile.USTAR_FORMAT, (member("a"), data)), 1)

    with (tmp_path / "out").open("wb") as out:
        for _, content in read_layer(io.BytesIO(tar)):
            assert content
            content.copy_to(out.fileno())

    assert (tmp_path / "out").read_bytes() == data


def test_other_diff_id_is_an_error_after_the_last_entry() -> None:
    tar = python_tar(tarfile.USTAR_FORMAT, (member("a"), b"x"))
    expected = Digest.of(b"something else")

    reader = read_layer(io.BytesIO(gzip.compress(tar)), expected)
    next(reader)
    with pytest.raises(BuildError) as caught:
        next(reader)
    assert caught.value.what == f"layer has diff ID {Digest.of(tar)}, {expected} was expected"


def test_reader_may_stop_early() -> None:
    tar = python_tar(tarfile.USTAR_FORMAT, *[(member(str(n)), bytes(1_000_000)) for n in range(50)])

    reader = read_layer(io.BytesIO(gzip.compress(tar, 1)))
    assert next(reader)[0].path == b"0"
    reader.close()


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        (b"a/b", b"a/b"), (b"/a", b"a"), (b"./a/", b"a"), (b"a//b", b"a/b"), (b"../../etc", b"etc"),
        (b"a/../../b", b"b"), (b"./", b""), (b".", b""), (b"..", b""), (b".wh.x", b".wh.x"), (b"a/..b", b"a/..b"),
        (b"...", b"..."), (b"a/./b/.", b"a/b"),
    ],
)  # fmt: skip
def test_names_stay_inside_the_root(name: bytes, cleaned: bytes) -> None:
    assert clean_path(name) == cleaned


HUGE = b"77777777777\0"
SPARSE_1_0 = (record("GNU.sparse.major", 1), record("GNU.sparse.minor", 0), record("GNU.sparse.realsize", 99_999))


@pytest.mark.parametrize(
    ("tar", "message"),
    [
        (header() [:300], "unexpected EOF: the tar ends inside a header"),
        (header(size=10) + b"abc", "unexpected EOF: the tar ends inside f"),
        (b"x" * 512, "archive/tar: invalid tar header: not a number"),
        (b"1" + header()[1:], "archive/tar: invalid tar header: wrong checksum"),
        (bytes(512) + header(), "archive/tar: invalid tar header: a lone zero block"),
        (bytes(900), "unexpected EOF: the tar ends inside a header"),
        (header(typeflag=b"V"), "unhandled tar header type 86: f"),
        (header(size=5, raw_mode=b"0o7\0"), "archive/tar: invalid tar header: not a number"),
        (header(raw_size=b"\xff" + bytes(10) + b"\xff"), "a number in a header is out of range"),
        (header(typeflag=b"x", raw_size=HUGE), "layer tar has a header of 8589934591 bytes"),
        (header(typeflag=b"L", raw_size=HUGE), "layer tar has a header of 8589934591 bytes"),
        (pax(b"6 a=b\n") + END, "layer tar ends after a header that announces an entry"),
        (pax(b"9999 a=b\n") + header(), "malformed PAX record"),
        (pax(b"x a=b\n") + header(), "malformed PAX record"),
        (pax(b"5 ab\n") + header(), "malformed PAX record"),
        (pax(b"12 path=a\0b\n") + header(), "malformed PAX record"),
        (pax(b"11 size=-1\n") + header(), "not a number in a PAX record"),
        (pax(record("size", "9" * 22)) + header(), "not a number in a PAX record"),
        (pax(b"13 mtime=1.x\n") + header(), "not a time in a PAX record"),
        (pax(b"13 atime=1.x\n") + header(), "not a time in a PAX record"),
        (pax(*SPARSE_1_0) + header(size=512) + padded(b"9" * 400), "malformed sparse file"),
        (pax(*SPARSE_1_0) + header(size=512) + padded(b"1\n5\n9999999\n"), "malformed sparse file"),
        (pax(*SPARSE_1_0) + header(size=512) + padded(b"2\n50\n10\n40\n10\n"), "malformed sparse file"),
        (gzip.compress(bytes(100_000), mtime=0)[:60], "unexpected EOF: compressed data is cut short"),
        (gzip.compress(b"x" * 100, mtime=0)[:-4] + b"aaaa", "compressed data is damaged"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 100, "compressed data is damaged"),
    ],
)  # fmt: skip
def test_damaged_tars_are_errors(tar: bytes, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        read(tar)
    assert message in caught.value.what


def test_what_headers_claim_is_not_allocated() -> None:
    """A terabyte of holes, an eight-gigabyte name and a gigabyte of zeros in a small gzip cost little memory."""
    sparse = pax(record("GNU.sparse.size", 1 << 40), record("GNU.sparse.map", "0,512"))
    terabyte = sparse + header(size=512) + bytes(512) + END
    bomb = gzip.compress(header(b"zeros", raw_size=b"%011o\0" % (256 << 20)) + bytes(256 << 20), 6)

    tracemalloc.start()
    try:
        assert [entry.size for entry, _ in read_layer(io.BytesIO(terabyte))] == [1 << 40]
        with pytest.raises(BuildError):
            read(header(typeflag=b"L", raw_size=HUGE))
        assert [entry.size for entry, _ in read_layer(io.BytesIO(bomb))] == [256 << 20]
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_random_damage_never_raises_anything_but_build_errors() -> None:
    chance = random.Random(1)
    good = python_tar(
        tarfile.PAX_FORMAT,
        (member("a" * 150, pax_headers={"mtime": "1.5", "SCHILY.xattr.user.x": "y"}), b"abc" * 300),
        (member("b", type=tarfile.SYMTYPE, linkname="c"), b""),
    ) + python_tar(tarfile.GNU_FORMAT, (member("g" * 150, uid=2**40), b"abc"))  # fmt: skip
    for _ in range(2_000):
        bad = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        block = 512 * chance.randrange(len(bad) // 512)
        bad[block + 148 : block + 156] = b" " * 8
        bad[block + 148 : block + 156] = b"%06o\0 " % sum(bad[block : block + 512])
        with contextlib.suppress(BuildError):
            read(bytes(bad[: chance.choice([len(bad), chance.randrange(len(bad))])]))


def test_layers_of_several_gzip_members_or_zstd_frames_are_read_as_one() -> None:
    tar = python_tar(tarfile.USTAR_FORMAT, (member("a"), b"x" * 5000), (member("b"), b"y" * 700))
    pieces = [tar[:3000], tar[3000:3001], b"", tar[3001:]]
    zstd = zstandard.ZstdCompressor()
    # RFC 8878, 3.1.2: a frame that decoders pass over, as zstd:chunked layers have it
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"meta"

    expected = [(b"a", b"x" * 5000), (b"b", b"y" * 700)]
    for data in (
        b"".join(map(gzip.compress, pieces)),
        b"".join(map(zstd.compress, pieces)),
        skippable + b"".join(map(zstd.compress, pieces)) + skippable,
    ):
        assert [(entry.path, content) for entry, content in read(data)] == expected
