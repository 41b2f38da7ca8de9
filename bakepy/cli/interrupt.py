"""Signals: the first one ends the work cleanly, the second ends the process now."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import field

import anyio

from bakepy.model.value import dataclass

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Interruption:
    """The signal that ended the work, None if none did; `stop` is set by it.

    Who can end cleanly by watching `stop` sets `cancels` to False meanwhile; otherwise the work is cancelled.
    """

    signal: signal.Signals | None = None
    cancels: bool = True
    stop: anyio.Event = field(default_factory=anyio.Event)

    @property
    def status(self) -> int:
        """The exit status that tells of the signal."""
        return 128 + self.signal if self.signal is not None else 0


@asynccontextmanager
async def interruptible() -> AsyncIterator[Interruption]:
    """Cancels what runs inside when a signal comes, and then goes on behind the block.

    A second signal ends the process at once, with the status of that signal; the kernel takes down what the engine's
    namespaces hold.
    """
    interruption = Interruption()
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            await tasks.start(_watch, scope, interruption)
            try:
                yield interruption
            except Exception as error:
                failure = error  # raised outside of the group, which would wrap it
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _watch(
    scope: anyio.CancelScope, interruption: Interruption, *, task_status: anyio.abc.TaskStatus[None]
) -> None:
    with anyio.open_signal_receiver(*SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            if interruption.signal is not None:
                os._exit(128 + number)
            interruption.signal = number
            interruption.stop.set()
            print(f"{number.name}: stopping; once more to stop at once", file=sys.stderr, flush=True)
            if interruption.cancels:
                scope.cancel()
