"""One target for one platform, as options of a lowering; everything but the graphs of linked targets.

What counts as which BuildKit option: buildx `build/opt.go` (toSolveOpt), BuildKit `frontend/dockerui/config.go`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field, replace
from typing import Any

from bakepy.dockerfile import channel
from bakepy.dockerfile import options as d
from bakepy.dockerfile.compile import ParsedDockerfile
from bakepy.dockerfile.options import LocalContext
from bakepy.errors import BakeError, DefinitionError, DefinitionErrors
from bakepy.llb.op import HostIP, Ulimit
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile, SourceRange
from bakepy.model.platform import Platform
from bakepy.model.target import Target
from bakepy.model.value import dataclass
from bakepy.planner import contexts as c
from bakepy.planner import limits
from bakepy.planner.remote import RemoteContext, dockerfile_inside, remote_context
from bakepy.planner.sources import Sources

_LINES_OF_A_LIST = 50
_EMPTY: FrozenMap[str, str] = FrozenMap()
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """A target, read: its Dockerfile, its options for each platform (None: none was asked for), the contexts that
    are other targets, by name."""

    target: Target
    dockerfile: ParsedDockerfile
    platforms: tuple[Platform | None, ...]
    multi_platform: bool
    options: d.LowerOptions
    links: FrozenMap[str, str]

    def for_platform(self, platform: Platform | None) -> d.LowerOptions:
        if platform is None and not self.multi_platform:
            return self.options
        return replace(self.options, platform=platform, multi_platform=self.multi_platform)


def read_target(
    target: Target,
    sources: Sources,
    *,
    build_platform: Platform,
    cgroup_parent: str = "",
    unsupported: frozenset[str] = frozenset(),
) -> TargetSettings:
    """Checks all that a target says and reads what it names.

    Raises DefinitionError with the place in the bake file, DefinitionErrors for several.
    """
    faults = _Faults(target)
    context: LocalContext | RemoteContext | None = None
    dockerfile: ParsedDockerfile | None = None
    with faults.at("context", target.context):
        context, dockerfile = _read(target, sources)
    arguments = _given(target.args)
    if isinstance(context, d.GitContext) and (keep := arguments.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR")) in _TRUE | _FALSE:
        context = replace(context, keep_git_dir=keep in _TRUE)
    labs = _labs(target, dockerfile, arguments.get(channel.ARGUMENT), faults)
    platforms = _platforms(target, build_platform, faults)
    options = d.LowerOptions(
        target=target.target or "",
        build_args=arguments,
        labels=_given(target.labels),
        build_platform=build_platform,
        context=context or d.LocalContext(),
        contexts=FrozenMap(_contexts(target, sources, faults)) if target.contexts else FrozenMap(),
        no_cache=bool(target.no_cache),
        no_cache_filter=target.no_cache_filter,
        resolve_mode="pull" if target.pull else "default",
        hostname=arguments.get("BUILDKIT_SANDBOX_HOSTNAME") or "",
        cgroup_parent=cgroup_parent,
        cache_namespace=arguments.get("BUILDKIT_CACHE_MOUNT_NS") or "",
        check=arguments.get("BUILDKIT_DOCKERFILE_CHECK"),
        unsupported=unsupported,
        labs=labs,
        **_limits(target, faults),
    )
    multi_platform = _multi_platform(platforms, arguments, faults)
    faults.raise_any()
    assert dockerfile is not None, "it was read, or that is a fault"
    links = _EMPTY
    if target.contexts:
        found = target.contexts.items()
        links = FrozenMap((name, text.removeprefix("target:")) for name, text in found if text.startswith("target:"))
    return TargetSettings(target, dockerfile, platforms, multi_platform, options, links)


def _given(values: FrozenMap[str, str | None]) -> FrozenMap[str, str]:
    return FrozenMap({name: value for name, value in values.items() if value is not None}) if values else _EMPTY


@contextmanager
def located(target: Target, path: str, value: str = "") -> Iterator[None]:
    """Adds the place in the bake file to an error that has none: that of `value`, if it stands there literally."""
    try:
        yield
    except BakeError as error:
        if error.where is None and not error.path:
            error.where = _place(target.where(path), value)
            error.path = f"target.{target.name}.{path}"
        raise


def _place(attribute: SourceRange | None, value: str) -> SourceRange | None:
    """Where `value` stands in quotes, on the attribute's line or one of the next before another table begins."""
    if attribute is None or not value:
        return attribute
    file, first = attribute.file, attribute.start
    for line in range(first.line, first.line + _LINES_OF_A_LIST):
        text = file.line(line)
        if line > first.line and text.startswith("["):
            break
        begin = first.column - 1 if line == first.line else 0
        for quote in "\"'":
            if (found := text.find(f"{quote}{value}{quote}", begin)) >= 0:
                return SourceRange.at(file, line, found + 2, len(value))
    return attribute


