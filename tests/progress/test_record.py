"""The record of a run: how steps ended, whose they were, their last lines."""

from bakepy.events import (
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
from bakepy.progress.record import RunRecord, StepCounts, StepState

BASE, DEPS, MAKE = (Digest.of(name) for name in (b"base", b"deps", b"make"))


def test_steps_of_a_target_are_told_apart_as_run_shared_and_cached() -> None:
    record = RunRecord()
    for event in (
        VertexAdded(BASE, "FROM base", targets=("web", "api")),
        VertexAdded(DEPS, "RUN deps", (BASE,), targets=("web",)),
        VertexAdded(DEPS, "RUN deps", (BASE,), targets=("api",)),
        VertexAdded(MAKE, "RUN make", (DEPS,), targets=("web",)),
        VertexCached(BASE, 1.0, "definition"),
        VertexStarted(DEPS, 1.0),
        VertexDone(DEPS, 2.0),
        VertexStarted(MAKE, 2.0),
        VertexDone(MAKE, 3.0),
    ):
        record(event)
    assert record.counts("web", (BASE, DEPS, MAKE)) == StepCounts(run=1, shared=1, cached=1)
    assert record.counts("api", (BASE, DEPS)) == StepCounts(run=0, shared=1, cached=1)
    assert record.step(DEPS).targets == ("web", "api")


def test_a_step_that_another_one_did_in_this_run_is_shared() -> None:
    record = RunRecord()
    record(VertexAdded(MAKE, "RUN make", targets=("web",)))
    record(VertexCached(MAKE, 1.0, "run"))
    assert record.counts("web", (MAKE,)) == StepCounts(shared=1)


def test_a_failed_step_keeps_its_last_lines_as_a_terminal_would_show_them() -> None:
    record = RunRecord()
    record(VertexStarted(MAKE, 1.0))
    record(VertexLog(MAKE, 1, b"".join(b"line %d\n" % number for number in range(100)), 1.5))
    record(VertexLog(MAKE, 2, b"  3%\r 99%\n\x1b[31merror:\x1b[0m no", 1.6))
    record(VertexFailed(MAKE, 2.0, "exit code: 2"))
    (step,) = record.failed()
    assert step.state is StepState.FAILED
    assert step.error == "exit code: 2"
    assert step.tail is not None
    assert step.tail.lines(4) == ("line 98", "line 99", " 99%", "error: no")
    assert len(step.tail.lines()) == 20


def test_cancelled_steps_are_not_failures() -> None:
    record = RunRecord()
    record(VertexFailed(MAKE, 2.0, "", cancelled=True))
    assert record.failed() == ()
    assert record.step(MAKE).state is StepState.CANCELLED


def test_targets_and_warnings_are_kept() -> None:
    record = RunRecord()
    record(TargetStarted("web", 1.0))
    record(TargetDone("web", 4.0, "failed", "exit code: 2"))
    record(VertexWarning(MAKE, "slow"))
    record(VertexWarning(BASE, "slow"))
    target = record.target("web")
    assert (target.started, target.ended, target.outcome, target.message) == (1.0, 4.0, "failed", "exit code: 2")
    assert list(record.warnings) == [("slow", "")]
