"""Compression of layers: gzip (by isal), zstd, or none; recognised by content when read.

Blobs are compressed block by block, so that several threads can work at one blob and so that the bytes depend on
nothing but the input: blocks have a fixed size whatever the number of threads, and the gzip header holds no time.

The libraries are imported when something is read or written: many runs do neither.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from bakepy.errors import BuildError, DefinitionError, nearest
from bakepy.model.oci import DOCKER_LAYER, OCI_LAYER
from bakepy.model.value import dataclass

if TYPE_CHECKING:
    from isal import isal_zlib

BLOCK_SIZE = 1 << 20
"""Bytes of input that are compressed as a piece."""

TYPES = ("gzip", "zstd", "uncompressed")
_WINDOW = 32768
_ISAL_DEFAULT = 2
# incompressible blocks are stored: a few bytes more for each 64 KiB, and the flush marker
_ISAL_BUFFER = BLOCK_SIZE + BLOCK_SIZE // 8 + 1024
_GZIP_HEADER = struct.pack("<BBBBIBB", 0x1F, 0x8B, 8, 0, 0, 0, 0xFF)


@dataclass(frozen=True, slots=True)
class Compression:
    """How to write a layer. `level` None is the default: isal's fast level for gzip, 3 for zstd.

    An explicit gzip level is zlib's: 0 stores, 1 to 9; 1 to 3 are taken by isal, which does them several times faster.
    """

    type: str = "gzip"
    level: int | None = None

    @classmethod
    def parse(cls, type: str, level: str | int | None = None) -> Compression:
        """From an output's `compression` and `compression-level`; DefinitionError if there is no such thing."""
        if type not in TYPES:
            hint = nearest(type, TYPES) or f"one of {', '.join(TYPES)}"
            raise DefinitionError(f"unsupported compression '{type}'", hint=hint)
        try:
            number = None if level in (None, "") else int(level)
        except ValueError:
            raise DefinitionError(f"compression level '{level}' is not a number") from None
        # -1 is the default of both; zstd's own levels end at 22
        if number is not None and not -1 <= number <= (9 if type == "gzip" else 22):
            raise DefinitionError(f"{type} has no compression level {number}")
        return cls(type, None if number == -1 or type == "uncompressed" else number)

    @property
    def key(self) -> str:
        """Equal for settings that make equal bytes: `gzip`, `zstd:19`."""
        return self.type if self.level is None else f"{self.type}:{self.level}"

    def media_type(self, docker_types: bool = False) -> str:
        """The media type of a layer compressed so."""
        if docker_types:
            return DOCKER_LAYER + {"gzip": ".gzip", "zstd": ".zstd", "uncompressed": ""}[self.type]
        return OCI_LAYER + {"gzip": "+gzip", "zstd": "+zstd", "uncompressed": ""}[self.type]


def compression_of(media_type: str) -> str:
    """The compression that a layer's media type tells; `uncompressed` if it tells none."""
    if media_type.endswith(("+gzip", ".gzip")):
        return "gzip"
    return "zstd" if media_type.endswith(("+zstd", ".zstd")) else "uncompressed"


def detect(head: bytes) -> str:
    """The compression of a stream that begins with `head` (four bytes are enough): its magic number."""
    if head[:3] == b"\x1f\x8b\x08":
        return "gzip"
    # RFC 8878: a Zstandard frame, or a skippable one
    if head[:4] == b"\x28\xb5\x2f\xfd" or (len(head) >= 4 and head[0] & 0xF0 == 0x50 and head[1:4] == b"\x2a\x4d\x18"):
        return "zstd"
    return "uncompressed"


def worker_threads() -> int:
    """How many threads may compress one blob."""
    return max(1, min(8, len(os.sched_getaffinity(0))))


Piece = Callable[[], tuple[bytes | memoryview, int]]
"""Compresses one block; gives the bytes and the block's CRC. Runs in any thread."""


class BlockCompressor(Protocol):
    """Turns blocks into a compressed stream. `piece` is called in order; what it returns may run out of order if
    `parallel`; `end` is called once, after the last piece ran."""

    parallel: bool

    def begin(self) -> bytes: ...
    def piece(self, block: memoryview) -> Piece: ...
    def took(self, crc: int, length: int) -> None:
        """Tells, in order, what a piece gave."""
        ...

    def end(self) -> bytes: ...


def block_compressor(compression: Compression) -> BlockCompressor:
    match compression.type:
        case "gzip":
            return _Gzip(compression.level)
        case "zstd":
            return _Zstd(3 if compression.level is None else compression.level)
    return _Uncompressed()


