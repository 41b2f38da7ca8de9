"""Which display is chosen, and what the terminal one draws."""

import io

import pytest

from bakepy.errors import UsageError
from bakepy.events import (
    Event,
    TargetDone,
    TargetStarted,
    VertexAdded,
    VertexCached,
    VertexFailed,
    VertexLog,
    VertexStarted,
)
from bakepy.model.digest import Digest
from bakepy.progress import open_display
from bakepy.progress.log import LineCutter, seconds, size, step_name
from bakepy.progress.plain import PlainDisplay
from bakepy.progress.quiet import QuietDisplay
from bakepy.progress.rawjson import RawJSONDisplay
from bakepy.progress.tty import TerminalDisplay


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_auto_is_plain_off_a_terminal_and_tty_on_one() -> None:
    assert isinstance(open_display("auto", io.StringIO(), {}), PlainDisplay)
    assert isinstance(open_display("auto", Terminal(), {}), TerminalDisplay)
    assert isinstance(open_display("auto", Terminal(), {"TERM": "dumb"}), PlainDisplay)


def test_the_environment_names_what_auto_means_and_nothing_else() -> None:
    environment = {"BUILDKIT_PROGRESS": "quiet"}
    assert isinstance(open_display("auto", io.StringIO(), environment), QuietDisplay)
    assert isinstance(open_display("rawjson", io.StringIO(), environment), RawJSONDisplay)


def test_an_unknown_display_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        open_display("plian", io.StringIO(), {})
    assert str(caught.value) == "unknown value 'plian' of --progress\nhint: did you mean 'plain'?"


def test_quiet_says_nothing() -> None:
    stream = io.StringIO()
    with open_display("quiet", stream, {}) as display:
        display(VertexStarted(Digest.of(b"a"), 1.0))
    assert stream.getvalue() == ""


def test_the_terminal_shows_running_steps_with_their_last_lines_and_what_ended() -> None:
    make, test, base, late = (Digest.of(name) for name in (b"make", b"test", b"base", b"late"))
    stream = Terminal()
    display = TerminalDisplay(stream, colour=False)
    events: list[Event] = [
        TargetStarted("web", 1.0),
        VertexAdded(base, "FROM base"),
        VertexAdded(make, "RUN make"),
        VertexAdded(test, "RUN test"),
        VertexCached(base, 1.0, "definition"),
        VertexStarted(make, 1.0),
        VertexLog(make, 1, b"one\ntwo\n", 1.0),
        VertexStarted(test, 1.0),
        VertexFailed(test, 2.0, "exit code: 2\nmore"),
        VertexAdded(late, "RUN late"),
        VertexLog(late, 2, b"waits for memory\n", 2.0),
        TargetDone("web", 3.0, "failed", "exit code: 2"),
    ]
    with display:
        for event in events:
            display(event)
        picture = [line.plain for line in display._picture(10)]
    assert picture[0].endswith("  2/4 steps (1 cached)  1/1 targets")
    assert picture[1].startswith(" → RUN make  ")
    assert picture[2:] == ["   one", "   two"]
    assert "✗ RUN test: exit code: 2" in stream.getvalue()
    assert "RUN late: waits for memory" in stream.getvalue()
    assert "✗ web failed 2.0s" in stream.getvalue()


def test_the_picture_never_is_higher_than_the_terminal() -> None:
    display = TerminalDisplay(Terminal(), colour=False)
    for number in range(30):
        digest = Digest.of(b"%d" % number)
        display(VertexAdded(digest, f"step {number}"))
        display(VertexStarted(digest, 1.0))
        display(VertexLog(digest, 1, b"a\nb\nc\n", 1.0))
    for height in (2, 3, 10, 29, 31, 40):
        picture = display._picture(height)
        assert len(picture) == min(height, 1 + 30 + 90)
    assert display._picture(4)[-1].plain == "   … and 28 more"


def test_a_line_that_never_ends_is_cut() -> None:
    cutter = LineCutter()
    assert [len(line) for line in cutter.feed(b"x" * 100_000)] == [100_000]
    assert list(cutter.close()) == []


def test_durations_and_sizes_for_people() -> None:
    assert [seconds(value) for value in (0.04, 9.96, 99.9, 100, 725, 7265)] == [
        "0.0s", "10.0s", "99.9s", "1m40s", "12m05s", "2h01m05s",
    ]  # fmt: skip
    assert [size(value) for value in (0, 999, 1000, 1_240_000, 5e12, 5e15)] == [
        "0B", "999B", "1.00kB", "1.24MB", "5.00TB", "5000.00TB",
    ]  # fmt: skip


def test_steps_of_one_target_tell_whose_they_are() -> None:
    assert step_name("[build 2/4] RUN make", ("web",)) == "[web build 2/4] RUN make"
    assert step_name("[1/2] RUN make", ("web",)) == "[web 1/2] RUN make"
    assert step_name("[build 2/4] RUN make", ("web", "api")) == "[build 2/4] RUN make"
    assert step_name("[web] exporting", ("web",)) == "[web] exporting"
    assert step_name("make", ("web",)) == "make"
