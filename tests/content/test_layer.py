"""Layers written and read back: by bakepy, by Python's tarfile and by GNU tar."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from bakepy.content import blob_pipeline
from bakepy.content.compression import BLOCK_SIZE, Compression
from bakepy.content.layer import Layer, LayerEntry, read_layer, write_layer
from bakepy.content.store import ContentStore
from bakepy.errors import BuildError, DefinitionError, EngineError
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap

GZIP, ZSTD, PLAIN = Compression("gzip"), Compression("zstd"), Compression("uncompressed")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
CAPABLE: FrozenMap[str, bytes] = FrozenMap({"security.capability": CAPABILITY})
SECOND = 10**9

ENTRIES = (
    LayerEntry(b"bin", "dir", 0o755, mtime_ns=1_600_000_000 * SECOND),
    LayerEntry(b"bin/ping", "file", 0o4755, size=4, data=b"ping", xattrs=CAPABLE),
    LayerEntry(b"bin/pong", "hardlink", 0o4755, linkname=b"bin/ping"),
    LayerEntry(b"dev/tty", "char", 0o620, 0, 5, major=5, minor=70_000),
    LayerEntry(b"dev/sda", "block", 0o660, major=8),
    LayerEntry(b"dev/fifo", "fifo", 0o600, mtime_ns=-5 * SECOND),
    LayerEntry(b"etc/.wh.gone", "file"),
    LayerEntry(b"n/" + b"long" * 60, "file", 0o644, 4_000_000, 3_000_000, 1, 2**33 * 10 * SECOND, data=b"x"),
    LayerEntry("n/grüße".encode(), "symlink", 0o777, linkname=b"../" + b"far/" * 40),
    LayerEntry(b"n/\xff\xfe", "file", 0o600, size=0),
    LayerEntry(b"tmp", "dir", 0o1777),
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def blob(store: ContentStore, layer: Layer) -> bytes:
    return store.path(layer.descriptor.digest).read_bytes()


def read(data: bytes) -> list[tuple[LayerEntry, bytes | None]]:
    return [(entry, content.read() if content else None) for entry, content in read_layer(io.BytesIO(data))]


@pytest.mark.parametrize("compression", [GZIP, ZSTD, PLAIN, Compression("gzip", 9), Compression("gzip", 0)])
def test_what_is_written_is_read_back(store: ContentStore, compression: Compression) -> None:
    layer = write_layer(ENTRIES, store, compression=compression)

    expected = [(replace(entry, data=None), entry.data or b"" if entry.kind == "file" else None) for entry in ENTRIES]
    assert read(blob(store, layer)) == expected


def test_diff_id_is_that_of_the_tar_and_the_same_for_all_compressions(store: ContentStore) -> None:
    layers = [write_layer(ENTRIES, store, compression=compression) for compression in (GZIP, ZSTD, PLAIN)]

    tar = blob(store, layers[2])
    assert {layer.diff_id for layer in layers} == {Digest.of(tar)}
    assert gzip.decompress(blob(store, layers[0])) == tar
    assert zstandard.ZstdDecompressor().stream_reader(io.BytesIO(blob(store, layers[1]))).read() == tar
    assert [layer.descriptor.media_type.rpartition(".")[2] for layer in layers] == ["tar+gzip", "tar+zstd", "tar"]
    for layer in layers:
        data = blob(store, layer)
        assert (layer.descriptor.digest, layer.descriptor.size) == (Digest.of(data), len(data))


def test_docker_media_types(store: ContentStore) -> None:
    layer = write_layer(ENTRIES, store, compression=GZIP, docker_types=True)

    assert layer.descriptor.media_type == "application/vnd.docker.image.rootfs.diff.tar.gzip"


def test_python_reads_the_same_names_owners_and_links(store: ContentStore) -> None:
    layer = write_layer(ENTRIES, store, compression=GZIP)

    with tarfile.open(store.path(layer.descriptor.digest), errors="surrogateescape") as tar:
        members = tar.getmembers()
    assert [(os.fsencode(m.name), m.mode, m.uid, m.gid, m.size) for m in members] == [
        (e.path, e.mode, e.uid, e.gid, e.size) for e in ENTRIES
    ]
    assert [os.fsencode(m.linkname) for m in members] == [e.linkname for e in ENTRIES]
    assert [int(m.mtime) for m in members] == [e.mtime_ns // SECOND for e in ENTRIES]
    assert members[1].pax_headers["SCHILY.xattr.security.capability"].encode() == CAPABILITY


def test_gnu_tar_lists_it_without_complaint(store: ContentStore) -> None:
    layer = write_layer(ENTRIES, store, compression=PLAIN)

    done = subprocess.run(
        ["tar", "--quoting-style=literal", "-tf", store.path(layer.descriptor.digest)], capture_output=True, check=True
    )
    listed = [line.rstrip(b"/") for line in done.stdout.splitlines()]
    assert (listed, done.stderr) == ([entry.path for entry in ENTRIES], b"")


def test_plain_entries_need_no_pax_header(store: ContentStore) -> None:
    entry = LayerEntry(b"a", "file", 0o644, size=3, mtime_ns=1_600_000_000 * SECOND + 999, data=b"abc")

    tar = blob(store, write_layer([entry], store, compression=PLAIN))

    assert len(tar) == 512 + 512 + 1024
    assert tar[156:157] == b"0"
    assert tar[257:265] == b"ustar\00000"


def test_bytes_do_not_depend_on_the_number_of_threads(
    store: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "file"
    source.write_bytes(b"".join(hashlib.sha256(bytes([n % 251])).digest() * 9 for n in range(12_000)))
    size = source.stat().st_size
    assert size > 3 * BLOCK_SIZE
    digests = set()
    for threads in (1, 2, 5):
        monkeypatch.setattr(blob_pipeline, "worker_threads", lambda threads=threads: threads)
        layer = write_layer([LayerEntry(b"f", "file", 0o644, size=size, source=source)], store, compression=GZIP)
        digests.add(layer.descriptor.digest)

    assert len(digests) == 1
    assert read(blob(store, layer))[0][1] == source.read_bytes()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, BLOCK_SIZE - 1536, BLOCK_SIZE - 1024, BLOCK_SIZE, 5_000_001])
@pytest.mark.parametrize("compression", [GZIP, ZSTD, PLAIN], ids=lambda c: c.type)
def test_sizes_round_block_borders(store: ContentStore, tmp_path: Path, size: int, compression: Compression) -> None:
    source = tmp_path / "file"
    source.write_bytes(os.urandom(size))

    layer = write_layer([LayerEntry(b"f", "file", 0o644, size=size, source=source)], store, compression=compression)

    with store.path(layer.descriptor.digest).open("rb") as stream:
        [(entry, data)] = [(e, c.read() if c else None) for e, c in read_layer(stream, layer.diff_id)]
    assert (entry.size, data) == (size, source.read_bytes())


@pytest.mark.parametrize("actual", [b"shorter", b"longer than it was"])
def test_file_that_changes_while_it_is_read_is_an_error(store: ContentStore, tmp_path: Path, actual: bytes) -> None:
    source = tmp_path / "file"
    source.write_bytes(actual)

    with pytest.raises(BuildError) as caught:
        write_layer([LayerEntry(b"dir/file", "file", size=10, source=source)], store, compression=GZIP)

    assert caught.value.what == "dir/file changed while it was read"
    assert not (store.root / "blobs").exists()
    assert list((store.root / "ingest").iterdir()) == []


def test_file_that_vanishes_is_an_error(store: ContentStore, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        write_layer([LayerEntry(b"dir/file", "file", size=10, source=tmp_path / "gone")], store, compression=GZIP)

    assert caught.value.what == "dir/file changed while it was read"


def test_failure_in_a_thread_reaches_the_caller(
    store: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "file"
    source.write_bytes(bytes(40 * BLOCK_SIZE))

    def full(fd: int, data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bakepy.content.store.os.write", full)
    entry = LayerEntry(b"f", "file", size=40 * BLOCK_SIZE, source=source)
    with pytest.raises(EngineError) as caught:
        write_layer([entry], store, compression=PLAIN)
    assert caught.value.what == f"can not write to the content store {store.root}: No space left on device"


def test_socket_is_refused(store: ContentStore) -> None:
    with pytest.raises(BuildError, match="a layer can not hold a socket: run/s"):
        write_layer([LayerEntry(b"run/s", "socket")], store, compression=GZIP)


@pytest.mark.parametrize(
    ("type", "level", "expected"),
    [
        ("gzip", "", Compression("gzip")),
        ("gzip", "-1", Compression("gzip")),
        ("gzip", 9, Compression("gzip", 9)),
        ("zstd", "22", Compression("zstd", 22)),
        ("uncompressed", "3", Compression("uncompressed")),
    ],
)
def test_settings_of_an_output_are_read(type: str, level: str | int, expected: Compression) -> None:
    assert Compression.parse(type, level) == expected


@pytest.mark.parametrize(
    ("type", "level", "message"),
    [
        ("gzp", "", "unsupported compression 'gzp'\nhint: did you mean 'gzip'?"),
        ("lz4", "", "unsupported compression 'lz4'\nhint: one of gzip, zstd, uncompressed"),
        ("gzip", "10", "gzip has no compression level 10"),
        ("zstd", "fast", "compression level 'fast' is not a number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(type: str, level: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Compression.parse(type, level)
    assert str(caught.value) == message