@dataclass(slots=True)
class _Faults:
    """What is wrong with a target: all of it is looked for before anything is raised."""

    target: Target
    errors: list[BakeError] = field(default_factory=list)

    def at(self, path: str, value: str | None = "") -> _Noting:
        """Notes an error instead of raising it, at its place."""
        return _Noting(self, path, value or "")

    def raise_any(self) -> None:
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise DefinitionErrors(self.errors)


@dataclass(slots=True)
class _Noting:
    """As a generator would be, for a tenth of the time: each target has a dozen of these."""

    faults: _Faults
    path: str
    value: str

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, BakeError):
            return False
        with suppress(BakeError), located(self.faults.target, self.path, self.value):
            raise error
        self.faults.errors.append(error)
        return True


def _read(target: Target, sources: Sources) -> tuple[LocalContext | RemoteContext, ParsedDockerfile]:
    """Its context and its Dockerfile; the same for all targets that name the same."""
    key = (target.context, target.dockerfile, target.dockerfile_inline)
    known = sources.read.get(key)
    if known is not None:
        return known
    remote = sources.remote.context(target.context) if c.is_remote(target.context) else None
    folder = _context_folder(target, sources) if remote is None else "."
    with located(target, "dockerfile-inline" if target.dockerfile_inline else "dockerfile", target.dockerfile):
        path, dockerfile = _dockerfile(target, folder, sources)
    context = remote or sources.folder(folder, "context", sources.ignore(path, folder))
    sources.read[key] = context, dockerfile
    return context, dockerfile


def _context_folder(target: Target, sources: Sources) -> str:
    context = c.parse_context(target.context)
    if not isinstance(context, c.FolderContext):
        raise DefinitionError(_not_as_context(target.context, context))
    sources.require_folder(context.path)
    return context.path


def _not_as_context(text: str, context: c.Context) -> str:
    match context:
        case c.StdinContext():
            return "a context from standard input is not possible in a bake file"
        case c.TargetContext():
            return 'a target can not be the main context; link it with contexts = { name = "target:…" }'
    return f"'{text}' can not be the main context; name it in contexts"


def _dockerfile(target: Target, context: str, sources: Sources) -> tuple[str | None, ParsedDockerfile]:
    """Its path (None if it stands in the bake file), and what it says."""
    if target.dockerfile_inline:
        return None, sources.inline_dockerfile(target.dockerfile_inline, f"target.{target.name}.dockerfile-inline")
    written = target.dockerfile
    if written == "-":
        raise DefinitionError("a Dockerfile from standard input is not possible in a bake file")
    if c.is_remote(written):
        return None, sources.remote.dockerfile(written, "")
    if c.is_remote(target.context) and (inside := dockerfile_inside(target)) is not None:
        return None, sources.remote.dockerfile(target.context, inside)
    if written.startswith("cwd://"):
        path = c.clean(written.removeprefix("cwd://"))
    else:
        path = c.clean(posixpath.join(context, written))
    return path, sources.dockerfile(path)


