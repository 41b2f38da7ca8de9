"""What happened in a run, step by step and target by target: the report afterwards is made from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from enum import Enum

from bakepy.events import (
    Event,
    TargetDone,
    TargetStarted,
    VertexAdded,
    VertexCached,
    VertexDone,
    VertexFailed,
    VertexLog,
    VertexStarted,
    VertexWarning,
)
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass
from bakepy.progress.log import Tail


class StepState(Enum):
    """How far a step is. `WAITING` at the end means that nobody needed it, or that the run ended before."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Step:
    """One vertex. Times are seconds since the epoch; None: not yet."""

    digest: Digest
    name: str
    inputs: tuple[Digest, ...] = ()
    targets: tuple[str, ...] = ()
    state: StepState = StepState.WAITING
    started: float | None = None
    ended: float | None = None
    cached_by: str = ""
    error: str = ""
    tail: Tail | None = None


@dataclass(slots=True)
class TargetRecord:
    """One target: when it ran and how it ended (`""`: it has not)."""

    name: str
    started: float | None = None
    ended: float | None = None
    outcome: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class StepCounts:
    """The steps of one target: `run` by this run for this target alone, `shared` run once for it and others (as one
    step of the plan, or as steps that turned out to be equal), `cached` not run at all."""

    run: int = 0
    shared: int = 0
    cached: int = 0


@dataclass(slots=True)
class RunRecord:
    """A listener of events. Keeps a bounded amount a step: its last lines of output."""

    steps: dict[Digest, Step] = field(default_factory=dict)
    targets: dict[str, TargetRecord] = field(default_factory=dict)
    warnings: dict[tuple[str, str], None] = field(default_factory=dict)
    """Message and detail of each warning, once, in order."""

    def __call__(self, event: Event) -> None:
        match event:
            case VertexAdded():
                known = self.steps.get(event.digest)
                if known is None:
                    self.steps[event.digest] = Step(event.digest, event.name, event.inputs, event.targets)
                else:
                    known.targets = tuple(dict.fromkeys((*known.targets, *event.targets)))
            case VertexStarted():
                step = self.step(event.digest)
                step.state, step.started = StepState.RUNNING, event.time
            case VertexCached():
                step = self.step(event.digest)
                step.state, step.ended, step.cached_by = StepState.CACHED, event.time, event.by
            case VertexDone():
                step = self.step(event.digest)
                step.state, step.ended = StepState.DONE, event.time
            case VertexFailed():
                step = self.step(event.digest)
                step.state = StepState.CANCELLED if event.cancelled else StepState.FAILED
                step.ended, step.error = event.time, event.error
                if step.tail is not None:
                    step.tail.close()
            case VertexLog():
                step = self.step(event.digest)
                if step.tail is None:
                    step.tail = Tail()
                step.tail.feed(event.stream, event.data)
            case VertexWarning():
                self.warnings[event.message, event.detail] = None
            case TargetStarted():
                self.target(event.target).started = event.time
            case TargetDone():
                target = self.target(event.target)
                target.ended, target.outcome, target.message = event.time, event.outcome, event.message

    def step(self, digest: Digest) -> Step:
        """The step of that digest; made if no event has named it so far."""
        step = self.steps.get(digest)
        if step is None:
            step = self.steps[digest] = Step(digest, str(digest))
        return step

    def target(self, name: str) -> TargetRecord:
        target = self.targets.get(name)
        if target is None:
            target = self.targets[name] = TargetRecord(name)
        return target

    def failed(self) -> tuple[Step, ...]:
        """The steps that failed by themselves, in the order of the graph."""
        return tuple(step for step in self.steps.values() if step.state is StepState.FAILED)

    def counts(self, target: str, needed: Iterable[Digest]) -> StepCounts:
        """Of the steps `needed` by a target: how many were run, run for others too, or found."""
        run = shared = cached = 0
        for digest in needed:
            step = self.steps.get(digest)
            if step is None:
                continue
            if step.state is StepState.CACHED:
                if step.cached_by == "run":
                    shared += 1
                else:
                    cached += 1
            elif step.state is StepState.DONE:
                if any(other != target for other in step.targets):
                    shared += 1
                else:
                    run += 1
        return StepCounts(run, shared, cached)
