"""Writing OCI image layouts (image specification, `image-layout.md`), as a folder or as a tar.

Blobs come from the content store; callers name the descriptors that the layout's index shall hold, and everything
that these reach is written. Tars have the order, modes and times of the reference implementation's archives: members
sorted by name, blobs 0444, no times; so equal images make equal archives. Reading is `layout_read`.
"""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bakepy.content.entry import LayerEntry
from bakepy.content.patience import PIECE, file_digest, still_wanted
from bakepy.content.store import ContentStore
from bakepy.content.tar_header import END, encode_header, padding
from bakepy.model.digest import Digest
from bakepy.model.oci import INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, Descriptor, ImageIndex, Manifest

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
# copy_file_range: other file systems, pipes, appending descriptors, old kernels
_NOT_BETWEEN_THESE = (errno.EXDEV, errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP)
LAYOUT_FILE = b'{"imageLayoutVersion":"1.0.0"}'


def reachable(store: ContentStore, roots: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """The blobs that `roots` are and refer to, each once, children before their parents.

    BakeError if a manifest or index is not in the store; layers and configs are not looked at.
    """
    found: dict[str, Descriptor] = {}

    def visit(descriptor: Descriptor) -> None:
        if descriptor.digest in found:
            return
        if descriptor.media_type in INDEX_TYPES:
            for child in ImageIndex.from_bytes(store.read(descriptor.digest)).manifests:
                visit(child)
        elif descriptor.media_type in MANIFEST_TYPES:
            manifest = Manifest.from_bytes(store.read(descriptor.digest))
            for child in (manifest.config, *manifest.layers):
                found.setdefault(child.digest, child)
        found.setdefault(descriptor.digest, descriptor)

    for root in roots:
        visit(root)
    return tuple(found.values())


def index_bytes(descriptors: Sequence[Descriptor]) -> bytes:
    """`index.json`, compact as the reference implementation writes it."""
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [descriptor.to_json() for descriptor in descriptors],
    }
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def write_layout_tar(
    out: BinaryIO, store: ContentStore, roots: Sequence[Descriptor], extra: Mapping[str, bytes] | None = None
) -> None:
    """Writes a layout whose index holds `roots` to `out`, a file or a pipe. `extra` are further files at the top.

    Blobs are copied inside the kernel where `out` has a file descriptor.
    """
    blobs = {f"blobs/{blob.digest.algorithm}/{blob.digest.hex}": blob for blob in reachable(store, roots)}
    files: dict[str, bytes] = {"index.json": index_bytes(roots), "oci-layout": LAYOUT_FILE, **(extra or {})}
    folders = {"blobs", *(str(Path(name).parent) for name in blobs)}
    # a folder's name ends in a slash in a tar, and sorts so
    for name in sorted([*blobs, *files, *(f"{folder}/" for folder in folders)]):
        if blob := blobs.get(name):
            _write_blob(out, name, store.path(blob.digest), store.size(blob.digest))
        elif name in files:
            mode = 0o444 if name == "oci-layout" else 0o644
            data = files[name]
            out.write(encode_header(LayerEntry(name.encode(), "file", mode, size=len(data))))
            out.write(data + bytes(padding(len(data))))
        else:
            out.write(encode_header(LayerEntry(name.rstrip("/").encode(), "dir", 0o755)))
    out.write(END)
    out.flush()


def write_layout_dir(path: Path, store: ContentStore, roots: Sequence[Descriptor]) -> None:
    """Adds `roots` to the layout folder `path`, made if missing; entries of the same names are replaced.

    The index is renamed into place last, under a lock that other writers of bakepy and BuildKit respect. Blobs that
    the folder has already stay if they are what their names say.
    """
    for blob in reachable(store, roots):
        goal = path / "blobs" / blob.digest.algorithm / blob.digest.hex
        if not _is_blob(goal, blob.digest):
            with _replacing(goal) as out:
                copy_file(store.path(blob.digest), out, store.size(blob.digest))
    with _replacing(path / "oci-layout") as out:
        out.write(LAYOUT_FILE)
    with _locked(path / "index.json.lock"):
        kept = _unnamed_anew(read_index(path / "index.json"), roots)
        with _replacing(path / "index.json") as out:
            out.write(index_bytes([*kept, *roots]))


def read_index(path: Path) -> tuple[Descriptor, ...]:
    """The descriptors of an `index.json`; empty if there is no such file."""
    try:
        return ImageIndex.from_bytes(path.read_bytes()).manifests
    except FileNotFoundError:
        return ()


def copy_file(source: Path, out: BinaryIO, size: int) -> None:
    """Appends `size` bytes of `source` to `out`: shared extents, else inside the kernel, else through memory."""
    with source.open("rb") as reader:
        try:
            target = out.fileno()
        except (AttributeError, io.UnsupportedOperation):
            _copy_through_memory(reader, out, size)
            return
        out.flush()
        _copy_in_kernel(reader.fileno(), target, size)
        if out.seekable():
            # the descriptor moved under the buffered writer
            out.seek(0, os.SEEK_CUR)


def _copy_in_kernel(source: int, target: int, size: int) -> None:
    left = size
    copy: Callable[[int], int] = lambda count: os.copy_file_range(source, target, count)  # noqa: E731
    while left:
        still_wanted()
        try:
            count = copy(min(left, PIECE))
        except OSError as error:
            if error.errno not in _NOT_BETWEEN_THESE or left != size:
                raise
            copy = lambda count: os.sendfile(target, source, None, count)  # noqa: E731
            count = copy(min(left, PIECE))
        if not count:
            raise OSError(errno.EIO, "a blob of the content store is shorter than it was")
        left -= count


def _copy_through_memory(reader: BinaryIO, out: BinaryIO, size: int) -> None:
    left = size
    while left:
        still_wanted()
        data = reader.read(min(left, 1 << 20))
        if not data:
            raise OSError(errno.EIO, "a blob of the content store is shorter than it was")
        out.write(data)
        left -= len(data)


def _is_blob(path: Path, digest: Digest) -> bool:
    """Whether the file is there and has this digest."""
    try:
        with path.open("rb") as file:
            return file_digest(file, digest.algorithm) == digest.hex
    except FileNotFoundError:
        return False


def _write_blob(out: BinaryIO, name: str, source: Path, size: int) -> None:
    out.write(encode_header(LayerEntry(name.encode(), "file", 0o444, size=size)))
    copy_file(source, out, size)
    out.write(bytes(padding(size)))


def _unnamed_anew(old: Iterable[Descriptor], new: Sequence[Descriptor]) -> list[Descriptor]:
    """What stays of an index: all but the names that `new` takes, and but what `new` has without a name."""
    taken = {_names(descriptor) for descriptor in new if any(_names(descriptor))}
    bare = {descriptor.digest for descriptor in new}
    return [
        entry for entry in old if _names(entry) not in taken and not (entry.digest in bare and not any(_names(entry)))
    ]


def _names(descriptor: Descriptor) -> tuple[str, str]:
    return descriptor.annotations.get(IMAGE_NAME, ""), descriptor.annotations.get(REF_NAME, "")


@contextmanager
def _replacing(goal: Path) -> Iterator[BinaryIO]:
    """A file that takes the name `goal` when the block ends well, and vanishes when it does not."""
    goal.parent.mkdir(parents=True, exist_ok=True)
    path = goal.parent / f".{goal.name}.{os.urandom(8).hex()}"
    try:
        with path.open("xb") as out:
            yield out
        path.rename(goal)
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # whoever held the lock has removed the file: then this one locks nothing
            if os.fstat(lock.fileno()).st_nlink:
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return
