"""Cache mounts: directories that outlive the build, lent to one or several steps at a time.

ROOT/cachemounts/KEY/N/data; N counts the copies that exist because a `private` mount found the others taken. Who may
use one is decided by locks of the kernel, so it holds between processes and ends with the process that holds it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import anyio.to_thread

from bakepy.llb.op import CacheSharing
from bakepy.model.value import dataclass
from bakepy.snapshot.tree import remove_tree

_RETRY_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class CacheSlot:
    """A cache directory in use: `path` until `release`."""

    path: Path
    lock: int

    def release(self) -> None:
        os.close(self.lock)


class CacheMounts:
    """The cache mounts of a state root."""

    def __init__(self, root: Path) -> None:
        self._root = root / "cachemounts"

    async def acquire(self, key: str, sharing: CacheSharing, populate: Callable[[Path], None]) -> CacheSlot:
        """A directory for `key`; `populate` fills it when it is new (in a thread, once).

        SHARED gives all the same, PRIVATE one that nobody else has, LOCKED waits until one is free. Release the slot.
        """
        while True:
            slot = await anyio.to_thread.run_sync(self._try, key, sharing, populate)
            if slot is not None:
                return slot
            await anyio.sleep(_RETRY_SECONDS)

    def clear(self, keys: Iterable[str]) -> None:
        """Empties the caches of `keys`, all copies but those that a step is using now. Blocks."""
        for key in keys:
            for slot in self._folder(key).glob("[0-9]*"):
                lock = os.open(slot / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_NB | fcntl.LOCK_EX)
                    if (slot / "data").exists():
                        # `_fill` takes away what is left under this name if this is killed on the way
                        remove_tree(slot / "half")
                        (slot / "data").rename(slot / "half")
                        remove_tree(slot / "half")
                except BlockingIOError:
                    pass
                finally:
                    os.close(lock)

    def _folder(self, key: str) -> Path:
        return self._root / hashlib.sha256(key.encode()).hexdigest()[:32]

    def _try(self, key: str, sharing: CacheSharing, populate: Callable[[Path], None]) -> CacheSlot | None:
        folder = self._folder(key)
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "key").write_text(key)
        number = 0
        while True:
            slot = folder / str(number)
            if sharing is CacheSharing.LOCKED and number > 0 and not slot.exists():
                return None
            slot.mkdir(exist_ok=True)
            lock = os.open(slot / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_NB | (fcntl.LOCK_SH if sharing is CacheSharing.SHARED else fcntl.LOCK_EX))
                if os.fstat(lock).st_nlink:
                    self._fill(slot, populate)
                    return CacheSlot(slot / "data", lock)
                os.close(lock)  # somebody pruned it just now: look again
            except BlockingIOError:
                os.close(lock)
                number += 1
            except BaseException:
                os.close(lock)
                raise

    def _fill(self, slot: Path, populate: Callable[[Path], None]) -> None:
        """Makes `data` if it is not there; several holders of a shared lock may come here at once."""
        data = slot / "data"
        if data.exists():
            return
        gate = os.open(slot / "fill", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            if not data.exists():
                half = slot / "half"
                remove_tree(half)
                half.mkdir()
                half.chmod(0o755)
                populate(half)
                half.rename(data)
        finally:
            os.close(gate)
