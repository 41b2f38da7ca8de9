"""A few files that reach what many reach: the corpus that is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = str(Path(__file__).parent.parent.parent / "bakepy")


def lines_of(run: Callable[[bytes], None], data: bytes) -> frozenset[tuple[str, int]]:
    """The lines of bakepy that run for `data`; none if it takes a mistake of bakepy's to light."""
    found: set[tuple[str, int]] = set()

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            found.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(ROOT) else None

    sys.settrace(trace)
    try:
        run(data)
    except Exception:
        return frozenset()
    finally:
        sys.settrace(None)
    return frozenset(found)


def minimised(run: Callable[[bytes], None], given: Iterable[bytes], most: int) -> list[bytes]:
    """At most `most` of the inputs, that together reach as many lines as they can; small ones first."""
    inputs = sorted(set(given), key=lambda data: (len(data), data))
    for data in inputs:
        with suppress(Exception):
            run(data)  # so that what is imported late is not counted for the input that happens to be first
    reached = {data: lines_of(run, data) for data in inputs}
    covered: set[tuple[str, int]] = set()
    kept: list[bytes] = []
    while len(kept) < most and inputs:
        best = max(inputs, key=lambda data: len(reached[data] - covered) / (200 + len(data)))
        if not reached[best] - covered:
            break
        kept.append(best)
        covered |= reached[best]
        inputs.remove(best)
    return kept
