"""What makes an op what it is: what counts in its key, and how its inputs count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bakepy.errors import EngineError
from bakepy.llb.graph import Edge, Vertex
from bakepy.llb.op import (
    NONE,
    CacheOpt,
    CacheSharing,
    CopyAction,
    ExecOp,
    FileAction,
    FileOp,
    HostIP,
    Meta,
    Mount,
    MountType,
    OpMetadata,
    ProxyEnv,
    SecretOpt,
    SourceOp,
)
from bakepy.model.platform import Platform
from bakepy.solver.vertex import CacheMap
from bakepy.worker.bind import Binder, Workshop
from bakepy.worker.execkey import caches_to_clear
from bakepy.worker.ref import Ref

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
BASE, TOOLS = (Vertex.make(SourceOp(f"docker-image://{name}"), platform=AMD64) for name in ("base", "tools"))
ROOT = Mount("/")
MAKE = ExecOp(Meta(args=("make",), env=("PATH=/bin",)), (ROOT,))


def _map(op: ExecOp | FileOp, inputs: Sequence[Vertex] = (BASE,), platform: Platform = AMD64) -> CacheMap[Ref]:
    """The cache map of an op on these inputs. Nothing of the workshop is touched for it."""
    nothing = cast(Any, None)
    workshop = Workshop(nothing, nothing, nothing, nothing, nothing, {}, AMD64, nothing)
    vertex = Vertex.make(op, (Edge(below.digest) for below in inputs), platform=platform)
    found = Binder(workshop).op_of(vertex).known_map
    assert found is not None
    return found


def _with_mount(**mount: Any) -> ExecOp:
    return replace(MAKE, mounts=(ROOT, Mount("/m", **{"input": NONE, "output": NONE, **mount})))


SAME = {
    "proxy settings": (MAKE, replace(MAKE, meta=replace(MAKE.meta, proxy_env=ProxyEnv(http_proxy="http://proxy")))),
    "the address of an extra host": (
        replace(MAKE, meta=replace(MAKE.meta, extra_hosts=(HostIP("db", "10.0.0.1"),))),
        replace(MAKE, meta=replace(MAKE.meta, extra_hosts=(HostIP("db", "10.0.0.2"),))),
    ),
    "the id of a cache mount": (
        _with_mount(type=MountType.CACHE, cache=CacheOpt("one")),
        _with_mount(type=MountType.CACHE, cache=CacheOpt("two", CacheSharing.LOCKED)),
    ),
}
DIFFERENT = {
    "the command": replace(MAKE, meta=replace(MAKE.meta, args=("make", "all"))),
    "the environment": replace(MAKE, meta=replace(MAKE.meta, env=("PATH=/usr/bin",))),
    "the user": replace(MAKE, meta=replace(MAKE.meta, user="app")),
    "the directory": replace(MAKE, meta=replace(MAKE.meta, cwd="/src")),
    "the name of an extra host": replace(MAKE, meta=replace(MAKE.meta, extra_hosts=(HostIP("db", "10.0.0.1"),))),
    "a mount": _with_mount(type=MountType.TMPFS),
    "a cache mount": _with_mount(type=MountType.CACHE, cache=CacheOpt("one")),
    "a secret's id": _with_mount(type=MountType.SECRET, secret=SecretOpt("token")),
}


@pytest.mark.parametrize("what", SAME)
def test_it_does_not_count(what: str) -> None:
    one, two = SAME[what]
    assert _map(one).key == _map(two).key


@pytest.mark.parametrize("what", DIFFERENT)
def test_it_counts(what: str) -> None:
    assert _map(DIFFERENT[what]).key != _map(MAKE).key


def test_the_platform_counts() -> None:
    assert _map(MAKE).key != _map(MAKE, platform=ARM64).key


def test_the_cache_namespace_counts_for_a_cache_named_for_its_place() -> None:
    """As in BuildKit: what a default cache is called belongs to the step."""
    one = _with_mount(type=MountType.CACHE, cache=CacheOpt("ns1//m"))
    two = _with_mount(type=MountType.CACHE, cache=CacheOpt("ns2//m"))
    assert _map(one).key != _map(two).key


def _counts_by_content(op: ExecOp | FileOp) -> list[bool]:
    found = _map(op, (BASE, TOOLS))
    return [found.dependency(number).content is not None for number in range(2)]


def test_the_root_counts_as_a_whole_and_a_mount_that_is_thrown_away_by_content() -> None:
    assert _counts_by_content(_with_mount(input=1, output=NONE, selector="/src")) == [False, True]


def test_a_written_mount_that_is_handed_on_counts_as_a_whole_unless_all_of_it_is_mounted() -> None:
    """What is beside the selected folder is in the output, so it must be in the key."""
    assert _counts_by_content(_with_mount(input=1, output=1, selector="/src")) == [False, False]
    assert _counts_by_content(_with_mount(input=1, output=1, selector="/src", readonly=True)) == [False, True]
    assert _counts_by_content(_with_mount(input=1, output=1)) == [False, True]


def test_an_input_mounted_twice_counts_by_content_only_if_both_allow_it() -> None:
    op = replace(MAKE, mounts=(ROOT, Mount("/m", input=0, output=NONE, readonly=True)))
    assert _counts_by_content(op) == [False, False]


def test_the_selected_path_is_part_of_how_an_input_counts() -> None:
    one, two = (_map(_with_mount(input=1, selector=path), (BASE, TOOLS)) for path in ("/a", "/b"))
    assert one.key == two.key
    assert one.dependency(1).selector != two.dependency(1).selector


def test_copied_from_counts_by_content_and_copied_onto_as_a_whole() -> None:
    copy = FileOp((FileAction(CopyAction("/a", "/b"), input=0, secondary_input=1),))
    assert _counts_by_content(copy) == [False, True]
    within = FileOp((FileAction(CopyAction("/a", "/b"), input=0, secondary_input=0),))
    assert _counts_by_content(within) == [False, False]


def test_caches_of_steps_without_the_cache_are_cleared() -> None:
    op = _with_mount(type=MountType.CACHE, cache=CacheOpt("one"))
    vertices = [
        Vertex.make(op, (Edge(BASE.digest),), metadata=OpMetadata(ignore_cache=True)),
        Vertex.make(_with_mount(type=MountType.CACHE, cache=CacheOpt("two")), (Edge(BASE.digest),)),
    ]
    assert caches_to_clear(vertices) == ["one"]


def test_a_source_that_can_not_be_read_is_refused() -> None:
    workshop = cast(Any, None)
    with pytest.raises(EngineError) as caught:
        Binder(workshop).op_of(Vertex.make(SourceOp("ftp://example.com/b")))
    assert caught.value.render() == (
        "the embedded engine does not read 'ftp' sources: ftp://example.com/b\n"
        "hint: images, OCI layouts, local folders, git repositories and web addresses work"
    )


def test_sources_are_what_they_are_with_and_without_the_cache(tmp_path: Path) -> None:
    assert not Vertex.make(SourceOp("local://context"), metadata=OpMetadata(ignore_cache=True)).ignore_cache
