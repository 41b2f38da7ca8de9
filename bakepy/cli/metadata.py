"""Writes the metadata files of a run: each target's own, and the one that `--metadata-file` names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bakepy.cli.report import TargetReport
from bakepy.engine.protocol import Outcome
from bakepy.exporter.metadata import RunFacts, target_metadata, write_metadata
from bakepy.planner.plan import Plan


def write_files(
    plan: Plan, outcomes: Iterable[Outcome], reports: Iterable[TargetReport], combined: Path | None, directory: Path
) -> None:
    """Every target that was asked for says how it ended, also if it failed. Raises BuildError."""
    values = {
        outcome.target: target_metadata(
            outcome.exported.metadata if outcome.exported else {},
            RunFacts(
                outcome.outcome,
                entry.counts.run,
                entry.counts.shared,
                entry.counts.cached,
                entry.took or 0.0,
                outcome.error.what if outcome.error else "",
                outcome.blocked_by,
            ),
        )
        for outcome, entry in zip(outcomes, reports, strict=True)
    }
    for target in plan.targets:
        if target.target.metadata_file:
            write_metadata(directory / target.target.metadata_file, values[target.name])
    if combined is not None:
        linked = {target.name for target in plan.targets if target.target.linked}
        write_metadata(directory / combined, {name: value for name, value in values.items() if name not in linked})


def write_single(outcome: Outcome, path: Path) -> None:
    """The metadata of `bakepy build`: buildx's keys and no others, nothing around them. Raises BuildError."""
    write_metadata(path, target_metadata(outcome.exported.metadata if outcome.exported else {}))
