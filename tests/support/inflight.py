"""What was under way at the same time, as the events of a run tell it."""

from __future__ import annotations

from collections.abc import Iterable

from bakepy.events import Event, VertexDone, VertexFailed, VertexStarted
from bakepy.model.digest import Digest


def in_flight(events: Iterable[Event]) -> list[tuple[Digest, ...]]:
    """The steps under way after each start."""
    now: dict[Digest, None] = {}
    found = []
    for event in events:
        if isinstance(event, VertexStarted):
            now[event.digest] = None
            found.append(tuple(now))
        elif isinstance(event, VertexDone | VertexFailed):
            now.pop(event.digest, None)
    return found
