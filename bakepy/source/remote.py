"""What planning has to know of far sources before anything is built: single files, and times."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread

from bakepy.content.store import ContentStore
from bakepy.llb.op import SourceOp
from bakepy.source import archive
from bakepy.source.git import GitRequest, GitSource
from bakepy.source.http import HttpRequest, HttpSource
from bakepy.source.lent import NOTHING, Lent


class RemoteSources:
    """Looks into git and web sources. What is fetched for it is what the build uses: nothing is asked for twice."""

    def __init__(self, git: GitSource, http: HttpSource, content: ContentStore) -> None:
        self._git = git
        self._http = http
        self._content = content

    async def is_archive(self, op: SourceOp, lent: Lent = NOTHING) -> bool:
        """Whether a web address gives an archive. Raises as `HttpSource.file`."""
        file = await self._http.file(HttpRequest.of(op), lent)
        return await anyio.to_thread.run_sync(archive.is_archive, self._content.path(file.digest))

    async def read(self, op: SourceOp, path: str, lent: Lent = NOTHING) -> bytes:
        """A file of a repository or of an archive; of a web address that is no archive, the file itself.

        Raises FileNotFoundError, IsADirectoryError, and BakeError as the sources do.
        """
        if op.scheme == "git":
            return await self._git.read(GitRequest.of(op), path, lent)
        file = await self._http.file(HttpRequest.of(op), lent)
        blob = self._content.path(file.digest)
        return await anyio.to_thread.run_sync(_read, blob, path)

    async def time(self, op: SourceOp, lent: Lent = NOTHING) -> int | None:
        """Seconds: when the commit was made; Last-Modified, else the newest file of an archive. None: not known."""
        if op.scheme == "git":
            return await self._git.time(GitRequest.of(op), lent)
        file = await self._http.file(HttpRequest.of(op), lent)
        if file.modified is not None:
            return file.modified
        return await anyio.to_thread.run_sync(_newest, self._content.path(file.digest))


def _read(blob: Path, path: str) -> bytes:
    return archive.read_member(blob, path) if path and archive.is_archive(blob) else blob.read_bytes()


def _newest(blob: Path) -> int | None:
    return archive.newest(blob) if archive.is_archive(blob) else None
