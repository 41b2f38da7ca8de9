"""What the first process and the engine's tell each other: a job, questions about images, a plan."""

from __future__ import annotations

import os
import pickle
import select
from collections.abc import Mapping
from typing import Any

from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.errors import BakeError
from bakepy.model.value import dataclass
from bakepy.planner.plan import Plan

_LENGTH = 8


class Channel:
    """One end: two pipes. Both methods block."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self._writing = writing

    def send(self, message: object) -> None:
        """Raises BrokenPipeError if nobody reads any more."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        rest = memoryview(len(data).to_bytes(_LENGTH) + data)
        while rest:
            rest = rest[os.write(self._writing, rest) :]

    def arrived(self) -> bool:
        """Whether something can be received, or never will."""
        return bool(select.select([self.reading], [], [], 0)[0])

    def receive(self) -> Any:
        """Raises EOFError if there is nobody who could send."""
        return pickle.loads(self._read(int.from_bytes(self._read(_LENGTH))))

    def _read(self, length: int) -> bytes:
        pieces = []
        while length:
            piece = os.read(self.reading, min(length, 1 << 20))
            if not piece:
                raise EOFError
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        os.close(self.reading)
        os.close(self._writing)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What do these images point to? The values are the names of the targets that want to know. Answered by a mapping
    from each request to what was found, or to why there is nothing."""

    images: Mapping[ImageRequest, tuple[str, ...]]
    layouts: Mapping[str, str]


Found = Mapping[ImageRequest, ResolvedImageConfig | BakeError]


@dataclass(frozen=True, slots=True)
class Planned:
    """How planning ended. `warnings` are for people."""

    outcome: Plan | BakeError
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Declined:
    """The plan needs what only the engine's process has: it has to plan by itself."""
