"""Blocking work in a thread that stops soon when nobody waits for it any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import anyio
from anyio import to_thread
from anyio.lowlevel import checkpoint

T = TypeVar("T")


class Stopped(Exception):
    """Raised by work that saw its `stop` event; never reaches a user, because its waiter was cancelled."""


def _nothing() -> None:
    pass


async def in_thread(work: Callable[[threading.Event], T], wake: Callable[[], None] = _nothing) -> T:
    """Runs `work(stop)` in a thread. When the caller is cancelled, `stop` is set and the thread is waited for, so that
    nothing goes on behind the caller's back; `work` looks at `stop` now and then, and raises Stopped. `wake` is called
    then, and once more at the end: for work that waits for something else. What fails from then on is not told."""
    stop = threading.Event()

    async def watch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            stop.set()
            wake()

    result: list[T] = []
    failure: BaseException | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        try:
            result.append(await to_thread.run_sync(work, stop))
        except Stopped:
            await checkpoint()
            raise
        except Exception as error:
            if stop.is_set():
                await checkpoint()
            # an error of the work is the caller's, not one of this group
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result[0]
