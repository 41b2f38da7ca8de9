"""Planning with an engine that is open: its view of images and far sources, and the files of this machine."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread

from bakepy.cli.disk import DiskFiles
from bakepy.cli.job import BakeOptions
from bakepy.cli.planning_ahead import plan_options
from bakepy.cli.resolving import Remote, resolver
from bakepy.cli.surroundings import with_surroundings
from bakepy.engine.embedded import Embedded
from bakepy.events import Emit
from bakepy.model.target import BakeFile
from bakepy.planner.compiling import make_plan
from bakepy.planner.plan import Plan


async def plan_with(
    engine: Embedded,
    bake_file: BakeFile,
    options: BakeOptions,
    emit: Emit = lambda event: None,
    warn: Callable[[str], None] = lambda warning: None,
) -> Plan:
    """Raises BakeError. What the surroundings say that is wrong goes to `warn`."""
    bake_file, warnings = await anyio.to_thread.run_sync(
        with_surroundings, bake_file, options.environment, options.directory
    )
    for warning in warnings:
        warn(warning)
    return await make_plan(
        bake_file,
        files=DiskFiles(options.directory),
        resolve=resolver(engine, emit),
        remote=Remote(engine, emit, options.environment, options.directory),
        options=plan_options(options, engine.host),
    )
