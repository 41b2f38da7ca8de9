"""`bakepy doctor`: what this machine can do, and how to mend what it can't."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from bakepy.cli import terminal
from bakepy.cli.checks import Check, Machine, Verdict, all_checks
from bakepy.cli.options import Root, state_root
from bakepy.errors import UsageError, nearest


def doctor(
    root: Root = None,
    format_: Annotated[str, typer.Option("--format", help="text or json.", metavar="FORMAT")] = "text",
) -> None:
    """Tell what this machine can do, and how to mend what it can't.

    Ends with status 5 when no build is possible here.
    """
    if format_ not in ("text", "json"):
        raise UsageError(f"unknown value '{format_}' of --format", hint=nearest(format_, ("text", "json")))
    machine = Machine(state_root=state_root(root, os.environ), environment=os.environ)
    checks = tuple(all_checks(machine))
    possible = all(check.verdict is not Verdict.FAIL for check in checks)
    if format_ == "json":
        print(json.dumps({"possible": possible, "checks": [check.to_json() for check in checks]}, indent=2))
    else:
        print(table(checks, colour=terminal.coloured(sys.stdout, os.environ)))
        print("\nBuilds are possible here." if possible else "\nNo build is possible here.")
    if not possible:
        raise typer.Exit(5)


def table(checks: tuple[Check, ...], *, colour: bool) -> str:
    """One line for each check, the remedy below it."""
    colours = {Verdict.OK: "32", Verdict.WARN: terminal.YELLOW, Verdict.FAIL: terminal.RED}
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        verdict = terminal.paint(f"{check.verdict.value:<4}", colours[check.verdict], colour)
        lines.append(f"{verdict}  {check.name:<{width}}  {check.what}")
        if check.mend:
            lines.append(f"{'':<4}  {'':<{width}}  → {check.mend}")
    return "\n".join(lines)
