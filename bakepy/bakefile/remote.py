"""Definitions that are read from far away: which words of a command line name them, and where their folders are then.

Rules: buildx `commands/bake.go` (bakeArgs, readBakeFiles), `bake/bake.go` (updateContext) and `bake/gitauth.go`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Final

from bakepy.bakefile.config import is_remote
from bakepy.model.target import SecretEntry
from bakepy.model.value import dataclass

HERE: Final = "cwd://"
"""In front of paths: they are meant from the folder of the command, wherever the definition comes from."""

_AUTHORITY: Final = re.compile(r"[a-z+]+://([^/?#]*)|[\w.-]+@([\w.-]+):", re.IGNORECASE)
_SUBDIR: Final = re.compile(r"(?<=[?&])subdir=[^&#]*")
_GIT_SSH: Final = re.compile(r"(?:ssh|git\+ssh)://|(?![a-z]+://)[\w.-]+@[\w.-]+:", re.IGNORECASE)
_SECRETS: Final = {
    "GIT_AUTH_TOKEN": "BUILDX_BAKE_GIT_AUTH_TOKEN",
    "GIT_AUTH_HEADER": "BUILDX_BAKE_GIT_AUTH_HEADER",
}


@dataclass(frozen=True, slots=True)
class Invocation:
    """The words after the options, taken apart. `url`: where the definition is, empty for here."""

    url: str
    command_context: str
    targets: tuple[str, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> Invocation:
        """Up to two addresses come first: that of the definition, and what `BAKE_CMD_CONTEXT` is to be."""
        rest = tuple(words)
        if not rest or not is_remote(rest[0]):
            return cls("", HERE, rest)
        url, rest = rest[0], rest[1:]
        if not rest or not is_remote(rest[0]):
            return cls(url, HERE, rest)
        return cls(url, rest[0], rest[1:])


@dataclass(frozen=True, slots=True)
class Origin:
    """The repository or the archive that holds a definition: its relative contexts are folders in there."""

    url: str
    archive: bool = False

    def folder(self, path: str) -> str:
        """The address of a folder inside; `..` leads nowhere above the root."""
        inside = posixpath.normpath(f"/{path}").lstrip("/")
        if not inside:
            return self.url
        if self.archive:
            return f"{self.url}#:{inside}"
        base, _, fragment = self.url.partition("#")
        ref, _, folder = fragment.partition(":")
        if not fragment and (found := _SUBDIR.search(base)):
            before = found[0].removeprefix("subdir=").strip("/")
            return f"{base[: found.start()]}subdir={before}/{inside}{base[found.end() :]}"
        return f"{base}#{ref}:{posixpath.join(folder.strip('/'), inside)}"

    def placed(self, context: str) -> str:
        """What a context of such a definition means: relative paths are inside, all else is what it is elsewhere."""
        if context.startswith((HERE, "target:", "docker-image:", "oci-layout:")) or is_remote(context):
            return context
        return self.folder(context)


def is_git_ssh(url: str) -> bool:
    """Whether git talks to this address over SSH."""
    return bool(_GIT_SSH.match(url))


def git_secrets(url: str, environment: Mapping[str, str]) -> tuple[SecretEntry, ...]:
    """What `BUILDX_BAKE_GIT_AUTH_TOKEN` and `BUILDX_BAKE_GIT_AUTH_HEADER` lend to the server of `url` alone."""
    host = host_of(url)
    if not host:
        return ()
    variables = {name.upper(): name for name in sorted(environment)}
    return tuple(
        SecretEntry(f"{secret}.{host}", env=variables[name]) for secret, name in _SECRETS.items() if name in variables
    )


def host_of(url: str) -> str:
    """The host of an address, with its port; empty if it has none."""
    found = _AUTHORITY.match(url)
    return (found[1] or found[2] or "").rpartition("@")[2].lower() if found else ""
