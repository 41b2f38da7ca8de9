"""The plain display: one step has the floor, the others wait, what ends interrupts."""

import io

from bakepy.events import (
    Event,
    TargetDone,
    VertexAdded,
    VertexCached,
    VertexDone,
    VertexFailed,
    VertexLog,
    VertexStarted,
    VertexStatus,
    VertexWarning,
)
from bakepy.model.digest import Digest
from bakepy.progress.plain import PlainDisplay

MAKE = Digest.of(b"make")
TEST = Digest.of(b"test")


def shown(*events: Event) -> list[str]:
    stream = io.StringIO()
    with PlainDisplay(stream) as display:
        for event in events:
            display(event)
    return stream.getvalue().splitlines()


def test_a_step_has_number_name_timed_lines_and_verdict() -> None:
    assert shown(
        VertexAdded(MAKE, "[build 2/4] RUN make"),
        VertexStarted(MAKE, 100.0),
        VertexLog(MAKE, 1, b"cc -c ma", 100.1),
        VertexLog(MAKE, 1, b"in.c\r\nlinking\n", 112.5),
        VertexDone(MAKE, 112.6),
    ) == [
        "#1 [build 2/4] RUN make",
        "#1 12.50 cc -c main.c",
        "#1 12.50 linking",
        "#1 DONE 12.6s",
        "",
    ]


def test_a_line_without_an_end_is_shown_when_the_step_ends() -> None:
    assert shown(
        VertexAdded(MAKE, "make"),
        VertexStarted(MAKE, 0.0),
        VertexLog(MAKE, 2, b"killed", 0.5),
        VertexDone(MAKE, 1.0),
    ) == ["#1 make", "#1 killed", "#1 DONE 1.0s", ""]


def test_cached_failed_and_cancelled_steps_say_so() -> None:
    assert shown(
        VertexAdded(MAKE, "make"),
        VertexAdded(TEST, "test"),
        VertexCached(MAKE, 1.0, "definition"),
        VertexStarted(TEST, 2.0),
        VertexFailed(TEST, 3.0, "exit code: 2"),
    ) == ["#1 make", "#1 CACHED", "", "#2 test", "#2 ERROR: exit code: 2", ""]
    assert shown(VertexAdded(TEST, "test"), VertexStarted(TEST, 2.0), VertexFailed(TEST, 3.0, "", cancelled=True)) == [
        "#1 test", "#1 CANCELED", "",
    ]  # fmt: skip


def test_lines_of_another_step_wait_until_the_one_with_the_floor_ends() -> None:
    assert shown(
        VertexAdded(MAKE, "make"),
        VertexAdded(TEST, "test"),
        VertexStarted(MAKE, 10.0),
        VertexStarted(TEST, 10.0),
        VertexLog(TEST, 1, b"ok 1\n", 10.5),
        VertexLog(MAKE, 1, b"linking\n", 11.0),
        VertexDone(MAKE, 12.0),
        VertexDone(TEST, 13.0),
    ) == [
        "#1 make",
        "#1 1.000 linking",
        "#1 DONE 2.0s",
        "",
        "#2 test",
        "#2 0.500 ok 1",
        "#2 DONE 3.0s",
        "",
    ]


def test_a_step_that_ends_interrupts_the_one_with_the_floor() -> None:
    assert shown(
        VertexAdded(MAKE, "make"),
        VertexAdded(TEST, "test"),
        VertexStarted(MAKE, 10.0),
        VertexStarted(TEST, 10.0),
        VertexDone(TEST, 10.5),
        VertexLog(MAKE, 1, b"linking\n", 11.0),
        VertexDone(MAKE, 12.0),
    ) == [
        "#1 make",
        "#1 ...",
        "",
        "#2 test",
        "#2 DONE 0.5s",
        "",
        "#1 make",
        "#1 1.000 linking",
        "#1 DONE 2.0s",
        "",
    ]


def test_after_five_seconds_of_waiting_a_step_takes_the_floor() -> None:
    lines = shown(
        VertexAdded(MAKE, "make"),
        VertexAdded(TEST, "test"),
        VertexStarted(MAKE, 10.0),
        VertexStarted(TEST, 10.0),
        VertexLog(TEST, 1, b"ok 1\n", 11.0),
        VertexLog(TEST, 1, b"ok 2\n", 16.0),
    )
    assert lines == ["#1 make", "#1 ...", "", "#2 test", "#2 1.000 ok 1", "#2 6.000 ok 2", ""]


def test_what_still_waits_is_shown_at_the_end() -> None:
    assert shown(
        VertexAdded(MAKE, "make"),
        VertexAdded(TEST, "test"),
        VertexStarted(MAKE, 10.0),
        VertexStarted(TEST, 10.0),
        VertexLog(TEST, 1, b"ok 1\n", 11.0),
    )[-3:] == ["#2 test", "#2 1.000 ok 1", ""]


def test_a_download_is_told_when_it_begins_moves_by_five_per_cent_and_ends() -> None:
    assert shown(
        VertexAdded(MAKE, "FROM base"),
        VertexStarted(MAKE, 0.0),
        VertexStatus(MAKE, "sha256:aa", "downloading", 0, 2_000_000, 0.0),
        VertexStatus(MAKE, "sha256:aa", "downloading", 10_000, 2_000_000, 0.1),
        VertexStatus(MAKE, "sha256:aa", "downloading", 1_000_000, 2_000_000, 0.2),
        VertexStatus(MAKE, "sha256:aa", "downloading", 2_000_000, 2_000_000, 0.4, done=True),
    ) == [
        "#1 FROM base",
        "#1 downloading sha256:aa 0B / 2.00MB",
        "#1 downloading sha256:aa 1.00MB / 2.00MB 0.2s",
        "#1 downloading sha256:aa 2.00MB / 2.00MB 0.4s done",
        "",
    ]


def test_warnings_are_told_and_of_an_error_the_first_line() -> None:
    assert shown(
        VertexAdded(MAKE, "make"),
        VertexStarted(MAKE, 0.0),
        VertexWarning(MAKE, "slow"),
        VertexFailed(MAKE, 1.0, "exit code: 1\n    more"),
        TargetDone("web", 1.0, "failed"),
    ) == ["#1 make", "#1 WARN: slow", "#1 ERROR: exit code: 1", ""]


def test_in_a_run_of_several_targets_steps_tell_whose_they_are() -> None:
    stream = io.StringIO()
    with PlainDisplay(stream, several_targets=True) as display:
        display(VertexAdded(MAKE, "[build 1/1] RUN make", targets=("web",)))
        display(VertexCached(MAKE, 1.0, "definition"))
    assert stream.getvalue() == "#1 [web build 1/1] RUN make\n#1 CACHED\n\n"
