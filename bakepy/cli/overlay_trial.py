"""Mounts an overlayfs for real, to see whether it works here: in a child process with a mount namespace of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bakepy.errors import EngineError
from bakepy.snapshot import overlay, syscalls, usernamespace

_FATAL = "!"
"""In front of what no build is possible with."""


def try_overlay(place: Path) -> tuple[str, bool]:
    """What goes wrong when one is mounted on directories below `place`, empty if nothing does; and whether builds are
    possible without. An ordinary user tries it in a user namespace.

    Call it while there is one thread: it forks.
    """
    existing = place
    while not existing.is_dir() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".bakepy-trial-", dir=existing) as folder:
            problem = _in_child(Path(folder))
            return problem.removeprefix(_FATAL), not problem.startswith(_FATAL)
    except OSError as error:
        return f"{existing} can not be written: {error.strerror}", False


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
    try:
        if os.geteuid() != 0:
            usernamespace.enter()
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    except OSError as error:
        return f"{_FATAL}no private mount namespace: {error.strerror}"
    except EngineError as error:
        return f"{_FATAL}{error.what}"
    try:
        problem = overlay.problem_in(folder)
    except OSError as error:
        problem = error.strerror or str(error)
    return f"overlayfs can not be used: {problem}" if problem else ""
