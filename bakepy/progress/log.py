"""Process output cut into lines, and the last lines of it kept for the report of a failure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

TAIL = 20
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f]"
)
_LONGEST = 64 * 1024


class LineCutter:
    """Bytes in, whole lines out. A line longer than 64 KiB is cut there, so that memory stays bounded."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[str]:
        """The lines that `data` completes, without their ends."""
        whole = self._rest + data
        *lines, self._rest = whole.split(b"\n")
        if len(self._rest) > _LONGEST:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            yield line.decode("utf-8", "replace").removesuffix("\r")

    def close(self) -> Iterator[str]:
        """The last line, if it had no end."""
        if self._rest:
            yield self._rest.decode("utf-8", "replace")
        self._rest = b""


class Tail:
    """The last `TAIL` lines of a step's output, both streams as they came."""

    __slots__ = ("_cutters", "_lines")

    def __init__(self) -> None:
        self._cutters: dict[int, LineCutter] = {}
        self._lines: deque[str] = deque(maxlen=TAIL)

    def feed(self, stream: int, data: bytes) -> None:
        cutter = self._cutters.get(stream)
        if cutter is None:
            cutter = self._cutters[stream] = LineCutter()
        self._lines.extend(visible(line) for line in cutter.feed(data))

    def close(self) -> None:
        """Counts what has no line end yet as a line."""
        for cutter in self._cutters.values():
            self._lines.extend(visible(line) for line in cutter.close())

    def lines(self, most: int = TAIL) -> tuple[str, ...]:
        """The last `most` lines, oldest first."""
        return tuple(self._lines)[-most:] if most else ()


def step_name(name: str, targets: tuple[str, ...]) -> str:
    """The name of a step in a run of several targets: one that a single target needs has its name in front
    (`[web build 2/4] RUN make`), shared ones are as they are."""
    if len(targets) != 1 or not name.startswith("[") or name.startswith((f"[{targets[0]}]", f"[{targets[0]} ")):
        return name
    return f"[{targets[0]} {name[1:]}"


def visible(line: str) -> str:
    """What a terminal would show of a line in the end: no escape sequences, only the part after the last return."""
    return _CONTROL.sub("", line.rpartition("\r")[2]).expandtabs(8)


def seconds(value: float) -> str:
    """A duration for people: `0.3s`, `75.2s`, `12m05s`."""
    if value < 100:
        return f"{max(value, 0.0):.1f}s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{rest:02}s" if hours else f"{minutes}m{rest:02}s"


def size(value: float) -> str:
    """Bytes for people, in powers of 1000: `512B`, `1.24MB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{value:.0f}{unit}" if unit == "B" else f"{value:.2f}{unit}"
        value /= 1000
    raise AssertionError("unreachable")
