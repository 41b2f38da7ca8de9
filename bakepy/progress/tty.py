"""`--progress tty`: a compact picture that is redrawn: what runs now and the last lines of it; what ended scrolls by.

rich redraws from a thread of its own ten times a second; a lock keeps events and drawing apart. The picture never is
higher than the terminal, and it is laid out anew for each drawing, so that a resized window does no harm.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from bakepy.events import (
    Event,
    TargetDone,
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
from bakepy.progress.log import seconds, size, step_name
from bakepy.progress.record import RunRecord, Step

_LOG_LINES = 4
_MARKS = {"succeeded": ("✓", "green"), "failed": ("✗", "red"), "blocked": ("✗", "red"), "cancelled": ("○", "yellow")}


class TerminalDisplay:
    """Draws on a terminal."""

    def __init__(self, stream: TextIO, *, colour: bool = True, several_targets: bool = False) -> None:
        self._several_targets = several_targets
        self._console = Console(file=stream, no_color=not colour, highlight=False, soft_wrap=False)
        self._record = RunRecord()
        self._lock = threading.Lock()
        self._running: dict[Digest, Step] = {}
        self._moving: dict[Digest, dict[str, VertexStatus]] = {}
        self._finished = 0
        self._cached = 0
        self._began = time.time()
        self._live = Live(
            self, console=self._console, refresh_per_second=10, transient=True, redirect_stdout=False,
            redirect_stderr=False,
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._began = time.time()
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        lines: list[Text] = []
        with self._lock:
            self._record(event)
            match event:
                case VertexStarted():
                    self._running[event.digest] = self._record.step(event.digest)
                case VertexCached():
                    self._cached += 1
                    self._finish(event.digest)
                case VertexDone():
                    self._finish(event.digest)
                case VertexFailed():
                    self._finish(event.digest)
                    if not event.cancelled:
                        step = self._record.step(event.digest)
                        lines.append(Text(f"✗ {self._name(step)}: {event.error}".partition("\n")[0], style="red"))
                case VertexStatus():
                    moving = self._moving.setdefault(event.digest, {})
                    moving[event.id] = event
                    if event.done:
                        del moving[event.id]
                case VertexWarning():
                    lines.append(Text(f"! {event.message}", style="yellow"))
                case TargetDone() if event.outcome in _MARKS:
                    mark, style = _MARKS[event.outcome]
                    target = self._record.target(event.target)
                    took = f" {seconds(event.time - target.started)}" if target.started is not None else ""
                    said = "" if event.outcome == "succeeded" else f" {event.outcome}"
                    lines.append(Text(f"{mark} {event.target}{said}{took}", style=style))
                case VertexLog() if event.digest not in self._running:
                    # what is not under way tells only why: that it waits for memory, or for another attempt
                    told = " ".join(event.data.decode(errors="replace").split())
                    lines.append(Text(f"{self._name(self._record.step(event.digest))}: {told}", style="dim"))
                case VertexAdded() | VertexLog():
                    return
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
            self._console.print(line)

    def _name(self, step: Step) -> str:
        return step_name(step.name, step.targets) if self._several_targets else step.name

    def _finish(self, digest: Digest) -> None:
        self._finished += 1
        self._running.pop(digest, None)
        self._moving.pop(digest, None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            lines = self._picture(max(console.height - 1, 2))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
            yield line

    def _picture(self, height: int) -> list[Text]:
        """At most `height` lines: a heading, then running steps, the longest running first."""
        now = time.time()
        record = self._record
        ended = sum(1 for target in record.targets.values() if target.outcome)
        heading = f"[+] {seconds(now - self._began)}  {self._finished}/{len(record.steps)} steps"
        if self._cached:
            heading += f" ({self._cached} cached)"
        if record.targets:
            heading += f"  {ended}/{len(record.targets)} targets"
        lines = [Text(heading, style="bold")]
        steps = list(self._running.values())
        room = height - 1
        shown = steps[: room if len(steps) <= room else room - 1]
        spare = room - len(shown) - (len(shown) < len(steps))
        for step in shown:
            took = seconds(now - step.started) if step.started is not None else ""
            lines.append(Text.assemble((" → ", "cyan"), self._name(step), (f"  {took}", "dim")))
            for status in tuple(self._moving.get(step.digest, {}).values())[: max(spare, 0)]:
                lines.append(Text(f"   {_motion(status)}", style="dim"))
                spare -= 1
            for text in step.tail.lines(min(_LOG_LINES, max(spare, 0))) if step.tail is not None else ():
                lines.append(Text(f"   {text}", style="dim"))
                spare -= 1
        if len(shown) < len(steps):
            lines.append(Text(f"   … and {len(steps) - len(shown)} more", style="dim"))
        return lines


def _motion(status: VertexStatus) -> str:
    """`downloading sha256:… 1.2MB / 3MB`."""
    parts = dict.fromkeys(part for part in (status.action, status.id[:40]) if part)
    amount = size(status.current) if status.current else ""
    return " ".join((*parts, f"{amount or '0B'} / {size(status.total)}" if status.total else amount)).rstrip()
