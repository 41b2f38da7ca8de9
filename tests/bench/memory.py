"""The memory of all bakepy processes of one command, at its peak."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from tests.bench.measure import Command

_PERIOD = 0.01


def peak(command: Command, pair: int) -> float:
    """Runs it and looks at its processes a hundred times a second. Bytes: the highest sum, at one moment, of what each
    living bakepy process has had resident at most until then (VmHWM), shared pages counted for each.

    What runs in containers, the runtime and other programs do not count, nor does a child that was seen once only: it
    is about to become another program.
    """
    found = 0

    def watch(root: int) -> None:
        nonlocal found
        before: set[int] = set()
        while True:
            peaks = _peaks(root)
            found = max(found, sum(size for process, size in peaks.items() if process in before))
            before = set(peaks)
            # not reaped yet, so that the number is nobody else's
            if os.waitid(os.P_PID, root, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return
            time.sleep(_PERIOD)

    command.run(pair, watch)
    return found


def _peaks(root: int) -> dict[int, int]:
    """The bakepy processes from `root` down, with the most that each has had resident, in bytes."""
    found: dict[int, int] = {}
    python = Path("/proc/self/exe").readlink()
    todo = [root]
    while todo:
        process = todo.pop()
        # any of them may end meanwhile
        with contextlib.suppress(OSError, ValueError):
            for children in Path(f"/proc/{process}/task").glob("*/children"):
                todo += map(int, children.read_text().split())
            if Path(f"/proc/{process}/exe").readlink() == python:
                status = Path(f"/proc/{process}/status").read_text()
                found[process] = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return found
