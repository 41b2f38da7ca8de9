"""The bytes of a tar as a stream of chunks, and the content of one file in it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import Any

from bakepy.content.tar_header import padding
from bakepy.errors import BuildError

SparseMap = tuple[tuple[int, int], ...]
"""(offset, length) of each piece of a sparse file that is stored, in order; the rest is holes."""

_HOLE = memoryview(bytes(1 << 16))


class TarStream:
    """Chunks read as bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0

    def next_chunk(self) -> bool:
        """Drops what is left of this chunk; False at the end."""
        self._chunk, self._at = next(self._chunks, b""), 0
        return bool(self._chunk)

    def take(self, count: int) -> bytes:
        """`count` bytes; fewer only at the end. `count` must be bounded by the caller."""
        at = self._at
        if len(self._chunk) - at >= count:
            self._at = at + count
            return self._chunk[at : at + count]
        return b"".join(self.views(count))

    def views(self, count: int) -> Iterator[memoryview]:
        """The next `count` bytes in pieces; stops early at the end of the stream."""
        while count:
            if self._at == len(self._chunk) and not self.next_chunk():
                return
            piece = memoryview(self._chunk)[self._at : self._at + count]
            self._at += piece.nbytes
            count -= piece.nbytes
            yield piece


class EntryContent(io.RawIOBase):
    """The content of one file; readable until the next entry is asked for."""

    def __init__(self, stream: TarStream, stored: int, name: bytes) -> None:
        self._stored = _stored_pieces(stream, stored, name)
        self._pieces = self._stored
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        target = memoryview(buffer).cast("B")
        if not self._rest.nbytes:
            self._rest = next(self._pieces, self._rest)
        count = min(target.nbytes, self._rest.nbytes)
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def copy_to(self, fd: int) -> None:
        """Writes all of it to the file `fd`, without a copy in between. Not to be mixed with reading."""
        for piece in self._stored:
            _write_all(fd, piece)

    def skip_rest(self) -> None:
        """Passes over what nobody read."""
        for _ in self._stored:
            pass


class SparseContent(EntryContent):
    """A file with holes: read as zeros, and left as holes by `copy_to`."""

    def __init__(self, stream: TarStream, sparse: SparseMap, size: int, stored: int, name: bytes) -> None:
        super().__init__(stream, stored, name)
        self._sparse = sparse
        self._size = size
        self._pieces = self._with_holes()

    def copy_to(self, fd: int) -> None:
        exact = _Exact(self._stored)
        for offset, length in self._sparse:
            os.lseek(fd, offset, os.SEEK_SET)
            for piece in exact.take(length):
                _write_all(fd, piece)
        os.ftruncate(fd, self._size)

    def _with_holes(self) -> Iterator[memoryview]:
        at = 0
        exact = _Exact(self._stored)
        for offset, length in (*self._sparse, (self._size, 0)):
            while at < offset:
                hole = _HOLE[: offset - at]
                at += hole.nbytes
                yield hole
            yield from exact.take(length)
            at += length


class _Exact:
    """Cuts a stream of pieces where the caller wants it cut."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def take(self, length: int) -> Iterator[memoryview]:
        while length:
            if not self._rest.nbytes:
                self._rest = next(self._pieces)
            piece, self._rest = self._rest[:length], self._rest[length:]
            length -= piece.nbytes
            yield piece


def _stored_pieces(stream: TarStream, stored: int, name: bytes) -> Iterator[memoryview]:
    left = stored
    for piece in stream.views(stored):
        left -= piece.nbytes
        yield piece
    if left:
        raise BuildError(f"unexpected EOF: the tar ends inside {name.decode(errors='replace')}")
    stream.take(padding(stored))


def _write_all(fd: int, data: memoryview) -> None:
    while data.nbytes:
        data = data[os.write(fd, data) :]
