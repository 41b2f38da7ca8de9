"""`bakepy schema`: the JSON Schemas of bake.toml and of metadata files."""

from __future__ import annotations

import sys
from importlib.resources import files
from typing import Annotated

import typer

from bakepy.errors import UsageError, nearest

KINDS = ("bake", "metadata")


def schema(
    kind: Annotated[str, typer.Argument(help="bake or metadata.", metavar="[bake|metadata]")] = "bake",
) -> None:
    """Print the JSON Schema of bake.toml, or of metadata files."""
    if kind not in KINDS:
        raise UsageError(f"there is no schema {kind!r}", hint=nearest(kind, KINDS) or "bake or metadata")
    sys.stdout.write(_bake() if kind == "bake" else _metadata())


def _bake() -> str:
    from bakepy.bakefile.schema import schema_text

    return schema_text()


def _metadata() -> str:
    return files("bakepy.cli").joinpath("schemas", "metadata.schema.json").read_text("utf-8")
