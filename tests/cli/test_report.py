"""What is told after a run."""

from bakepy.cli.report import FailureReport, TargetReport, failures, table, warnings
from bakepy.errors import ProcessError
from bakepy.model.digest import Digest
from bakepy.model.location import SourceFile, SourceRange
from bakepy.progress.record import StepCounts


def test_the_table_tells_digest_size_time_steps_and_what_was_written() -> None:
    digest = Digest("sha256:" + "ab" * 32)
    assert table(
        [
            TargetReport("api", "succeeded", digest, 2_100_000, 0.31, StepCounts(2, 3, 14), ("archive out/api.tar",)),
            TargetReport("tools", "succeeded", None, 0, 12.0, StepCounts(0, 0, 5), ("folder out/tools",)),
        ]
    ).splitlines() == [
        "target  digest                 size   time  run  shared  cached",
        "api     sha256:abababababab  2.10MB   0.3s    2       3      14",
        "tools   -                            12.0s    0       0       5",
        "",
        "api    archive out/api.tar",
        "tools  folder out/tools",
    ]


def test_targets_that_are_not_done_say_how_they_ended() -> None:
    assert table(
        [
            TargetReport("api", "failed", took=1.0),
            TargetReport("web", "blocked", blocked_by="api"),
            TargetReport("doc", "not started"),
        ]
    ).splitlines() == [
        "target  digest          size  time  run  shared  cached",
        "api     failed                1.0s",
        "web     blocked by api",
        "doc     not started",
    ]


def test_a_failure_shows_targets_last_lines_place_and_exit_code() -> None:
    file = SourceFile("Dockerfile", "FROM busybox\nRUN make all\n")
    error = ProcessError("RUN make all: exit code: 2", status=2, where=SourceRange.of_line(file, 2))
    lines = tuple(f"line {number}" for number in range(20))
    assert failures([FailureReport(("api", "web"), error, "[build 2/2] RUN make all", lines)]).splitlines() == [
        "✗ api, web",
        "------ [build 2/2] RUN make all",
        *(f"  line {number}" for number in range(8, 20)),
        "------",
        "ERROR: Dockerfile:2:1: RUN make all: exit code: 2",
        "    RUN make all",
        "    ^^^^^^^^^^^^",
    ]


def test_of_many_failures_each_is_shown_and_none_at_length() -> None:
    def failed(number: int) -> FailureReport:
        lines = tuple(f"line {line}" for line in range(20))
        return FailureReport((f"t{number}",), ProcessError(f"step {number} failed", status=1), f"RUN {number}", lines)

    shown = failures([failed(number) for number in range(45)]).splitlines()
    assert shown[:9] == [
        "✗ t0",
        "------ RUN 0",
        *(f"  line {number}" for number in range(16, 20)),
        "------",
        "ERROR: step 0 failed",
        "",
    ]
    assert [line for line in shown if line.startswith("✗")][40:] == [f"✗ t{n}: step {n} failed" for n in range(40, 45)]


def test_lines_and_lists_of_names_are_cut() -> None:
    error = ProcessError("no", status=1)
    report = FailureReport(tuple(f"t{number}" for number in range(300)), error, "RUN", ("x" * 5000,))
    assert failures([report]).splitlines() == [
        f"✗ {', '.join(f't{number}' for number in range(12))} and 288 more",
        "------ RUN",
        f"  {'x' * 1000} …",
        "------",
        "ERROR: no",
    ]


def test_warnings_show_their_details() -> None:
    assert warnings({("slow", ""): None, ("odd", "because\nof that"): None}).splitlines() == [
        "WARNING: slow",
        "WARNING: odd",
        "    because",
        "    of that",
    ]
