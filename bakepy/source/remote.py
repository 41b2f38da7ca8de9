"""Git and web sources, opened when the first is asked for: hardly any run needs them, and they take a while to import.

Also what planning has to know of far sources before anything is built: single files, and times.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from bakepy.content.database import Database
from bakepy.content.store import ContentStore
from bakepy.llb.op import SourceOp
from bakepy.registry.retry import RetryPolicy
from bakepy.source.lent import NOTHING, Lent

if TYPE_CHECKING:
    from bakepy.source.git import GitSource
    from bakepy.source.http import HttpFile, HttpSource


class RemoteSources:
    """Looks into git and web sources. What is fetched for it is what the build uses: nothing is asked for twice."""

    def __init__(
        self,
        root: Path,
        environment: Mapping[str, str],
        database: Database,
        content: ContentStore,
        *,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Of one run on the state root `root`; close it when none is under way."""
        self._root = root
        self._environment = environment
        self._database = database
        self._content = content
        self._policy = policy

    @cached_property
    def git(self) -> GitSource:
        from bakepy.source.git import GitSource

        return GitSource(self._root, self._environment)

    @cached_property
    def http(self) -> HttpSource:
        from bakepy.source.http import HttpSource

        return HttpSource(self._content, self._database, policy=self._policy)

    async def aclose(self) -> None:
        if "http" in self.__dict__:
            await self.http.aclose()

    async def is_archive(self, op: SourceOp, lent: Lent = NOTHING) -> bool:
        """Whether a web address gives an archive. Raises as `HttpSource.file`."""
        from bakepy.source import archive

        file = await self._file(op, lent)
        return await anyio.to_thread.run_sync(archive.is_archive, self._content.path(file.digest))

    async def read(self, op: SourceOp, path: str, lent: Lent = NOTHING) -> bytes:
        """A file of a repository or of an archive; of a web address that is no archive, the file itself.

        Raises FileNotFoundError, IsADirectoryError, and BakeError as the sources do.
        """
        if op.scheme == "git":
            from bakepy.source.gitrequest import GitRequest

            return await self.git.read(GitRequest.of(op), path, lent)
        file = await self._file(op, lent)
        blob = self._content.path(file.digest)
        return await anyio.to_thread.run_sync(_read, blob, path)

    async def time(self, op: SourceOp, lent: Lent = NOTHING) -> int | None:
        """Seconds: when the commit was made; Last-Modified, else the newest file of an archive. None: not known."""
        if op.scheme == "git":
            from bakepy.source.gitrequest import GitRequest

            return await self.git.time(GitRequest.of(op), lent)
        file = await self._file(op, lent)
        if file.modified is not None:
            return file.modified
        return await anyio.to_thread.run_sync(_newest, self._content.path(file.digest))

    async def _file(self, op: SourceOp, lent: Lent) -> HttpFile:
        from bakepy.source.http import HttpRequest

        return await self.http.file(HttpRequest.of(op), lent)


def _read(blob: Path, path: str) -> bytes:
    from bakepy.source import archive

    return archive.read_member(blob, path) if path and archive.is_archive(blob) else blob.read_bytes()


def _newest(blob: Path) -> int | None:
    from bakepy.source import archive

    return archive.newest(blob) if archive.is_archive(blob) else None
