"""Planning in the first process, while the engine's is still importing what it needs to carry a plan out.

The first process has nothing else to do by then. Images are looked up by the engine, which is asked for them; a plan
that needs more from it (far sources) is left to it. Nothing here imports an event loop: with answers that are simply
waited for, planning never waits for two things at a time. Measured in docs/decisions/start-up.md.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bakepy.cli.channel import Channel, Declined, Found, Planned, Wanted
from bakepy.cli.disk import DiskFiles
from bakepy.cli.job import BakeOptions, Job
from bakepy.dockerfile.images import ImageRequest
from bakepy.errors import BakeError
from bakepy.llb.op import SourceOp
from bakepy.model.platform import Platform, host_platform
from bakepy.model.target import BakeFile, Target

if TYPE_CHECKING:
    from bakepy.planner.compiling import PlanOptions

T = TypeVar("T")

MOST_TARGETS = 32
MOST_LINES = 1000
"""Of Dockerfiles, each counted for every target. With more steps, handing the plan over takes as long as there is to be
won."""


class _Declined(Exception):
    """This is for the engine's process."""


class _Files(DiskFiles):
    """Reads no more than what makes a small plan."""

    def __init__(self, directory: Path, lines: int) -> None:
        super().__init__(directory)
        self._lines = lines

    def read(self, path: str) -> bytes:
        data = super().read(path)
        self._lines -= data.count(b"\n")
        if self._lines < 0:
            raise _Declined
        return data


class _Far:
    """Implements the planner's `RemoteReader`."""

    async def is_archive(self, op: SourceOp, targets: Sequence[Target]) -> bool:
        raise _Declined

    async def read(self, op: SourceOp, path: str, targets: Sequence[Target]) -> bytes:
        raise _Declined

    async def time(self, op: SourceOp, targets: Sequence[Target]) -> int | None:
        raise _Declined


def plan_ahead(job: Job, channel: Channel) -> None:
    """Makes the plan of a job and sends it. Raises BrokenPipeError or EOFError if the other process has ended."""
    from bakepy.cli.surroundings import with_surroundings
    from bakepy.planner.compiling import make_plan

    async def resolve(wanted: Mapping[ImageRequest, Sequence[Target]], layouts: Mapping[str, str]) -> Found:
        names = {request: tuple(target.name for target in targets) for request, targets in wanted.items()}
        channel.send(Wanted(names, dict(layouts)))
        found: Found = channel.receive()
        return found

    options = job.options
    warnings: tuple[str, ...] = ()
    try:
        bake_file, warnings = with_surroundings(job.bake_file, options.environment, options.directory)
        plan = _done(
            make_plan(
                bake_file,
                files=_Files(options.directory, _lines_left(bake_file)),
                resolve=resolve,
                remote=_Far(),
                options=plan_options(options, host_platform()),
            )
        )
    except _Declined:
        channel.send(Declined())
    except BakeError as error:
        channel.send(Planned(error, warnings))
    except (BrokenPipeError, EOFError):
        raise
    except Exception:
        channel.send(Declined())  # it will meet that as well, and knows how to tell it
    else:
        channel.send(Planned(plan, warnings))


def plan_options(options: BakeOptions, host: Platform) -> PlanOptions:
    """What the planner is told of how a run goes about it, whichever process plans."""
    from bakepy.planner.compiling import PlanOptions

    return PlanOptions(
        build_platform=host,
        granted=options.grants,
        cgroup_parent=options.cgroup_parent,
        unsupported=options.unsupported,
    )


def _lines_left(bake_file: BakeFile) -> int:
    """For Dockerfiles that are still to be read. Raises _Declined if what is in the bake file itself is too much."""
    targets = bake_file.targets.values()
    left = (MOST_LINES - sum((target.dockerfile_inline or "").count("\n") for target in targets)) // max(
        1, len(targets)
    )
    if left < 0:
        raise _Declined
    return left


def _done(work: Coroutine[object, None, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise RuntimeError("planning waits for something else than its images")
