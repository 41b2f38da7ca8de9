"""Work in threads: results and errors as they are, and an end when nobody waits any more."""

from __future__ import annotations

import threading

import anyio
import pytest
from anyio import to_thread

from bakepy.errors import BuildError
from bakepy.snapshot.threads import Stopped, in_thread

pytestmark = pytest.mark.anyio


async def test_results_and_errors_come_through() -> None:
    assert await in_thread(lambda stop: stop.is_set()) is False

    def fail(stop: threading.Event) -> None:
        raise BuildError("no")

    with pytest.raises(BuildError, match=r"^no$"):
        await in_thread(fail)


async def test_a_cancelled_caller_stops_the_thread_and_waits_for_it() -> None:
    started = threading.Event()
    ended: list[bool] = []

    def work(stop: threading.Event) -> None:
        started.set()
        stop.wait()
        ended.append(stop.is_set())
        raise Stopped

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(in_thread, work)
        await to_thread.run_sync(started.wait)
        tasks.cancel_scope.cancel()
    assert ended == [True]
