"""`bakepy plan`: the unified graph of what would be baked, who needs which step, and what is known already."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bakepy.cli.bakefiles import Files, Set, Targets, Var
from bakepy.cli.options import Allow, NoCache, Pull, Root, state_root
from bakepy.cli.reading import read_request
from bakepy.errors import UsageError, nearest

FORMATS = ("text", "json", "dot")


def plan(
    targets: Targets = None,
    file: Files = None,
    set_: Set = None,
    var: Var = None,
    no_cache: NoCache = None,
    pull: Pull = None,
    root: Root = None,
    allow: Allow = None,
    format_: Annotated[str, typer.Option("--format", help="text, json or dot.", metavar="FORMAT")] = "text",
) -> None:
    """Show the unified graph: every step once, which targets need it, and what is cached."""
    if format_ not in FORMATS:
        raise UsageError(
            f"unknown value '{format_}' of --format", hint=nearest(format_, FORMATS) or "text, json or dot"
        )
    request = read_request(
        targets=targets, files=file, root=root, overrides=set_, variables=var, no_cache=no_cache, pull=pull
    )
    bake_file = request.load()
    request.check_rights(bake_file, allow or ())

    from bakepy.cli import supported
    from bakepy.cli.baking import show_plan
    from bakepy.cli.job import BakeOptions

    grants = supported.granted(allow or ())
    supported.check_bake(bake_file, grants)
    options = BakeOptions(root=state_root(root, os.environ), environment=os.environ, grants=grants)
    raise typer.Exit(show_plan(bake_file, options, format_))
