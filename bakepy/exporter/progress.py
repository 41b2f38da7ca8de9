"""An export as events: one vertex for each output, with a status for each piece of the work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import anyio

from bakepy.events import Emit, VertexAdded, VertexDone, VertexFailed, VertexStarted, VertexStatus, VertexWarning
from bakepy.model.digest import Digest


class ExportProgress:
    """The vertex of one export; a context manager that tells how it ended. Methods run on the event loop's thread."""

    def __init__(self, emit: Emit, target: str, number: int, name: str) -> None:
        self._emit = emit
        self._digest = Digest.of(f"export\0{target}\0{number}\0{name}".encode())
        self._target = target
        self._name = name

    def __enter__(self) -> ExportProgress:
        self._emit(VertexAdded(self._digest, f"[{self._target}] {self._name}", targets=(self._target,)))
        self._emit(VertexStarted(self._digest, time.time()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        now = time.time()
        if error is None:
            self._emit(VertexDone(self._digest, now))
        else:
            cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            text = "cancelled" if cancelled else str(error).splitlines()[0] if str(error) else type(error).__name__
            self._emit(VertexFailed(self._digest, now, text, cancelled))

    def warn(self, message: str) -> None:
        self._emit(VertexWarning(self._digest, message))

    @contextmanager
    def step(self, action: str) -> Iterator[None]:
        """A piece of the work whose size is not known."""
        self._status(action, "", 0, 0, done=False)
        yield
        self._status(action, "", 0, 0, done=True)

    def transfer(self, id: str, action: str, current: int, total: int) -> None:
        """How far a transfer is, in bytes."""
        self._status(id, action, current, total, done=current >= total)

    def _status(self, id: str, action: str, current: int, total: int, *, done: bool) -> None:
        self._emit(VertexStatus(self._digest, id, action, current, total, time.time(), done))
