"""Bytes on their way to a compressed blob: hashed, compressed, hashed again and written, each in its own thread.

A stream that fits into one block is done at once in the calling thread; threads start with the second block.
"""

from __future__ import annotations

import hashlib
import queue
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from bakepy.content.compression import BLOCK_SIZE, Compression, block_compressor, worker_threads
from bakepy.content.patience import still_wanted
from bakepy.content.store import BlobWriter
from bakepy.model.digest import Digest


class BlobPipeline:
    """Compresses what is written into `blob`; a context manager. `finish` gives the digest of the plain bytes.

    Callers either `write` bytes or fill `room()` themselves and tell by `filled` how much they put there.
    """

    def __init__(self, compression: Compression, blob: BlobWriter) -> None:
        self._blob = blob
        self._compressor = block_compressor(compression)
        self._same = compression.type == "uncompressed"
        self._plain = hashlib.sha256()
        self._threads = worker_threads() if self._compressor.parallel else 1
        self._spare = 2 * self._threads + 2
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        self._block = bytearray(BLOCK_SIZE)
        self._used = 0
        self._workers: _Workers | None = None
        self._failure: BaseException | None = None
        blob.write(self._compressor.begin())

    def __enter__(self) -> BlobPipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._workers:
            self._workers.close()

    def room(self) -> memoryview:
        """Where the next bytes go; never empty."""
        return memoryview(self._block)[self._used :]

    def filled(self, count: int) -> None:
        """`count` bytes of `room()` are content now."""
        self._used += count
        if self._used == BLOCK_SIZE:
            self._hand_on()

    def write(self, data: bytes | memoryview) -> None:
        size = len(data)
        if size < BLOCK_SIZE - self._used:
            self._block[self._used : self._used + size] = data
            self._used += size
            return
        view = memoryview(data)
        while view.nbytes:
            count = min(BLOCK_SIZE - self._used, view.nbytes)
            self._block[self._used : self._used + count] = view[:count]
            self.filled(count)
            view = view[count:]

    def finish(self) -> Digest:
        """Compresses the rest. Afterwards the blob is complete but not committed."""
        if self._workers is None:
            block = memoryview(self._block)[: self._used]
            self._plain.update(block)
            if self._used:
                self._take(self._compressor.piece(block)(), self._used)
        else:
            if self._used:
                self._hand_on()
            self._workers.close()
            if self._failure:
                raise self._failure
        if not self._same:
            self._blob.write(self._compressor.end())
        return Digest(f"sha256:{self._plain.hexdigest()}")

    def _take(self, result: tuple[bytes | memoryview, int], length: int) -> None:
        compressed, crc = result
        self._compressor.took(crc, length)
        if self._same:
            self._blob.write_unhashed(compressed)
        else:
            self._blob.write(compressed)

    def _hand_on(self) -> None:
        if self._failure:
            raise self._failure
        still_wanted()
        if self._workers is None:
            self._workers = _Workers(self._threads)
        workers, block, used = self._workers, self._block, self._used
        view = memoryview(block)[:used]
        hashed = workers.hash.submit(self._plain.update, view)
        packed = workers.compress.submit(self._compressor.piece(view))
        workers.write.submit(self._write_out, block, used, hashed, packed)
        self._used = 0
        if self._spare:
            self._spare -= 1
            self._block = bytearray(BLOCK_SIZE)
        else:
            self._block = self._free.get()

    def _write_out(
        self, block: bytearray, used: int, hashed: Future[None], packed: Future[tuple[bytes | memoryview, int]]
    ) -> None:
        """The last stop of a block, in order; gives it back for reuse whatever happens."""
        try:
            hashed.result()
            result = packed.result()
            if self._failure is None:
                self._take(result, used)
        except BaseException as error:
            # told to the calling thread, which is the one that may raise
            self._failure = self._failure or error
        finally:
            self._free.put(block)


class _Workers:
    def __init__(self, threads: int) -> None:
        self.hash = ThreadPoolExecutor(1, "layer-hash")
        self.compress = ThreadPoolExecutor(threads, "layer-compress")
        self.write = ThreadPoolExecutor(1, "layer-write")

    def close(self) -> None:
        """Waits for what is under way; idempotent."""
        for executor in (self.hash, self.compress, self.write):
            executor.shutdown()
