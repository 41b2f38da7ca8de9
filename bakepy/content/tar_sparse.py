"""Where a sparse file's stored pieces lie: GNU tar's old header, and its PAX forms 0.0, 0.1 and 1.0
(GNU tar manual, "Storing Sparse Files")."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bakepy.content.tar_stream import SparseMap, TarStream
from bakepy.errors import BuildError

Numbers = Callable[[bytes], int]
_MAX_PIECES = 1 << 17
_EXTENDED = 504


def checked(numbers: Sequence[int], size: int) -> SparseMap:
    """Pairs of offset and length as a map; BuildError unless they rise, do not overlap and end within `size`."""
    pieces = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    at = 0
    for offset, length in pieces:
        if offset < at or length < 0:
            raise BuildError("layer tar has a malformed sparse file")
        at = offset + length
    if len(numbers) % 2 or at > size:
        raise BuildError("layer tar has a malformed sparse file")
    return pieces


def old_gnu_map(header: bytes, stream: TarStream, number: Numbers, size: int) -> SparseMap:
    """From a header of type `S` and the extension blocks that follow it."""
    numbers = _pairs(header[386:482], number)
    more = header[482]
    while more:
        block = stream.take(512)
        if len(block) < 512 or len(numbers) > 2 * _MAX_PIECES:
            raise BuildError("layer tar has a malformed sparse file")
        numbers += _pairs(block[:_EXTENDED], number)
        more = block[_EXTENDED]
    return checked(numbers, size)


def pax_map(records: dict[bytes, bytes], repeated: Sequence[bytes], size: int) -> SparseMap | None:
    """From PAX records of form 0.1 (`GNU.sparse.map`) or 0.0 (`repeated` offsets and lengths); None without."""
    if (text := records.get(b"GNU.sparse.map")) is not None:
        return checked([_decimal(part) for part in text.split(b",") if part], size)
    if b"GNU.sparse.offset" in records:
        return checked([_decimal(part) for part in repeated], size)
    return None


def map_before_content(stream: TarStream, size: int) -> tuple[SparseMap, int]:
    """Form 1.0: the map stands before the content, as lines, padded to a block. Also says how many bytes it took."""
    text = b""
    wanted = 1
    taken = 0
    while (lines := text.count(b"\n")) < wanted:
        block = stream.take(512)
        taken += 512
        if len(block) < 512 or taken > 24 * _MAX_PIECES or (lines == 0 and taken > 1024):
            raise BuildError("layer tar has a malformed sparse file")
        text += block
        if lines == 0 and b"\n" in text:
            wanted = 1 + 2 * min(_decimal(text.partition(b"\n")[0]), _MAX_PIECES + 1)
    return checked([_decimal(line) for line in text.split(b"\n")[1:wanted]], size), taken


def _pairs(block: bytes, number: Numbers) -> list[int]:
    numbers = []
    for at in range(0, len(block) - 23, 24):
        if not block[at]:
            break
        numbers += [number(block[at : at + 12]), number(block[at + 12 : at + 24])]
    return numbers


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19:
        raise BuildError("layer tar has a malformed sparse file")
    return int(text)
