"""What `run` and `plan` have in common: the options that choose and change targets. What they mean: `reading`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bakepy.errors import BakeError


def complete_targets(ctx: typer.Context, incomplete: str) -> list[str]:
    """For shells: names of targets and groups that begin so. Files that can not be read complete nothing."""
    files = tuple(ctx.params.get("file") or ())
    if "-" in files:
        return []
    from bakepy.bakefile.listing import target_names
    from bakepy.bakefile.load import LoadOptions, load_definitions
    from bakepy.bakefile.lookup import read_files
    from bakepy.cli.reading import Disk

    try:
        disk = Disk()
        sources = read_files(files, os.environ, disk)
        names = target_names(load_definitions(sources, LoadOptions(environment=os.environ, reader=disk)))
    except (BakeError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]


Targets = Annotated[
    list[str] | None,
    typer.Argument(
        help="Targets and groups; default if none is named. An address in front of them: the definition is there.",
        metavar="[URL] [TARGET]...",
        autocompletion=complete_targets,
    ),
]
Files = Annotated[
    list[str] | None,
    typer.Option("--file", "-f", help="A bake file; may be given again. [BUILDX_BAKE_FILE]", metavar="FILE"),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change a target: PATTERN.KEY=VALUE.", metavar="T.KEY=VALUE")
]
Var = Annotated[list[str] | None, typer.Option("--var", help="Set a variable.", metavar="NAME=VALUE")]
PolicyFlags = Annotated[
    list[str] | None, typer.Option("--policy", help="Not supported yet but for disabled=true.", metavar="SPEC")
]
