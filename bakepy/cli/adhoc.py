"""One target made of `docker buildx build`'s flags.

Forms of the flags: buildx `commands/build.go` and `util/buildflags`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TypeVar

from bakepy.bakefile import entries
from bakepy.bakefile.remote import is_git_ssh
from bakepy.bakefile.request import call_method
from bakepy.errors import DefinitionError, UsageError
from bakepy.model.frozen import FrozenMap
from bakepy.model.reference import ImageReference
from bakepy.model.target import BakeFile, Group, OutputEntry, SSHEntry, Target
from bakepy.model.value import dataclass
from bakepy.planner import limits
from bakepy.planner.contexts import clean, is_remote

V = TypeVar("V")
NAME = "default"
"""What the one target is called."""


@dataclass(frozen=True, slots=True)
class BuildFlags:
    """The flags as written, of those that say what is built."""

    context: str
    file: str = ""
    inline: str | None = None
    """The Dockerfile's text, if it came in place of the context."""
    tags: Sequence[str] = ()
    build_args: Sequence[str] = ()
    build_contexts: Sequence[str] = ()
    target: str = ""
    platforms: Sequence[str] = ()
    outputs: Sequence[str] = ()
    secrets: Sequence[str] = ()
    ssh: Sequence[str] = ()
    labels: Sequence[str] = ()
    annotations: Sequence[str] = ()
    no_cache: bool = False
    no_cache_filter: Sequence[str] = ()
    pull: bool = False
    push: bool = False
    load: bool = False
    network: str = ""
    add_hosts: Sequence[str] = ()
    shm_size: str = ""
    ulimits: Sequence[str] = ()
    resources: Sequence[str] = ()
    call: str = "build"
    environment: Mapping[str, str] = field(default_factory=dict)


def bake_file(flags: BuildFlags, read_stdin: Callable[[], str] = lambda: sys.stdin.read()) -> BakeFile:
    """The flags as a bake file with one target. Raises UsageError that names the flag."""
    target = _target(flags, read_stdin)
    return BakeFile(FrozenMap({NAME: target}), FrozenMap({"default": Group("default", (NAME,))}))


def _target(flags: BuildFlags, read_stdin: Callable[[], str]) -> Target:
    context, dockerfile, inline = _inputs(flags, read_stdin)
    arguments = _arguments(flags)
    return Target(
        name=NAME,
        context=context,
        dockerfile=dockerfile,
        dockerfile_inline=inline,
        contexts=FrozenMap(_context(text) for text in flags.build_contexts if text),
        args=FrozenMap(arguments),
        labels=FrozenMap(_pair(text) for text in flags.labels),
        tags=tuple(flags.tags),
        annotations=tuple(flags.annotations),
        target=flags.target or None,
        platforms=tuple(part for text in flags.platforms for part in text.split(",") if part),
        outputs=_outputs(flags),
        secrets=tuple(_flag("--secret", text, entries.parse_secret) for text in flags.secrets),
        ssh=_ssh(flags, context),
        no_cache=flags.no_cache,
        no_cache_filter=tuple(part for text in flags.no_cache_filter for part in text.split(",")),
        pull=flags.pull,
        network=flags.network or None,
        extra_hosts=FrozenMap(_hosts(flags.add_hosts)),
        shm_size=_size(flags.shm_size),
        ulimits=tuple(_flag("--ulimit", text, _ulimit) for text in flags.ulimits),
        resources=FrozenMap(_resource(text) for text in flags.resources) if flags.resources else None,
        call=call_method(flags.call) or None,
    )


def _flag(name: str, text: str, read: Callable[[str], V]) -> V:
    """Reads the value of a flag; what is wrong with it is told with the flag's name."""
    try:
        return read(text)
    except (entries.EntryError, DefinitionError) as error:
        what = error.what if isinstance(error, DefinitionError) else str(error)
        hint = error.hint if isinstance(error, DefinitionError) else ""
        raise UsageError(f"{name} {text}: {what}", hint=hint) from error


