"""`--progress rawjson`: one JSON object a line, each a SolveStatus as BuildKit's client has it.

Members, their types and which are left out when empty: `client/graph.go` of moby/buildkit. Bytes are base64, times
RFC 3339 in UTC.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TextIO

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


class RawJSONDisplay:
    """Writes each event when it comes. Target events have no counterpart there and are left out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._vertexes: dict[Digest, dict[str, Any]] = {}
        self._statuses: dict[tuple[Digest, str], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def __call__(self, event: Event) -> None:
        match event:
            case VertexAdded():
                vertex: dict[str, Any] = {"digest": event.digest}
                if event.inputs:
                    vertex["inputs"] = event.inputs
                if event.name:
                    vertex["name"] = event.name
                self._vertexes[event.digest] = vertex
                self._write("vertexes", vertex)
            case VertexStarted():
                self._vertex(event.digest, started=_time(event.time))
            case VertexCached():
                now = _time(event.time)
                self._vertex(event.digest, started=now, completed=now, cached=True)
            case VertexDone():
                self._vertex(event.digest, completed=_time(event.time))
            case VertexFailed():
                # BuildKit tells a cancelled vertex by the end of its error
                message = "context canceled" if event.cancelled else event.error
                self._vertex(event.digest, completed=_time(event.time), error=message)
            case VertexStatus():
                self._status(event)
            case VertexLog():
                log: dict[str, Any] = {"vertex": event.digest}
                if event.stream:
                    log["stream"] = event.stream
                self._write("logs", log | {"data": _bytes(event.data), "timestamp": _time(event.time)})
            case VertexWarning():
                warning: dict[str, Any] = {"vertex": event.digest, "level": 1}
                warning["short"] = _bytes(event.message.encode())
                if event.detail:
                    warning["detail"] = [_bytes(line.encode()) for line in event.detail.splitlines()]
                self._write("warnings", warning)

    def _vertex(self, digest: Digest, **members: Any) -> None:
        vertex = self._vertexes.setdefault(digest, {"digest": digest})
        if "started" in vertex:
            members.pop("started", None)
        vertex.update(members)
        self._write("vertexes", vertex)

    def _status(self, event: VertexStatus) -> None:
        key = (event.digest, event.id)
        now = _time(event.time)
        status: dict[str, Any] = {"id": event.id, "vertex": event.digest}
        if event.action:
            status["name"] = event.action
        if event.total:
            status["total"] = event.total
        status |= {"current": event.current, "timestamp": now, "started": self._statuses.setdefault(key, now)}
        if event.done:
            status["completed"] = now
            del self._statuses[key]
        self._write("statuses", status)

    def _write(self, member: str, value: dict[str, Any]) -> None:
        self._stream.write(json.dumps({member: [value]}, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._stream.flush()


def _time(value: float) -> str:
    return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")


def _bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()
