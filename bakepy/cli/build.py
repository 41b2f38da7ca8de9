"""`bakepy build CONTEXT`: one target made of `docker buildx build`'s flags."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from bakepy.cli.options import (
    Builder,
    Call,
    CheckOnly,
    Engine,
    Jobs,
    Load,
    MetadataFile,
    NoCache,
    Progress,
    Provenance,
    Pull,
    Push,
    Root,
    Sbom,
    Snapshotter,
    state_root,
)
from bakepy.errors import UsageError

Several = list[str] | None


def _several(*names: str, help: str, metavar: str) -> typer.models.OptionInfo:
    option = typer.Option(*names, help=help, metavar=metavar)
    assert isinstance(option, typer.models.OptionInfo)
    return option


def _old(*names: str) -> typer.models.OptionInfo:
    """A flag of `docker build` that buildx still takes and does not list."""
    option = typer.Option(*names, hidden=True)
    assert isinstance(option, typer.models.OptionInfo)
    return option


def build(
    invocation: typer.Context,
    context: Annotated[
        str,
        typer.Argument(
            help="The build context: a folder, a git repository, a URL, - for standard input.", metavar="CONTEXT"
        ),
    ],
    file: Annotated[str, typer.Option("--file", "-f", help="The Dockerfile.", metavar="FILE")] = "",
    tag: Annotated[Several, _several("--tag", "-t", help="Name of the image.", metavar="NAME[:TAG]")] = None,
    build_arg: Annotated[Several, _several("--build-arg", help="Set an ARG.", metavar="NAME=VALUE")] = None,
    build_context: Annotated[
        Several, _several("--build-context", help="A named context: folder, docker-image://, …", metavar="NAME=VALUE")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="The stage to build.", metavar="STAGE")] = "",
    platform: Annotated[Several, _several("--platform", help="Platforms to build for.", metavar="OS/ARCH")] = None,
    output: Annotated[Several, _several("--output", "-o", help="What to write where.", metavar="SPEC")] = None,
    secret: Annotated[Several, _several("--secret", help="A secret for RUN.", metavar="SPEC")] = None,
    ssh: Annotated[Several, _several("--ssh", help="An SSH agent or key for RUN.", metavar="SPEC")] = None,
    label: Annotated[Several, _several("--label", help="A label of the image.", metavar="NAME=VALUE")] = None,
    annotation: Annotated[
        Several, _several("--annotation", help="An annotation of the image.", metavar="NAME=VALUE")
    ] = None,
    no_cache: NoCache = None,
    no_cache_filter: Annotated[
        Several, _several("--no-cache-filter", help="Stages whose steps are run anew.", metavar="STAGE")
    ] = None,
    network: Annotated[str, typer.Option("--network", help="default, host or none.", metavar="MODE")] = "",
    add_host: Annotated[
        Several, _several("--add-host", help="A line of /etc/hosts for RUN.", metavar="NAME:ADDRESS")
    ] = None,
    shm_size: Annotated[str, typer.Option("--shm-size", help="Size of /dev/shm.", metavar="BYTES")] = "",
    ulimit: Annotated[Several, _several("--ulimit", help="A limit of RUN.", metavar="NAME=SOFT:HARD")] = None,
    resource: Annotated[Several, _several("--resource", help="A cgroup limit of RUN.", metavar="NAME=VALUE")] = None,
    cgroup_parent: Annotated[str, typer.Option("--cgroup-parent", help="The cgroup above RUN.", metavar="PATH")] = "",
    allow: Annotated[Several, _several("--allow", help="Grant an entitlement.", metavar="WHAT")] = None,
    pull: Pull = None,
    push: Push = False,
    load: Load = False,
    progress: Progress = "auto",
    quiet: Annotated[
        bool, typer.Option("--quiet/--no-quiet", "-q", help="Only print the image's digest when it is done.")
    ] = False,
    metadata_file: MetadataFile = None,
    iidfile: Annotated[
        Path | None, typer.Option("--iidfile", help="Write the image's digest to this file.", metavar="FILE")
    ] = None,
    cache_from: Annotated[Several, _several("--cache-from", help="Not supported yet.", metavar="SPEC")] = None,
    cache_to: Annotated[Several, _several("--cache-to", help="Not supported yet.", metavar="SPEC")] = None,
    attest: Annotated[Several, _several("--attest", help="Not supported yet.", metavar="SPEC")] = None,
    policy: Annotated[Several, _several("--policy", help="Not supported yet.", metavar="SPEC")] = None,
    provenance: Provenance = "",
    sbom: Sbom = "",
    builder: Builder = "",
    call: Call = "build",
    check: CheckOnly = False,
    jobs: Jobs = None,
    root: Root = None,
    snapshotter: Snapshotter = "",
    engine: Engine = "embedded",
    memory: Annotated[str, _old("--memory", "-m")] = "",
    memory_swap: Annotated[str, _old("--memory-swap")] = "",
    cpu_shares: Annotated[str, _old("--cpu-shares", "-c")] = "",
    cpu_period: Annotated[str, _old("--cpu-period")] = "",
    cpu_quota: Annotated[str, _old("--cpu-quota")] = "",
    cpuset_cpus: Annotated[str, _old("--cpuset-cpus")] = "",
    cpuset_mems: Annotated[str, _old("--cpuset-mems")] = "",
    isolation: Annotated[str, _old("--isolation")] = "",
    security_opt: Annotated[Several, _old("--security-opt")] = None,
    squash: Annotated[bool, _old("--squash/--no-squash")] = False,
    compress: Annotated[bool, _old("--compress/--no-compress")] = False,
    rm: Annotated[bool, _old("--rm/--no-rm")] = True,
    force_rm: Annotated[bool, _old("--force-rm/--no-force-rm")] = False,
    debug: Annotated[bool, _old("--debug/--no-debug", "-D")] = False,
) -> None:
    """Build one image from a Dockerfile, with the flags of docker buildx build."""
    del compress, rm, force_rm, debug  # these mean nothing here, nor with BuildKit
    _refuse(
        cache_from=cache_from, cache_to=cache_to, attest=attest, policy=policy,
        provenance=provenance if provenance not in ("", "false", "0") else "",
        sbom=sbom if sbom not in ("", "false", "0") else "",
    )  # fmt: skip
    if quiet and progress not in ("auto", "quiet"):
        raise UsageError(f"--progress {progress} and --quiet can not be given together")

    _leave_out(isolation=isolation, security_opt=security_opt, squash="true" if squash else "")
    limits = {
        "memory": memory, "memory-swap": memory_swap, "cpu-shares": cpu_shares, "cpu-period": cpu_period,
        "cpu-quota": cpu_quota, "cpuset-cpus": cpuset_cpus, "cpuset-mems": cpuset_mems,
    }  # fmt: skip

    from bakepy.cli.adhoc import BuildFlags, bake_file
    from bakepy.cli.launch import Launch, launch

    with ExitStack() as stack:
        inline: str | None = None
        if context == "-" and file != "-":
            from bakepy.cli.stdin_context import context_from

            empty = state_root(root, os.environ) / "empty"
            context, inline = stack.enter_context(context_from(sys.stdin.buffer, file=file, empty=empty))
        flags = BuildFlags(
            context,
            file=file,
            inline=inline,
            tags=tag or (),
            build_args=build_arg or (),
            build_contexts=build_context or (),
            target=target,
            platforms=platform or tuple(filter(None, [os.environ.get("DOCKER_DEFAULT_PLATFORM")])),
            outputs=output or (),
            secrets=secret or (),
            ssh=ssh or (),
            labels=label or (),
            annotations=annotation or (),
            no_cache=bool(no_cache),
            no_cache_filter=no_cache_filter or (),
            pull=bool(pull),
            push=push,
            load=load,
            network=network,
            add_hosts=add_host or (),
            shm_size=shm_size,
            ulimits=ulimit or (),
            resources=(*(f"{name}={value}" for name, value in limits.items() if value), *(resource or ())),
            call="check" if check else call,
            environment=os.environ,
        )
        launch(
            bake_file(flags),
            Launch(
                root=state_root(root, os.environ),
                snapshotter=snapshotter,
                engine=engine,
                builder=builder,
                allow=(*(allow or ()), *(("network.host",) if network == "host" else ())),  # the flag grants it
                progress="quiet" if quiet else progress,
                metadata_file=metadata_file,
                jobs=jobs,
                cgroup_parent=cgroup_parent,
                single=True,
                image_id_file=iidfile,
                print_id=quiet or progress == "quiet",
                call="check" if check else call,
            ),
            invocation.obj,
        )


def _refuse(**flags: Several | str) -> None:
    """Flags that would change what is built, or where, and that bakepy does not know yet."""
    for name, value in flags.items():
        if value:
            raise UsageError(f"--{name.replace('_', '-')} is not supported yet", hint="leave it out")


def _leave_out(**flags: Several | str) -> None:
    """Flags that BuildKit knows no more, and that buildx leaves out with a warning."""
    for name, value in flags.items():
        if value:
            from bakepy.cli.terminal import warn

            warn(f"--{name.replace('_', '-')} is left out: BuildKit has nothing like it, and bakepy neither")
