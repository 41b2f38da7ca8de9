"""The tar in an archive that is added: decompressed by what it begins with, and read no further than to its end.

What can be read of an archive that is cut short or damaged further on comes before the error does: where its first
header is whole it is an archive, and not a file to be copied. What follows the end of the tar does not matter.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol

from bakepy.content.tar_read import Item, UnknownEntry, entries
from bakepy.content.tar_stream import TarStream
from bakepy.errors import BuildError

_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"
"""Of a zstd frame without content, after its first byte."""
_REFUSED = (b"7", b"S")
"""What BuildKit does not unpack: contiguous files, and sparse ones in the oldest of GNU's ways."""
_BLOCK = 512
_READ = 1 << 18
_PIECE = 1 << 20
"""Bytes of a tar that are decompressed at a time."""
_MAX_ZSTD_WINDOW = 1 << 27


def is_archive(file: BinaryIO) -> bool:
    """Whether `file` begins, perhaps after decompression, with an entry of a tar."""
    head = file.read(_BLOCK)
    if len(head) < _BLOCK and not _is_compressed(head):
        return False
    try:
        # in small pieces: what is wrong further on is not looked at
        return next(entries(TarStream(_plain(file, _BLOCK)), _REFUSED), None) is not None
    except UnknownEntry:
        return True
    except (BuildError, OSError, ValueError):
        # whatever is wrong with it as an archive: it is copied as the file that it is
        return False


def members(file: BinaryIO) -> Iterator[Item]:
    """The entries of the tar in `file`. BuildError where it is damaged or cut short."""
    return entries(TarStream(_plain(file, _PIECE)), _REFUSED)


def _is_compressed(head: bytes) -> bool:
    return head.startswith((_BZIP2, _XZ, _GZIP, _ZSTD)) or head[1:4] == _SKIPPABLE


def _plain(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The plain content in pieces of at most `size` bytes; BuildError after what can be read of damaged data."""
    file.seek(0)
    head = file.read(6)
    file.seek(0)
    damaged: tuple[type[Exception], ...] = (OSError, ValueError, lzma.LZMAError)
    if head.startswith(_GZIP):
        damaged = (zlib.error,)
        pieces = _gunzipped(file, size)
    elif head.startswith(_BZIP2):
        pieces = _until_damage(file, lambda file: _decompressed(file, bz2.BZ2Decompressor, size), damaged)
    elif head.startswith(_XZ):
        pieces = _until_damage(file, lambda file: _decompressed(file, lzma.LZMADecompressor, size), damaged)
    elif _is_compressed(head):
        import zstandard

        damaged = (zstandard.ZstdError,)
        pieces = _until_damage(file, lambda file: _unzstd(file, size), damaged)
    else:
        pieces = iter(lambda: file.read(size), b"")
    try:
        yield from pieces
    except damaged as error:
        raise BuildError(f"compressed data is damaged: {error}") from error


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Slow:
    """A file that from `start` on is read byte by byte."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._left = start

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, self._left) or 1)
        self._left = max(0, self._left - len(data))
        return data


def _until_damage(
    file: BinaryIO,
    decompress: Callable[[_Source], Iterator[bytes]],
    damaged: tuple[type[Exception], ...],
    again: Callable[[_Source], Iterator[bytes]] | None = None,
) -> Iterator[bytes]:
    """What can be had before the damage. The libraries look at checksums as soon as these are there, and keep to
    themselves what belongs to them: it is had by giving the last piece byte by byte, to `again` if there is one."""
    given = 0
    try:
        for piece in decompress(file):
            given += len(piece)
            yield piece
    except damaged:
        before = max(0, file.tell() - _READ)
        file.seek(0)
        for piece in (again or decompress)(_Slow(file, before)):
            if given < len(piece):
                yield piece[given:]
            given = max(0, given - len(piece))


def _unzstd(file: _Source, size: int) -> Iterator[bytes]:
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW).stream_reader(
        file,  # type: ignore[arg-type]
        read_across_frames=True,
        closefd=False,
    )
    return iter(lambda: reader.read1(size), b"")


def _gunzipped(file: BinaryIO, size: int) -> Iterator[bytes]:
    from isal import isal_zlib

    failed: Any = isal_zlib.error
    # isal is fast and reads ahead; zlib gives all that comes before the damage
    return _until_damage(
        file,
        lambda file: _inflated(file, lambda: isal_zlib.decompressobj(31), size),
        (failed,),
        lambda file: _inflated(file, lambda: zlib.decompressobj(31), size),
    )


def _inflated(file: _Source, new: Callable[[], Any], size: int) -> Iterator[bytes]:
    """All gzip members, one after the other."""
    engine, data, begun = new(), b"", False
    while (data := data or file.read(_READ)) or begun:
        if piece := engine.decompress(data, size):
            yield piece
        elif not data:
            break  # nor is anything of it still in the engine
        begun = not engine.eof
        data = engine.unconsumed_tail
        if engine.eof:
            engine, data = new(), engine.unused_data
    if begun:
        raise _cut_short()


def _decompressed(file: _Source, new: Callable[[], Any], size: int) -> Iterator[bytes]:
    """All bzip2 or xz streams, one after the other."""
    engine, data, begun = new(), b"", False
    while not engine.needs_input or (data := data or file.read(_READ)):
        if piece := engine.decompress(data, size):
            yield piece
        data, begun = b"", not engine.eof
        if engine.eof:
            engine, data = new(), engine.unused_data
    if begun:
        raise _cut_short()


def _cut_short() -> BuildError:
    return BuildError("unexpected EOF: compressed data is cut short")
