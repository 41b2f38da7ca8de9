"""`bakepy ls`: the targets and groups of the bake files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from bakepy.bakefile.overview import GroupOverview, TargetOverview, groups_of, targets_of
from bakepy.cli.bakefiles import Files, Var
from bakepy.cli.reading import read_request
from bakepy.cli.terminal import warn
from bakepy.errors import UsageError, nearest

FORMATS = ("text", "json")

_SHOWN = 3
"""Platforms and tags of one target in a table."""


def ls(
    file: Files = None,
    var: Var = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also names that begin with _.")] = False,
    format_: Annotated[str, typer.Option("--format", help="text or json.", metavar="FORMAT")] = "text",
) -> None:
    """List targets and groups: what they are for, inherit, are built for and are called."""
    if format_ not in FORMATS:
        raise UsageError(f"unknown value '{format_}' of --format", hint=nearest(format_, FORMATS) or "text or json")
    request = read_request(targets=(), files=file, overrides=(), variables=var)
    config = request.definitions().config
    groups, targets = groups_of(config, private=all_), targets_of(config, private=all_)
    sys.stdout.write(_json(groups, targets) if format_ == "json" else _text(groups, targets))
    for target in targets:
        if target.error is not None:
            warn(f"{target.name} can not be baked", target.error.render())


def _text(groups: Sequence[GroupOverview], targets: Sequence[TargetOverview]) -> str:
    parts: list[str] = []
    if groups:
        rows = [(each.name, ", ".join(each.targets), each.description) for each in groups]
        parts.append(_table(("GROUP", "TARGETS", "DESCRIPTION"), rows))
    if targets:
        head = ("TARGET", "INHERITS", "DESCRIPTION", "PLATFORMS", "TAGS")
        listed = [
            (each.name, ", ".join(each.inherits), each.description, _first(each.platforms), _first(each.tags))
            for each in targets
        ]
        parts.append(_table(head, listed))
    return "\n".join(parts)


def _first(values: Sequence[str]) -> str:
    """Enough of them to know which ones are meant; the others are counted."""
    shown = values if len(values) <= _SHOWN else (*values[: _SHOWN - 1], f"and {len(values) - _SHOWN + 1} more")
    return ", ".join(shown)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns two blanks apart; one that is empty in all rows is left out."""
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    lines = [[row[column] for column in kept] for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(kept))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n" for line in lines
    )


def _json(groups: Sequence[GroupOverview], targets: Sequence[TargetOverview]) -> str:
    document: dict[str, Any] = {
        "groups": [asdict(each) for each in groups],
        "targets": [
            {
                "name": each.name,
                "description": each.description,
                "inherits": each.inherits,
                "platforms": each.platforms,
                "tags": each.tags,
            }
            for each in targets
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
