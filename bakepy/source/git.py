"""Git repositories as sources: `git://host/path#ref:subdir`.

A reference is looked up once in a run and pinned to its commit, which is what counts. Objects are kept in one bare
repository for each address, below ROOT/git, so that a commit that was fetched once needs no network again. Rules and
names of attributes and secrets: BuildKit's `source/git`; as there, SSH is not tried unless an agent is lent. Different
from it: commits are fetched alone where the server allows it, and the `.git` files of submodules are dropped with the
`.git` folder.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from bakepy.errors import BuildError
from bakepy.model.frozen import FrozenMap
from bakepy.registry.retry import Patience
from bakepy.snapshot.store import SnapshotStore
from bakepy.source.gitcheckout import check_out, commit_time, require_subdir
from bakepy.source.gitcommand import Git, GitFailed
from bakepy.source.gitrequest import GitPin, GitRequest
from bakepy.source.lent import NOTHING, Lent

_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_HEAD = re.compile(r"^ref: refs/heads/(\S+)\tHEAD$", re.MULTILINE)
_NOT_ALONE = ("not our ref", "unadvertised object", "couldn't find remote ref", "Server does not allow")
_LONGEST_PAUSE = 0.5
_SHARED_TOKENS = ("https://github.com/", "https://www.github.com/")
"""Addresses below which a token is also good for submodules."""


class GitSource:
    """Resolves each reference once for a run, and checks trees out. `root` is the state root. A web server that is
    silent for longer than `patience` has it is given up."""

    def __init__(self, root: Path, environment: Mapping[str, str], *, patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._root = root / "git"
        self._environment = environment
        self._pins: dict[tuple[str, str], GitPin] = {}
        self._locks: dict[str, anyio.Lock] = {}

    async def resolve(self, request: GitRequest, lent: Lent = NOTHING) -> GitPin:
        """The commit that is meant. Asks the server unless the commit itself is named.

        Raises BuildError if there is no such reference, if it is not what the checksum says, or if the repository can
        not be read.
        """
        if _COMMIT.match(request.ref):
            self._check(request, request.ref)
            return GitPin(request.ref, request.ref, request.ref)
        if request.fetch_by_commit:
            if not _COMMIT.match(request.checksum):
                raise BuildError("fetch-by-commit requires a full commit SHA checksum or ref")
            ref = request.ref if request.ref.startswith("refs/") or not request.ref else f"refs/heads/{request.ref}"
            return GitPin(ref or request.checksum, request.checksum, request.checksum)
        async with self._locks.setdefault(f"{request.remote}#{request.ref}", anyio.Lock()):
            pin = self._pins.get((request.remote, request.ref))
            if pin is None:
                pin = self._pins[request.remote, request.ref] = await self._ask(request, lent)
        self._check(request, pin.object, pin.commit)
        return pin

    def key(self, request: GitRequest, pin: GitPin) -> str:
        """Text that is equal for equal results."""
        kept = [pin.object, pin.name] if request.keep_git_dir else []
        mtime = "" if request.mtime == "checkout" else request.mtime
        return json.dumps([pin.commit, kept, request.subdir, request.skip_submodules, mtime])

    async def place(self, request: GitRequest, id: str, snapshots: SnapshotStore, lent: Lent = NOTHING) -> None:
        """Makes the snapshot `id` with the tree of the commit. Raises BuildError."""
        pin = await self.resolve(request, lent)
        async with self._repository(request, lent) as git, snapshots.prepare(None) as active:
            await self._fetch(git, request, pin)
            await check_out(git, request, pin, active.path)
            await active.commit(id)

    async def read(self, request: GitRequest, path: str, lent: Lent = NOTHING) -> bytes:
        """One file of the tree, symlinks inside it followed. FileNotFoundError, IsADirectoryError."""
        pin = await self.resolve(request, lent)
        inside = "/".join(part for part in (request.subdir, path) if part)
        async with self._repository(request, lent) as git:
            await self._fetch(git, request, pin)
            if request.subdir:
                await require_subdir(git, request, pin)
            question = f"{pin.commit}:{inside}\n".encode()
            answer = await git.run(
                "cat-file", "--batch", "--follow-symlinks", what=f"failed to read {request.shown}", stdin=question
            )
        head, _, rest = answer.partition(b"\n")
        facts = head.rsplit(b" ", 2)
        if len(facts) == 3 and facts[1] == b"blob":
            return rest[: int(facts[2])]
        if len(facts) == 3 and facts[1] == b"tree":
            raise IsADirectoryError(21, os.strerror(21), path)
        raise FileNotFoundError(2, os.strerror(2), path)

    async def time(self, request: GitRequest, lent: Lent = NOTHING) -> int:
        """When the commit was made, in seconds."""
        pin = await self.resolve(request, lent)
        async with self._repository(request, lent) as git:
            await self._fetch(git, request, pin)
            return await commit_time(git, request, pin)

    # ---- asking

    def _check(self, request: GitRequest, *found: str) -> None:
        if request.checksum and not any(one.startswith(request.checksum) for one in found):
            got = " or ".join(dict.fromkeys(found))
            raise BuildError(f"expected checksum to match {request.checksum}, got {got}")

    async def _ask(self, request: GitRequest, lent: Lent) -> GitPin:
        self._root.mkdir(parents=True, exist_ok=True)
        git = await self._git(request, lent)
        failed = f"failed to fetch remote {request.shown}"
        ref = request.ref
        if not ref:
            answer = await git.run("ls-remote", "--symref", "origin", "HEAD", what=failed)
            head = _HEAD.search(answer.decode(errors="replace"))
            if head is None:
                raise BuildError(f"could not find default branch for repository: {request.shown}")
            ref = head[1]
        answer = await git.run("ls-remote", "origin", ref, f"{ref}^{{}}", what=failed)
        found: dict[str, str] = {}
        for line in answer.decode(errors="replace").splitlines():
            object, _, name = line.partition("\t")
            found[name] = object
        # as git checkout: a branch before a tag of the same name
        tag = f"refs/tags/{ref.removeprefix('refs/tags/')}"
        for name in (f"refs/{ref.removeprefix('refs/')}", f"refs/heads/{ref.removeprefix('refs/heads/')}", tag):
            object = found.get(name, "")
            if _COMMIT.match(object):
                return GitPin(name, object, found.get(f"{name}^{{}}", object))
        raise BuildError(f"repository does not contain ref {ref}: {request.shown}")

    async def _git(self, request: GitRequest, lent: Lent) -> Git:
        header = await anyio.to_thread.run_sync(_authorization, request, lent)
        config = {
            "remote.origin.url": request.remote,
            "http.lowSpeedLimit": "1",  # bytes in a second; servers that count say so every few seconds
            "http.lowSpeedTime": str(max(1, round(self._patience.silent))),
        }
        hidden = {request.remote: request.shown} if request.remote != request.shown else {}
        if header:
            scope = next((one for one in _SHARED_TOKENS if request.remote.startswith(one)), request.remote)
            config[f"http.{scope}.extraheader"] = f"Authorization: {header}"
        agent = lent.socket(request.agent) if request.agent else None
        if request.agent and agent is None:
            hint = "lend an agent or a key: --ssh default, or ssh in the bake file"
            raise BuildError(f"unset ssh forward key {request.agent}", hint=hint)
        return Git(
            self._environment,
            self._root / "known_hosts",
            agent=agent,
            config=FrozenMap(config),
            hidden=FrozenMap(hidden),
        )

    # ---- fetching

    @asynccontextmanager
    async def _repository(self, request: GitRequest, lent: Lent) -> AsyncIterator[Git]:
        """The bare repository of the address, locked against other tasks and processes."""
        name = hashlib.sha256(request.remote.encode()).hexdigest()[:40]
        folder = self._root / name
        self._root.mkdir(parents=True, exist_ok=True)
        git = await self._git(request, lent)
        async with self._locks.setdefault(name, anyio.Lock()), _locked(self._root, name):
            if not (folder / "bakepy-ready").exists():
                await anyio.to_thread.run_sync(_remove, folder)
                folder.mkdir()
                local = Git(self._environment, git.known_hosts, folder)
                size = (await self.resolve(request, lent)).object
                form = "sha256" if len(size) == 64 else "sha1"
                await local.run(
                    "init", "--quiet", "--bare", "--template=", f"--object-format={form}", what="failed to init repo"
                )
                (folder / "bakepy-ready").touch()
            (folder / "shallow.lock").unlink(missing_ok=True)
            yield git.at(folder)

    async def _fetch(self, git: Git, request: GitRequest, pin: GitPin) -> None:
        """Gets the pinned object: by its name; if that has moved on, by itself; if the server gives no single
        objects, with everything."""
        failed = f"failed to fetch remote {request.shown}"
        if not await git.succeeds("cat-file", "-e", f"{pin.object}^{{commit}}"):
            alone = ("fetch", "--quiet", "--depth=1", "--no-tags", "--force", "origin")
            failure: GitFailed | None = None
            for wanted in dict.fromkeys((pin.name, pin.object)):
                try:
                    await git.run(*alone, wanted, what=failed)
                except GitFailed as error:
                    failure = error
                if await git.succeeds("cat-file", "-e", f"{pin.object}^{{commit}}"):
                    break
            else:
                await self._fetch_all(git, failed, failure)
                if not await git.succeeds("cat-file", "-e", f"{pin.object}^{{commit}}"):
                    raise BuildError(f"{request.shown} has no commit {pin.object}") from failure
        await git.run("update-ref", pin.kept, pin.object, what=failed)

    async def _fetch_all(self, git: Git, failed: str, failure: GitFailed | None) -> None:
        if failure is not None and not any(mark in failure.said for mark in _NOT_ALONE):
            raise failure
        assert git.git_dir is not None
        deepen = ("--unshallow",) if (git.git_dir / "shallow").exists() else ()
        everything = ("+refs/heads/*:refs/bakepy/heads/*", "+refs/tags/*:refs/bakepy/tags/*")
        await git.run("fetch", "--quiet", "--no-tags", *deepen, "origin", *everything, what=failed)


def _authorization(request: GitRequest, lent: Lent) -> str:
    """The header that lent secrets give: those for this host before those for all."""
    host = urlsplit(request.remote).netloc.rpartition("@")[2] if "://" in request.remote else ""
    if not request.remote.startswith(("http://", "https://")):
        return ""
    for suffix in (f".{host}", ""):
        if request.header_secret and (header := lent.get(request.header_secret + suffix)) is not None:
            return header.decode()
        if request.token_secret and (token := lent.get(request.token_secret + suffix)) is not None:
            return "basic " + base64.b64encode(b"x-access-token:" + token).decode()
    return ""


@asynccontextmanager
async def _locked(root: Path, name: str) -> AsyncIterator[None]:
    """The lock of a repository; it ends with the process at the latest."""
    with (root / f"{name}.lock").open("ab") as file:
        pause = 0.01
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        yield


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
