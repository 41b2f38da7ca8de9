"""`bakepy doctor`: what this machine can do, and how to mend what it can't."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from bakepy.cli import terminal
from bakepy.cli.checks import Check, Machine, Verdict, all_checks
from bakepy.cli.options import Root, state_root
from bakepy.errors import EngineError, UsageError, nearest


def doctor(
    root: Root = None,
    format_: Annotated[str, typer.Option("--format", help="text or json.", metavar="FORMAT")] = "text",
    repair: Annotated[
        bool, typer.Option("--repair", help="Look through the state root, and take away what is broken there.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="As --repair, and compare the bytes of kept files with their layers.")
    ] = False,
) -> None:
    """Tell what this machine can do, and how to mend what it can't.

    Ends with status 5 when no build is possible here.
    """
    if format_ not in ("text", "json"):
        raise UsageError(f"unknown value '{format_}' of --format", hint=nearest(format_, ("text", "json")))
    if repair or deep:
        _repair(state_root(root, os.environ), format_, deep=deep)
        return
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


def _repair(root: Path, format_: str, *, deep: bool) -> None:
    """Looks through the whole root, alone. Raises EngineError while builds use it."""
    if not root.exists():
        raise UsageError(f"state root {root}: no such folder", hint="the first build makes it")
    from bakepy.cli.ahead import enter
    from bakepy.content.database import Database
    from bakepy.content.store import ContentStore
    from bakepy.engine import repair
    from bakepy.engine.root import Use, open_root, remove_cgroups
    from bakepy.snapshot.store import SnapshotStore
    from bakepy.snapshot.table import Snapshot
    from bakepy.snapshot.tree import allow_deep_trees

    async def fetch(snapshot: Snapshot, origin: str) -> None:
        raise AssertionError(f"nothing is pulled to be repaired: {snapshot.id}")

    enter()
    results = [repair.check_folders(root)]
    open_root(root)
    allow_deep_trees()
    with Use(root) as use:
        if not use.alone():
            raise EngineError(f"state root {root} is in use", hint="run this again when the builds have ended")
        results.append(repair.check_database(root))
        with (
            Database(root / "state.db") as database,
            SnapshotStore(root, database, ContentStore(root), fetch) as snapshots,
        ):
            remove_cgroups(snapshots.scratch.swept)
            results += repair.check_contents(root, database, snapshots, deep=deep)
    if format_ == "json":
        print(json.dumps([result.to_json() for result in results], indent=2))
        return
    width = max(len(result.name) for result in results)
    for result in results:
        print(f"{result.name:<{width}}  {result.found}" + (f": {result.done}" if result.done else ""))
    print("\nRepaired." if any(result.done for result in results) else "\nNothing is broken.")


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
