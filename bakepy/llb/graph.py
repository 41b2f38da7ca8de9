"""Vertices, edges by digest, and the graph: a union by digest, in topological order.

An edge names a vertex by its digest, not by object, so that the graph of many targets is a set union and deep chains
need no recursion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, ValuesView
from dataclasses import field, replace
from typing import Any, NamedTuple

from bakepy.llb import wire
from bakepy.llb.op import Op, OpMetadata, SourceOp
from bakepy.model.digest import Digest
from bakepy.model.location import SourceRange
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass


class Edge(NamedTuple):
    """One output of a vertex."""

    vertex: Digest
    index: int = 0  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


@dataclass(frozen=True, slots=True, eq=False)
class VertexForm:
    """What vertices of one form have in common, whatever their inputs are.

    `visits` lists positions in `inputs` in the order in which a definition walks them; `locations` tells where it was
    written: one tuple of ranges for each location. `op` gives the op of a vertex from what the vertex was `given`,
    its variables: in all else the ops of one form are equal.
    """

    op: Callable[[Any], Op]
    platform: Platform | None
    metadata: OpMetadata
    visits: tuple[int, ...]
    locations: tuple[tuple[SourceRange, ...], ...]


def always(op: Op) -> Callable[[object], Op]:
    """For the form of vertices that all have this op."""
    return lambda given: op


@dataclass(slots=True, eq=False)
class Vertex:
    """An op with its inputs; `data` are its marshalled bytes, `digest` their sha256, by which vertices are compared.

    Most vertices of a large graph are never looked at more closely (their results are known), so that the op is made
    when somebody asks for it. Nothing else changes; that is not enforced, as it would double the time to make one.
    """

    digest: Digest
    inputs: tuple[Edge, ...]
    data: bytes = field(repr=False)
    form: VertexForm
    given: object = field(default=None, repr=False)
    _op: Op | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vertex) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def make(
        cls,
        op: Op,
        inputs: Iterable[Edge] = (),
        *,
        platform: Platform | None = None,
        metadata: OpMetadata | None = None,
        visits: Iterable[int] | None = None,
        locations: Iterable[tuple[SourceRange, ...]] = (),
    ) -> Vertex:
        """Marshals the op and takes its digest. Pass `platform` only for ops that depend on it."""
        edges = tuple(inputs)
        form = VertexForm(
            always(op),
            platform,
            metadata or OpMetadata(),
            tuple(range(len(edges)) if visits is None else visits),
            tuple(locations),
        )
        data = wire.inputs(edges) + wire.body(op, platform)
        return cls(Digest.of(data), edges, data, form)

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process, which has nothing of what forms are made of."""
        form = self.form
        return _of_parts, (
            *(self.digest, self.inputs, self.data, self.op),
            *(form.platform, form.metadata, form.visits, form.locations),
        )

    @property
    def op(self) -> Op:
        made = self._op
        if made is None:
            made = self._op = self.form.op(self.given)  # the same, whoever asks
        return made

    @property
    def platform(self) -> Platform | None:
        return self.form.platform

    @property
    def metadata(self) -> OpMetadata:
        return self.form.metadata

    @property
    def visits(self) -> tuple[int, ...]:
        return self.form.visits

    @property
    def locations(self) -> tuple[tuple[SourceRange, ...], ...]:
        return self.form.locations

    @property
    def name(self) -> str:
        return self.metadata.name or type(self.op).__name__

    @property
    def ignore_cache(self) -> bool:
        """Run it although a result may be known. A source is what its content is, however often it is looked at."""
        return self.metadata.ignore_cache and not isinstance(self.op, SourceOp)

    def merged(self, others: Iterable[Vertex]) -> Vertex:
        """This vertex with what other mentions of the same digest add to its metadata and locations."""
        metadata = self.metadata
        locations = dict.fromkeys(self.locations)
        for other in others:
            if other.metadata != metadata:
                metadata = metadata.merged(other.metadata)
            locations.update(dict.fromkeys(other.locations))
        if metadata is self.metadata and len(locations) == len(self.locations):
            return self
        return replace(self, form=replace(self.form, metadata=metadata, locations=tuple(locations)))


def _of_parts(digest: Digest, inputs: tuple[Edge, ...], data: bytes, op: Op, *form: Any) -> Vertex:
    return Vertex(digest, inputs, data, VertexForm(always(op), *form), None, op)


class Graph(Mapping[Digest, Vertex]):
    """Vertices by digest; inputs always come before the vertices that use them."""

    __slots__ = ("_vertices",)

    def __init__(self, vertices: Iterable[Vertex] = ()) -> None:
        """`vertices` in topological order; mentions of one digest are merged. Raises ValueError on a missing input."""
        found: dict[Digest, Vertex] = {}
        others: dict[Digest, dict[int, Vertex]] = {}  # by identity: most mentions are one object
        for vertex in vertices:
            known = found.get(vertex.digest)
            if known is None:
                for edge in vertex.inputs:
                    if edge.vertex not in found:
                        raise ValueError(f"input {edge.vertex} of {vertex.digest} is not in the graph")
                found[vertex.digest] = vertex
            elif known is not vertex:
                others.setdefault(vertex.digest, {})[id(vertex)] = vertex
        for digest, mentions in others.items():
            found[digest] = found[digest].merged(mentions.values())
        self._vertices = found

    @classmethod
    def ordered(cls, vertices: dict[Digest, Vertex]) -> Graph:
        """A graph of vertices that are known to be complete and in order; nothing is checked."""
        made = cls()
        made._vertices = vertices
        return made

    def __getitem__(self, digest: Digest) -> Vertex:
        return self._vertices[digest]

    def __iter__(self) -> Iterator[Digest]:
        return iter(self._vertices)

    def __len__(self) -> int:
        return len(self._vertices)

    def values(self) -> ValuesView[Vertex]:
        return self._vertices.values()

    def union(self, *others: Graph) -> Graph:
        """All vertices of all graphs, this one's order first."""
        found = dict(self._vertices)
        mentions: dict[Digest, dict[int, Vertex]] = {}
        for graph in others:
            vertices = graph._vertices
            again = [(found[digest], vertices[digest]) for digest in found.keys() & vertices.keys()]
            found.update(vertices)
            for first, vertex in again:
                if first is not vertex:
                    found[vertex.digest] = first
                    mentions.setdefault(vertex.digest, {})[id(vertex)] = vertex
        for digest, more in mentions.items():
            found[digest] = found[digest].merged(more.values())
        return Graph.ordered(found)

    def reachable(self, heads: Iterable[Edge]) -> tuple[Vertex, ...]:
        """The vertices that `heads` need, in definition order: depth first, inputs in `visits` order, each once."""
        done: dict[Digest, Vertex] = {}
        for head in heads:
            stack: list[tuple[Vertex, int]] = [(self._vertices[head.vertex], 0)] if head.vertex not in done else []
            while stack:
                vertex, position = stack.pop()
                if vertex.digest in done:
                    continue
                if position < len(vertex.visits):
                    stack.append((vertex, position + 1))
                    below = vertex.inputs[vertex.visits[position]].vertex
                    if below not in done:
                        stack.append((self._vertices[below], 0))
                else:
                    done[vertex.digest] = vertex
        return tuple(done.values())
