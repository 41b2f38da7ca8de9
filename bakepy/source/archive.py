"""Tar archives that are looked into without being unpacked: build contexts from the web."""

from __future__ import annotations

import os
import posixpath
import tarfile
from pathlib import Path

from bakepy.errors import BuildError

_PACKED = (b"BZh", b"\x1f\x8b\x08", b"\xfd7zXZ\x00")
"""How files begin that BuildKit takes for archives without looking further (`frontend/dockerui/context.go`)."""
_LONGEST_CHAIN = 40


def is_archive(path: Path) -> bool:
    """Whether BuildKit takes a downloaded context for an archive: packed, or a tar with at least one member."""
    with path.open("rb") as file:
        head = file.read(1024)
    if head.startswith(_PACKED):
        return True
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def read_member(path: Path, name: str) -> bytes:
    """One file of an archive, links inside it followed. FileNotFoundError, IsADirectoryError; BuildError if it is no
    archive after all."""
    try:
        with tarfile.open(path, "r:*") as archive:
            members = {posixpath.normpath("/" + member.name): member for member in archive}
            place = posixpath.normpath("/" + name)
            for _ in range(_LONGEST_CHAIN):
                member = members.get(place)
                if member is None:
                    break
                if member.isdir():
                    raise IsADirectoryError(21, os.strerror(21), name)
                if not member.issym():
                    file = archive.extractfile(member)
                    return file.read() if file is not None else b""
                place = posixpath.normpath(posixpath.join(posixpath.dirname(place), member.linkname))
    except (tarfile.TarError, EOFError) as error:
        raise BuildError(f"the archive can not be read: {error}") from error
    raise FileNotFoundError(2, os.strerror(2), name)


def newest(path: Path) -> int | None:
    """The time of the newest regular file in an archive, in seconds; None if there is none."""
    try:
        with tarfile.open(path, "r:*") as archive:
            return max((int(member.mtime) for member in archive if member.isreg()), default=None)
    except (tarfile.TarError, EOFError) as error:
        raise BuildError(f"the archive can not be read: {error}") from error
