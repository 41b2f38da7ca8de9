"""What is asked of a Git repository, and what its reference turned out to be."""

from __future__ import annotations

import re

from bakepy.errors import BuildError
from bakepy.llb.op import SourceOp
from bakepy.model.url import redacted
from bakepy.model.value import dataclass

_HEX = re.compile(r"[0-9a-fA-F]+\Z")


@dataclass(frozen=True, slots=True)
class GitRequest:
    """A source op, read. `mtime`: `commit` gives all files the time of the commit."""

    remote: str
    ref: str = ""
    subdir: str = ""
    keep_git_dir: bool = False
    checksum: str = ""
    skip_submodules: bool = False
    mtime: str = ""
    fetch_by_commit: bool = False
    token_secret: str = ""
    header_secret: str = ""
    agent: str = ""

    @classmethod
    def of(cls, op: SourceOp) -> GitRequest:
        """Raises BuildError for a reference or checksum that can not be one."""
        body = op.identifier.partition("://")[2]
        address, _, fragment = body.partition("#")
        ref, _, subdir = fragment.partition(":")
        attrs = op.attrs
        checksum = attrs.get("git.checksum", "")
        if ref.startswith("-"):
            raise BuildError(f"invalid git ref '{ref}'")
        if checksum and not _HEX.match(checksum):
            raise BuildError(f"invalid checksum {checksum} for Git URL, expected hex commit hash")
        remote = attrs.get("git.fullurl") or f"https://{address}"
        if "://" not in remote and "@" not in remote:
            remote = f"https://{remote}"
        return cls(
            remote,
            ref,
            subdir.strip("/"),
            attrs.get("git.keepgitdir") == "true",
            checksum.lower(),
            attrs.get("git.skipsubmodules") == "true",
            attrs.get("git.mtime", ""),
            attrs.get("git.fetchbycommit") == "true",
            attrs.get("git.authtokensecret", ""),
            attrs.get("git.authheadersecret", ""),
            attrs.get("git.mountsshsock", ""),
        )

    @property
    def shown(self) -> str:
        return redacted(self.remote)


@dataclass(frozen=True, slots=True)
class GitPin:
    """What a reference points to. `name` is the reference, in full where a server was asked; `object` is a commit or
    an annotated tag, `commit` what that tag is on."""

    name: str
    object: str
    commit: str

    @property
    def kept(self) -> str:
        """The reference that keeps the object in a repository of ours."""
        return f"refs/bakepy/pins/{self.object}"
