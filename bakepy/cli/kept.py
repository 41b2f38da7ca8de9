"""What a run left at the places of its outputs, so that a later one can tell whether it is still there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bakepy.errors import BakeError
from bakepy.exporter.outputs import ArchiveOutput, CacheOnly, LocalOutput, Output, TarOutput, parse_outputs
from bakepy.exporter.result import Exported, TargetResult
from bakepy.model.oci import Descriptor

Record = Mapping[str, Any]


def record_of(result: TargetResult, exported: Exported, directory: Path) -> dict[str, Any]:
    """What a journal keeps of a target that is done. Blocks: looks at what was written."""
    facts: dict[str, Any] = {
        "results": [entry.snapshot for entry in result.platforms],
        "written": list(exported.written),
        "metadata": dict(exported.metadata),
        "size": exported.size,
    }
    if exported.descriptor is not None:
        facts["descriptor"] = exported.descriptor.to_json()
    traces = _traces(result, directory)
    if traces is not None:
        facts["outputs"] = traces
    return facts


def still_there(record: Record, result: TargetResult, directory: Path) -> Exported | None:
    """What an earlier run exported, if this run came to the same result and all of it is there as it was left. What
    is elsewhere (a registry, a Docker Engine, standard output) can not be seen: None. Blocks."""
    if "outputs" not in record or record.get("results") != [entry.snapshot for entry in result.platforms]:
        return None
    if record["outputs"] != _traces(result, directory):
        return None
    try:
        descriptor = Descriptor.from_json(record["descriptor"]) if "descriptor" in record else None
    except BakeError:
        return None
    return Exported(descriptor, tuple(record["written"]), record["metadata"], int(record["size"]))


def _traces(result: TargetResult, directory: Path) -> list[list[Any]] | None:
    """A trace of each output, with the output as it was asked for; None if one of them can not be looked at."""
    parsed = parse_outputs(result.target, multi_platform=result.multi_platform).outputs
    traces: list[list[Any]] = []
    for asked, output in zip(_asked(result), parsed, strict=True):
        if isinstance(output, CacheOnly):
            continue
        path = _place(output)
        trace = _trace(directory / path) if path else None
        if trace is None:
            return None
        traces.append([asked, path, *trace])
    return traces


def _asked(result: TargetResult) -> Sequence[str]:
    """The outputs with what else decides what is written."""
    target = result.target
    more = repr((target.tags, target.annotations, result.epoch, result.multi_platform))
    return [hashlib.sha256(f"{entry!r} {more}".encode()).hexdigest() for entry in target.outputs]


def _place(output: Output) -> str:
    """Where on this machine an output goes; empty if it goes elsewhere."""
    match output:
        case ArchiveOutput() | TarOutput() | LocalOutput():
            return "" if output.dest == "-" else output.dest
    return ""


def _trace(path: Path) -> list[Any] | None:
    """Of a file its identity, of a folder that of all that is in it; None if nothing is there."""
    try:
        facts = path.stat()
    except OSError:
        return None
    if not path.is_dir():
        return [facts.st_ino, facts.st_size, facts.st_mtime_ns]
    total = hashlib.sha256()
    for folder, folders, files in os.walk(path):
        folders.sort()
        for name in sorted((*folders, *files)):
            place = os.path.join(folder, name)  # noqa: PTH118
            try:
                found = os.lstat(place)
            except OSError:
                return None
            facts_text = f"{found.st_ino} {found.st_mode} {found.st_size} {found.st_mtime_ns}"
            total.update(f"{place}\0{facts_text}\0".encode("utf-8", "surrogateescape"))
    return ["folder", total.hexdigest()]
