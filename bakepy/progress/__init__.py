"""Displays: they listen to the events of a run and draw them. They know no engine and change nothing.

`open_display` picks one by the name that `--progress` takes; all of them write to stderr, stdout is for data.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self, TextIO

from bakepy.errors import UsageError, nearest
from bakepy.events import Event

MODES = ("auto", "plain", "tty", "rawjson", "quiet")


class Display(Protocol):
    """A listener of events; a context manager that leaves the terminal as it was."""

    def __call__(self, event: Event) -> None:
        """Takes an event and returns at once; from the event loop's thread only."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def check_mode(mode: str) -> str:
    """`mode` if it is one; raises UsageError with the nearest otherwise."""
    if mode not in MODES:
        raise UsageError(
            f"unknown value '{mode}' of --progress", hint=nearest(mode, MODES) or f"one of {', '.join(MODES)}"
        )
    return mode


def open_display(
    mode: str, stream: TextIO, environment: Mapping[str, str], *, several_targets: bool = False
) -> Display:
    """The display called `mode`, writing to `stream`. With `several_targets` steps tell whose they are.

    `auto` is `tty` on a terminal and `plain` elsewhere, unless BUILDKIT_PROGRESS names another one.
    Raises UsageError if there is no such display.
    """
    if mode == "auto":
        mode = environment.get("BUILDKIT_PROGRESS") or "auto"
    check_mode(mode)
    if mode == "auto":
        mode = "tty" if stream.isatty() and environment.get("TERM") != "dumb" else "plain"
    match mode:
        case "tty":
            from bakepy.progress.tty import TerminalDisplay  # rich is slow to import

            return TerminalDisplay(stream, colour=not environment.get("NO_COLOR"), several_targets=several_targets)
        case "rawjson":
            from bakepy.progress.rawjson import RawJSONDisplay

            return RawJSONDisplay(stream)
        case "quiet":
            from bakepy.progress.quiet import QuietDisplay

            return QuietDisplay()
    from bakepy.progress.plain import PlainDisplay

    return PlainDisplay(stream, several_targets=several_targets)
