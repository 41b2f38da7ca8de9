"""The attributes of BuildKit's Dockerfile frontend (`build-arg:X`, `platform`, `ulimit`, …) as options.

Whoever has these values in another form makes `LowerOptions` directly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.flags import csv_fields
from bakepy.dockerfile.giturl import parse_git
from bakepy.dockerfile.lower.run import canonical_ip
from bakepy.dockerfile.options import (
    GitContext,
    HTTPContext,
    ImageContext,
    InvalidContext,
    LayoutContext,
    LocalContext,
    LowerOptions,
    NamedContext,
)
from bakepy.dockerfile.text import SPACE, number_fault, parse_bool, parse_int
from bakepy.errors import nearest
from bakepy.llb.op import HostIP, LinuxResources, NetMode, Ulimit
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import Platform

_NETWORKS = {"": NetMode.SANDBOX, "sandbox": NetMode.SANDBOX, "host": NetMode.HOST, "none": NetMode.NONE}
_ULIMITS = ("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
            "rtprio", "rttime", "sigpending", "stack")  # fmt: skip
_MAX_CPU = 8192
_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.xz", ".tar.bz2")


def platforms_of(attrs: Mapping[str, str]) -> tuple[list[Platform], bool]:
    """The target platforms, and whether the result is one for many platforms. Raises DockerfileError."""
    text = attrs.get("platform", "")
    platforms = [Platform.parse(part).normalized() for part in text.split(",")] if text else []
    multi = len(platforms) > 1
    if asked := attrs.get("build-arg:BUILDKIT_MULTI_PLATFORM") or attrs.get("multi-platform", ""):
        flag = parse_bool(asked)
        if flag is None:
            raise DockerfileError(f"invalid boolean value for multi-platform: {asked}")
        if multi and not flag:
            what = "conflicting config: returning multiple target platforms is not allowed"
            raise DockerfileError(what, hint="multi-platform is false")
        multi = flag
    return platforms, multi


def options_of(attrs: Mapping[str, str], *, build_platform: Platform, main: LocalContext) -> LowerOptions:
    """All but platforms and named contexts; `main` is the main context if it is local. Raises DockerfileError."""
    build_args = _with_prefix(attrs, "build-arg:")
    _refuse_removed(attrs, build_args)
    main = replace(main, session=attrs.get(f"local-sessionid:{main.name}", main.session))
    no_cache = attrs.get("no-cache")
    network = attrs.get("force-network-mode", "")
    if network not in _NETWORKS:
        raise DockerfileError(f"invalid netmode {network}", hint=nearest(network, _NETWORKS))
    mode = attrs.get("image-resolve-mode", "") or "default"
    if mode not in ("default", "pull", "local"):
        raise DockerfileError(f"invalid image-resolve-mode: {mode}", hint=nearest(mode, ("pull", "local")))
    options = LowerOptions(
        target=attrs.get("target", ""),
        build_args=FrozenMap(build_args),
        labels=FrozenMap(_with_prefix(attrs, "label:")),
        build_platform=build_platform,
        context=main,
        no_cache=no_cache == "",
        no_cache_filter=tuple(no_cache.split(",")) if no_cache else (),
        resolve_mode=mode,
        network=_NETWORKS[network],
        extra_hosts=extra_hosts(attrs.get("add-hosts", "")),
        ulimits=tuple(parse_ulimit(field) for field in _fields(attrs.get("ulimit", ""), "ulimits")),
        shm_size=_shm_size(attrs.get("shm-size", "")),
        hostname=build_args.get("BUILDKIT_SANDBOX_HOSTNAME") or attrs.get("hostname", ""),
        cgroup_parent=attrs.get("cgroup-parent", ""),
        resources=linux_resources(attrs),
        cache_namespace=build_args.get("BUILDKIT_CACHE_MOUNT_NS", ""),
        check=build_args.get("BUILDKIT_DOCKERFILE_CHECK"),
    )
    context = attrs.get(attrs.get("contextkey", "context"), "")
    keep = parse_bool(build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", ""))
    if parse_git(context, bare_github=True) is not None:
        options = replace(options, context=GitContext(context, keep))
    elif context.startswith(("http://", "https://")):
        options = replace(options, context=HTTPContext(context, archive=context.endswith(_ARCHIVES)))
    if not isinstance(options.context, LocalContext) and "contextsubdir" in attrs:
        options = replace(options, context_subdir=attrs["contextsubdir"])
    return options


def _refuse_removed(attrs: Mapping[str, str], build_args: Mapping[str, str]) -> None:
    """Settings of long ago that BuildKit refuses instead of ignoring them."""
    if attrs.get("override-copy-image"):
        raise DockerfileError('support for "override-copy-image" was removed')
    if parse_bool(build_args.get("BUILDKIT_DISABLE_FILEOP", "")):
        raise DockerfileError('support for "BUILDKIT_DISABLE_FILEOP" build-arg was removed')


def _with_prefix(attrs: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {key[len(prefix) :]: value for key, value in attrs.items() if key.startswith(prefix)}


def context_of(name: str, spec: str, *, session: str = "") -> NamedContext:
    """A named context from its text (`docker-image://alpine`, `https://…`). Directories and inputs need more than
    a text and are made by the caller."""
    try:
        return _context_of(name, spec, session)
    except DockerfileError as error:
        return InvalidContext(f"the context '{name}': {error.what}")


def _context_of(name: str, spec: str, session: str) -> NamedContext:
    kind, colon, rest = spec.partition(":")
    if not colon:
        return InvalidContext(f"invalid context specifier {spec} for {name}")
    if kind.startswith("git@"):
        kind = "git"
    match kind:
        case "docker-image":
            return ImageContext(rest.removeprefix("//"))
        case "oci-layout":
            return LayoutContext(rest.removeprefix("//"), session)
        case "git":
            return GitContext(spec)
        case "http" | "https":
            return GitContext(spec) if parse_git(spec) is not None else HTTPContext(spec)
        case "input":
            return InvalidContext(f"invalid input {rest} for {name}")
    kinds = ("docker-image", "oci-layout", "git", "http", "https", "local", "input")
    near = nearest(kind, kinds)
    return InvalidContext(f"unsupported context source {kind} for {name}" + (f"; {near}" if near else ""))


def extra_hosts(text: str) -> tuple[HostIP, ...]:
    """`NAME=IP,…`. Raises DockerfileError."""
    out = []
    for field in _fields(text, "additional hosts"):
        name, equals, address = field.lower().partition("=")
        try:
            if not equals:
                raise ValueError(f"invalid key-value pair {field}")
            out.append(HostIP(name, canonical_ip(address)))
        except ValueError as error:
            cause = f"failed to parse IP {address}" if equals else str(error)
            what = f"failed to parse additional hosts: {cause}"
            raise DockerfileError(what, hint="as in db=10.0.0.5") from error
    return tuple(out)


def _fields(text: str, what: str) -> list[str]:
    """The fields of an attribute that holds several; none if it is empty. Raises DockerfileError."""
    try:
        return csv_fields(text) if text else []
    except ValueError as error:
        raise DockerfileError(f"failed to parse {what}: {error} in {text}") from error


def parse_ulimit(text: str) -> Ulimit:
    """`NAME=SOFT[:HARD]`; one number is both. Raises DockerfileError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise DockerfileError(f"invalid ulimit argument: {text}", hint="as in nofile=1024:2048")
    if name not in _ULIMITS:
        raise DockerfileError(f"invalid ulimit type: {name}", hint=nearest(name, _ULIMITS))
    parts = value.split(":")
    numbers = [parse_int(part) for part in parts]
    if len(parts) > 2 or any(number is None for number in numbers):
        raise DockerfileError(f"invalid ulimit argument: {text}", hint="as in nofile=1024:2048")
    soft = numbers[0] or 0
    hard = soft if len(parts) == 1 else numbers[1] or 0
    if hard != -1 and (soft == -1 or soft > hard):
        shown = "soft: -1 (unlimited), hard: " if soft == -1 else f"{soft} > "
        raise DockerfileError(f"ulimit soft limit must be less than or equal to hard limit: {shown}{hard}")
    return Ulimit(name, soft, hard)