def _labs(target: Target, dockerfile: ParsedDockerfile | None, argument: str | None, faults: _Faults) -> bool:
    """Whether the frontend that the target asks for is of the labs channel; a fault if it is none of ours."""
    if argument is not None:
        with faults.at(f"args.{channel.ARGUMENT}", argument):
            return channel.wants_labs(SourceFile("", ""), argument)
    elif dockerfile is not None:
        with faults.at("dockerfile-inline" if target.dockerfile_inline else "dockerfile"):
            return channel.file_wants_labs(dockerfile)
    return False


def _platforms(target: Target, build_platform: Platform, faults: _Faults) -> tuple[Platform | None, ...]:
    """In the order in which they are written, also if one is written twice: its image is in the index twice then, as
    with BuildKit (a bake file's own list has each text once). `local` is the platform of this machine."""
    found: list[Platform | None] = []
    for number, text in enumerate(target.platforms):
        with faults.at(f"platforms[{number}]", text):
            for name in (part.strip() for part in text.split(",")):
                local = name.lower() == "local"
                platform = build_platform if local else Platform.parse(name, build_platform).without_typos()
                found.append(platform.normalized())
    return tuple(found) or (None,)


def _multi_platform(platforms: tuple[Platform | None, ...], arguments: Mapping[str, str], faults: _Faults) -> bool:
    several = len(platforms) > 1
    if not (wish := arguments.get("BUILDKIT_MULTI_PLATFORM")):
        return several
    with faults.at("args.BUILDKIT_MULTI_PLATFORM", wish):
        if wish not in _TRUE | _FALSE:
            raise DefinitionError(f"'{wish}' is neither true nor false")
        if several and wish in _FALSE:
            raise DefinitionError("several platforms were asked for, and no index")
    return several or wish in _TRUE


def _contexts(target: Target, sources: Sources, faults: _Faults) -> dict[str, d.NamedContext]:
    """Those that are not other targets."""
    named: dict[str, d.NamedContext] = {}
    for name, text in target.contexts.items():
        with faults.at(f"contexts.{name}", text):
            match c.parse_context(text):
                case c.TargetContext():
                    pass
                case c.ImageContext(reference=reference):
                    named[name] = d.ImageContext(reference)
                case c.LayoutContext() as layout:
                    named[name] = sources.layout(layout)
                case c.FolderContext(path=path):
                    preferred = f"_{name}" if name in ("context", "dockerfile") else name
                    named[name] = sources.folder(path, preferred, sources.own_ignore(path))
                case c.RemoteContext(url=url):
                    named[name] = remote_context(url)
                case other:
                    raise DefinitionError(_not_as_context(text, other))
    return named


def _limits(target: Target, faults: _Faults) -> dict[str, Any]:
    """What RUN steps get, as members of LowerOptions."""
    if not (target.network or target.shm_size or target.resources or target.ulimits or target.extra_hosts):
        return {}  # nearly all
    found: dict[str, Any] = {}
    with faults.at("network", target.network):
        found["network"] = limits.parse_network(target.network)
    with faults.at("shm-size", target.shm_size):
        found["shm_size"] = limits.parse_size(target.shm_size or "0")
    with faults.at("resources"):
        found["resources"] = limits.parse_resources(target.resources)
    ulimits: list[Ulimit] = []
    hosts: list[HostIP] = []
    for number, text in enumerate(target.ulimits):
        with faults.at(f"ulimits[{number}]", text):
            ulimits.append(limits.parse_ulimit(text))
    for name, addresses in target.extra_hosts.items():
        with faults.at(f"extra-hosts.{name}", addresses):
            hosts += limits.parse_host(name, addresses) if addresses is not None else ()
    return found | {"ulimits": tuple(ulimits), "extra_hosts": tuple(hosts)}
