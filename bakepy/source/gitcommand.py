"""The `git` program, kept apart from the user's configuration, hooks, prompts and credential helpers.

Addresses and tokens reach it through its environment, so that they stand on no command line and in no file.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path

import anyio
from anyio.abc import ByteReceiveStream, Process

from bakepy.errors import BuildError, EngineError, RegistryError
from bakepy.model.frozen import FrozenMap
from bakepy.model.value import dataclass

_PASSED = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"),
)
_CONFIG = {
    # local paths only where bakepy itself names them: a submodule must not reach into this machine
    "protocol.file.allow": "user",
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "init.defaultBranch": "master",
    "fetch.fsckObjects": "false",
    "safe.directory": "*",
}
_SSH_PATIENCE = "-o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"
"""A server that is gone is noticed after a minute."""

_NO_SHALLOW = ("--depth", "shallow")


_REASONS = ("ssh: ", "fatal: ", "error: ")
"""How the line begins that says why, among advice."""

_REFUSED_KEY = re.compile(r"^.*Permission denied \([a-z0-9,-]*publickey[a-z0-9,-]*\)", re.MULTILINE)
_OTHER_HOST = re.compile(r"^Host key verification failed\.$", re.MULTILINE)
_OLD_KEY = re.compile(r'^\s*ssh-keygen -f "?([^"\n]*?)"? -R "?([^"\n]*?)"?$', re.MULTILINE)
"""What OpenSSH says when a server wants another key of ours, and when it shows another of its own."""


class GitFailed(BuildError):
    """git ended with a failing status; `said` is what it wrote to its standard error."""

    def __init__(self, what: str, said: str, *, hint: str = "") -> None:
        lines = [line for line in said.splitlines() if line.strip()]
        reason = next((line for line in lines if line.startswith(_REASONS)), lines[-1] if lines else "")
        if found := _REFUSED_KEY.search(said) or _OTHER_HOST.search(said):
            reason = found[0]
        detail = [line for line in lines if line != reason]
        super().__init__(f"{what}: {reason}" if reason else what, detail=detail, hint=hint)
        self.said = said


class GitUnreachable(GitFailed):
    """git could not talk with the server at all."""

    exit_code = RegistryError.exit_code


_UNREACHABLE = re.compile(
    r"could not resolve host|failed to connect|couldn't connect|connection (refused|reset|timed out|closed)"
    r"|operation timed out|no route to host|network is unreachable",
    re.IGNORECASE,
)
"""What curl, OpenSSH and git say then."""


def failure(what: str, said: str, *, agent: bool = False) -> GitFailed:
    """The error for what git wrote to its standard error; `agent`: whether the caller lends one."""
    said = said.replace("\r\n", "\n")  # as ssh writes
    hint = ""
    if _REFUSED_KEY.search(said) and not agent:
        hint = "lend an agent or a key: --ssh default, or ssh in the bake file"
    elif _OTHER_HOST.search(said) and (old := _OLD_KEY.search(said)):
        remove = f"ssh-keygen -R {shlex.quote(old[2])} -f {shlex.quote(old[1])}"
        hint = f"if the server has a new key, remove the old one: {remove}"
    return (GitUnreachable if _UNREACHABLE.search(said) else GitFailed)(what, said, hint=hint)


@dataclass(frozen=True, slots=True)
class Git:
    """How git is called for one repository. `config` are settings for these calls only; `hidden` are texts that must
    not be shown, with what is shown instead."""

    environment: Mapping[str, str]
    known_hosts: Path
    git_dir: Path | None = None
    work_tree: Path | None = None
    index: Path | None = None
    agent: Path | None = None
    config: FrozenMap[str, str] = field(default_factory=FrozenMap)
    hidden: FrozenMap[str, str] = field(default_factory=FrozenMap)

    def at(self, git_dir: Path, work_tree: Path | None = None, index: Path | None = None) -> Git:
        """The same for another folder."""
        return replace(self, git_dir=git_dir, work_tree=work_tree, index=index)

    def with_config(self, settings: Mapping[str, str]) -> Git:
        return replace(self, config=FrozenMap({**self.config, **settings}))

    def without(self, name: str) -> Git:
        """Without a setting."""
        return replace(self, config=FrozenMap({key: value for key, value in self.config.items() if key != name}))

    async def run(self, *arguments: str, what: str, stdin: bytes = b"") -> bytes:
        """What git wrote to its standard output. `what` says in errors what failed.

        A server that can not give parts of its history is asked for all of it. A call that is cancelled ends with
        all its helpers. Raises GitFailed, EngineError if there is no git.
        """
        try:
            return await self._run(arguments, what, stdin)
        except GitFailed as failure:
            whole = [argument for argument in arguments if not argument.startswith("--depth=")]
            if len(whole) == len(arguments) or not any(mark in failure.said for mark in _NO_SHALLOW):
                raise
        return await self._run(whole, what, stdin)

    async def succeeds(self, *arguments: str) -> bool:
        """Whether git ends well."""
        try:
            await self._run(arguments, "ask git", b"")
        except GitFailed:
            return False
        return True

    async def _run(self, arguments: Sequence[str], what: str, stdin: bytes) -> bytes:
        try:
            process = await anyio.open_process(
                ["git", *arguments],
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                cwd=self.work_tree or self.git_dir or "/",
                env=self._environment(),
                start_new_session=True,
                umask=0o022,
            )
        except FileNotFoundError as error:
            raise EngineError("git is needed to read git repositories", hint="install git") from error
        out, said = bytearray(), bytearray()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_collect, process.stdout, out)
                tasks.start_soon(_collect, process.stderr, said)
                if process.stdin is not None:
                    await process.stdin.send(stdin)
                    await process.stdin.aclose()
                status = await process.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)
        if status != 0:
            raise failure(what, self._shown(said.decode(errors="replace")), agent=self.agent is not None)
        return bytes(out)

    def _environment(self) -> dict[str, str]:
        # hosts known to the user must keep their keys; new ones are noted beside the repositories. Only lent keys
        # count. ssh itself would look in the home of the user that it runs as: in a user namespace, another one
        own = Path(self.environment.get("HOME") or "~", ".ssh/known_hosts")
        hosts = " ".join(f'"{path}"'.replace("%", "%%") for path in (self.known_hosts, own))
        ssh = (
            "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none -o StrictHostKeyChecking=accept-new"
            f" -o UserKnownHostsFile={shlex.quote(hosts)} {_SSH_PATIENCE}"
        )
        environment = {
            "PATH": self.environment.get("PATH", os.defpath),
            "HOME": "/dev/null",
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_SSH_COMMAND": ssh,
        }
        environment |= {name: self.environment[name] for name in _PASSED if name in self.environment}
        for name, path in (("DIR", self.git_dir), ("WORK_TREE", self.work_tree), ("INDEX_FILE", self.index)):
            if path is not None:
                environment[f"GIT_{name}"] = str(path)
        if self.agent is not None:
            environment["SSH_AUTH_SOCK"] = str(self.agent)
        settings = {**_CONFIG, **self.config}
        environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (name, value) in enumerate(settings.items()):
            environment[f"GIT_CONFIG_KEY_{number}"] = name
            environment[f"GIT_CONFIG_VALUE_{number}"] = value
        return environment

    def _shown(self, text: str) -> str:
        for secret, instead in self.hidden.items():
            text = text.replace(secret, instead)
        return text


async def _collect(stream: ByteReceiveStream | None, into: bytearray) -> None:
    assert stream is not None
    async for data in stream:
        into += data


async def _end(process: Process) -> None:
    """Ends what is left of git and the helpers that it started, all in a session of their own."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    await process.aclose()
