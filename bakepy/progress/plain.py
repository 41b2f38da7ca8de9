"""`--progress plain`: lines only, as buildx writes them.

    #3 [build 2/4] RUN make
    #3 0.123 cc -c main.c
    #3 DONE 0.3s

One step has the floor at a time. The lines of the others wait until it ends, or until it has kept them waiting for
five seconds; a step that ends while another has the floor interrupts it (`#3 ...`).
"""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from bakepy.events import (
    Event,
    VertexAdded,
    VertexCached,
    VertexDone,
    VertexFailed,
    VertexLog,
    VertexStarted,
    VertexStatus,
    VertexWarning,
)
from bakepy.model.digest import Digest
from bakepy.progress.log import LineCutter, seconds, size, step_name

_PATIENCE = 5.0
_STATUS_SHARE = 0.05


class _Step:
    """A vertex as this display sees it."""

    __slots__ = ("cutters", "name", "number", "started", "statuses", "waiting", "waiting_since")

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 0
        self.started: float | None = None
        self.cutters: dict[int, LineCutter] = {}
        self.statuses: dict[str, tuple[float, int, float]] = {}  # id: first seen, current and time last shown
        self.waiting: list[str] = []
        self.waiting_since = 0.0


class PlainDisplay:
    """Writes to `stream`; makes no use of a terminal."""

    def __init__(self, stream: TextIO, *, several_targets: bool = False) -> None:
        self._stream = stream
        self._several_targets = several_targets
        self._steps: dict[Digest, _Step] = {}
        self._running: dict[Digest, _Step] = {}
        self._floor: Digest | None = None
        self._count = 0
        self._written = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for digest, step in tuple(self._running.items()):
            if step.waiting:
                self._take_floor(digest)
        if self._written:
            self._write("\n")

    def __call__(self, event: Event) -> None:
        match event:
            case VertexAdded():
                name = step_name(event.name, event.targets) if self._several_targets else event.name
                self._steps.setdefault(event.digest, _Step(name))
            case VertexStarted():
                step = self._step(event.digest)
                step.started = event.time
                self._running[event.digest] = step
                if self._floor is None:
                    self._take_floor(event.digest)
            case VertexLog():
                self._log(event)
            case VertexStatus():
                self._status(event)
            case VertexWarning():
                self._say(event.digest, f"WARN: {event.message}", None)
            case VertexCached():
                self._end(event.digest, "CACHED")
            case VertexDone():
                started = self._step(event.digest).started
                self._end(event.digest, "DONE" if started is None else f"DONE {seconds(event.time - started)}")
            case VertexFailed():
                self._end(
                    event.digest, "CANCELED" if event.cancelled else f"ERROR: {event.error.partition(chr(10))[0]}"
                )

    def _step(self, digest: Digest) -> _Step:
        return self._steps.setdefault(digest, _Step(str(digest)))

    def _log(self, event: VertexLog) -> None:
        step = self._step(event.digest)
        cutter = step.cutters.get(event.stream)
        if cutter is None:
            cutter = step.cutters[event.stream] = LineCutter()
        for line in cutter.feed(event.data):
            self._say(event.digest, f"{_clock(event.time - (step.started or event.time))} {line}", event.time)

    def _status(self, event: VertexStatus) -> None:
        """One line when it begins, one when it ends, and in between one each five per cent or five seconds."""
        step = self._step(event.digest)
        known = step.statuses.get(event.id)
        first, shown, shown_at = known or (event.time, 0, 0.0)
        if known and not event.done:
            share = (event.current - shown) / event.total if event.total else 0.0
            if share < _STATUS_SHARE and event.time - shown_at < _PATIENCE:
                return
        step.statuses[event.id] = (first, event.current, event.time)
        text = " ".join(dict.fromkeys(part for part in (event.action, event.id) if part))
        if event.total:
            text += f" {size(event.current)} / {size(event.total)}"
        elif event.current:
            text += f" {size(event.current)}"
        if event.time - first > 0.01:
            text += f" {seconds(event.time - first)}"
        self._say(event.digest, text + (" done" if event.done else ""), event.time)

    def _say(self, digest: Digest, line: str, now: float | None) -> None:
        step = self._step(digest)
        if self._floor == digest:
            self._write(f"#{step.number} {line}\n")
            return
        if not step.waiting and now is not None:
            step.waiting_since = now
        step.waiting.append(line)
        if self._floor is None or (now is not None and now - step.waiting_since >= _PATIENCE):
            self._take_floor(digest)

    def _end(self, digest: Digest, verdict: str) -> None:
        step = self._step(digest)
        for cutter in step.cutters.values():
            for line in cutter.close():
                self._say(digest, line, None)
        self._take_floor(digest)
        self._write(f"#{step.number} {verdict}\n")
        self._floor = None
        self._running.pop(digest, None)
        loudest = max(self._running, key=lambda other: len(self._running[other].waiting), default=None)
        if loudest is not None and self._running[loudest].waiting:
            self._take_floor(loudest)

    def _take_floor(self, digest: Digest) -> None:
        step = self._step(digest)
        if self._floor != digest:
            self._release()
            if not step.number:
                self._count += 1
                step.number = self._count
            self._write(f"{chr(10) if self._written else ''}#{step.number} {step.name}\n")
            self._floor = digest
        for line in step.waiting:
            self._write(f"#{step.number} {line}\n")
        step.waiting.clear()

    def _release(self) -> None:
        if self._floor is not None:
            self._write(f"#{self._steps[self._floor].number} ...\n")
            self._floor = None

    def _write(self, text: str) -> None:
        self._written = True
        self._stream.write(text)
        self._stream.flush()


def _clock(elapsed: float) -> str:
    """Seconds since the step began, five characters wide up to 9999 seconds."""
    elapsed = max(elapsed, 0.0)
    return f"{elapsed:.{3 if elapsed < 10 else 2 if elapsed < 100 else 1}f}"
