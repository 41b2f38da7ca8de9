"""`bakepy check`: the build checks of the Dockerfiles of a bake file; nothing is built."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bakepy.cli.bakefiles import Files, Set, Targets, Var
from bakepy.cli.options import Pull, Root, state_root
from bakepy.cli.reading import read_request
from bakepy.errors import UsageError, nearest


def check(
    targets: Targets = None,
    file: Files = None,
    set_: Set = None,
    var: Var = None,
    pull: Pull = None,
    root: Root = None,
    format_: Annotated[str, typer.Option("--format", help="text, json or github.", metavar="FORMAT")] = "text",
) -> None:
    """Run the build checks of the Dockerfiles; build nothing.

    Each Dockerfile is checked once for all targets that use it in the same way, all its stages if no stage is named.
    Ends with status 0 when nothing was found, 1 when there are warnings, 2 when a bake file or a Dockerfile is wrong.
    """
    from bakepy.cli import answers
    from bakepy.cli.calls import FORMATS, ask, print_answers, print_json, tell_errors
    from bakepy.planner.calls import CHECK

    if format_ not in FORMATS:
        raise UsageError(
            f"unknown value '{format_}' of --format", hint=nearest(format_, FORMATS) or f"one of {', '.join(FORMATS)}"
        )
    bake_file = read_request(targets=targets, files=file, root=root, overrides=set_, variables=var, pull=pull).load()

    import anyio

    found = anyio.run(ask, bake_file, dict.fromkeys(bake_file.targets, CHECK), state_root(root, os.environ))
    if format_ == "json":
        print_json(found)
    else:
        print_answers(found, format_)
    tell_errors(found)
    raise typer.Exit(answers.exit_status(found))