def _shm_size(text: str) -> int:
    size = parse_int(text) if text else 0
    if size is None:
        raise DockerfileError(f"failed to parse shm size: {number_fault(text)}", hint="a number of bytes")
    return size


def linux_resources(attrs: Mapping[str, str]) -> LinuxResources | None:
    """cgroup limits; None if there are none. Raises DockerfileError."""
    limits = LinuxResources(
        memory=_limit(attrs, "memory"),
        memory_swap=_limit(attrs, "memswap", least=-1),
        cpu_shares=_limit(attrs, "cpushares"),
        cpu_period=_limit(attrs, "cpuperiod"),
        cpu_quota=_limit(attrs, "cpuquota"),
        cpuset_cpus=_cpuset(attrs, "cpusetcpus"),
        cpuset_mems=_cpuset(attrs, "cpusetmems"),
    )
    return None if limits == LinuxResources() else limits


def _limit(attrs: Mapping[str, str], key: str, least: int = 1) -> int:
    text = attrs.get(key, "")
    if not text:
        return 0
    value = parse_int(text)
    if value is None or value < least or value == 0:
        raise DockerfileError(f"failed to parse resource limits: invalid {key} value: {text}")
    return value


def _cpuset(attrs: Mapping[str, str], key: str) -> str:
    text = attrs.get(key, "")
    for part in filter(None, (part.strip(SPACE) for part in text.split(","))):
        first, dash, last = part.partition("-")
        low = parse_int(first.strip(SPACE))
        high = parse_int(last.strip(SPACE)) if dash else low
        if low is None or high is None or not 0 <= low <= high <= _MAX_CPU:
            what = f'failed to parse resource limits: invalid {key} value: {text}: invalid cpuset range "{part}"'
            raise DockerfileError(what, hint="as in 0-3,7")
    return text
