"""`bakepy llb`: the LLB definition of one target for one platform, as `buildctl build` reads it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from bakepy.cli import terminal
from bakepy.cli.bakefiles import Files, Set, Var, complete_targets
from bakepy.cli.options import Allow, NoCache, Pull, Root, state_root
from bakepy.cli.reading import read_request
from bakepy.errors import UsageError, nearest
from bakepy.llb.definition import Definition
from bakepy.llb.op import SourceOp
from bakepy.planner.plan import Plan, PlannedPlatform, PlannedTarget

FORMATS = ("protobuf", "json", "dot")


def llb(
    target: Annotated[
        str,
        typer.Argument(
            help="The target; may be left out where there is one.", metavar="[TARGET]", autocompletion=complete_targets
        ),
    ] = "",
    file: Files = None,
    set_: Set = None,
    var: Var = None,
    platform: Annotated[
        str, typer.Option("--platform", help="The platform, of a target that has several.", metavar="OS/ARCH")
    ] = "",
    format_: Annotated[str, typer.Option("--format", help="protobuf, json or dot.", metavar="FORMAT")] = "protobuf",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, not to stdout.", metavar="FILE")
    ] = None,
    caps: Annotated[
        Path | None,
        typer.Option("--caps", help="The capabilities of the BuildKit it is for, one a line.", metavar="FILE"),
    ] = None,
    without_cap: Annotated[
        list[str] | None, typer.Option("--without-cap", help="A capability that BuildKit lacks.", metavar="CAP")
    ] = None,
    no_cache: NoCache = None,
    pull: Pull = None,
    root: Root = None,
    allow: Allow = None,
) -> None:
    """Write the LLB definition of a target: protobuf for buildctl build, JSON lines, or a graph in dot.

    Nothing is built. The names of local sources that a daemon will ask for are told on stderr, as buildctl takes them.
    For an older BuildKit, --caps and --without-cap leave out what it does not know, as its own frontend would.
    """
    if format_ not in FORMATS:
        raise UsageError(
            f"unknown value '{format_}' of --format", hint=nearest(format_, FORMATS) or f"one of {', '.join(FORMATS)}"
        )
    if format_ == "protobuf" and output is None and sys.stdout.isatty():
        raise UsageError(
            "a definition is binary, nothing for a terminal",
            hint="pipe it into 'buildctl build', write it with -o FILE, or ask for --format json",
        )
    unsupported = _unsupported(caps, without_cap or ())
    overrides = [*(set_ or ()), *([f"*.platform={platform}"] if platform else ())]
    request = read_request(
        targets=[target] if target else (), files=file, root=root, overrides=overrides, variables=var,
        no_cache=no_cache, pull=pull,
    )  # fmt: skip
    bake_file = request.load()
    request.check_rights(bake_file, allow or ())

    import anyio

    from bakepy.cli import supported
    from bakepy.cli.baking import plan_only
    from bakepy.cli.job import BakeOptions

    grants = supported.granted(allow or ())
    supported.check_bake(bake_file, grants)
    options = BakeOptions(
        root=state_root(root, os.environ), environment=os.environ, grants=grants, unsupported=unsupported
    )
    plan = anyio.run(plan_only, bake_file, options)
    chosen = _platform(_target(plan), platform)
    definition = Definition.of(plan.graph, chosen.head)
    _write(_bytes(definition, format_), output)
    _tell(definition, plan)
    if missing := sorted({cap for vertex in definition.vertices for cap in vertex.metadata.caps} & unsupported):
        terminal.warn(f"the definition needs what that BuildKit lacks: {', '.join(missing)}")


def _unsupported(caps: Path | None, without: Iterable[str]) -> frozenset[str]:
    """The capabilities that the engine lacks. Raises UsageError."""
    if caps is None and not without:
        return frozenset()
    from bakepy.llb.capabilities import KNOWN, lacking, listed

    for name in without:
        if name not in KNOWN:
            raise UsageError(f"--without-cap: unknown capability '{name}'", hint=nearest(name, KNOWN))
    has = None
    if caps is not None:
        try:
            has = listed(caps.read_text())
        except (OSError, UnicodeDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"--caps: {caps} can not be read: {cause}") from error
    return lacking(has, without)


def _target(plan: Plan) -> PlannedTarget:
    """The one that was asked for. Raises UsageError if there are several."""
    asked = [planned for planned in plan.targets if not planned.target.linked]
    if len(asked) != 1:
        names = ", ".join(planned.name for planned in asked)
        raise UsageError("a definition is of one target; these were asked for: " + names, hint="name one of them")
    return asked[0]


def _platform(target: PlannedTarget, wish: str) -> PlannedPlatform:
    """Raises UsageError if several are left to choose from."""
    if len(target.platforms) == 1:
        return target.platforms[0]
    names = ", ".join(str(planned.platform) for planned in target.platforms)
    raise UsageError(
        f"a definition is for one platform; {target.name} is built for {names}", hint="choose one with --platform"
    )


def _bytes(definition: Definition, form: str) -> bytes:
    if form == "protobuf":
        return definition.marshal()
    from bakepy.llb.dump import dot, json_lines

    text = dot(definition) if form == "dot" else "".join(f"{line}\n" for line in json_lines(definition))
    return text.encode("utf-8", "surrogateescape")


def _write(data: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    from bakepy.cli.writing import replace_file

    replace_file(output, data)


def _tell(definition: Definition, plan: Plan) -> None:
    """What a daemon needs to be given besides the definition."""
    if definition.head is None:
        terminal.warn("the target is the empty tree: its definition has no ops")
    for line in needs(definition, plan.locals, plan.layouts):
        print(line, file=sys.stderr)


def needs(definition: Definition, folders: Mapping[str, str], layouts: Mapping[str, str]) -> list[str]:
    """The flags of `buildctl build` that lend it the folders and OCI layouts of this definition."""
    found: dict[str, None] = {}
    for vertex in definition.vertices:
        if not isinstance(vertex.op, SourceOp):
            continue
        name = vertex.op.identifier.partition("://")[2]
        match vertex.op.scheme:
            case "local":
                found[f"--local {shlex.quote(f'{name}={folders[name]}')}"] = None
            case "oci-layout":
                store = vertex.op.attrs.get("oci.store") or name.partition("@")[0]
                found[f"--oci-layout {shlex.quote(f'{store}={layouts[store]}')}"] = None
    return list(found)
