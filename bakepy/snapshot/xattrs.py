"""Extended attributes that a copy keeps: all but those that belong to the file system or to the host's security."""

from __future__ import annotations

import errno
import os

CAPABILITY = "security.capability"


def is_kept(name: str) -> bool:
    """`trusted.overlay.*` would change how an overlay reads a folder; labels and ACLs are the host's."""
    return (name.startswith(("user.", "trusted.")) and not name.startswith("trusted.overlay.")) or name == CAPABILITY


def read_xattrs(path: bytes | int, *, foreign: bool = False) -> list[tuple[str, bytes]]:
    """The kept attributes of `path` (not followed) or of an open file, in order of their names. Capabilities of a
    `foreign` file are not kept: they were given to whoever owns it."""
    follow = isinstance(path, int)
    try:
        names = os.listxattr(path, follow_symlinks=follow)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.ENODATA):
            return []
        raise
    if not names:
        return []
    kept = sorted(name for name in names if is_kept(name) and not (foreign and name == CAPABILITY))
    return [(name, os.getxattr(path, name, follow_symlinks=follow)) for name in kept]


def fingerprint(path: bytes | int, *, foreign: bool = False) -> bytes:
    """The kept attributes as bytes that differ where they do; empty for nearly every file."""
    return b"".join(
        b"%d %b\0%b" % (len(value), name.encode("utf-8", "surrogateescape"), value)
        for name, value in read_xattrs(path, foreign=foreign)
    )


def write_xattrs(path: bytes | int, attributes: list[tuple[str, bytes]]) -> None:
    """Sets them. A file system without `user.*` attributes drops those; capabilities are never dropped silently."""
    follow = isinstance(path, int)
    for name, value in attributes:
        try:
            os.setxattr(path, name, value, follow_symlinks=follow)
        except OSError as error:
            # symlinks and special files can not have user.* attributes, nor can some file systems
            if name == CAPABILITY or error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
