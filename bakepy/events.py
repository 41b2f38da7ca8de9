"""The events that engines emit and that displays, traces and records listen to.

They mirror BuildKit's SolveStatus (vertexes, statuses, logs, warnings), so that `--progress rawjson` prints what
buildx prints. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Callable

from bakepy.model.digest import Digest
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class VertexAdded:
    """A vertex is part of this run. `targets` names who needs it, in definition order."""

    digest: Digest
    name: str
    inputs: tuple[Digest, ...] = ()
    targets: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, slots=True)
class VertexStarted:
    """Its own work begins now (not the work of its inputs)."""

    digest: Digest
    time: float


@dataclass(frozen=True, slots=True)
class VertexCached:
    """Its result was found; nothing was run. `by` tells how: `definition`, `content`, `run` (an equal vertex of
    this run did it)."""

    digest: Digest
    time: float
    by: str


@dataclass(frozen=True, slots=True)
class VertexMissed:
    """Why nothing was found and it has to be run. `reason` is `ignored` (the cache was not to be used), `definition`
    (such a step was never run here), `input` (the inputs at the positions `changed` are not those of the most similar
    earlier time), or `gone` (the same was run, but its result has been removed)."""

    digest: Digest
    reason: str
    changed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class VertexDone:
    """It was run and has its result."""

    digest: Digest
    time: float


@dataclass(frozen=True, slots=True)
class VertexFailed:
    """It was run and failed, or was cancelled."""

    digest: Digest
    time: float
    error: str
    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class VertexStatus:
    """How far a piece of the work is: bytes of a blob, files of a context. `total` 0: not known."""

    digest: Digest
    id: str
    action: str
    current: int
    total: int
    time: float
    done: bool = False


@dataclass(frozen=True, slots=True)
class VertexLog:
    """Output of a process. `stream` is 1 (stdout) or 2 (stderr)."""

    digest: Digest
    stream: int
    data: bytes
    time: float


@dataclass(frozen=True, slots=True)
class VertexWarning:
    """Something worth telling that does not fail the build."""

    digest: Digest
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TargetStarted:
    """The first piece of work of a target begins."""

    target: str
    time: float


@dataclass(frozen=True, slots=True)
class TargetDone:
    """A target ended: `succeeded`, `failed`, `blocked`, `cancelled` or `not started`."""

    target: str
    time: float
    outcome: str
    message: str = ""


Event = (
    VertexAdded
    | VertexStarted
    | VertexCached
    | VertexMissed
    | VertexDone
    | VertexFailed
    | VertexStatus
    | VertexLog
    | VertexWarning
    | TargetStarted
    | TargetDone
)

Emit = Callable[[Event], None]
"""Takes an event and returns at once; called from the event loop's thread only."""
