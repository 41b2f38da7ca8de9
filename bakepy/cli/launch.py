"""The step from a BakeFile to work: everything is checked that can be, the engine's namespaces are entered, and only
then comes what is slow to import."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bakepy.bakefile.places import portable
from bakepy.cli import limiting, supported
from bakepy.cli.ahead import Ahead, enter
from bakepy.cli.job import BakeOptions, Job
from bakepy.errors import UsageError
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile
from bakepy.model.value import dataclass
from bakepy.progress import check_mode

if TYPE_CHECKING:
    from bakepy.cli.resume import Request


@dataclass(frozen=True, slots=True)
class Launch:
    """The options of a run as written."""

    root: Path
    snapshotter: str = ""
    engine: str = "embedded"
    builder: str = ""
    allow: tuple[str, ...] = ()
    progress: str = "auto"
    metadata_file: Path | None = None
    keep_going: bool = False
    jobs: int | None = None
    pools: tuple[str, ...] = ()
    memory_budget: str = ""
    cgroup_parent: str = ""
    single: bool = False
    image_id_file: Path | None = None
    print_id: bool = False
    call: str = ""
    request: Request | None = None

    def environment(self) -> dict[str, str]:
        """The caller's environment, with what was said by a flag in place of a variable."""
        flags = {"BAKEPY_SNAPSHOTTER": self.snapshotter}
        return {**os.environ, **{name: value for name, value in flags.items() if value}}


def launch(bake_file: BakeFile, options: Launch, ahead: Ahead | None) -> None:
    """Bakes, or asks the Dockerfiles if that is what the targets are called for. Raises BakeError, or typer.Exit with
    a status; with an engine that was started `ahead`, this process only waits for it then."""
    supported.check_engine(options.engine)
    if options.builder:
        raise UsageError("--builder: the embedded engine has no builders", hint="leave it out")
    mode = check_mode({"none": "quiet"}.get(options.progress, options.progress))
    grants = supported.granted(options.allow)
    methods = supported.called(bake_file)
    if methods:
        from bakepy.cli.calls import CallFlags, call

        flags = CallFlags.parse(options.call)
        raise typer.Exit(call(bake_file, methods, flags, root=options.root, single=options.single))
    supported.check_bake(bake_file, grants)
    pools = limiting.pool_limits(bake_file, options.pools)
    job = Job(
        bake_file,
        BakeOptions(
            root=options.root,
            environment=options.environment(),
            progress=mode,
            metadata_file=options.metadata_file,
            keep_going=options.keep_going,
            jobs=options.jobs,
            pools=FrozenMap(pools),
            memory=limiting.memory_budget(options.memory_budget),
            grants=grants,
            cgroup_parent=options.cgroup_parent,
            notes=(*supported.notes(bake_file), *limiting.idle_pools(bake_file, options.pools)),
            single=options.single,
            image_id_file=options.image_id_file,
            print_id=options.print_id,
            request=options.request,
        ),
    )
    if ahead is not None:
        ahead.hand_over(replace(job, bake_file=portable(bake_file)))
    enter()

    from bakepy.cli.baking import bake

    raise typer.Exit(bake(job.bake_file, job.options))
