"""`bakepy fmt`: lays bake files out."""

from __future__ import annotations

import difflib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bakepy.bakefile.lookup import DEFAULT_NAMES, OWN_NAME
from bakepy.cli.writing import replace_file
from bakepy.errors import BakeError, UsageError
from bakepy.model.location import SourceFile


def fmt(
    files: Annotated[
        list[str] | None, typer.Argument(help="HCL and TOML files; - is standard input.", metavar="[FILE]...")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; status 1 if a file would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Write nothing; show what would change.")] = False,
) -> None:
    """Lay out bake files: indentation, blanks and alignment. Comments and meaning stay."""
    from bakepy.bakefile.format import format_text
    from bakepy.cli.terminal import report

    changed: list[str] = []
    failed: BakeError | None = None
    for name in files or _default_files():
        file = SourceFile(name, _read(name))
        try:
            text = format_text(file)
        except BakeError as error:
            report(error)
            failed = error
            continue
        if text != file.text:
            changed.append(name)
        if diff:
            sys.stdout.write(_difference(file, text))
        if check or diff:
            continue
        if name == "-":
            _write_out(text)
        elif text != file.text:
            replace_file(Path(name), _encoded(text))
            print(name, file=sys.stderr)
    if failed is not None:
        raise typer.Exit(failed.exit_code)
    if check:
        for name in changed:
            print(f"{name} is not laid out as bakepy fmt does it", file=sys.stderr)
        raise typer.Exit(1 if changed else 0)


def _default_files() -> list[str]:
    found = [name for name in (OWN_NAME, *DEFAULT_NAMES) if name.endswith((".toml", ".hcl")) and Path(name).is_file()]
    if not found:
        raise UsageError("there is no bake.toml and no docker-bake.hcl here", hint="name the files: bakepy fmt FILE")
    return found


def _read(name: str) -> str:
    data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    return data.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _write_out(text: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(_encoded(text))
    sys.stdout.buffer.flush()


def _difference(file: SourceFile, text: str) -> str:
    before, after = file.text.splitlines(keepends=True), text.splitlines(keepends=True)
    lines = difflib.unified_diff(before, after, file.name, file.name + os.extsep + "fmt")
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)
