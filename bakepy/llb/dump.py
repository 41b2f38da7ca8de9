"""A definition for people and tools: JSON lines as `buildctl debug dump-llb` writes them, or a graph for `dot`.

Needs protobuf (for its JSON form), so it is imported only where something is dumped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import MessageToDict

from bakepy.llb.definition import Definition, metadata_bytes
from bakepy.llb.graph import Vertex
from bakepy.llb.op import ExecOp, FileOp, MergeOp, OpMetadata, SourceOp
from bakepy.llb.pb import ops_pb2
from bakepy.model.digest import Digest

pb: Any = ops_pb2


def json_lines(definition: Definition) -> Iterator[str]:
    """One JSON object per op, in definition order, the closing op last."""
    if definition.head is None:
        return
    for vertex in definition.vertices:
        yield _line(vertex.data, vertex.metadata)
    yield _line(definition.closing(), definition.closing_metadata())


def _line(data: bytes, metadata: OpMetadata) -> str:
    entry = {
        "Op": {"Op": MessageToDict(pb.Op.FromString(data))},
        "Digest": Digest.of(data),
        "OpMetadata": MessageToDict(pb.OpMetadata.FromString(metadata_bytes(metadata))),
    }
    return json.dumps(entry, ensure_ascii=False, sort_keys=True)


def dot(definition: Definition) -> str:
    """The graph in Graphviz's language; an edge is labelled with what is done with the input."""
    lines = ["digraph {"]
    for vertex in definition.vertices:
        lines.append(f"  {_quoted(vertex.digest)} [label={_quoted(_title(vertex))} shape={_shape(vertex)}];")
    for vertex in definition.vertices:
        for position, edge in enumerate(vertex.inputs):
            label = _edge_label(vertex, position)
            lines.append(f"  {_quoted(edge.vertex)} -> {_quoted(vertex.digest)} [label={_quoted(label)}];")
    if definition.head is not None:
        lines.append('  "result" [shape=plaintext];')
        lines.append(f'  {_quoted(definition.head.vertex)} -> "result" [label=""];')
    return "\n".join([*lines, "}", ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _title(vertex: Vertex) -> str:
    match vertex.op:
        case SourceOp(identifier=identifier):
            return identifier
        case ExecOp(meta=meta):
            return " ".join(meta.args)
        case FileOp(actions=actions):
            kinds = [type(entry.action).__name__.removesuffix("Action").lower() for entry in actions]
            return ", ".join(f"{kind} {getattr(entry.action, 'dest', '') or getattr(entry.action, 'path', '')}".strip()
                             for kind, entry in zip(kinds, actions, strict=True))  # fmt: skip
        case MergeOp():
            return "merge"
    return "diff"


def _shape(vertex: Vertex) -> str:
    return "ellipse" if isinstance(vertex.op, SourceOp) else "box" if isinstance(vertex.op, ExecOp) else "note"


def _edge_label(vertex: Vertex, position: int) -> str:
    """Where an exec op mounts the input."""
    if not isinstance(vertex.op, ExecOp):
        return ""
    return " ".join(mount.dest for mount in vertex.op.mounts if mount.input == position)
