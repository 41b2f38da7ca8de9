"""`bakepy run`, which is also `bakepy bake`: reads the bake file, and bakes, prints, lists or checks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bakepy.cli.ahead import Ahead, Reader
from bakepy.cli.bakefiles import Files, PolicyFlags, Set, Targets, Var
from bakepy.cli.options import (
    Allow,
    Builder,
    Call,
    CheckOnly,
    Engine,
    Jobs,
    KeepGoing,
    Load,
    MemoryBudget,
    MetadataFile,
    NoCache,
    Pools,
    Progress,
    Provenance,
    Pull,
    Push,
    Resume,
    RetryFailed,
    Root,
    Sbom,
    Snapshotter,
    state_root,
)

if TYPE_CHECKING:
    from bakepy.cli.reading import BakeRequest
    from bakepy.cli.resume import Request
    from bakepy.model.target import BakeFile


def run(
    context: typer.Context,
    targets: Targets = None,
    file: Files = None,
    set_: Set = None,
    var: Var = None,
    print_: Annotated[
        bool, typer.Option("--print/--no-print", help="Print the resolved targets as JSON; build nothing.")
    ] = False,
    list_: Annotated[
        str, typer.Option("--list", help="List targets or variables; build nothing.", metavar="WHAT")
    ] = "",
    format_: Annotated[
        str,
        typer.Option("--format", help="How --list, --call and --check answer: as json, say.", metavar="FORMAT"),
    ] = "",
    list_targets: Annotated[
        bool, typer.Option("--list-targets", help="The same as --list=targets.", hidden=True)
    ] = False,
    list_variables: Annotated[
        bool, typer.Option("--list-variables", help="The same as --list=variables.", hidden=True)
    ] = False,
    no_cache: NoCache = None,
    pull: Pull = None,
    push: Push = False,
    load: Load = False,
    progress: Progress = "auto",
    metadata_file: MetadataFile = None,
    keep_going: KeepGoing = False,
    resume: Resume = False,
    retry_failed: RetryFailed = False,
    jobs: Jobs = None,
    pool: Pools = None,
    memory_budget: MemoryBudget = "",
    root: Root = None,
    snapshotter: Snapshotter = "",
    engine: Engine = "embedded",
    allow: Allow = None,
    provenance: Provenance = "",
    sbom: Sbom = "",
    policy: PolicyFlags = None,
    builder: Builder = "",
    call: Call = "build",
    check: CheckOnly = False,
    debug: Annotated[bool, typer.Option("--debug/--no-debug", "-D", help="Changes nothing.", hidden=True)] = False,
) -> None:
    """Bake the targets of a bake file.

    Ends with status 0 when all is done, 1 when a build failed, 2 when something is wrong with the command or the
    files, 3 when --keep-going finished the rest, 4 when a registry failed, 5 when no engine works here.
    """
    if resume or retry_failed:
        from bakepy.cli.resume import Resumption

        earlier = Resumption.of(context, state_root(root, os.environ), Path.cwd(), failed_only=retry_failed)
        context.meta[_EARLIER] = earlier
        run(context, **earlier.parameters)
        return
    list_ = list_ or ("targets" if list_targets else "variables" if list_variables else "")
    call = "check" if check else call
    if format_:
        list_, call = _formatted(format_, list_, call)
    asked: dict[str, Any] = {
        "targets": targets, "files": file, "root": root and str(root), "overrides": set_, "variables": var,
        "push": push, "load": load, "no_cache": no_cache, "pull": pull, "call": call,
        "sbom": sbom, "provenance": provenance, "policies": policy,
    }  # fmt: skip
    if print_:
        if list_:
            raise typer.BadParameter("it can not be given together with --print", param_hint="--list")
        if isinstance(context.obj, Reader):
            context.obj.hand_over(asked, allow or ())
        from bakepy.cli.reading import print_request

        print_request(asked, allow or ())
        return

    from bakepy.cli.reading import read_request
    from bakepy.cli.supported import granted

    request = read_request(**asked)
    granted(allow or ())
    if list_:
        print(request.listed(list_), end="")
        return
    bake_file = request.load()

    from bakepy.cli.launch import Launch, launch

    request.check_rights(bake_file, allow or ())
    bake_file, journal = _for_journal(context, request, bake_file)
    launch(
        bake_file,
        Launch(
            root=state_root(root, os.environ),
            snapshotter=snapshotter,
            engine=engine,
            builder=builder,
            allow=tuple(allow or ()),
            progress=progress,
            metadata_file=metadata_file,
            keep_going=keep_going,
            jobs=jobs,
            pools=tuple(pool or ()),
            memory_budget=memory_budget,
            call=call,
            request=journal,
        ),
        context.obj if isinstance(context.obj, Ahead) else None,
    )


def _formatted(form: str, list_: str, call: str) -> tuple[str, str]:
    """`--list` and `--call` with the format in them, as buildx writes it. Raises BadParameter if there is neither."""
    if list_:
        return (list_ if "=" in list_ else f"type={list_}") + f",format={form}", call
    if call not in ("", "build"):
        return list_, f"{call},format={form}"
    raise typer.BadParameter("it belongs to --list, --call and --check", param_hint="--format")


_EARLIER = "bakepy.earlier"


def _for_journal(context: typer.Context, request: BakeRequest, bake_file: BakeFile) -> tuple[BakeFile, Request]:
    """What is to be baked, of a run that is gone on with, and what the journal keeps of the command line."""
    from bakepy.cli.resume import Resumption, given_options, request_of

    earlier: Resumption | None = context.meta.get(_EARLIER)
    options = given_options(context) if earlier is None else earlier.options
    sensitive = request.sensitive() if options.get("var") else frozenset()
    if earlier is None:
        return bake_file, request_of(options, sensitive, None)
    return earlier.narrowed(bake_file), request_of(options, sensitive, earlier.past)
