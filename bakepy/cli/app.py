"""Finds the command, runs it, and turns every BakeError into a message and an exit status.

Only the module of the command that was asked for is imported; all of them for `--help` and for unknown names.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import typer

from bakepy.cli.terminal import guarded
from bakepy.model.value import dataclass

if TYPE_CHECKING:
    from bakepy.cli.ahead import Ahead, Reader


@dataclass(frozen=True, slots=True)
class _Command:
    """A command: where its function is, and whether help lists it."""

    module: str
    function: str
    hidden: bool = False


COMMANDS = {
    "run": _Command("run", "run"),
    "bake": _Command("run", "run"),
    "build": _Command("build", "build"),
    "plan": _Command("plan", "plan"),
    "check": _Command("check", "check"),
    "llb": _Command("llb", "llb"),
    "ls": _Command("ls", "ls"),
    "fmt": _Command("fmt", "fmt"),
    "convert": _Command("convert", "convert"),
    "schema": _Command("schema", "schema"),
    "doctor": _Command("doctor", "doctor"),
    "du": _Command("prune", "du"),
    "prune": _Command("prune", "prune"),
    "completion": _Command("completion", "completion"),
}

COMPLETE = "_BAKEPY_COMPLETE"
"""With it in the environment, bakepy completes a command line instead of running one."""

_HELP = {"bake": "The same as run, for fingers that are used to buildx."}


def run(arguments: Sequence[str], ahead: Ahead | Reader | None = None) -> int:
    """Runs one command line, with the process that was started `ahead`; returns the exit status. Never raises a
    BakeError or an OSError."""
    before = signal.signal(signal.SIGINT, _end_now)
    try:
        return guarded(lambda: _run(_completed(arguments), ahead))
    finally:
        signal.signal(signal.SIGINT, before)


def _completed(arguments: Sequence[str]) -> Sequence[str]:
    """The words of the command line that a shell wants to have completed, if it is a shell that asks."""
    if COMPLETE not in os.environ:
        return arguments
    from bakepy.cli.completion import prepare_completion

    return prepare_completion(os.environ)


def _end_now(number: int, _: FrameType | None) -> None:
    """What an interrupt does until a run takes signals over: there is nothing to clean up yet."""
    sys.exit(128 + number)


def _run(arguments: Sequence[str], ahead: Ahead | Reader | None) -> int:
    try:
        _app(arguments)(args=[_plain_switch(argument) for argument in arguments], prog_name="bakepy", obj=ahead)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    return 0


_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_SWITCHES = {
    "--no-cache": "--with-cache",
    "--pull": "--no-pull",
    "--push": "--no-push",
    "--load": "--no-load",
    "--print": "--no-print",
    "--quiet": "--no-quiet",
    "--check": "--no-check",
    "--squash": "--no-squash",
    "--compress": "--no-compress",
    "--rm": "--no-rm",
    "--force-rm": "--no-force-rm",
    "--debug": "--no-debug",
    "--keep-going": "--no-keep-going",
}
"""Switches, and what says the opposite."""


def _plain_switch(argument: str) -> str:
    """`--pull=false` as `--no-pull`: buildx takes a value after a switch, typer does not."""
    name, equals, value = argument.partition("=")
    if not equals or name not in _SWITCHES:
        return argument
    if value not in _TRUE | _FALSE:
        from bakepy.errors import UsageError

        raise UsageError(f"{name} must be true or false, not '{value}'")
    return name if value in _TRUE else _SWITCHES[name]


def _app(arguments: Sequence[str]) -> Callable[..., object]:
    app = typer.Typer(
        name="bakepy",
        help="Bakes many container images from one declarative file: one file, one graph, one solve.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    asked = next((argument for argument in arguments if not argument.startswith("-")), "")
    for name, command in COMMANDS.items():
        if asked not in COMMANDS or name == asked:
            module = importlib.import_module(f"bakepy.cli.{command.module}")
            app.command(name, help=_HELP.get(name), hidden=command.hidden)(getattr(module, command.function))
    return app


def _print_version(asked: bool) -> None:
    if asked:
        from bakepy._version import __version__

        print(f"bakepy {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
    ),
) -> None:
    pass
