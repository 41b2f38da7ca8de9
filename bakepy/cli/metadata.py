"""Writes the metadata files of a run: each target's own, and the one that `--metadata-file` names."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bakepy.cli.report import TargetReport
from bakepy.dockerfile.errors import raise_all
from bakepy.dockerfile.text import parse_bool
from bakepy.engine.protocol import Outcome
from bakepy.errors import BakeError, DefinitionError
from bakepy.exporter.metadata import RunFacts, target_metadata, write_metadata
from bakepy.model.target import Target
from bakepy.planner.plan import Plan, PlanWarning

_WARNINGS = "buildx.build.warnings"


def write_files(
    plan: Plan,
    outcomes: Iterable[Outcome],
    reports: Iterable[TargetReport],
    combined: Path | None,
    directory: Path,
    environment: Mapping[str, str],
) -> None:
    """Every target that was asked for says how it ended, also if it failed. Raises BuildError."""
    found = _warnings(plan, environment)
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
            own = _told(warning for warning in found if target.name in warning.targets)
            write_metadata(directory / target.target.metadata_file, {**values[target.name], **own})
    if combined is not None:
        linked = {target.name for target in plan.targets if target.target.linked}
        asked = {name: value for name, value in values.items() if name not in linked}
        write_metadata(directory / combined, {**asked, **_told(found)})


def check_files(targets: Iterable[Target], combined: Path | None, directory: Path) -> None:
    """Raises DefinitionError (DefinitionErrors) for a file that several targets would write: the last one to do so
    would be the only one in there."""
    owners: dict[Path, str] = {(directory / combined).resolve(): "--metadata-file"} if combined is not None else {}
    errors: list[BakeError] = []
    for target in targets:
        if not target.metadata_file:
            continue
        file = (directory / target.metadata_file).resolve()
        path = f"target.{target.name}.metadata-file"
        if file in owners and (file.is_file() or not file.exists()):  # a device takes all
            errors.append(
                DefinitionError(
                    f"{owners[file]} writes to {target.metadata_file}, too",
                    where=target.where("metadata-file"),
                    path=path,
                    hint="give each target a file of its own; --metadata-file writes one with all targets",
                )
            )
        owners.setdefault(file, path)
    raise_all(errors)


def write_single(plan: Plan, outcome: Outcome, path: Path, environment: Mapping[str, str]) -> None:
    """The metadata of `bakepy build`: buildx's keys and no others, nothing around them. Raises BuildError."""
    value = target_metadata(outcome.exported.metadata if outcome.exported else {})
    write_metadata(path, {**value, **_told(_warnings(plan, environment))})


def _warnings(plan: Plan, environment: Mapping[str, str]) -> tuple[PlanWarning, ...]:
    """What the checks found, if BUILDX_METADATA_WARNINGS asks for it."""
    return plan.warnings if parse_bool(environment.get("BUILDX_METADATA_WARNINGS", "")) else ()


def _told(warnings: Iterable[PlanWarning]) -> dict[str, Any]:
    """Warnings as BuildKit's client has them (`VertexWarning` in `client/graph.go`), without the vertex; texts and
    files are base64."""
    values = [_warning(each) for each in warnings]
    return {_WARNINGS: values} if values else {}


def _warning(warning: PlanWarning) -> dict[str, Any]:
    from bakepy.dockerfile.checks import RULES  # late: nobody should wait for it at start-up

    place = warning.where
    rule = RULES.get(warning.rule)
    named = f"{warning.rule}: " if warning.rule else ""
    short = f"{named}{warning.message}" + (f" (line {place.start.line})" if place else "")
    value: dict[str, Any] = {"level": 1, "short": _base64(short)}
    if rule is not None:
        value["detail"] = [_base64(rule.description)]
    if warning.url:
        value["url"] = warning.url
    if place:
        value["sourceInfo"] = {
            "filename": place.file.name,
            "data": _base64(place.file.text),
            "language": "Dockerfile",
        }
        value["range"] = [{"start": {"line": place.start.line}, "end": {"line": place.end.line}}]
    return value


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
