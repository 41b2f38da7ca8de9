"""Reading layer tars: ustar, PAX, GNU long names and sparse files, from streams that nobody vouches for.

Nothing that a header claims is allocated: names and PAX records are limited as in Go's `archive/tar`, content is
streamed. Global PAX headers have no effect, as in containerd.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from types import TracebackType
from typing import BinaryIO

from bakepy.content.compression import read_chunks
from bakepy.content.entry import NO_XATTRS, LayerEntry
from bakepy.content.read_ahead import ReadAhead
from bakepy.content.tar_header import BLOCK, XATTR_PREFIX, padding
from bakepy.content.tar_sparse import map_before_content, old_gnu_map, pax_map
from bakepy.content.tar_stream import EntryContent, SparseContent, TarStream
from bakepy.errors import BuildError
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap

MAX_SPECIAL = 1 << 20
"""The longest PAX header or GNU long name, in bytes."""

_KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"S": "file", b"1": "hardlink", b"2": "symlink", b"3": "char",
    b"4": "block", b"5": "dir", b"6": "fifo",
}  # fmt: skip
_ZERO = bytes(BLOCK)

Item = tuple[LayerEntry, EntryContent | None]


class UnknownEntry(BuildError):
    """An entry that is neither of the kinds of files nor something about the next entry."""


def read_layer(stream: BinaryIO, diff_id: Digest | None = None) -> Generator[Item, None, None]:
    """The entries of a layer tar in order, decompressed by content; files come with their content.

    Content is readable until the next entry is asked for. The root itself, where a tar has it, is the entry with the
    empty path. With `diff_id` the whole tar is checked against it: BuildError after the last entry if it is another
    one; and wherever the stream is damaged.
    """
    with LayerReader(stream, diff_id) as reader:
        yield from reader


class LayerReader:
    """`read_layer` as a context manager, for callers that may stop early."""

    def __init__(self, stream: BinaryIO, diff_id: Digest | None = None) -> None:
        self._ahead = ReadAhead(read_chunks(stream))
        self._stream = TarStream(iter(self._ahead))
        self._expected = diff_id

    def __enter__(self) -> LayerReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ahead.close()

    def __iter__(self) -> Iterator[Item]:
        yield from entries(self._stream)
        while self._stream.next_chunk():
            pass
        if self._expected is not None and self.diff_id != self._expected:
            raise BuildError(f"layer has diff ID {self.diff_id}, {self._expected} was expected")

    @property
    def diff_id(self) -> Digest:
        """Of the whole tar, once the iteration has ended."""
        return Digest(f"sha256:{self._ahead.hexdigest()}")


def entries(stream: TarStream, refused: Collection[bytes] = ()) -> Iterator[Item]:
    """The entries of a tar, not a layer's in particular; reads no further than to its end. Entries of the types
    `refused` are unknown ones."""
    while (item := _next_entry(stream, refused)) is not None:
        yield item
        if item[1] is not None:
            item[1].skip_rest()


def _next_entry(stream: TarStream, refused: Collection[bytes]) -> Item | None:
    """The next entry, with the headers that only say something about it."""
    records: dict[bytes, bytes] = {}
    repeated: list[bytes] = []
    long_name = long_link = None
    while (header := _header(stream)) is not None:
        match header[156:157]:
            case b"x":
                records, repeated = _pax_records(_special(stream, header))
            case b"g":
                _special(stream, header)
            case b"L":
                long_name = _special(stream, header).partition(b"\0")[0]
            case b"K":
                long_link = _special(stream, header).partition(b"\0")[0]
            case typeflag:
                if long_name is not None:
                    records.setdefault(b"path", long_name)
                if long_link is not None:
                    records.setdefault(b"linkpath", long_link)
                known = None if typeflag in refused else _KINDS.get(typeflag)
                return _entry(stream, header, known, records, repeated)
    if records or long_name is not None or long_link is not None:
        raise BuildError("layer tar ends after a header that announces an entry")
    return None


def _entry(
    stream: TarStream, header: bytes, kind: str | None, records: dict[bytes, bytes], repeated: list[bytes]
) -> Item:
    name = records.get(b"GNU.sparse.name") or records.get(b"path") or _ustar_name(header)
    if kind is None:
        raise UnknownEntry(f"unhandled tar header type {header[156]}: {name.decode(errors='replace')}")
    if header[156] == 0 and name.endswith(b"/"):
        kind = "dir"  # how tars before POSIX have it
    content: EntryContent | None = None
    size = 0
    if kind == "file":
        stored = _pax_number(records, b"size", header[124:136])
        content, size = _content(stream, header, records, repeated, stored, name)
    link = records.get(b"linkpath") or header[157:257].partition(b"\0")[0]
    for unused in (b"atime", b"ctime"):
        if unused in records:
            _nanoseconds(records[unused])  # an entry with a time that is none is damaged
    entry = LayerEntry(
        clean_path(name),
        kind,
        _number(header[100:108]) & 0o7777,
        _pax_number(records, b"uid", header[108:116]),
        _pax_number(records, b"gid", header[116:124]),
        size,
        _nanoseconds(records[b"mtime"]) if b"mtime" in records else _number(header[136:148], signed=True) * 10**9,
        (clean_path(link) if kind == "hardlink" else link) if kind in ("hardlink", "symlink") else b"",
        _number(header[329:337]) if kind in ("char", "block") else 0,
        _number(header[337:345]) if kind in ("char", "block") else 0,
        _xattrs(records) if records else NO_XATTRS,
    )
    return entry, content


def _content(
    stream: TarStream, header: bytes, records: dict[bytes, bytes], repeated: list[bytes], stored: int, name: bytes
) -> tuple[EntryContent, int]:
    """The content of a file, and its size; for sparse files that is not what is stored."""
    sparse = None
    size = stored
    if header[156:157] == b"S":
        size = _number(header[483:495])
        sparse = old_gnu_map(header, stream, _number, size)
    elif records and (b"GNU.sparse.major" in records or b"GNU.sparse.size" in records):
        size = _decimal(records.get(b"GNU.sparse.realsize") or records.get(b"GNU.sparse.size") or b"")
        if records.get(b"GNU.sparse.major") == b"1":
            sparse, taken = map_before_content(stream, size)
            stored -= taken
        else:
            sparse = pax_map(records, repeated, size)
    if sparse is None:
        return EntryContent(stream, stored, name), stored
    if sum(length for _, length in sparse) != stored:
        raise BuildError(f"layer tar has a malformed sparse file: {name.decode(errors='replace')}")
    return SparseContent(stream, sparse, size, stored, name), size


def clean_path(name: bytes) -> bytes:
    """`name` without leading, trailing and doubled slashes and dots; `..` does not lead out of the root."""
    if name.endswith(b"/"):
        name = name[:-1]
    if b"." not in name[:2] and b"/." not in name and b"//" not in name and not name.startswith(b"/"):
        return name
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return b"/".join(parts)


def _header(stream: TarStream) -> bytes | None:
    """The next header block; None at the end, which is two zero blocks or the end of the stream."""
    header = stream.take(BLOCK)
    if header == _ZERO:
        header = stream.take(BLOCK)
        if header in (_ZERO, b""):
            return None
        if len(header) < BLOCK:
            raise BuildError("unexpected EOF: the tar ends inside a header")
        raise BuildError("archive/tar: invalid tar header: a lone zero block")
    if not header:
        return None
    if len(header) < BLOCK:
        raise BuildError("unexpected EOF: the tar ends inside a header")
    # the checksum counts its own field as eight spaces
    if sum(header) - sum(header[148:156]) + 256 != _number(header[148:156]):
        raise BuildError("archive/tar: invalid tar header: wrong checksum")
    return header


def _special(stream: TarStream, header: bytes) -> bytes:
    size = _number(header[124:136])
    if size > MAX_SPECIAL:
        raise BuildError(f"layer tar has a header of {size} bytes; at most {MAX_SPECIAL} are accepted")
    data = stream.take(size)
    if len(data) < size:
        raise BuildError("unexpected EOF: the tar ends inside a header")
    stream.take(padding(size))
    return data


def _ustar_name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[257:265] == b"ustar\00000":
        # star's variant of the format has a shorter prefix
        end = 476 if header[508:512] == b"tar\0" else 500
        if prefix := header[345:end].partition(b"\0")[0]:
            return prefix + b"/" + name
    return name


def _number(field: bytes, signed: bool = False) -> int:
    """Octal text, or GNU's base 256 where it does not fit."""
    text = field.strip(b" \0")
    if text.isdigit() and not text.strip(b"01234567"):  # nearly always
        return int(text, 8)
    if not field[0] & 0x80:
        # what follows a NUL does not count
        text = text.partition(b"\0")[0].rstrip(b" ")
        if text.strip(b"01234567"):
            raise BuildError("archive/tar: invalid tar header: not a number")
        return int(text, 8) if text else 0
    value = int.from_bytes(field, "big")
    value -= 0x80 << 8 * (len(field) - 1) if not field[0] & 0x40 else 1 << 8 * len(field)
    if (value < 0 and not signed) or abs(value) >= 1 << 63:
        raise BuildError("layer tar is damaged: a number in a header is out of range")
    return value


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > 19 or (value := int(text)) >= 1 << 63:
        raise BuildError("layer tar is damaged: not a number in a PAX record")
    return value


