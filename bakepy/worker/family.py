"""The processes that an OCI runtime has made, found without its help.

A runtime notes the number of a container's first process only after it has let that one go: for a moment the container
runs, and nothing but the kernel tells of it. Everything here blocks.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Collection
from pathlib import Path


def end_children(parent: int) -> None:
    """Kills what a child of ours has made, and leaves that one stopped, so that it makes no more.

    Raises ProcessLookupError or ChildProcessError if it was waited for already.
    """
    os.kill(parent, signal.SIGSTOP)
    os.waitid(os.P_PID, parent, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    # again and again: one that is killed may have made another beside itself (CLONE_PARENT, as runc does)
    while _end_all(lambda pid: _lives_below(pid, parent)):
        pass


def end_first(pid: int) -> bool:
    """Kills the first process of a container; the kernel ends all others with it. False if there is no such process:
    by now the number may be another one's."""
    return _end(pid, _is_first)


def end_holders(streams: Collection[int]) -> None:
    """Kills the containers whose first process has the other end of one of these pipes."""
    pipes = {os.readlink(f"/proc/self/fd/{fd}") for fd in streams}  # noqa: PTH115
    _end_all(lambda pid: _is_first(pid) and not pipes.isdisjoint(_open_files(pid)))


def _end_all(meant: Callable[[int], bool]) -> bool:
    return sum(_end(int(entry.name), meant) for entry in Path("/proc").iterdir() if entry.name.isdigit()) > 0


def _end(pid: int, meant: Callable[[int], bool]) -> bool:
    """Kills a process if it is `meant`, and waits for its end. Returns whether it was."""
    try:
        if not meant(pid):
            return False
        process = os.pidfd_open(pid)
        try:
            if not meant(pid):  # the number was another one's until now
                return False
            signal.pidfd_send_signal(process, signal.SIGKILL)
            end = select.poll()
            end.register(process, select.POLLIN)
            end.poll()
        finally:
            os.close(process)
    except OSError:  # it has ended meanwhile
        return False
    return True


def _lives_below(pid: int, parent: int) -> bool:
    state, above = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    return int(above) == parent and state not in "ZX"


def _is_first(pid: int) -> bool:
    """Whether a process is the first one of a PID namespace below ours (proc(5): NSpid). Raises OSError."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False


def _open_files(pid: int) -> set[str]:
    return {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}  # noqa: PTH115
