"""One target for one platform, as options of a lowering; everything but the graphs of linked targets.

What counts as which BuildKit option: buildx `build/opt.go` (toSolveOpt), BuildKit `frontend/dockerui/config.go`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from bakepy.dockerfile import options as d
from bakepy.dockerfile.compile import ParsedDockerfile
from bakepy.errors import BakeError, DefinitionError
from bakepy.llb.op import HostIP, Ulimit
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceRange
from bakepy.model.platform import Platform
from bakepy.model.target import Target
from bakepy.planner import contexts as c
from bakepy.planner import limits
from bakepy.planner.sources import Sources

V = TypeVar("V")

_LINES_OF_A_LIST = 50
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
        return replace(self.options, platform=platform, multi_platform=self.multi_platform)


def read_target(
    target: Target, sources: Sources, *, build_platform: Platform, cgroup_parent: str = ""
) -> TargetSettings:
    """Checks all that a target says and reads what it names. Raises DefinitionError with the place in the bake file."""
    with located(target, "context", target.context):
        context = c.parse_context(target.context)
        if not isinstance(context, c.FolderContext):
            raise DefinitionError(_not_as_context(target.context, context))
    path, dockerfile = _dockerfile(target, context.path, sources)
    platforms = _platforms(target, build_platform)
    arguments: FrozenMap[str, str] = FrozenMap(
        (name, value) for name, value in target.args.items() if value is not None
    )
    multi_platform = len(platforms) > 1
    if (wish := arguments.get("BUILDKIT_MULTI_PLATFORM")) not in (None, ""):
        multi_platform = _boolean(target, "BUILDKIT_MULTI_PLATFORM", str(wish))
        if len(platforms) > 1 and not multi_platform:
            raise _error(target, "args.BUILDKIT_MULTI_PLATFORM", "several platforms were asked for, and no index")
    with located(target, "context", target.context):
        main = sources.folder(context.path, "context", sources.ignore(path, context.path))
    named, links = _contexts(target, sources)
    options = d.LowerOptions(
        target=target.target or "",
        build_args=arguments,
        labels=FrozenMap((name, value) for name, value in target.labels.items() if value is not None),
        build_platform=build_platform,
        context=main,
        contexts=FrozenMap(named),
        no_cache=bool(target.no_cache),
        no_cache_filter=target.no_cache_filter,
        resolve_mode="pull" if target.pull else "default",
        network=_at(target, "network", lambda: limits.parse_network(target.network), target.network),
        extra_hosts=_hosts(target),
        ulimits=_ulimits(target),
        shm_size=_at(target, "shm-size", lambda: limits.parse_size(target.shm_size or "0"), target.shm_size),
        hostname=arguments.get("BUILDKIT_SANDBOX_HOSTNAME") or "",
        cgroup_parent=cgroup_parent,
        resources=_at(target, "resources", lambda: limits.parse_resources(target.resources)),
        cache_namespace=arguments.get("BUILDKIT_CACHE_MOUNT_NS") or "",
        epoch=_epoch(target, arguments.get("SOURCE_DATE_EPOCH")),
        check=arguments.get("BUILDKIT_DOCKERFILE_CHECK"),
    )
    return TargetSettings(target, dockerfile, platforms, multi_platform, options, FrozenMap(links))


@contextmanager
def located(target: Target, path: str, value: str = "") -> Iterator[None]:
    """Adds the place in the bake file to an error that has none: that of `value`, if it stands there literally."""
    try:
        yield
    except BakeError as error:
        if error.where is None:
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


def _at(target: Target, path: str, read: Callable[[], V], value: str | None = "") -> V:
    with located(target, path, value or ""):
        return read()


def _error(target: Target, path: str, what: str, hint: str = "") -> DefinitionError:
    return DefinitionError(what, where=target.where(path), path=f"target.{target.name}.{path}", hint=hint)


def _not_as_context(text: str, context: c.Context) -> str:
    match context:
        case c.StdinContext():
            return "a context from standard input is not possible in a bake file"
        case c.RemoteContext():
            return f"the embedded engine can not build from '{text}' yet: clone or download it first"
        case c.TargetContext():
            return 'a target can not be the main context; link it with contexts = { name = "target:…" }'
    return f"'{text}' can not be the main context; name it in contexts"


def _dockerfile(target: Target, context: str, sources: Sources) -> tuple[str | None, ParsedDockerfile]:
    """Its path (None if it stands in the bake file), and what it says."""
    if target.dockerfile_inline:
        with located(target, "dockerfile-inline"):
            return None, sources.inline_dockerfile(target.dockerfile_inline, f"target.{target.name}.dockerfile-inline")
    with located(target, "dockerfile", target.dockerfile):
        written = target.dockerfile
        if written == "-":
            raise DefinitionError("a Dockerfile from standard input is not possible in a bake file")
        if c.is_remote(written):
            raise DefinitionError(f"the Dockerfile '{written}' is far away, which is not supported yet")
        if written.startswith("cwd://"):
            path = c.clean(written.removeprefix("cwd://"))
        else:
            path = c.clean(posixpath.join(context, written))
        return path, sources.dockerfile(path)


def _platforms(target: Target, build_platform: Platform) -> tuple[Platform | None, ...]:
    """Each once, in the order in which they are written; `local` is the platform of this machine."""
    found: dict[Platform | None, None] = {}
    for number, text in enumerate(target.platforms):
        for part in text.split(","):
            with located(target, f"platforms[{number}]", text):
                name = part.strip()
                found[build_platform if name == "local" else Platform.parse(name, build_platform).require_known()] = (
                    None
                )
    return tuple(found) or (None,)


def _contexts(target: Target, sources: Sources) -> tuple[dict[str, d.NamedContext], dict[str, str]]:
    named: dict[str, d.NamedContext] = {}
    links: dict[str, str] = {}
    for name, text in target.contexts.items():
        with located(target, f"contexts.{name}", text):
            match c.parse_context(text):
                case c.TargetContext(target=other):
                    links[name] = other
                case c.ImageContext(reference=reference):
                    named[name] = d.ImageContext(reference)
                case c.LayoutContext() as layout:
                    named[name] = sources.layout(layout)
                case c.FolderContext(path=path):
                    preferred = f"_{name}" if name in ("context", "dockerfile") else name
                    named[name] = sources.folder(path, preferred, sources.own_ignore(path))
                case other_kind:
                    raise DefinitionError(_not_as_context(text, other_kind))
    return named, links


def _hosts(target: Target) -> tuple[HostIP, ...]:
    hosts: list[HostIP] = []
    for name, addresses in sorted(target.extra_hosts.items()):
        if addresses is not None:
            with located(target, f"extra-hosts.{name}", addresses):
                hosts += limits.parse_host(name, addresses)
    return tuple(hosts)


def _ulimits(target: Target) -> tuple[Ulimit, ...]:
    found = []
    for number, text in enumerate(target.ulimits):
        with located(target, f"ulimits[{number}]", text):
            found.append(limits.parse_ulimit(text))
    return tuple(found)


def _boolean(target: Target, name: str, text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise _error(target, f"args.{name}", f"'{text}' is neither true nor false")
    return text in _TRUE


def _epoch(target: Target, text: str | None) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise _error(target, "args.SOURCE_DATE_EPOCH", f"'{text}' is not a number of seconds") from error
