"""Tar headers as layers have them: ustar with PAX records for what does not fit (POSIX pax, Go's `archive/tar`).

Times are whole seconds, owners are numbers without names, and PAX records appear only where a field has no room or
is not ASCII: this is what BuildKit's layers look like, and equal entries give equal bytes.
"""

from __future__ import annotations

from bakepy.content.entry import LayerEntry
from bakepy.errors import BuildError

BLOCK = 512
XATTR_PREFIX = b"SCHILY.xattr."
END = bytes(2 * BLOCK)

_TYPEFLAGS = {"file": b"0", "hardlink": b"1", "symlink": b"2", "char": b"3", "block": b"4", "dir": b"5", "fifo": b"6"}
_MAX_7 = 0o7777777
_MAX_11 = 0o77777777777


def padding(size: int) -> int:
    """Zero bytes that follow `size` bytes of content."""
    return -size % BLOCK


def encode_header(entry: LayerEntry) -> bytes:
    """The header blocks of `entry`: a PAX header where needed, then the ustar header."""
    typeflag = _TYPEFLAGS.get(entry.kind)
    if typeflag is None:
        raise BuildError(f"a layer can not hold a {entry.kind}: {entry.path.decode(errors='replace')}")
    name = entry.path + b"/" if typeflag == b"5" else entry.path
    size = entry.size if typeflag == b"0" else 0
    mtime = entry.mtime_ns // 1_000_000_000
    records: dict[bytes, bytes] = {}
    if len(name) > 100 or not name.isascii():
        records[b"path"] = name
    if entry.linkname and (len(entry.linkname) > 100 or not entry.linkname.isascii()):
        records[b"linkpath"] = entry.linkname
    if size > _MAX_11:
        records[b"size"] = b"%d" % size
    if entry.uid > _MAX_7:
        records[b"uid"] = b"%d" % entry.uid
    if entry.gid > _MAX_7:
        records[b"gid"] = b"%d" % entry.gid
    if not 0 <= mtime <= _MAX_11:
        records[b"mtime"] = b"%d" % mtime
    for xattr, value in entry.xattrs.items():
        records[XATTR_PREFIX + xattr.encode(errors="surrogateescape")] = value
    header = _ustar(
        name, typeflag, size, entry.linkname, entry.mode, entry.uid, entry.gid, mtime, entry.major, entry.minor
    )
    if not records:
        return header
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    folder, _, base = name.rpartition(b"/")
    pax_name = b"/".join(part for part in (folder, b"PaxHeaders.0", base) if part)
    return _ustar(pax_name, b"x", len(body)) + body + bytes(padding(len(body))) + header


def _ustar(
    name: bytes,
    typeflag: bytes,
    size: int,
    linkname: bytes = b"",
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 0,
    major: int = 0,
    minor: int = 0,
) -> bytes:
    """A field without room for its value holds zero (numbers) or a cut text; the PAX record has the value."""
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        _text(name),
        mode & 0o7777,
        uid if uid <= _MAX_7 else 0,
        gid if gid <= _MAX_7 else 0,
        size if size <= _MAX_11 else 0,
        mtime if 0 <= mtime <= _MAX_11 else 0,
    )
    tail = b"%b%bustar\00000%64b%07o\0%07o\0%167b" % (typeflag, _text(linkname), bytes(64), major, minor, bytes(167))
    # the checksum counts its own field as eight spaces
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 256) + tail


def _text(value: bytes) -> bytes:
    if not value.isascii():
        value = bytes(byte for byte in value if byte < 128)
    if len(value) > 100:
        # a cut name must not end in a slash: some readers would take a file for a directory
        value = value[:100] if value[99] != 0x2F else value[:99].rstrip(b"/")
    return value.ljust(100, b"\0")


def _record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`, where the length counts itself."""
    size = len(key) + len(value) + 3
    length = size + len(str(size))
    if len(str(length)) != len(str(size)):
        length += 1
    return b"%d %b=%b\n" % (length, key, value)
