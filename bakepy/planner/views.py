"""Views of a plan: its vertices, who needs each, what is shared, what is cached; as text, JSON or a dot graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bakepy.llb import op as o
from bakepy.llb.graph import Vertex
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass
from bakepy.planner.plan import Plan


@dataclass(frozen=True, slots=True)
class Row:
    """One vertex. `cached` None: nobody has looked."""

    digest: Digest
    kind: str
    name: str
    inputs: tuple[Digest, ...]
    platform: str
    targets: tuple[str, ...]
    cached: bool | None

    @property
    def shared(self) -> bool:
        return len(self.targets) > 1


def rows(plan: Plan, cached: Mapping[Digest, bool] | None = None) -> tuple[Row, ...]:
    """Every vertex that some target needs, inputs first. `cached` comes from the engine; vertices that it does not
    name are taken as not cached."""
    users = plan.users()
    return tuple(
        Row(
            digest=vertex.digest,
            kind=_kind(vertex),
            name=title(vertex),
            inputs=tuple(dict.fromkeys(edge.vertex for edge in vertex.inputs)),
            platform=str(vertex.platform) if vertex.platform else "",
            targets=users[vertex.digest],
            cached=None if cached is None else cached.get(vertex.digest, False),
        )
        for vertex in plan.graph.values()
        if users[vertex.digest]
    )


def as_text(plan: Plan, cached: Mapping[Digest, bool] | None = None) -> str:
    """A table: state, who needs it, what it is. At its end the sums."""
    table = rows(plan, cached)
    everyone = tuple(target.name for target in plan.targets)
    cells = [("", "targets", "step")]
    for row in table:
        state = "" if row.cached is None else "cached" if row.cached else "read" if row.kind == "source" else "run"
        cells.append((state, _who(row.targets, everyone), row.name.replace("\n", "⏎ ")))
    widths = [max(len(line[column]) for line in cells) for column in (0, 1)]
    lines = [
        f"{state:<{widths[0]}}  {who:<{widths[1]}}  {name}".rstrip() if widths[0] else f"{who:<{widths[1]}}  {name}"
        for state, who, name in cells
    ]
    return "\n".join((*lines, "", summary(plan, table)))


def summary(plan: Plan, table: tuple[Row, ...]) -> str:
    """One line: how many targets, platforms, steps; how many of them are shared; how many are cached."""
    platforms = sum(len(target.platforms) for target in plan.targets)
    separate = sum(len(row.targets) for row in table)
    parts = [_count(len(plan.targets), "target")]
    if platforms != len(plan.targets):
        parts.append(f"{_count(platforms, 'image')} for their platforms")
    parts.append(f"{_count(len(table), 'step')} instead of {separate}" if separate > len(table)
                 else _count(len(table), "step"))  # fmt: skip
    parts.append(f"{sum(row.shared for row in table)} shared")
    if any(row.cached is not None for row in table):
        parts.append(f"{sum(bool(row.cached) for row in table)} cached")
    return ", ".join(parts)


def as_json(plan: Plan, cached: Mapping[Digest, bool] | None = None) -> str:
    """An object with `targets` (heads by platform) and `vertices` (inputs first)."""
    targets: dict[str, Any] = {
        target.name: {
            "linked": target.target.linked,
            "platforms": {
                str(planned.platform): None if planned.head is None
                else {"vertex": planned.head.vertex, "index": planned.head.index}
                for planned in target.platforms
            },
        }
        for target in plan.targets
    }  # fmt: skip
    vertices = []
    for row in rows(plan, cached):
        value: dict[str, Any] = {"digest": row.digest, "kind": row.kind, "name": row.name, "inputs": row.inputs}
        if row.platform:
            value["platform"] = row.platform
        value |= {"targets": row.targets, "shared": row.shared}
        if row.cached is not None:
            value["cached"] = row.cached
        vertices.append(value)
    return json.dumps({"targets": targets, "vertices": vertices}, indent=2, ensure_ascii=False)


def as_dot(plan: Plan, cached: Mapping[Digest, bool] | None = None) -> str:
    """A graph for Graphviz: shared vertices are filled, cached ones dashed, targets are the houses."""
    lines = ["digraph plan {", "  rankdir=LR;", '  node [shape=box, fontname="sans-serif"];']
    for row in rows(plan, cached):
        style = [name for name, on in (("filled", row.shared), ("dashed", row.cached)) if on]
        attributes = f"label={_quoted(_short(row.name))}"
        if style:
            attributes += f", style={_quoted(','.join(style))}"
        if row.shared:
            attributes += ", fillcolor=lightgrey"
        lines.append(f"  {_quoted(row.digest.short)} [{attributes}];")
        lines += [f"  {_quoted(digest.short)} -> {_quoted(row.digest.short)};" for digest in row.inputs]
    for target in plan.targets:
        lines.append(f"  {_quoted('target ' + target.name)} [label={_quoted(target.name)}, shape=house];")
        for planned in target.platforms:
            if planned.head is not None:
                label = f" [label={_quoted(str(planned.platform))}]" if len(target.platforms) > 1 else ""
                lines.append(f"  {_quoted(planned.head.vertex.short)} -> {_quoted('target ' + target.name)}{label};")
    return "\n".join((*lines, "}"))


def title(vertex: Vertex) -> str:
    """What people know the step by: the line of the Dockerfile, else what the op does."""
    if name := vertex.metadata.name:
        return name
    match vertex.op:
        case o.SourceOp(identifier=identifier):
            return identifier
        case o.ExecOp(meta=meta):
            return " ".join(meta.args)
        case o.FileOp(actions=actions):
            return ", ".join(type(action.action).__name__.removesuffix("Action").lower() for action in actions)
    return _kind(vertex)


def _kind(vertex: Vertex) -> str:
    return type(vertex.op).__name__.removesuffix("Op").lower()


def _who(names: tuple[str, ...], everyone: tuple[str, ...]) -> str:
    if names == everyone and len(everyone) > 1:
        return f"all {len(everyone)}"
    if len(names) > 3:
        return f"{', '.join(names[:2])} and {len(names) - 2} more"
    return ", ".join(names)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _short(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= 60 else line[:59] + "…"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
