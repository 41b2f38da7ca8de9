"""`bakepy prune` and `bakepy du`: how much the state root holds, and less of it."""

from __future__ import annotations

import os
import re
import time
from typing import Annotated

import typer

from bakepy.cli.amounts import counted, size_text
from bakepy.cli.options import Root, state_root
from bakepy.errors import UsageError
from bakepy.model.size import parse_size

_AGE = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+\Z")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def prune(
    root: Root = None,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Remove all that no build uses right now.")] = False,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Remove what was not used for so long: 12h, 7d, 2w.", metavar="TIME")
    ] = "",
    keep_storage: Annotated[
        str,
        typer.Option("--keep-storage", help="Remove the longest unused until so much is left: 10g.", metavar="SIZE"),
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for builds that use the state root.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed.")] = False,
) -> None:
    """Remove what the state root no longer needs.

    Without options that is what killed builds left behind, and what nothing refers to. Nothing is removed that a
    running build may need.
    """
    before = time.time() - parse_age(older_than) if older_than else None
    keep = _size(keep_storage) if keep_storage else None
    place = state_root(root, os.environ)
    if not (place / "state.db").exists():
        print(f"{place}: nothing there")
        return
    from bakepy.cli.ahead import enter
    from bakepy.engine.root import Use, open_root, remove_cgroups

    open_root(place)
    enter()
    with Use(place) as use:
        if not use.alone(wait=wait):
            from bakepy.content.store import ContentStore
            from bakepy.snapshot.scratch import Scratch

            scratch = Scratch(place / "tmp")  # sweeps
            scratch.close()
            remove_cgroups(scratch.swept)
            ContentStore(place).sweep()
            print(f"{place} is in use: only what dead builds left was removed. --wait waits for the others")
            return
        from bakepy.engine import upkeep
        from bakepy.engine.collection import opened

        with opened(place) as (stock, snapshots):
            chosen = upkeep.choose(stock, older_than=before, keep=keep, everything=everything)
            if dry_run:
                kinds = {**upkeep.summary(chosen.items), "tree": len(chosen.trees)}
                print(f"would remove {counted(kinds)}; {size_text(chosen.freed)} of {size_text(stock.total)}")
                return
            total = stock.total
            tally = upkeep.carry_out(stock, chosen, lambda: snapshots.scratch.name("pruned"), everything=everything)
        print(f"removed {counted(tally.counts)}; {size_text(tally.bytes)} of {size_text(total)}")


def du(root: Root = None) -> None:
    """Tell how much the state root holds, by kind."""
    place = state_root(root, os.environ)
    if not (place / "state.db").exists():
        print(f"{place}: nothing there")
        return
    from bakepy.cli.ahead import enter
    from bakepy.engine.root import Use, open_root

    open_root(place)
    enter()
    with Use(place) as use:
        use.share()
        from bakepy.engine import upkeep
        from bakepy.engine.collection import opened

        with opened(place) as (stock, _):
            rows = [
                ("trees", len(stock.tree_sizes), sum(stock.tree_sizes.values())),
                ("blobs", len(stock.blob_sizes), sum(stock.blob_sizes.values())),
            ]
            for kind, name in ((upkeep.MOUNT, "cache mounts"), (upkeep.GIT, "repositories")):
                sizes = [item.size for item in stock.items if item.kind == kind]
                rows.append((name, len(sizes), sum(sizes)))
            idle = upkeep.choose(stock).freed
            for name, count, size in rows:
                print(f"{name:<13} {count:>7}  {size_text(size):>9}")
            print(f"{'in all':<13} {'':>7}  {size_text(stock.total):>9}, {size_text(idle)} of it needed by nothing")


def parse_age(text: str) -> float:
    """Seconds of `36h`, `7d`, `1w2d`. UsageError."""
    if not _AGE.match(text):
        raise UsageError(f"--older-than: '{text}' is no time", hint="write 12h, 7d or 2w")
    return sum(float(part[:-1]) * _SECONDS[part[-1]] for part in re.findall(r"[\d.]+[smhdw]", text))


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        raise UsageError(f"--keep-storage: '{text}' is no size", hint="write 10g or 500m") from None
