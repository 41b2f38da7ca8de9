"""Contexts and Dockerfiles that are far away: git repositories and web addresses. Read before targets are."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Protocol

from bakepy.dockerfile.compile import ParsedDockerfile, parse
from bakepy.dockerfile.giturl import parse_git
from bakepy.dockerfile.lower.contexts import named_git_source
from bakepy.dockerfile.lower.sources import description, http_source
from bakepy.dockerfile.options import GitContext, HTTPContext
from bakepy.errors import BakeError, DefinitionError
from bakepy.llb.op import SourceOp
from bakepy.model.target import Target
from bakepy.model.value import dataclass
from bakepy.planner import contexts as c

RemoteContext = GitContext | HTTPContext


class RemoteReader(Protocol):
    """Looks into far sources. `targets` are those that want to know: what they lend may be shown to the server."""

    async def is_archive(self, op: SourceOp, targets: Sequence[Target]) -> bool:
        """Whether a web address gives an archive. Raises BakeError."""
        ...

    async def read(self, op: SourceOp, path: str, targets: Sequence[Target]) -> bytes:
        """A file of a repository or archive; with an empty path what the web address gives. OSError, BakeError."""
        ...

    async def time(self, op: SourceOp, targets: Sequence[Target]) -> int | None:
        """The time of a source in seconds, None if it has none. Raises BakeError."""
        ...


def remote_context(url: str) -> RemoteContext:
    """A repository or a web address, as it is known without asking. DefinitionError for an address of neither."""
    if parse_git(url, bare_github=True) is not None:
        return GitContext(url)
    if url.startswith(("http://", "https://")):
        address, folder, path = url.partition("#:")
        return HTTPContext(address, archive=bool(folder), subdir=path)
    raise DefinitionError(f"'{url}' is neither a git repository nor a web address")


def source_op(context: RemoteContext) -> SourceOp:
    """The op that reads a context."""
    if isinstance(context, GitContext):
        return named_git_source("", context).op
    return http_source(context.url, "context", description("")).op


@dataclass(slots=True)
class RemoteMemory:
    """What was read from far away in one planning; what failed is raised where it is asked for."""

    contexts: dict[str, RemoteContext | BakeError] = field(default_factory=dict)
    _dockerfiles: dict[tuple[str, str], ParsedDockerfile | BakeError] = field(default_factory=dict)

    def context(self, url: str) -> RemoteContext:
        """The main context behind an address. Raises DefinitionError if nobody can look there."""
        found = self.contexts.get(url)
        if found is None:
            raise DefinitionError(f"the embedded engine can not build from '{url}' yet: clone or download it first")
        if isinstance(found, BakeError):
            raise found
        return found

    def dockerfile(self, url: str, path: str) -> ParsedDockerfile:
        """The Dockerfile in a context, or behind an address (empty path)."""
        found = self._dockerfiles.get((url, path))
        if found is None:
            raise DefinitionError(f"the Dockerfile '{path or url}' is far away, which is not supported yet")
        if isinstance(found, BakeError):
            raise found
        return found

    async def load(self, targets: Mapping[str, Target], reader: RemoteReader) -> None:
        """Reads all that `targets` need from far away, each thing once."""
        users: dict[tuple[str, str | None], list[Target]] = {}
        for target in targets.values():
            if c.is_remote(target.context):
                users.setdefault((target.context, dockerfile_inside(target)), []).append(target)
            if not target.dockerfile_inline and c.is_remote(target.dockerfile):
                users.setdefault((target.dockerfile, ""), []).append(target)
        for (url, path), wanting in users.items():
            if path == "":
                await self._load_dockerfile(url, HTTPContext(url), "", url, wanting, reader)
                continue
            if url not in self.contexts:
                self.contexts[url] = await self._look(url, wanting, reader)
            context = self.contexts[url]
            if path is not None and not isinstance(context, BakeError):
                await self._load_dockerfile(url, context, path, path, wanting, reader)

    async def _look(self, url: str, wanting: Sequence[Target], reader: RemoteReader) -> RemoteContext | BakeError:
        try:
            context = remote_context(url)
            if isinstance(context, HTTPContext) and not context.archive:
                return HTTPContext(url, await reader.is_archive(source_op(context), wanting))
        except BakeError as error:
            return error
        return context

    async def _load_dockerfile(
        self, url: str, context: RemoteContext, path: str, name: str, wanting: Sequence[Target], reader: RemoteReader
    ) -> None:
        folder, last = posixpath.split(path)
        if isinstance(context, HTTPContext) and context.subdir:
            folder = posixpath.join(context.subdir, folder)
        found: ParsedDockerfile | BakeError | None = None
        for written in (last, "dockerfile") if last == "Dockerfile" else (last,):
            candidate = posixpath.join(folder, written)
            try:
                data = await reader.read(source_op(context), candidate, wanting)
                found = parse(data.decode("utf-8", "surrogateescape"), name)
                break
            except FileNotFoundError:
                continue
            except OSError as error:
                found = DefinitionError(f"the Dockerfile '{path}' in {context.url} can not be read: {error.strerror}")
                break
            except BakeError as error:
                found = error
                break
        self._dockerfiles[url, path] = found or DefinitionError(
            f"the Dockerfile '{path}' does not exist in {context.url} (open {last}: no such file or directory)"
        )


def dockerfile_inside(target: Target) -> str | None:
    """The path of a target's Dockerfile in its far context; None if it is somewhere else."""
    written = target.dockerfile
    if target.dockerfile_inline or c.is_remote(written) or written.startswith(("cwd://", "/")) or written == "-":
        return None
    return c.clean(written or "Dockerfile")
