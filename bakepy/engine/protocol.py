"""What an engine does for the command line: it looks up images, and builds the targets of a plan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio

from bakepy.errors import BakeError
from bakepy.events import Emit
from bakepy.exporter.result import Exported, TargetResult
from bakepy.model.digest import Digest
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass
from bakepy.planner.plan import Plan
from bakepy.source.image import ResolvedImage

if TYPE_CHECKING:
    from bakepy.worker.context import Secrets, SshAgents

SUCCEEDED, FAILED, BLOCKED, CANCELLED, NOT_STARTED = "succeeded", "failed", "blocked", "cancelled", "not started"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one target ended: `outcome` is one of the five words above.

    `error` is there for `failed` and `blocked`; `vertex` is the step that failed, None if it was not a step (an
    export). `blocked_by` names the linked target that failed. `exported` is what its outputs came to.
    """

    target: str
    outcome: str
    error: BakeError | None = None
    vertex: Digest | None = None
    blocked_by: str = ""
    exported: Exported | None = None


@dataclass(frozen=True, slots=True)
class SolveOptions:
    """`jobs` limits the steps that run at the same time, of whatever kind; None: as many as suit the machine. `pools`
    are further limits by name: those of the targets, and `exec`, `bytes` and `network` for steps of these kinds.
    `memory` is what steps may claim together (bytes); None: what the machine has. `secrets` and `ssh` are what the
    caller lends, by target: a step gets what the targets that need it have. `entitlements` are granted
    (`network.host`, `security.insecure`). What was made after `since` (seconds since the epoch) is taken even by steps
    that must not use the cache: it is of the run that this one goes on with."""

    keep_going: bool = False
    jobs: int | None = None
    pools: Mapping[str, int] = field(default_factory=dict)
    memory: int | None = None
    secrets: Mapping[str, Secrets] = field(default_factory=dict)
    ssh: Mapping[str, SshAgents] = field(default_factory=dict)
    entitlements: frozenset[str] = frozenset()
    since: float = inf


Export = Callable[[TargetResult], Awaitable[Exported]]
"""Writes the outputs of one target. Raises BakeError; then the target has failed."""


class Engine(Protocol):
    """Builds plans. Made by an async context manager of its own, which gives everything back."""

    async def resolve_image(
        self, identifier: str, platform: Platform, attrs: Mapping[str, str], layouts: Mapping[str, Path]
    ) -> ResolvedImage:
        """Pins an image (`docker-image://…`, `oci-layout://…`) for the planner; each once in a run."""
        ...

    async def solve(
        self,
        plan: Plan,
        *,
        export: Export,
        emit: Emit,
        options: SolveOptions = ...,
        stop: anyio.Event | None = None,
    ) -> tuple[Outcome, ...]:
        """Builds all targets and exports each as soon as its platforms are there.

        Returns one outcome for each target, in the plan's order; a failed step is an outcome, not an error. When
        `stop` is set, what is under way is cancelled and the outcomes so far are returned. Raises EngineError when
        the engine itself can not go on.
        """
        ...
