"""Compiles one conformance case and prints what came out: `python -m tests.conformance.llb --case case.json`."""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bakepy.dockerfile.compile import Compilation, Lowered, parse
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.frontend import context_of, options_of, platforms_of
from bakepy.dockerfile.options import GraphContext, LocalContext, LowerOptions, NamedContext
from bakepy.errors import BakeError, DefinitionErrors
from bakepy.llb.definition import Definition
from bakepy.llb.op import OpMetadata
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import Platform
from tests.support.fake_images import resolve

SESSION = "bakepy-conformance"
_NAMES = {
    "network": "force-network-mode",
    "image_resolve_mode": "image-resolve-mode",
    "shm_size": "shm-size",
    "cgroup_parent": "cgroup-parent",
    "multi_platform": "multi-platform",
    "context_subdir": "contextsubdir",
}


def attributes(options: Mapping[str, Any]) -> dict[str, str]:
    """The case's options as frontend attributes."""
    out: dict[str, str] = {}
    for key, value in options.items():
        match key:
            case "build_args" | "labels" | "contexts":
                prefix = {"build_args": "build-arg:", "labels": "label:", "contexts": "context:"}[key]
                out |= {prefix + name: text for name, text in value.items()}
            case "no_cache":
                out["no-cache"] = ""
            case "no_cache_filter":
                out["no-cache"] = ",".join(value)
            case "add_hosts" | "ulimits":
                out["add-hosts" if key == "add_hosts" else "ulimit"] = ",".join(value)
            case "frontend_opts":
                out |= value
            case "inputs" | "build_platform":
                pass
            case _:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                out[_NAMES.get(key, key)] = text
    return out


class Case:
    """One folder."""

    def __init__(self, folder: Path, case: dict[str, Any]) -> None:
        self.folder, self.case = folder, case

    def read(self, name: str) -> str | None:
        path = self.folder / name
        return path.read_bytes().decode("utf-8", "surrogateescape") if path.is_file() else None

    def dockerfile(self, options: Mapping[str, Any]) -> tuple[str, str]:
        """Name and text."""
        attrs = attributes(options)
        name = attrs.get("filename", "Dockerfile")
        context = attrs.get(attrs.get("contextkey", "context"), "")
        if context.startswith(("http://", "https://")) and not context.partition("#")[0].partition("?")[0].endswith(
            (".git", ".tar.gz", ".tgz")
        ):
            text = self.read("Dockerfile")
            return "context", text or ""
        text = self.read(name)
        if text is None and Path(name).name == "Dockerfile":
            text = self.read(str(Path(name).with_name("dockerfile")))
        if text is None:
            raise BakeError(f"failed to read dockerfile: {name}")
        return name, text

    def options(self, options: Mapping[str, Any], platform: Platform | None, multi: bool) -> LowerOptions:
        attrs = attributes(options)
        build = Platform.parse(options.get("build_platform", "linux/amd64")).normalized()
        name = attrs.get("filename", "Dockerfile")
        ignore, ignore_name = self.read(f"{name}.dockerignore"), f"{name}.dockerignore"
        if ignore is None:
            ignore, ignore_name = self.read(".dockerignore"), ".dockerignore"
        main = LocalContext(session=SESSION, ignore=ignore, ignore_name=ignore_name)
        made = options_of(attrs, build_platform=build, main=main)
        contexts: dict[str, NamedContext] = {}
        for key, spec in attrs.items():
            if not key.startswith("context:"):
                continue
            name = key.removeprefix("context:")
            kind, _, rest = spec.partition(":")
            if kind == "local":
                shared = attrs.get(f"sharedkey:localdir:{name}", "")
                session = attrs.get(f"local-sessionid:{rest}", SESSION)
                folder = "" if rest in ("context", "dockerfile") else f"{rest}/"
                contexts[name] = LocalContext(rest, session, "", shared, self.read(f"{folder}.dockerignore"))
            elif kind == "input" and rest in options.get("inputs", {}):
                contexts[name] = self.input(options["inputs"][rest])
            else:
                contexts[name] = context_of(name, spec, session=SESSION)
        return replace(made, contexts=FrozenMap(contexts), platform=platform, multi_platform=multi,
                       labs=bool(self.case.get("labs")))  # fmt: skip

    def input(self, given: dict[str, Any]) -> GraphContext:
        options = given.get("options", {})
        text = self.read(given["dockerfile"]) or ""
        wanted, _ = platforms_of(attributes(options))
        lowered = run(parse(text, given["dockerfile"]), self.options(options, wanted[0] if wanted else None, False))
        if lowered.violation is not None:
            raise lowered.violation
        return GraphContext(lowered.graph, lowered.head, lowered.image if given.get("metadata") else None)


def run(parsed: Any, options: LowerOptions) -> Lowered:
    return prepared(parsed, options).lower()


def prepared(parsed: Any, options: LowerOptions) -> Compilation:
    compilation = Compilation(parsed, options)
    if time := compilation.missing_time():
        compilation.provide_time(time, 1700000000 if time.op.scheme == "git" else 1710000000)
    while requests := compilation.missing():
        for request in requests:
            compilation.provide(request, resolve(request))
    return compilation


