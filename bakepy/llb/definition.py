"""A definition: the ops that one head needs, in definition order, and what is said about each.

The closing op, inputs only, names the head. `marshal` gives the `pb.Definition` that `buildctl build` reads.
"""

from __future__ import annotations

from collections.abc import Mapping

from bakepy.llb import wire
from bakepy.llb.graph import Edge, Graph, Vertex
from bakepy.llb.op import LinuxResources, OpMetadata
from bakepy.model.digest import Digest
from bakepy.model.location import SourceFile, SourceRange
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Definition:
    """`vertices` in definition order; `head` None means an empty result (scratch)."""

    vertices: tuple[Vertex, ...]
    head: Edge | None

    @classmethod
    def of(cls, graph: Graph, head: Edge | None) -> Definition:
        return cls(graph.reachable([head]), head) if head else cls((), None)

    def closing(self) -> bytes:
        """The closing op: just the head as its input."""
        return wire.inputs([(self.head.vertex, self.head.index)]) if self.head else b""

    def closing_metadata(self) -> OpMetadata:
        """The capabilities that reading this definition asks for."""
        caps = {"constraints", "platform"}
        if any(vertex.metadata.description for vertex in self.vertices):
            caps.add("meta.description")
        if any(vertex.metadata.ignore_cache for vertex in self.vertices):
            caps.add("meta.ignorecache")
        return OpMetadata(caps=frozenset(caps))

    def marshal(self) -> bytes:
        """The bytes of `pb.Definition`; map entries are sorted by key, so equal definitions give equal bytes."""
        if self.head is None:
            return b""
        closing = self.closing()
        out = [wire.message(1, vertex.data) for vertex in self.vertices] + [wire.message(1, closing)]
        said = {str(vertex.digest): vertex.metadata for vertex in self.vertices}
        said[str(Digest.of(closing))] = self.closing_metadata()
        out += [_entry(2, digest, metadata_bytes(metadata)) for digest, metadata in sorted(said.items())]
        if any(vertex.locations for vertex in self.vertices):
            out.append(wire.message(3, self._source()))
        return b"".join(out)

    def _source(self) -> bytes:
        files: dict[SourceFile, int] = {}
        locations: dict[str, bytes] = {}
        for vertex in self.vertices:
            data = b""
            for ranges in vertex.locations:
                if not ranges:
                    continue
                index = files.setdefault(ranges[0].file, len(files))
                data += wire.message(1, wire.number(1, index) + b"".join(map(_range, ranges)))
            if data:
                locations[str(vertex.digest)] = data
        infos = b"".join(
            wire.message(
                2,
                wire.text(1, file.name)
                + wire.message(2, file.text.encode("utf-8", "surrogateescape"))
                + wire.text(4, "Dockerfile"),
            )
            for file in files
        )
        return b"".join(_entry(1, digest, data) for digest, data in sorted(locations.items())) + infos


def _range(place: SourceRange) -> bytes:
    start, end = place.start, place.end
    return wire.message(
        2,
        wire.message(1, wire.number(1, start.line) + wire.number(2, start.column - 1))
        + wire.message(2, wire.number(1, end.line) + wire.number(2, end.column - 1)),
    )


def _entry(field: int, key: str, value: bytes) -> bytes:
    return wire.message(field, wire.message(1, key.encode()) + wire.message(2, value))


def _bool_map(field: int, values: Mapping[str, bool]) -> bytes:
    return b"".join(
        wire.message(field, wire.message(1, key.encode()) + wire.varint(2 << 3) + wire.varint(value))
        for key, value in sorted(values.items())
    )


def metadata_bytes(metadata: OpMetadata) -> bytes:
    """What is said about one op, as `pb.OpMetadata`."""
    out = wire.number(1, metadata.ignore_cache) + wire.string_map(2, metadata.description)
    if metadata.export_cache is not None:
        out += wire.message(4, wire.number(1, metadata.export_cache))
    out += _bool_map(5, dict.fromkeys(metadata.caps, True))
    if group := metadata.progress_group:
        out += wire.message(6, wire.text(1, group.id) + wire.text(2, group.name) + wire.number(3, group.weak))
    if limits := metadata.linux_resources:
        out += wire.message(7, _resources(limits))
    return out


def _resources(limits: LinuxResources) -> bytes:
    return (
        wire.number(1, limits.memory)
        + wire.number(2, limits.memory_swap)
        + wire.number(3, limits.cpu_shares)
        + wire.number(4, limits.cpu_period)
        + wire.number(5, limits.cpu_quota)
        + wire.text(6, limits.cpuset_cpus)
        + wire.text(7, limits.cpuset_mems)
    )
