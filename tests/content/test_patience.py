"""Byte work in threads ends soon after the task that waits for it was cancelled, and takes its half-made files along.

None of these would end otherwise: the work is endless."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread
import pytest

from bakepy.content.compression import Compression
from bakepy.content.layer import LayerEntry, write_layer
from bakepy.content.layout import copy_file
from bakepy.content.patience import file_digest, still_wanted
from bakepy.content.read_ahead import ReadAhead
from bakepy.content.store import ContentStore

pytestmark = pytest.mark.anyio


class Endless(io.RawIOBase):
    """A file without an end; `begun` is set when it was read from."""

    def __init__(self, begun: Callable[[], None]) -> None:
        self._begun = begun

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        self._begun()
        return len(buffer)


async def _start_and_cancel(work: Callable[[Callable[[], None]], object]) -> bool:
    """Runs `work(begun)` in a thread; once it has called `begun` its waiter is cancelled. True if that ended it."""
    event = anyio.Event()
    begun = False

    def tell() -> None:
        nonlocal begun
        if not begun:
            begun = True
            anyio.from_thread.run_sync(event.set)

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, work, tell)
            await event.wait()
            scope.cancel()
    return scope.cancelled_caught


async def test_hashing() -> None:
    def work(begun: Callable[[], None]) -> None:
        endless: BinaryIO = Endless(begun)  # type: ignore[assignment]
        file_digest(endless, "sha256")

    assert await _start_and_cancel(work)


async def test_writing_a_layer(state_root: Path) -> None:
    store = ContentStore(state_root)

    def entries(begun: Callable[[], None]) -> Iterator[LayerEntry]:
        for number in range(10**9):
            yield LayerEntry(b"%d" % number, "file", 0o644, size=1 << 16, data=bytes(1 << 16))
            if number > 100:
                begun()

    assert await _start_and_cancel(lambda begun: write_layer(entries(begun), store, compression=Compression("gzip")))
    assert _files(state_root) == []


async def test_reading_a_layer() -> None:
    def chunks(begun: Callable[[], None]) -> Iterator[bytes]:
        while True:
            begun()
            yield bytes(1 << 16)

    def work(begun: Callable[[], None]) -> None:
        ahead = ReadAhead(chunks(begun))
        try:
            for _ in ahead:
                pass
        finally:
            ahead.close()

    assert await _start_and_cancel(work)


async def test_copying_a_file(tmp_path: Path) -> None:
    """A sparse file of a terabyte into memory that forgets."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)

    class Forgetting(io.BytesIO):
        def __init__(self, begun: Callable[[], None]) -> None:
            self._begun = begun

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self._begun()
            return len(data)

    assert await _start_and_cancel(lambda begun: copy_file(tmp_path / "large", Forgetting(begun), 1 << 40))


def test_elsewhere_nothing_happens() -> None:
    still_wanted()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
