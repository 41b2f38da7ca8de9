"""Bake files that are far away: in a git repository, in an archive, or alone behind a web address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread

from bakepy.bakefile.lookup import names_from_environment, read_files
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.remote import HERE, Origin, git_secrets, is_git_ssh
from bakepy.cli.lending import Lending
from bakepy.content.database import Database
from bakepy.content.store import ContentStore
from bakepy.dockerfile.options import HTTPContext
from bakepy.engine.root import open_root
from bakepy.errors import UsageError
from bakepy.llb.op import SourceOp
from bakepy.model.location import SourceFile
from bakepy.model.target import SSHEntry
from bakepy.planner.remote import remote_context, source_op
from bakepy.session.secrets import SecretProvider
from bakepy.session.ssh import AgentProvider
from bakepy.source.lent import Lent
from bakepy.source.remote import RemoteSources

_LARGEST = 2 * 1024 * 1024
"""Bytes of a file behind a web address, as for buildx."""


def read_far_files(
    url: str,
    names: Sequence[str],
    *,
    here: Reader,
    environment: Mapping[str, str],
    root: Path,
    stdin: bytes = b"",
) -> tuple[list[SourceFile], Origin | None]:
    """The files of a definition at `url`, and where its relative contexts are (None: here, for a file that is alone).

    `names` are files there; those that begin with `cwd://` are here and come last. What is fetched stays below the
    state root for the build. Raises UsageError, BuildError, or DefinitionErrors for addresses that make no sense.
    """
    return anyio.run(_read, url, names or names_from_environment(environment), here, environment, root, stdin)


async def _read(
    url: str, names: Sequence[str], here: Reader, environment: Mapping[str, str], root: Path, stdin: bytes
) -> tuple[list[SourceFile], Origin | None]:
    context = remote_context(url)
    op = source_op(context)
    far_names = [name for name in names if not name.startswith(HERE)]
    if "-" in far_names:
        raise UsageError("-f -: the definition is far away, so its files are, too", hint="-f cwd://- is standard input")
    near_names = [name for name in names if name.startswith(HERE)]
    async with _open(root, environment) as sources:
        with _lent(url, environment) as lent:
            origin: Origin | None
            if isinstance(context, HTTPContext) and not await sources.is_archive(op, lent):
                origin, far_names = None, [url]
            else:
                origin = Origin(url, archive=isinstance(context, HTTPContext))
            far = _Far(sources, op, lent, url if origin is None else "")
            files = await anyio.to_thread.run_sync(read_files, far_names, {}, far)
    if near_names:
        files += read_files(near_names, environment, here, stdin)
    return files, origin


@asynccontextmanager
async def _open(root: Path, environment: Mapping[str, str]) -> AsyncIterator[RemoteSources]:
    open_root(root)
    with Database(root / "state.db") as database:
        sources = RemoteSources(root, environment, database, ContentStore(root))
        try:
            yield sources
        finally:
            await sources.aclose()


@contextmanager
def _lent(url: str, environment: Mapping[str, str]) -> Iterator[Lent]:
    """Tokens for the server, and the agent that `BUILDX_BAKE_GIT_SSH` or `SSH_AUTH_SOCK` names."""
    agents: list[SSHEntry] = []
    if is_git_ssh(url) and (named := environment.get("BUILDX_BAKE_GIT_SSH") or environment.get("SSH_AUTH_SOCK")):
        agents.append(SSHEntry("default", tuple(named.split(","))))
    directory = Path.cwd()
    secrets = SecretProvider(git_secrets(url, environment), environment, directory)
    with AgentProvider(agents, environment, directory) as provider:
        yield Lending(secrets, provider)


class _Far:
    """The files of a source, for the reader of bake files, which runs in a thread. With `alone` the source is one file
    of that name, and others are beside it on the web."""

    def __init__(self, sources: RemoteSources, op: SourceOp, lent: Lent, alone: str) -> None:
        self._sources = sources
        self._op = op
        self._lent = lent
        self._alone = alone
        self._known: dict[str, bytes | None] = {}

    def read(self, path: str) -> bytes:
        if path not in self._known:
            try:
                self._known[path] = anyio.from_thread.run(self._read, path)
            except (FileNotFoundError, NotADirectoryError):
                self._known[path] = None
        data = self._known[path]
        if data is None:
            raise FileNotFoundError(2, "no such file or directory", path)
        return data

    async def _read(self, path: str) -> bytes:
        if not self._alone:
            return await self._sources.read(self._op, path, self._lent)
        op = self._op if path == self._alone else source_op(HTTPContext(path))
        data = await self._sources.read(op, "", self._lent)
        if len(data) > _LARGEST:
            raise UsageError(f"{path}: a bake file behind a web address may have {_LARGEST // 2**20} MiB, not more")
        return data

    def kind(self, path: str) -> str:
        try:
            self.read(path)
        except IsADirectoryError:
            return "dir"
        except OSError:
            return ""
        return "file"
