"""Layers: from entries to a compressed tar in the content store. Reading them is `tar_read`, offered here as well."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from bakepy.content.blob_pipeline import BlobPipeline
from bakepy.content.compression import Compression
from bakepy.content.entry import Layer, LayerEntry
from bakepy.content.store import ContentStore
from bakepy.content.tar_header import END, encode_header, padding
from bakepy.content.tar_read import LayerReader, read_layer
from bakepy.errors import BuildError
from bakepy.model.oci import Descriptor

__all__ = ["Layer", "LayerEntry", "LayerReader", "read_layer", "write_layer"]


def write_layer(
    entries: Iterable[LayerEntry], store: ContentStore, *, compression: Compression, docker_types: bool = False
) -> Layer:
    """Writes `entries`, in the order given, as one layer blob. Equal entries and settings give equal bytes.

    Blocks; file content is read once. BuildError if a file can not be read, or changes its size while it is;
    EngineError if the store can not be written.
    """
    with store.writer() as blob, BlobPipeline(compression, blob) as pipeline:
        for entry in entries:
            pipeline.write(encode_header(entry))
            if entry.kind == "file" and entry.size:
                _write_content(entry, pipeline)
        pipeline.write(END)
        diff_id = pipeline.finish()
        if compression.type == "uncompressed":
            digest, size = blob.commit_as(diff_id)
        else:
            digest, size = blob.commit()
    return Layer(Descriptor(compression.media_type(docker_types), digest, size), diff_id)


def _write_content(entry: LayerEntry, pipeline: BlobPipeline) -> None:
    if entry.data is not None:
        if len(entry.data) != entry.size:
            raise _changed(entry)
        pipeline.write(entry.data)
    elif entry.source is not None:
        left = entry.size
        fd = _open(entry, entry.source)
        try:
            while left:
                count = os.readv(fd, [pipeline.room()[:left]])
                if not count:
                    raise _changed(entry)
                pipeline.filled(count)
                left -= count
            if os.read(fd, 1):
                raise _changed(entry)
        finally:
            os.close(fd)
    else:
        raise BuildError(f"no content for {entry.path.decode(errors='replace')}")
    pipeline.write(bytes(padding(entry.size)))


def _open(entry: LayerEntry, source: Path) -> int:
    try:
        return os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
            raise _changed(entry) from error
        raise BuildError(f"can not read {entry.path.decode(errors='replace')}: {error.strerror}") from error


def _changed(entry: LayerEntry) -> BuildError:
    return BuildError(
        f"{entry.path.decode(errors='replace')} changed while it was read",
        hint="let nothing write to the files while they are built",
    )
