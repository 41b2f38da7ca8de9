"""What one lowering is told besides the Dockerfile: target, arguments, platforms, contexts, limits."""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

from bakepy.llb.graph import Edge, Graph
from bakepy.llb.op import HostIP, LinuxResources, NetMode, Ulimit
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.platform import Platform, host_platform
from bakepy.model.value import dataclass

_EMPTY: FrozenMap[str, str] = FrozenMap()


@dataclass(frozen=True, slots=True)
class LocalContext:
    """A directory of the caller: `local://NAME`.

    Exactly what tells one directory from another must be in these values: in a graph of many targets each directory
    needs its own `name`, `session` or `unique`. `shared_key` is the hint under which a daemon keeps the files
    (None: the name). `ignore` is the text of its ignore file, `ignore_name` how errors call it.
    """

    name: str = "context"
    session: str = ""
    unique: str = ""
    shared_key: str | None = None
    ignore: str | None = None
    ignore_name: str = ".dockerignore"


@dataclass(frozen=True, slots=True)
class ImageContext:
    """An image, by reference; `scratch` is the empty tree."""

    reference: str


@dataclass(frozen=True, slots=True)
class LayoutContext:
    """An OCI layout: `reference` is `NAME@DIGEST`, where the name tells the store."""

    reference: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class GitContext:
    """A git repository. `keep_git_dir` None leaves it to the URL."""

    url: str
    keep_git_dir: bool | None = None


@dataclass(frozen=True, slots=True)
class HTTPContext:
    """A URL; `archive`: it holds a tar archive that is the context, else it is one file. `subdir`: only this folder of
    the archive."""

    url: str
    archive: bool = False
    subdir: str = ""


@dataclass(frozen=True, slots=True)
class GraphContext:
    """What was lowered before (another target): taken over byte by byte. `head` None is the empty tree."""

    graph: Graph
    head: Edge | None
    image: ImageConfig | None = None


@dataclass(frozen=True, slots=True)
class InvalidContext:
    """A context that can not be read; the error appears only if a stage needs it."""

    message: str


NamedContext: TypeAlias = (
    LocalContext | ImageContext | LayoutContext | GitContext | HTTPContext | GraphContext | InvalidContext
)


@dataclass(frozen=True, slots=True)
class LowerOptions:
    """Everything is final and checked; `platform` None means that no platform was asked for.

    `contexts` are found by name (`NAME` or `NAME::PLATFORM`). `resolve_mode` is `default`, `pull` or `local`.
    `unsupported` are capabilities that the engine lacks. `check` overrides the file's own `# check=`.
    """

    target: str = ""
    build_args: FrozenMap[str, str] = _EMPTY
    labels: FrozenMap[str, str] = _EMPTY
    platform: Platform | None = None
    build_platform: Platform = field(default_factory=host_platform)
    multi_platform: bool = False
    context: LocalContext | GitContext | HTTPContext | GraphContext = LocalContext()
    context_subdir: str | None = None
    contexts: FrozenMap[str, NamedContext] = field(default_factory=FrozenMap)
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    resolve_mode: str = "default"
    network: NetMode = NetMode.SANDBOX
    extra_hosts: tuple[HostIP, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 0
    hostname: str = ""
    cgroup_parent: str = ""
    resources: LinuxResources | None = None
    cache_namespace: str = ""
    epoch: int | None = None
    labs: bool = False
    check: str | None = None
    all_stages: bool = False
    unsupported: frozenset[str] = frozenset()