def _pax_number(records: dict[bytes, bytes], key: bytes, field: bytes) -> int:
    return _decimal(records[key]) if records and key in records else _number(field)


def _nanoseconds(text: bytes) -> int:
    """A PAX time, `-12.345`, in nanoseconds."""
    sign = -1 if text.startswith(b"-") else 1
    seconds, _, fraction = text.lstrip(b"-").partition(b".")
    if fraction and not fraction.isdigit():
        raise BuildError("layer tar is damaged: not a time in a PAX record")
    return sign * (_decimal(seconds) * 10**9 + int(fraction[:9].ljust(9, b"0")))


def _pax_records(data: bytes) -> tuple[dict[bytes, bytes], list[bytes]]:
    """The records of a PAX header, and the values of GNU's repeated sparse records in order."""
    records: dict[bytes, bytes] = {}
    repeated: list[bytes] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 10)
        digits = data[at:space] if space > 0 else b""
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end <= space + 2 or end > len(data) or data[end - 1 : end] != b"\n" or not equals:
            raise BuildError("layer tar has a malformed PAX record")
        if b"\0" in key or (b"\0" in value and key in (b"path", b"linkpath", b"uname", b"gname")):
            raise BuildError("layer tar has a malformed PAX record")
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            repeated.append(value)
        records[key] = value
        at = end
    return records, repeated


def _xattrs(records: dict[bytes, bytes]) -> FrozenMap[str, bytes]:
    prefix = len(XATTR_PREFIX)
    found = {
        key[prefix:].decode(errors="surrogateescape"): value
        for key, value in records.items()
        if key.startswith(XATTR_PREFIX)
    }
    return FrozenMap(found) if found else NO_XATTRS
