"""Reading OCI image layouts: a folder, or an uncompressed tar of one."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from pathlib import Path
from typing import BinaryIO

from bakepy.content.layout import IMAGE_NAME, REF_NAME
from bakepy.content.patience import still_wanted
from bakepy.content.store import ContentStore
from bakepy.errors import BakeError, DefinitionError
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor, ImageIndex

MAX_DOCUMENT = 4 << 20
"""The longest manifest, index or config that is accepted, in bytes (the limit of the distribution project)."""


class Layout(ABC):
    """An image layout to read from. Methods block."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def _open(self, name: str) -> BinaryIO:
        """The file `name` of the layout; FileNotFoundError."""

    def index(self) -> ImageIndex:
        """DefinitionError if this is no image layout."""
        try:
            with self._open("index.json") as file:
                return ImageIndex.from_bytes(file.read(MAX_DOCUMENT))
        except FileNotFoundError:
            raise DefinitionError(f"{self.path} is not an OCI image layout: it has no index.json") from None
        except BakeError as error:
            raise DefinitionError(f"{self.path} is not an OCI image layout: index.json: {error.what}") from error

    def find(self, name: str) -> Descriptor | None:
        """The entry of the index whose full image name, else whose tag, is `name`."""
        entries = self.index().manifests
        for annotation in (IMAGE_NAME, REF_NAME):
            for entry in entries:
                if entry.annotations.get(annotation) == name:
                    return entry
        return None

    def read(self, digest: Digest) -> bytes:
        """A small blob, verified. BakeError if it is missing, too large or another one."""
        try:
            with self._open(f"blobs/{digest.algorithm}/{digest.hex}") as file:
                data = file.read(MAX_DOCUMENT + 1)
        except FileNotFoundError:
            raise self._missing(digest) from None
        if len(data) > MAX_DOCUMENT:
            raise BakeError(f"{digest} in {self.path} is larger than {MAX_DOCUMENT} bytes")
        if digest.algorithm != "sha256" or Digest.of(data) != digest:
            raise BakeError(f"{digest} in {self.path} is damaged: its content has digest {Digest.of(data)}")
        return data

    def copy(self, descriptor: Descriptor, store: ContentStore) -> None:
        """Puts a blob into `store`, verified; nothing to do if it is there."""
        digest = descriptor.digest
        if store.holds(descriptor):
            return
        try:
            file = self._open(f"blobs/{digest.algorithm}/{digest.hex}")
        except FileNotFoundError:
            raise self._missing(digest) from None
        with file, store.writer(digest.algorithm) as writer:
            while data := file.read(1 << 20):
                still_wanted()
                writer.write(data)
            try:
                writer.commit(digest, descriptor.size)
            except BakeError as error:
                raise BakeError(f"{self.path} is damaged: {error.what}") from error

    def _missing(self, digest: Digest) -> BakeError:
        return BakeError(f"{digest} is not in the image layout {self.path}")


class LayoutFolder(Layout):
    def _open(self, name: str) -> BinaryIO:
        return (self.path / name).open("rb")


class LayoutTar(Layout):
    def __init__(self, path: Path) -> None:
        import tarfile  # late: layouts are folders, mostly

        super().__init__(path)
        try:
            with tarfile.open(path, "r:") as tar:
                files = [member for member in tar if member.isreg()]
        except tarfile.TarError as error:
            raise DefinitionError(f"{path} is not an OCI image layout: {error}") from error
        self._at = {file.name.removeprefix("./"): (file.offset_data, file.size) for file in files}

    def _open(self, name: str) -> BinaryIO:
        if name not in self._at:
            raise FileNotFoundError(name)
        return _Slice(self.path, *self._at[name])


def open_layout(path: Path) -> Layout:
    """A folder or a tar. DefinitionError if there is neither."""
    if path.is_dir():
        return LayoutFolder(path)
    if path.is_file():
        return LayoutTar(path)
    raise DefinitionError(f"no OCI image layout at {path}")


class _Slice(io.FileIO):
    """A part of a file, read from its begin."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        super().__init__(path)
        self.seek(offset)
        self._left = size

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._left if size is None or size < 0 else min(size, self._left)
        data = super().read(wanted) or b""
        self._left -= len(data)
        return data
