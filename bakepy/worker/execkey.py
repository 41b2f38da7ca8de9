"""What the cache key of an exec op is made of, and what of its mounts counts by content.

Left out is what must not count, as in BuildKit: proxy settings, the addresses of extra hosts, ids of cache mounts that
somebody chose, selected paths (they count through what is read there). Secrets are not in an op at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from bakepy.llb.graph import Vertex
from bakepy.llb.op import NONE, CacheOpt, ExecOp, Mount, MountType
from bakepy.snapshot.contenthash import Selection

_CONTENT_OFF = 2
"""`MountContentCache.OFF` of BuildKit's ops.proto."""


def exec_identity(op: ExecOp) -> ExecOp:
    """The op without what must not change its key (BuildKit: `ExecOp.CacheMap`)."""
    meta = op.meta
    if meta.proxy_env is not None or meta.extra_hosts:
        meta = replace(meta, proxy_env=None, extra_hosts=tuple(replace(host, ip="") for host in meta.extra_hosts))
    mounts = tuple(map(_mount_identity, op.mounts))
    return op if meta is op.meta and mounts == op.mounts else replace(op, meta=meta, mounts=mounts)


def mounted(op: ExecOp, inputs: int) -> tuple[tuple[Selection, ...] | str, ...]:
    """For each of so many inputs what is read of it, if it counts by that content; else the paths, a line each, that
    count beside its result: none of an input that is mounted whole."""
    selected: dict[int, list[str]] = {}
    whole: set[int] = set()
    for mount in op.mounts:
        if mount.type not in (MountType.BIND, MountType.CACHE) or not 0 <= mount.input < inputs:
            continue
        path = "/" + mount.selector.strip("/")
        selected.setdefault(mount.input, []).append(path)
        # what a written mount gives on contains the files beside the selected ones
        kept_apart = mount.output == NONE or mount.readonly or path == "/"
        if mount.dest == "/" or not kept_apart or mount.content_cache == _CONTENT_OFF:
            whole.add(mount.input)
    return tuple(
        tuple(map(_selection, dict.fromkeys(selected[number])))
        if number in selected and number not in whole
        else "\n".join(path for path in selected.get(number, ()) if path != "/")
        for number in range(inputs)
    )


def caches_to_clear(vertices: Iterable[Vertex]) -> list[str]:
    """The ids of the cache mounts of steps that must not use the cache: those steps begin with empty ones (BuildKit
    does so for `--no-cache`)."""
    ids = (
        mount.cache.id
        for vertex in vertices
        if vertex.ignore_cache and isinstance(vertex.op, ExecOp)
        for mount in vertex.op.mounts
        if mount.type is MountType.CACHE and mount.cache is not None
    )
    return list(dict.fromkeys(ids))


def _selection(path: str) -> Selection:
    """What a bind mount shows: a folder with its mode and owner, nothing by its name. Of a root only what is in it."""
    return Selection(path, contents=path == "/", named=False)


def _mount_identity(mount: Mount) -> Mount:
    cache = mount.cache
    if cache is not None and not _is_default_cache(mount.dest, cache):
        cache = CacheOpt("")
    return replace(mount, selector="", cache=cache) if mount.selector or cache is not mount.cache else mount


def _is_default_cache(dest: str, cache: CacheOpt) -> bool:
    """The cache that a mount has when nobody says otherwise: named for its place, perhaps in a namespace."""
    return cache.sharing == 0 and (cache.id == dest or cache.id.partition("/")[2] == dest)
