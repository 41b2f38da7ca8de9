"""The command line as a whole: start-up, usage errors, how errors are shown, exit codes."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bakepy import __version__
from bakepy.cli import app, terminal
from bakepy.cli.options import state_root
from bakepy.errors import DefinitionError, DefinitionErrors, EngineError
from bakepy.model.location import SourceFile, SourceRange


def imported(*arguments: str, cwd: Path) -> set[str]:
    """The top-level modules that a run of bakepy has imported when it ends."""
    code = (
        "import os, sys; sys.argv = ['bakepy', *sys.argv[1:]]; os._exit = int\n"
        "from bakepy.cli import main\n"
        "status = main()\n"
        "print('\\n'.join(sys.modules), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=True, timeout=240
    )
    return set(done.stderr.splitlines())


def test_version_imports_nothing_slow(tmp_path: Path) -> None:
    modules = imported("--version", cwd=tmp_path)
    assert {name for name in modules if name.partition(".")[0] == "bakepy"} == {
        "bakepy", "bakepy._version", "bakepy.cli",
    }  # fmt: skip
    assert not modules & {"typer", "anyio", "asyncio", "rich", "dataclasses", "json"}


def test_what_bakes_imports_no_bake_language() -> None:
    code = "import sys, bakepy.cli.baking, bakepy.cli.resume, bakepy.worker.exec; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    modules = done.stdout.split()
    assert "bakepy.worker.exec" in modules
    assert [name for name in modules if name.startswith("bakepy.bakefile") or name in ("platform", "httpcore")] == []


def test_version_is_told_wherever_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["--version"]) == 0
    assert capsys.readouterr().out == f"bakepy {__version__}\n"


def test_output_that_can_not_be_written_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "docker-bake.json").write_text('{"target": {"default": {}}}')
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bakepy", "run", "--print"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=240,
            env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        )  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ERROR: standard output: No space left on device")


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_streams_that_the_caller_has_closed_are_empty(tmp_path: Path, closed: tuple[int, ...]) -> None:
    (tmp_path / "docker-bake.json").write_text('{"target": {"default": {}}}')
    redirections = " ".join(f"{number}>&-" for number in closed)
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", "bakepy", "run", "--print"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert (done.returncode, done.stderr, bool(done.stdout)) == (0, "", 1 not in closed)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "ERROR: out of memory\nhint: a limit of this process (ulimit -v) counts as well\n"),
        (
            RuntimeError("can't start new thread"),
            "ERROR: can't start new thread\n"
            "hint: more processes and threads must be allowed: ulimit -u, or pids.max of the cgroup\n",
        ),
        (
            OSError(errno.EMFILE, "Too many open files", "/x"),
            "ERROR: /x: Too many open files\nhint: more files must be allowed to be open at a time: ulimit -n\n",
        ),
    ],
    ids=["memory", "threads", "files"],
)
def test_a_limit_of_the_process_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("bakepy.cli.doctor.all_checks", fail)
    assert app.run(["doctor"]) == 1
    assert capsys.readouterr().err == told


def test_an_unknown_command_or_option_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["rnu"]) == 2
    assert "rnu" in capsys.readouterr().err
    assert app.run(["doctor", "--rot", "/x"]) == 2
    assert "--root" in capsys.readouterr().err


def test_an_error_of_a_command_is_shown_and_gives_its_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise EngineError("no runtime", hint="apt-get install crun")

    monkeypatch.setattr("bakepy.cli.doctor.all_checks", fail)
    assert app.run(["doctor"]) == 5
    assert capsys.readouterr().err == "ERROR: no runtime\nhint: apt-get install crun\n"


def test_a_full_disk_or_a_missing_right_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "/state/blobs")

    monkeypatch.setattr("bakepy.cli.doctor.all_checks", fail)
    assert app.run(["doctor"]) == 1
    assert capsys.readouterr().err == (
        "ERROR: /state/blobs: No space left on device\nhint: the disk of /state/blobs is full: free some space\n"
    )


def test_an_interrupt_before_anything_was_begun_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("bakepy.cli.doctor.all_checks", interrupt)
    assert app.run(["doctor"]) == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_each_of_several_errors_is_headed() -> None:
    file = SourceFile("bake.toml", 'tags = "a"\n')
    errors = DefinitionErrors(
        [DefinitionError("not a list", where=SourceRange.at(file, 1, 8, 3)), DefinitionError("b", hint="c")]
    )
    assert terminal.render(errors) == (
        'ERROR: bake.toml:1:8: not a list\n    tags = "a"\n           ^^^\nERROR: b\nhint: c'
    )


def test_colour_marks_head_carets_and_hint() -> None:
    file = SourceFile("bake.toml", 'tags = "a"\n')
    error = DefinitionError("not a list", where=SourceRange.at(file, 1, 8, 3), hint="use [ ]")
    assert terminal.render(error, colour=True) == (
        "\x1b[31mERROR:\x1b[0m \x1b[1mbake.toml:1:8: not a list\x1b[0m\n"
        '    tags = "a"\n'
        "\x1b[31m           ^^^\x1b[0m\n"
        "\x1b[36mhint:\x1b[0m use [ ]"
    )


def test_colour_needs_a_terminal_and_no_objection() -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    tty = Terminal()
    assert terminal.coloured(tty, {})  # type: ignore[arg-type]
    assert not terminal.coloured(tty, {"NO_COLOR": "1"})  # type: ignore[arg-type]
    assert not terminal.coloured(tty, {"TERM": "dumb"})  # type: ignore[arg-type]


def test_where_state_lives() -> None:
    everything = {"BAKEPY_ROOT": "/b", "XDG_STATE_HOME": "/x", "HOME": "/h"}
    assert state_root(Path("/given"), everything) == Path("/given")
    assert state_root(Path("given"), everything) == Path(os.getcwd(), "given")  # noqa: PTH109
    assert state_root(None, everything) == Path("/b")
    assert state_root(None, {"XDG_STATE_HOME": "/x", "HOME": "/h"}) == Path("/x/bakepy")
    assert state_root(None, {"HOME": "/h"}) == Path("/h/.local/state/bakepy")
    assert state_root(None, {}) == Path("/var/lib/bakepy")
