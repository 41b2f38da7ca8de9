"""Metadata files: what an export came to, in buildx's keys, and what bakepy adds under `bakepy.`.

The schema is `schemas/metadata.schema.json`. Values hold no secrets and no times of their own, so that an equal run
writes an equal file, except for `bakepy.duration`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bakepy.exporter.files import replacing, write_all
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor
from bakepy.model.value import dataclass

OUTCOMES = ("succeeded", "failed", "blocked", "cancelled", "not started")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """How a target fared. `steps_*` count its vertices; `seconds` is wall time from its first step to its last."""

    outcome: str
    steps_run: int = 0
    steps_shared: int = 0
    steps_cached: int = 0
    seconds: float = 0.0
    error: str = ""
    blocked_by: str = ""


def image_metadata(
    descriptor: Descriptor,
    *,
    config: Digest | None = None,
    names: str = "",
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The keys of an image. `config` is its config's digest (none for an image index), `names` joined by commas."""
    shown = descriptor.with_annotations(annotations or {})
    value: dict[str, Any] = {}
    if config:
        value["containerimage.config.digest"] = str(config)
    value["containerimage.descriptor"] = shown.to_json()
    value["containerimage.digest"] = str(descriptor.digest)
    if names:
        value["image.name"] = names
    return value


def target_metadata(exported: Mapping[str, Any], facts: RunFacts | None = None) -> dict[str, Any]:
    """The metadata of one target; without `facts` there is nothing but buildx's keys."""
    value = dict(sorted(exported.items()))
    if facts is None:
        return value
    value["bakepy.outcome"] = facts.outcome
    value["bakepy.steps"] = {"run": facts.steps_run, "shared": facts.steps_shared, "cached": facts.steps_cached}
    value["bakepy.duration"] = round(facts.seconds, 3)
    if facts.error:
        value["bakepy.error"] = facts.error
    if facts.blocked_by:
        value["bakepy.blocked-by"] = facts.blocked_by
    return value


def write_metadata(path: Path, value: Mapping[str, Any]) -> None:
    """Writes one target's metadata, or a mapping from target names to theirs; the file is whole or as it was.

    Layout as buildx writes it: two spaces, keys sorted. `path` may be a device such as /dev/stdout.
    """
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    with replacing(path) as fd:
        write_all(fd, text.encode())