def described(lowered: Lowered) -> dict[str, Any]:
    definition = Definition.of(lowered.graph, lowered.head)
    entries = [{"digest": v.digest, "bytes_b64": base64.b64encode(v.data).decode()} for v in definition.vertices]
    metadata = {v.digest: _metadata(v.metadata) for v in definition.vertices}
    if definition.head:
        closing = definition.closing()
        digest = Digest.of(closing)
        entries.append({"digest": digest, "bytes_b64": base64.b64encode(closing).decode()})
        metadata[digest] = _metadata(definition.closing_metadata())
    locations = {
        v.digest: [[place.start.line for place in location] for location in v.locations]
        for v in definition.vertices
        if v.locations
    }
    head = lowered.head
    image = json.loads(lowered.image.to_bytes())
    if not lowered.image.diff_ids and (lowered.base_image is None or not lowered.base_image.created):
        image["rootfs"]["diff_ids"] = None  # the reference says so for images that no registry knows
    out: dict[str, Any] = {
        "ops": entries,
        "head": {"digest": head.vertex, "index": head.index} if head else None,
        "metadata": metadata,
        "source": bool(locations),
        "image": image,
    }
    if head:
        out["locations"] = locations
    if lowered.epoch is not None:
        out["epoch"] = lowered.epoch
    if lowered.scans:
        out["sbom_extras"] = sorted(lowered.scans)
    return out


def _metadata(metadata: OpMetadata) -> dict[str, Any]:
    out: dict[str, Any] = {"caps": sorted(metadata.caps)}
    if metadata.description:
        out["description"] = dict(metadata.description)
    if metadata.ignore_cache:
        out["ignoreCache"] = True
    if group := metadata.progress_group:
        out["progressGroup"] = {"name": group.name} | ({"weak": group.weak})
    if limits := metadata.linux_resources:
        names = {"memory": "memory", "memorySwap": "memory_swap", "cpuShares": "cpu_shares", "cpuPeriod": "cpu_period",
                 "cpuQuota": "cpu_quota", "cpusetCpus": "cpuset_cpus", "cpusetMems": "cpuset_mems"}  # fmt: skip
        found = {key: getattr(limits, field) for key, field in names.items()}
        out["linuxResources"] = {key: v for key, v in found.items() if v}
    return out


def _warnings(warnings: Any) -> list[dict[str, Any]]:
    found = [{"line": w.line, "rule": w.rule.name, "message": w.message} for w in warnings]
    return sorted(found, key=lambda w: (w["line"], w["rule"], w["message"]))


def _error(error: BakeError) -> dict[str, Any]:
    if isinstance(error, DefinitionErrors):
        error = error.errors[0]
    lines: list[int] = []
    if isinstance(error, DockerfileError):
        lines = sorted(place.start.line for location in error.locations for place in location)
    return {"error": error.what} | ({"error_lines": lines} if lines else {})


def compile_case(case: Case) -> dict[str, Any]:
    options = case.case.get("options", {})
    attrs = attributes(options)
    name, text = case.dockerfile(options)
    parsed = parse(text, name)
    platforms, multi = platforms_of(attrs)
    results: dict[str, Any] = {}
    out: dict[str, Any] = {}
    warnings: Any = ()
    for index, platform in enumerate(platforms or [None]):
        lowered = run(parsed, case.options(options, platform, multi))
        if index == 0:
            warnings = lowered.warnings
            if lowered.violation is not None:
                raise lowered.violation
        results[str(platform or Platform.parse("linux/amd64"))] = described(lowered)
    out = {"platforms": results} if multi else next(iter(results.values()))
    out["warnings"] = _warnings(warnings)
    add_subrequests(out, case, parsed, case.options(options, None, multi))
    return out


def add_subrequests(out: dict[str, Any], case: Case, parsed: Any, options: LowerOptions) -> None:
    if case.case.get("check"):
        result = prepared(parsed, replace(options, all_stages=not options.target)).check()
        out["check"] = {"warnings": _warnings(result.warnings)} | ({"error": result.error.what} if result.error else {})
    try:
        outline = prepared(parsed, options).outline()
    except BakeError:
        pass
    else:
        out["outline"] = _outline(outline)
    out["targets"] = [
        _lean({"name": t.name, "description": t.description, "default": t.default, "base": t.base,
               "platform": t.platform, "line": t.location[0].start.line})
        for t in parsed.targets()
    ]  # fmt: skip


def _outline(outline: Any) -> dict[str, Any]:
    def needs(entries: Any) -> list[dict[str, Any]]:
        return [_lean({"name": n.name, "required": n.required, "line": _line(n)}) for n in entries]

    args = [_lean({"name": a.name, "description": a.description, "value": a.value, "line": _line(a)})
            for a in outline.args]  # fmt: skip
    return _lean({"name": outline.name, "description": outline.description, "args": args,
                  "secrets": needs(outline.secrets), "ssh": needs(outline.ssh)})  # fmt: skip


def _line(entry: Any) -> int:
    return entry.location[0].start.line if entry.location else 0


def _lean(value: dict[str, Any]) -> dict[str, Any]:
    return {key: content for key, content in value.items() if content}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", type=Path, required=True)
    path = parser.parse_args().case
    case = Case(path.resolve().parent, json.loads(path.read_text()))
    try:
        out = compile_case(case)
    except BakeError as error:
        out = _error(error)
    json.dump(out, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