class _Gzip:
    """One gzip member of independently compressed deflate blocks, each primed with the window before it (as pigz)."""

    parallel = True

    def __init__(self, level: int | None) -> None:
        from isal import isal_zlib

        self._library = isal_zlib
        self._isal = level is None or 1 <= level <= 3
        self._level = _ISAL_DEFAULT if level is None else level
        self._idle: list[isal_zlib._ParallelCompress] = []
        self._window = b""
        self._crc = 0
        self._length = 0

    def begin(self) -> bytes:
        return _GZIP_HEADER

    def piece(self, block: memoryview) -> Piece:
        window, self._window = self._window, bytes(block[-_WINDOW:])
        if self._isal:
            return lambda: self._isal_block(block, window)
        level = self._level
        return lambda: _zlib_block(block, window, level)

    def _isal_block(self, block: memoryview, window: bytes) -> tuple[bytes, int]:
        try:
            compressor = self._idle.pop()
        except IndexError:
            compressor = self._library._ParallelCompress(buffersize=_ISAL_BUFFER, level=self._level)
        result: tuple[bytes, int] = compressor.compress_and_crc(block, window)
        self._idle.append(compressor)
        return result

    def took(self, crc: int, length: int) -> None:
        self._crc = self._library.crc32_combine(self._crc, crc, length) if self._length else crc
        self._length += length

    def end(self) -> bytes:
        # an empty last block, then RFC 1952's trailer
        return b"\x03\x00" + struct.pack("<II", self._crc, self._length & 0xFFFFFFFF)


def _zlib_block(block: memoryview, window: bytes, level: int) -> tuple[bytes, int]:
    compressor = (
        zlib.compressobj(level, zlib.DEFLATED, -15, zdict=window) if window else zlib.compressobj(level, wbits=-15)
    )
    return compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH), zlib.crc32(block)


class _Zstd:
    """One frame. zstd's own workers compress; with at least one, the bytes do not depend on how many there are."""

    parallel = False

    def __init__(self, level: int) -> None:
        import zstandard

        compressor = zstandard.ZstdCompressor(level=level, threads=worker_threads(), write_content_size=False)
        self._stream = compressor.compressobj()

    def begin(self) -> bytes:
        return b""

    def piece(self, block: memoryview) -> Piece:
        return lambda: (self._stream.compress(block), 0)

    def took(self, crc: int, length: int) -> None:
        pass

    def end(self) -> bytes:
        return self._stream.flush()


class _Uncompressed:
    parallel = False

    def begin(self) -> bytes:
        return b""

    def piece(self, block: memoryview) -> Piece:
        return lambda: (block, 0)

    def took(self, crc: int, length: int) -> None:
        pass

    def end(self) -> bytes:
        return b""


READ_SIZE = 1 << 20
_MAX_ZSTD_WINDOW = 1 << 27


def read_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The plain content of `stream`, decompressed by what it begins with, in pieces of at most READ_SIZE bytes.

    Memory is bounded whatever the stream holds. BuildError if it is damaged or cut short.
    """
    head = stream.read(4)
    whole: BinaryIO = _Rejoined(head, stream)  # type: ignore[assignment]
    reader: Any
    damaged: tuple[type[Exception], ...] = (EOFError,)
    match detect(head):
        case "gzip":
            from gzip import BadGzipFile

            from isal import igzip, isal_zlib

            failed: Any = isal_zlib.error
            damaged = (EOFError, zlib.error, failed, BadGzipFile)
            reader = igzip.IGzipFile(fileobj=whole, mode="rb")  # type: ignore[no-untyped-call]
            read = reader.read1
        case "zstd":
            import zstandard

            damaged = (EOFError, zstandard.ZstdError)
            reader = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW).stream_reader(
                whole, read_size=READ_SIZE // 4, read_across_frames=True, closefd=False
            )
            read = reader.read1
        case _:
            read = whole.read
    try:
        while chunk := read(READ_SIZE):
            yield chunk
    except EOFError as error:
        raise BuildError("unexpected EOF: compressed data is cut short") from error
    except damaged as error:
        raise BuildError(f"compressed data is damaged: {error}") from error


class _Rejoined(io.RawIOBase):
    """A stream whose head has been read already. Does not close what it reads from."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            size = READ_SIZE
        piece, self._head = self._head[:size], self._head[size:]
        return piece if len(piece) == size else piece + self._rest.read(size - len(piece))

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
