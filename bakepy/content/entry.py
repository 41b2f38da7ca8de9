"""The neutral form of what a layer holds: one value for each tar entry."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.oci import Descriptor
from bakepy.model.value import dataclass

WHITEOUT_PREFIX = b".wh."
OPAQUE_WHITEOUT = b".wh..wh..opq"
NO_XATTRS: FrozenMap[str, bytes] = FrozenMap()


@dataclass(frozen=True, slots=True)
class LayerEntry:
    """One name in a layer. Deletions are files named `.wh.NAME`, as in the image specification's layer page.

    `kind` is one of file, dir, symlink, hardlink, char, block, fifo. `mode` holds the twelve permission bits only.
    """

    path: bytes
    """Relative, without a leading or trailing slash."""
    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    """Bytes of content; 0 for all but files."""
    mtime_ns: int = 0
    linkname: bytes = b""
    """The target of a symlink, or the path in this layer that a hardlink shares its file with."""
    major: int = 0
    minor: int = 0
    xattrs: FrozenMap[str, bytes] = field(default=NO_XATTRS)
    source: Path | None = None
    """Where a file's content is read from,"""
    data: bytes | None = None
    """or the content itself."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as a blob (`descriptor`), and the digest of its uncompressed tar (`diff_id`)."""

    descriptor: Descriptor
    diff_id: Digest
