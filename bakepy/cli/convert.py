"""`bakepy convert`: a bake file in another syntax."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bakepy.bakefile.load import LoadOptions, load_definitions
from bakepy.cli.reading import Disk
from bakepy.cli.terminal import warn
from bakepy.cli.writing import replace_file
from bakepy.errors import BakeError, DefinitionError, UsageError, nearest
from bakepy.model.location import SourceFile


def convert(
    source: Annotated[
        str, typer.Argument(help="The file to read: .toml, .hcl, .json or a compose file.", metavar="FROM")
    ],
    goal: Annotated[str, typer.Argument(help="The file to write, by its ending; - is standard output.", metavar="TO")],
    to: Annotated[str, typer.Option("--to", help="toml, hcl or json, where TO does not tell.", metavar="SYNTAX")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace TO if it is there.")] = False,
) -> None:
    """Write a bake file in another syntax. What it means stays, and that is checked."""
    from bakepy.bakefile.convert import convert as converted_file
    from bakepy.bakefile.convert import difference, syntax_of

    before = syntax_of(source)
    after = _goal_syntax(goal, to, before)
    if before == after:
        raise UsageError(f"{source} is {after} already", hint="bakepy fmt lays a file out")
    if goal != "-" and Path(goal).exists() and not force:
        raise UsageError(f"{goal} is there already", hint="--force replaces it")
    file = SourceFile(source, Path(source).read_bytes().decode("utf-8", "surrogateescape"))
    name = goal if goal != "-" else str(Path(source).with_suffix(f".{after}"))
    converted = converted_file(file, name, after, Disk())
    options = LoadOptions(environment=os.environ, reader=Disk(), now=lambda: 0.0, random=bytes)
    try:
        load_definitions([file], options)
    except BakeError as error:
        warn("whether both files mean the same can not be checked: there is an error in the first", error.render())
    else:
        if differing := difference(file, SourceFile(name, converted.file.text), options):
            raise DefinitionError(
                f"{differing} would not stay what it is; nothing was written", hint=_folder_hint(source, name)
            )
    for note in converted.notes:
        warn(note)
    data = converted.file.text.encode("utf-8", "surrogateescape")
    if goal == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        replace_file(Path(goal), data)


def _goal_syntax(goal: str, to: str, before: str) -> str:
    from bakepy.bakefile.convert import SYNTAXES, syntax_of

    if to and to not in SYNTAXES:
        raise UsageError(f"there is no syntax {to!r} to write", hint=nearest(to, SYNTAXES) or ", ".join(SYNTAXES))
    if goal == "-":
        return to or ("hcl" if before == "toml" else "toml")
    found = syntax_of(goal)
    if found not in SYNTAXES:
        raise UsageError(f"{goal}: only .toml, .hcl and .json files can be written")
    if to and to != found:
        raise UsageError(f"{goal}: its ending says {found}, --to says {to}")
    return found


def _folder_hint(source: str, goal: str) -> str:
    folders = {str(Path(name).parent) for name in (source, goal) if name.endswith(".toml")}
    if folders - {"."}:
        return "paths in bake.toml are meant from its folder: go there, and convert the file there"
    return ""
