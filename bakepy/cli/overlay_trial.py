"""Mounts an overlayfs for real, to see whether it works here: in a child process with a mount namespace of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bakepy.snapshot import syscalls


def try_overlay(place: Path) -> str:
    """What goes wrong when one is mounted on directories below `place`; empty if nothing does. Needs root.

    Call it while there is one thread: it forks.
    """
    existing = place
    while not existing.is_dir() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".bakepy-trial-", dir=existing) as folder:
            for name in ("lower", "upper", "work", "merged"):
                Path(folder, name).mkdir()
            Path(folder, "lower", "file").write_bytes(b"")
            return _in_child(Path(folder))
    except OSError as error:
        return f"{existing} can not be written: {error.strerror}"


def _in_child(folder: Path) -> str:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            os.write(writer, _trial(folder).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        problem = stream.read().decode()
    _, status = os.waitpid(child, 0)
    return problem or ("" if status == 0 else f"the trial ended with status {status}")


def _trial(folder: Path) -> str:
    step = "no private mount namespace"
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        step = "overlayfs can not be mounted"
        options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
        syscalls.mount("overlay", folder / "merged", "overlay", 0, options)
        step = "overlayfs does not work here"
        file = folder / "merged/file"
        file.write_bytes(b"changed")
        file.unlink()  # needs a whiteout, which is a device node
    except OSError as error:
        return f"{step}: {error.strerror}"
    return ""
