"""Arguments before the first FROM: predefined platform arguments, defaults, build arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.expansion import MAX_EXPANSION, ExpansionError, Lexer
from bakepy.dockerfile.instructions import Arg, ArgItem
from bakepy.dockerfile.outline import ArgNote
from bakepy.llb.op import ProxyEnv
from bakepy.model.platform import Platform

MAX_TEXT = 16 * MAX_EXPANSION
"""Characters that all expansions of one build may come to together."""


def predefined(build: Platform, target: Platform, overrides: Mapping[str, str], stage: str) -> dict[str, str]:
    """BUILDPLATFORM, TARGETARCH and so on; a build argument of the same name wins."""
    values = {
        "BUILDPLATFORM": str(Platform(build.os, build.architecture, build.variant)),
        "BUILDOS": build.os,
        "BUILDOSVERSION": build.os_version,
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": str(target),
        "TARGETOS": target.os,
        "TARGETOSVERSION": target.os_version,
        "TARGETARCH": target.architecture,
        "TARGETVARIANT": target.variant,
        "TARGETSTAGE": stage or "default",
    }
    for name in values.keys() & overrides.keys():
        values[name] = overrides[name]
    return values


def global_args(
    start: Mapping[str, str], args: Iterable[Arg], lexer: Lexer, build_args: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, ArgNote]]:
    """The values that FROM sees, and what is known about each argument. Raises DockerfileError."""
    values, notes = dict(start), dict[str, ArgNote]()
    room = MAX_TEXT
    for arg in args:
        for item in arg.items:
            value, deps = item.value, frozenset[str]()
            if item.name in build_args:
                value = build_args[item.name]
            elif value is not None:
                try:
                    result = lexer.expand(value, values)
                except ExpansionError as error:
                    raise DockerfileError(
                        error.of(value),
                        location=arg.location,
                        where=arg.statement.find(item.name),
                        hint=error.hint,
                    ) from error
                value, deps = result.text, frozenset(result.matched)
                room -= len(value)
                if room < 0:
                    raise DockerfileError(
                        f"the arguments come to more than {MAX_TEXT} characters", location=arg.location
                    )
                if item.name in deps and item.name in notes:
                    deps |= notes[item.name].deps
                deps -= {item.name}
            if value is not None:
                values.pop(item.name, None)
                values[item.name] = value
            notes[item.name] = ArgNote(ArgItem(item.name, value, item.description), value or "", arg.location, deps)
    return values, notes


def proxy_env(build_args: Mapping[str, str]) -> ProxyEnv | None:
    """Proxy settings among the build arguments, in any case; the last name in byte order wins."""
    found: dict[str, str] = {}
    for name in sorted(build_args):
        if (lower := name.lower()) in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"):
            found[lower] = build_args[name]
    return ProxyEnv(**found) if found else None
