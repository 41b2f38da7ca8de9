"""The first signal ends the work cleanly, the second one the process."""

import os
import signal
import subprocess
import sys

import anyio
import pytest

from bakepy.cli.interrupt import interruptible


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_cancels_the_work_and_gives_the_status(number: signal.Signals, status: int) -> None:
    seen = []

    async def work() -> int:
        async with interruptible() as interruption:
            try:
                os.kill(os.getpid(), number)
                await anyio.sleep_forever()
            finally:
                seen.append("cleaned up")
        return interruption.status

    assert anyio.run(work) == status
    assert seen == ["cleaned up"]


def test_without_a_signal_nothing_is_cancelled() -> None:
    async def work() -> int:
        async with interruptible() as interruption:
            await anyio.lowlevel.checkpoint()
        return interruption.status

    assert anyio.run(work) == 0


def test_an_error_inside_comes_out_as_it_is() -> None:
    async def work() -> None:
        async with interruptible():
            raise LookupError("x")

    with pytest.raises(LookupError):
        anyio.run(work)


def test_a_second_signal_ends_the_process_whatever_it_is_doing() -> None:
    code = """
import anyio, os, signal, sys
from bakepy.cli.interrupt import interruptible
async def work():
    async with interruptible():
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                os.kill(os.getpid(), signal.SIGTERM)
                await anyio.sleep_forever()
anyio.run(work)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 143
    assert done.stderr == "SIGINT: stopping; once more to stop at once\n"
