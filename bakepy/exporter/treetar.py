"""A file tree as a tar (`type=tar`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import BinaryIO

from bakepy.content.entry import LayerEntry
from bakepy.content.layout import copy_file
from bakepy.content.tar_header import END, encode_header, padding
from bakepy.errors import BuildError

_SMALL = 1 << 16
_SECOND = 10**9


def write_tar(entries: Iterable[LayerEntry], out: BinaryIO) -> int:
    """Writes `entries` in the order given; returns the bytes. Blocks. Big files are copied inside the kernel. Times are
    those of whole seconds, the nearest ones: Go's tar writer, which BuildKit uses, has no others by default.

    BuildError if a file is not as long as its entry says.
    """
    size = 0
    for entry in entries:
        if entry.mtime_ns % _SECOND:
            entry = replace(entry, mtime_ns=(entry.mtime_ns + _SECOND // 2) // _SECOND * _SECOND)
        header = encode_header(entry)
        out.write(header)
        size += len(header)
        if entry.kind == "file" and entry.size:
            _write_content(entry, out)
            out.write(bytes(padding(entry.size)))
            size += entry.size + padding(entry.size)
    out.write(END)
    out.flush()
    return size + len(END)


def _write_content(entry: LayerEntry, out: BinaryIO) -> None:
    if entry.data is not None:
        out.write(entry.data)
        return
    if entry.source is None:
        raise BuildError(f"no content for {entry.path.decode(errors='replace')}")
    fd = os.open(entry.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        data = os.read(fd, entry.size) if entry.size <= _SMALL else b""
        if os.fstat(fd).st_size != entry.size or (entry.size <= _SMALL and len(data) != entry.size):
            raise BuildError(f"{entry.path.decode(errors='replace')} changed while it was read")
    finally:
        os.close(fd)
    if data:
        out.write(data)
    else:
        copy_file(entry.source, out, entry.size)
