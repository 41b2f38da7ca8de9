"""A stream of chunks, made and hashed by other threads while the caller works on the chunk before.

A stream of one chunk costs no thread.
"""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from bakepy.content.patience import still_wanted

_AHEAD = 4


class ReadAhead:
    """Iterates over `chunks`; `sha256` is that of all of them, complete once the iteration has ended.

    `close` stops the threads early; afterwards nothing more comes.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._sha256 = hashlib.sha256()
        self._stop = threading.Event()
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[bytes]:
        first, second = next(self._chunks, b""), next(self._chunks, b"")
        self._sha256.update(first)
        if not second:
            if first:
                yield first
            return
        thread = threading.Thread(target=self._run, args=(second,), name="layer-read", daemon=True)
        thread.start()
        self._thread = thread  # it may not be allowed to start
        yield first
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            still_wanted()
            yield item

    def hexdigest(self) -> str:
        """sha256 of all chunks; call it when the iteration has ended."""
        return self._sha256.hexdigest()

    def close(self) -> None:
        """Idempotent; waits for the threads."""
        self._stop.set()
        if self._thread:
            while self._thread.is_alive():
                with contextlib.suppress(queue.Empty):
                    self._queue.get(timeout=0.01)
            self._thread.join()

    def _run(self, chunk: bytes) -> None:
        end: BaseException | None = None
        hashing: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1, "layer-hash") as hasher:
            try:
                while chunk and not self._stop.is_set():
                    hashing.append(hasher.submit(self._sha256.update, chunk))
                    if len(hashing) > _AHEAD:
                        hashing.popleft().result()
                    self._queue.put(chunk)
                    chunk = next(self._chunks, b"")
            except BaseException as error:
                # raised again in the thread that iterates
                end = error
        self._queue.put(end)
