"""The roots of the graph: images, local directories, git repositories, URLs."""

from __future__ import annotations

import json
from collections.abc import Iterable

from bakepy.dockerfile.errors import Location
from bakepy.dockerfile.giturl import GitSource
from bakepy.dockerfile.lower.node import SourceNode
from bakepy.dockerfile.paths import join
from bakepy.llb.op import OpMetadata, SourceOp
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import Platform

COMMAND = "com.docker.dockerfile.v1.command"
NAME = "llb.customname"
_JSON_MARKS = str.maketrans({"&": "\\u0026", "<": "\\u003c", ">": "\\u003e", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def json_list(values: Iterable[str]) -> str:
    """As Go marshals it: three marks and two separators are escaped, other characters stay."""
    return json.dumps(list(values), ensure_ascii=False, separators=(",", ":")).translate(_JSON_MARKS)


def description(name: str, command: str | None = None) -> FrozenMap[str, str]:
    return FrozenMap({NAME: name} if command is None else {NAME: name, COMMAND: command})


def image_source(
    reference: str,
    platform: Platform,
    text: FrozenMap[str, str],
    location: Location | None = None,
    *,
    mode: str = "default",
) -> SourceNode:
    """`reference` is written as it is to be fetched."""
    attrs = {} if mode == "default" else {"image.resolvemode": mode}
    caps = {"source.image"} | ({"source.image.resolvemode"} if mode == "pull" else set())
    return SourceNode(
        (),
        OpMetadata(description=text, caps=frozenset(caps)),
        () if location is None else (location,),
        SourceOp(f"docker-image://{reference}", FrozenMap(attrs)),
        platform,
    )


def layout_source(
    reference: str, session: str, store: str, platform: Platform, text: FrozenMap[str, str]
) -> SourceNode:
    attrs = {"oci.session": session, "oci.store": store}
    return SourceNode(
        (),
        OpMetadata(description=text, caps=frozenset({"source.ocilayout"})),
        (),
        SourceOp(f"oci-layout://{reference}", FrozenMap({key: value for key, value in attrs.items() if value})),
        platform,
    )


def local_source(
    name: str,
    *,
    session: str,
    unique: str,
    shared_key: str,
    excludes: Iterable[str],
    follow: Iterable[str],
    text: FrozenMap[str, str],
) -> SourceNode:
    """A directory of the caller. Empty lists and texts make no attribute."""
    excludes, follow = list(excludes), list(follow)
    attrs = {
        "local.session": session,
        "local.followpaths": json_list(follow) if follow else "",
        "local.excludepatterns": json_list(excludes) if excludes else "",
        "local.sharedkeyhint": shared_key,
    }
    attrs = {key: value for key, value in attrs.items() if value}
    caps = {"source.local", *(f"source.{key}" if key != "local.session" else "source.local.sessionid" for key in attrs)}
    if not session:
        attrs["local.unique"] = unique
        caps.add("source.local.unique")
    return SourceNode(
        (), OpMetadata(description=text, caps=frozenset(caps)), (), SourceOp(f"local://{name}", FrozenMap(attrs))
    )


def http_source(url: str, filename: str, text: FrozenMap[str, str], checksum: str = "") -> SourceNode:
    attrs = {"http.filename": filename} | ({"http.checksum": checksum} if checksum else {})
    caps = {"source.http"} | ({"source.http.checksum"} if checksum else set())
    return SourceNode((), OpMetadata(description=text, caps=frozenset(caps)), (), SourceOp(url, FrozenMap(attrs)))


def git_source(
    source: GitSource,
    text: FrozenMap[str, str],
    *,
    keep_git_dir: bool = False,
    checksum: str = "",
    mtime: str = "",
    fetch_by_commit: bool = False,
) -> SourceNode:
    """What the URL itself asks for is passed in by the caller, who may overrule it."""
    fragment = ""
    if source.ref or source.subdir:
        fragment = f"#{source.ref}" + (f":{source.subdir}" if source.subdir else "")
    identifier = f"git://{source.host}{join('/', source.path)}{fragment}"
    attrs = {
        "git.fullurl": source.remote,
        "git.authtokensecret": "GIT_AUTH_TOKEN",
        "git.authheadersecret": "GIT_AUTH_HEADER",
    }
    caps = {"source.git", "source.git.fullurl"}
    if source.scheme == "ssh":
        attrs["git.mountsshsock"] = "default"
        caps |= {"source.git.knownsshhosts", "source.git.mountsshsock"}
    for wanted, attribute, value, cap in (
        (keep_git_dir, "git.keepgitdir", "true", "source.git.keepgitdir"),
        (checksum, "git.checksum", checksum, "source.git.checksum"),
        (source.submodules is False, "git.skipsubmodules", "true", "source.git.skipsubmodules"),
        (mtime, "git.mtime", mtime, "source.git.mtime"),
        (fetch_by_commit, "git.fetchbycommit", "true", "source.git.fetchbycommit"),
    ):
        if wanted:
            attrs[attribute] = value
            caps.add(cap)
    return SourceNode(
        (), OpMetadata(description=text, caps=frozenset(caps)), (), SourceOp(identifier, FrozenMap(attrs))
    )
