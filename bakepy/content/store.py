"""Blobs by digest: ROOT/blobs/<algorithm>/<hex>, shared by any number of processes.

A blob is written to a locked file in ROOT/ingest, flushed, and renamed; so it is whole whenever it has its name. The
lock goes with the process: what a dead one left is removed by the next process that writes. One `fdatasync` for each
blob (about a millisecond for a small one) is what keeps a name from outliving its bytes when the machine loses power;
the directory is not flushed, because a name that is lost is only a blob to be made again.

Disks and other programs damage files. Bytes that this process has not made or looked at are checked against their
digest before they go anywhere (`intact`, `read`), each blob once in the life of a store object.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from bakepy.content.patience import file_digest
from bakepy.errors import BakeError, EngineError, disk_hint
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor

Bytes = bytes | bytearray | memoryview


class DamagedBlob(EngineError):
    """A blob of the content store was not what its name says. It has been removed, so that it is made anew."""

    def __init__(self, digest: Digest) -> None:
        super().__init__(
            f"blob {digest} in the content store was damaged", hint="it has been removed; run again to make it anew"
        )


class ContentStore:
    """Content-addressed files. Methods block and may be called from any thread."""

    def __init__(self, root: Path) -> None:
        """`root` is made when the first blob is written."""
        self.root = root
        self._blobs = str(root / "blobs")
        self._swept = False
        self._checked: set[Digest] = set()
        """Blobs whose bytes this process has made or verified."""

    def path(self, digest: Digest) -> Path:
        """Where the blob is, or would be."""
        return Path(f"{self._blobs}/{digest.algorithm}/{digest.hex}")

    def has(self, digest: Digest) -> bool:
        return self.path(digest).exists()

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here in its full size. One that is not (a power cut, a full disk) is removed, so that
        it is made or fetched anew and never passed on. Reads nothing; see `intact`."""
        path = self.path(descriptor.digest)
        try:
            facts = path.stat()
        except FileNotFoundError:
            return False
        if facts.st_size == descriptor.size and stat.S_ISREG(facts.st_mode):
            return True
        self.delete(descriptor.digest)
        return False

    def intact(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here and is what its name says: all of it is read, unless this process has made or
        verified it. A damaged one is removed. Blocks."""
        return self.holds(descriptor) and self.verified(descriptor.digest)

    def verified(self, digest: Digest) -> bool:
        """`intact` where the size is not known."""
        if digest in self._checked and self.has(digest):
            return True
        try:
            with self.path(digest).open("rb") as file:
                actual = file_digest(file, digest.algorithm)
        except FileNotFoundError:
            return False
        except OSError as error:
            # a sector that can not be read is as good as wrong bytes, and so is a folder
            if error.errno not in (errno.EIO, errno.EISDIR):
                raise
            actual = ""
        if actual != digest.hex:
            self.delete(digest)
            return False
        self._checked.add(digest)
        return True

    def size(self, digest: Digest) -> int:
        """Bytes. Raises BakeError if the blob is not here."""
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def read(self, digest: Digest) -> bytes:
        """The whole blob, for small ones. One that is not what its name says is deleted: DamagedBlob."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise _missing(digest) from None
        except IsADirectoryError:
            self.delete(digest)
            raise DamagedBlob(digest) from None
        if hashlib.new(digest.algorithm, data).hexdigest() != digest.hex:
            self.delete(digest)
            raise DamagedBlob(digest)
        self._checked.add(digest)
        return data

    def put(self, data: bytes) -> Digest:
        """Stores `data` under its sha256; nothing is written if it is here already, and undamaged."""
        digest = Digest.of(data)
        if not self.verified(digest):
            with self.writer() as writer:
                writer.write(data)
                writer.commit(digest)
        return digest

    def writer(self, algorithm: str = "sha256") -> BlobWriter:
        """A new blob of unknown digest; a context manager. The first one sweeps up after dead processes."""
        if not self._swept:
            self._swept = True
            self.sweep()
        return BlobWriter(self, algorithm)

    def delete(self, digest: Digest) -> None:
        """Idempotent."""
        self._checked.discard(digest)
        _remove(self.path(digest))

    def sweep(self) -> int:
        """Removes what writers of dead processes left behind; returns how many files."""
        removed = 0
        for path in sorted((self.root / "ingest").glob("*")):
            removed += _remove_if_unlocked(path)
        return removed


class BlobWriter:
    """One blob on its way in. Leaving the context without `commit` drops it."""

    def __init__(self, store: ContentStore, algorithm: str = "sha256") -> None:
        self._store = store
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._fd = -1
        self._path = Path()
        self.size = 0
        """Bytes written so far."""

    def __enter__(self) -> BlobWriter:
        with _disk_errors(self._store.root):
            self._path, self._fd = _create_locked(self._store.root / "ingest")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def write(self, data: Bytes) -> None:
        """Appends and hashes."""
        self._hash.update(data)
        self.write_unhashed(data)

    def write_unhashed(self, data: Bytes) -> None:
        """Appends bytes whose hash the caller keeps (see `commit_as`). EngineError if the disk is full or broken."""
        view = memoryview(data)
        while view.nbytes:
            with _disk_errors(self._store.root):
                written = os.write(self._fd, view)
            self.size += written
            view = view[written:]

    def restart(self) -> None:
        """Drops what was written: a transfer that can not be resumed begins anew."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        os.ftruncate(self._fd, 0)
        self._hash = hashlib.new(self._algorithm)
        self.size = 0

    def commit(self, digest: Digest | None = None, size: int | None = None) -> tuple[Digest, int]:
        """Makes the blob visible under its digest. BakeError if it is not the `digest` and `size` expected."""
        return self.commit_as(Digest(f"{self._algorithm}:{self._hash.hexdigest()}"), digest, size)

    def commit_as(self, actual: Digest, digest: Digest | None = None, size: int | None = None) -> tuple[Digest, int]:
        """`commit` where the caller hashed the bytes and says what came out."""
        if size is not None and size != self.size:
            raise BakeError(f"blob {digest or actual} has {self.size} bytes, {size} were expected")
        if digest is not None and digest != actual:
            raise BakeError(f"blob has digest {actual}, {digest} was expected")
        goal = self._store.path(actual)
        with _disk_errors(self._store.root):
            # what is there and was not looked at may be damaged: these bytes are right, so they take its place
            if not (actual in self._store._checked and goal.exists() and goal.stat().st_size == self.size):
                os.fchmod(self._fd, 0o644)
                os.fdatasync(self._fd)
                goal.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self._path.rename(goal)
                except IsADirectoryError:
                    _remove(goal)
                    self._path.rename(goal)
                self._store._checked.add(actual)
        return actual, self.size


def _remove(path: Path) -> None:
    """Removes a blob, and whatever else has come to be in its place."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):  # POSIX has the second for folders, Linux the first
        if not path.is_dir():
            raise
        shutil.rmtree(path)


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"can not write to the content store {root}: {error.strerror}", hint=disk_hint(error.errno)
        ) from error


def _create_locked(folder: Path) -> tuple[Path, int]:
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / os.urandom(16).hex()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:  # no sweeper took it between creation and lock
                return path, fd
        except BlockingIOError:
            pass
        os.close(fd)


def _remove_if_unlocked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return True
    finally:
        os.close(fd)


def _missing(digest: Digest) -> BakeError:
    return BakeError(f"blob {digest} is not in the content store")
