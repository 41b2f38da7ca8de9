"""`--progress rawjson` prints BuildKit's SolveStatus."""

import io
import json
from typing import Any

from bakepy.events import (
    Event,
    TargetStarted,
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
from bakepy.progress.rawjson import RawJSONDisplay

BASE = Digest.of(b"base")
MAKE = Digest.of(b"make")


def shown(*events: Event) -> list[dict[str, Any]]:
    stream = io.StringIO()
    with RawJSONDisplay(stream) as display:
        for event in events:
            display(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_vertex_is_repeated_with_what_is_new() -> None:
    made = {"digest": MAKE, "inputs": [BASE], "name": "RUN make"}
    assert shown(
        VertexAdded(MAKE, "RUN make", (BASE,), ("web",)),
        VertexStarted(MAKE, 1700000000.5),
        VertexDone(MAKE, 1700000002.0),
    ) == [
        {"vertexes": [made]},
        {"vertexes": [made | {"started": "2023-11-14T22:13:20.500000Z"}]},
        {
            "vertexes": [
                made | {"started": "2023-11-14T22:13:20.500000Z", "completed": "2023-11-14T22:13:22Z"},
            ]
        },
    ]


def test_cached_failed_and_cancelled_vertices() -> None:
    lines = shown(
        VertexCached(BASE, 1.0, "definition"),
        VertexFailed(MAKE, 2.0, "exit code: 1"),
        VertexFailed(MAKE, 2.0, "stopped", cancelled=True),
    )
    assert [line["vertexes"][0].get("cached") for line in lines] == [True, None, None]
    assert [line["vertexes"][0].get("error") for line in lines] == [None, "exit code: 1", "context canceled"]


def test_logs_statuses_and_warnings() -> None:
    assert shown(
        VertexLog(MAKE, 2, b"\xffhi", 0.0),
        VertexStatus(MAKE, "sha256:aa", "downloading", 1, 4, 1.0),
        VertexStatus(MAKE, "sha256:aa", "downloading", 4, 4, 2.0, done=True),
        VertexWarning(MAKE, "slow", "because"),
        TargetStarted("web", 1.0),
    ) == [
        {"logs": [{"vertex": MAKE, "stream": 2, "data": "/2hp", "timestamp": "1970-01-01T00:00:00Z"}]},
        {
            "statuses": [
                {
                    "id": "sha256:aa",
                    "vertex": MAKE,
                    "name": "downloading",
                    "total": 4,
                    "current": 1,
                    "timestamp": "1970-01-01T00:00:01Z",
                    "started": "1970-01-01T00:00:01Z",
                }
            ]
        },
        {
            "statuses": [
                {
                    "id": "sha256:aa",
                    "vertex": MAKE,
                    "name": "downloading",
                    "total": 4,
                    "current": 4,
                    "timestamp": "1970-01-01T00:00:02Z",
                    "started": "1970-01-01T00:00:01Z",
                    "completed": "1970-01-01T00:00:02Z",
                }
            ]
        },
        {"warnings": [{"vertex": MAKE, "level": 1, "short": "c2xvdw==", "detail": ["YmVjYXVzZQ=="]}]},
    ]