def _ssh(flags: BuildFlags, context: str) -> tuple[SSHEntry, ...]:
    """The agents that are lent; a context that comes over SSH needs one."""
    named = tuple(_flag("--ssh", text, entries.parse_ssh) for text in flags.ssh)
    return named or ((SSHEntry("default"),) if is_git_ssh(context) else ())


def _inputs(flags: BuildFlags, read_stdin: Callable[[], str]) -> tuple[str, str, str | None]:
    """Context, Dockerfile (from the context's view, or `cwd://…`), and its text if it comes on standard input."""
    if flags.inline is not None:
        return flags.context, "Dockerfile", flags.inline
    if flags.context == "-":
        raise UsageError("invalid argument: can't use stdin for both build context and dockerfile")
    if flags.file == "-":
        return flags.context, "Dockerfile", read_stdin()
    if not flags.file:
        return flags.context, "Dockerfile", None
    if is_remote(flags.file) or (is_remote(flags.context) and not flags.file.startswith("/")):
        return flags.context, flags.file, None  # a relative path is one in the far context
    return flags.context, f"cwd://{clean(flags.file)}", None


def _arguments(flags: BuildFlags) -> dict[str, str | None]:
    """`NAME=VALUE`; `NAME` alone is taken from the environment, or not given."""
    arguments: dict[str, str | None] = {}
    for text in flags.build_args:
        name, equals, value = _named(text)
        if equals:
            arguments[name] = value
        elif name in flags.environment:
            arguments[name] = flags.environment[name]
    if epoch := flags.environment.get("SOURCE_DATE_EPOCH"):
        arguments.setdefault("SOURCE_DATE_EPOCH", epoch)
    return arguments


def _context(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise UsageError(f"--build-context {text}: expected NAME=VALUE")
    try:
        return ImageReference.parse(name).familiar().removesuffix(":latest"), value
    except DefinitionError as error:
        raise UsageError(f"--build-context {text}: '{name}' is not a valid name") from error


def _pair(text: str) -> tuple[str, str]:
    name, _, value = _named(text)
    return name, value


def _named(text: str) -> tuple[str, str, str]:
    name, equals, value = text.partition("=")
    if not name:
        raise UsageError(f'invalid key-value pair "{text}": empty key')
    return name, equals, value


def _outputs(flags: BuildFlags) -> tuple[OutputEntry, ...]:
    outputs = tuple(_flag("--output", text, entries.parse_output) for text in flags.outputs if text)
    if flags.push and flags.load:
        raise UsageError("--push and --load can not be given together yet", hint="use --output twice")
    if flags.push:
        images = [entry for entry in outputs if entry.type == "image"]
        if not images:
            return (*outputs, OutputEntry("image", "", FrozenMap({"push": "true"})))
        return tuple(
            OutputEntry(entry.type, entry.dest, FrozenMap({**entry.attrs, "push": "true"}))
            if entry in images
            else entry
            for entry in outputs
        )
    if flags.load and not any(entry.type == "docker" and not entry.dest for entry in outputs):
        return (*outputs, OutputEntry("docker"))
    return outputs


def _hosts(texts: Sequence[str]) -> dict[str, str | None]:
    """`NAME=ADDRESS` or `NAME:ADDRESS`; several for one name are kept together."""
    hosts: dict[str, str | None] = {}
    for text in (part for given in texts for part in given.split(",")):
        name, separator, address = text.partition("=")
        if not separator:
            name, separator, address = text.partition(":")
        if not separator or not name or not address:
            raise UsageError(f"--add-host {text}: invalid host, expected NAME=ADDRESS")
        _flag("--add-host", text, lambda _, name=name, address=address: limits.parse_host(name, address))  # type: ignore[misc]
        hosts[name] = f"{hosts[name]},{address}" if name in hosts else address
    return hosts


def _size(text: str) -> str | None:
    if not text:
        return None
    return str(_flag("--shm-size", text, limits.parse_size))


def _ulimit(text: str) -> str:
    limits.parse_ulimit(text)
    return text


def _resource(text: str) -> tuple[str, str | int]:
    name, _, value = text.partition("=")
    return name.strip(), _flag("--resource", text, lambda _: entries.parse_resource(name.strip(), value.strip()))
