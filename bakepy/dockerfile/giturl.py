"""Git sources: `https://host/x.git?tag=v1`, `git@host:x.git#ref:dir`, `ssh://…`, `git://…`."""

from __future__ import annotations

import re
from dataclasses import replace

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.paths import join
from bakepy.dockerfile.text import parse_bool
from bakepy.dockerfile.text import quote as quoted
from bakepy.dockerfile.url import Url, query_pairs
from bakepy.errors import nearest
from bakepy.model.value import dataclass

_PROTOCOL = re.compile(r"([a-zA-Z0-9]+)://")
_SCP = re.compile(r"([a-zA-Z0-9_-]+)@([a-zA-Z0-9.-]+):(.*?)(?:\?(.*?))?(?:#(.*))?\Z")
_SWITCHES = ("submodules", "keep-git-dir", "fetch-by-commit")
_KEYS = ("ref", "tag", "branch", "subdir", "checksum", "commit", "mtime", *_SWITCHES)


@dataclass(frozen=True, slots=True)
class GitSource:
    """`remote` is what git fetches from; `ref`, `subdir` and `checksum` are empty where nothing is said."""

    scheme: str
    host: str
    path: str
    remote: str
    ref: str = ""
    subdir: str = ""
    checksum: str = ""
    mtime: str = ""
    keep_git_dir: bool | None = None
    submodules: bool | None = None
    fetch_by_commit: bool = False


def parse_git(text: str, *, bare_github: bool = False) -> GitSource | None:
    """None if `text` is no git source. With `bare_github`, `github.com/x/y` is one, as for build contexts.

    Raises DockerfileError for a git source whose query can not be understood.
    """
    if text.startswith(("./", "../")):
        return None
    if text.startswith("github.com/"):
        found = _from_url(f"https://{text}")
        source = _with_query(*found) if found else None  # a bad query is an error even where this is a path
        return source if bare_github else None
    protocol = _PROTOCOL.match(text)
    if protocol:
        if protocol[1].lower() not in ("http", "https", "ssh", "git"):
            return None
        found = _from_url(text)
        if found is None or (found[0].scheme in ("http", "https") and not found[0].path.endswith(".git")):
            return None
        return _with_query(*found)
    scp = _SCP.match(text)
    if not scp or "\n" in text:
        return None
    query = scp[4] or ""
    if not query_pairs(query)[1]:
        return None
    source = GitSource("ssh", scp[2], scp[3], f"{scp[1]}@{scp[2]}:{scp[3]}", *_fragment(scp[5] or ""))
    return _with_query(source, query)


def _from_url(text: str) -> tuple[GitSource, str] | None:
    url = Url.parse(text)
    if url is None:
        return None
    return GitSource(url.scheme, url.host, url.path, url.base, *_fragment(url.fragment)), url.query


def _fragment(text: str) -> tuple[str, str]:
    ref, _, subdir = text.partition(":")
    return ref, join("/", subdir).removeprefix("/")


def _with_query(source: GitSource, query: str) -> GitSource:
    values: dict[str, str] = {}
    for key, value in query_pairs(query)[0]:
        if key not in _KEYS:
            raise DockerfileError(f"unexpected query {quoted(key)} in a git URL", hint=nearest(key, _KEYS))
        if key in values:
            raise DockerfileError(f"query {quoted(key)} has multiple values")
        if not value and key not in _SWITCHES:
            raise DockerfileError(f"query {quoted(key)} has no value")
        values[key] = value
    switches = {key: _switch(key, values[key]) for key in _SWITCHES if key in values}
    mtime = values.get("mtime", "")
    if mtime not in ("", "checkout", "commit"):
        raise DockerfileError(f'invalid mtime value: {quoted(mtime)} (must be "checkout" or "commit")')
    if "tag" in values and "branch" in values:
        raise DockerfileError("branch conflicts with tag", hint="a git URL names one of them")
    ref = source.ref
    for key, prefix in (("ref", ""), ("tag", "refs/tags/"), ("branch", "refs/heads/")):
        if key in values:
            wanted = values[key] if values[key].startswith(prefix) else prefix + values[key]
            ref = _same("ref", ref, wanted)
    return replace(
        source,
        ref=ref,
        subdir=_same("subdir", source.subdir, values["subdir"]) if "subdir" in values else source.subdir,
        checksum=values.get("commit") or values.get("checksum") or "",
        mtime=mtime,
        keep_git_dir=switches.get("keep-git-dir"),
        submodules=switches.get("submodules"),
        fetch_by_commit=switches.get("fetch-by-commit", False),
    )


def _same(name: str, one: str, other: str) -> str:
    if one and one != other:
        raise DockerfileError(f"{name} conflicts: {quoted(one)} vs {quoted(other)}")
    return other


def _switch(key: str, text: str) -> bool:
    value = parse_bool(text) if text else True
    if value is None:
        raise DockerfileError(f"invalid {key} value: {quoted(text)}", hint="it is true or false")
    return value
