"""Nodes to vertices, without recursion; what was made for one target is used again for the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import NamedTuple
from weakref import WeakKeyDictionary

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.lower.node import GivenNode, LateNode, Node
from bakepy.llb.graph import Edge, Graph, Vertex
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass

MAX_DEFINITION = 256 << 20
"""Bytes of all ops of one result. No daemon takes so much, and no file that means well gets there."""

_MERGED = _MADE = 4096


class Made(NamedTuple):
    """What became of a node: the nodes it needs, their edges then, and the vertex."""

    needs: tuple[Node, ...]
    inputs: list[Edge]
    vertex: Vertex
    edge: Edge


@dataclass(slots=True)
class VertexMemo:
    """Vertices made before: a node with equal inputs gives an equal vertex."""

    made: dict[Node, Made] = field(default_factory=dict)
    late: WeakKeyDictionary[Node, dict[tuple[str, ...], Node]] = field(default_factory=WeakKeyDictionary)
    twins: dict[Digest, Vertex] = field(default_factory=dict)
    """So that equal vertices of many targets take memory once."""
    merged: dict[tuple[int, ...], tuple[tuple[Vertex, ...], Vertex]] = field(default_factory=dict)
    """By the identities of the mentions of one digest, which are held here too: what all say together."""

    def make(self, node: Node, needs: tuple[Node, ...], inputs: list[Edge], edges: Mapping[Node, Edge]) -> Made:
        vertex = node.vertex(edges)
        twin = self.twins.setdefault(vertex.digest, vertex)
        if twin is not vertex and twin.metadata == vertex.metadata and twin.locations == vertex.locations:
            vertex = twin
        if len(self.made) >= _MADE:
            self.made.clear()
        made = self.made[node] = Made(needs, inputs, vertex, Edge(vertex.digest))
        return made

    def united(self, vertices: list[Vertex]) -> Graph:
        """Each digest once; later mentions add what they say to the first."""
        found: dict[Digest, Vertex] = {}
        mentions: dict[Digest, dict[int, Vertex]] = {}  # all at once: one by one, each would copy all places so far
        for vertex in vertices:
            first = found.setdefault(vertex.digest, vertex)
            if first is not vertex:
                mentions.setdefault(vertex.digest, {})[id(vertex)] = vertex
        for digest, others in mentions.items():
            found[digest] = self._together((found[digest], *others.values()))
        return Graph.ordered(found)

    def _together(self, mentions: tuple[Vertex, ...]) -> Vertex:
        key = tuple([id(vertex) for vertex in mentions])
        known = self.merged.get(key)
        if known is None:
            if len(self.merged) >= _MERGED:
                self.merged.clear()
            known = self.merged[key] = (mentions, mentions[0].merged(mentions[1:]))
        return known[1]

    def settled(self, node: LateNode, followed: tuple[str, ...]) -> Node:
        """The source with the paths that are followed."""
        known = self.late.setdefault(node, {})
        if followed not in known:
            known[followed] = node.make(followed)
        return known[followed]


@dataclass(slots=True)
class Assembler:
    """Vertices of nodes. `followed` tells the paths of a local source by its owner."""

    memo: VertexMemo
    followed: Callable[[object], tuple[str, ...]]
    edges: dict[Node, Edge] = field(default_factory=dict)
    room: int = MAX_DEFINITION
    vertices: list[Vertex] = field(default_factory=list)

    def add(self, head: Node) -> Edge:
        """The edge of `head`; everything it needs is appended to `vertices`, inputs first."""
        edges, made = self.edges, self.memo.made
        stack = [head]
        while stack:
            node = stack.pop()
            if node in edges:
                continue
            known = made.get(node)
            needs = self._needs(node) if known is None else known.needs
            inputs = [edges[need] for need in needs if need in edges]
            if len(inputs) < len(needs):
                stack.append(node)
                stack += [need for need in reversed(needs) if need not in edges]
            elif known is not None and known.inputs == inputs:
                edges[node] = known.edge
                self._append(known.vertex)
            elif isinstance(node, LateNode):
                edges[node] = inputs[0]
            elif isinstance(node, GivenNode):
                self.vertices += node.given
                edges[node] = node.edge
            else:
                known = self.memo.make(node, needs, inputs, edges)
                edges[node] = known.edge
                self._append(known.vertex)
        return edges[head]

    def _needs(self, node: Node) -> tuple[Node, ...]:
        if isinstance(node, LateNode):
            return (self.memo.settled(node, self.followed(node.owner)),)
        return node.needs()

    def _append(self, vertex: Vertex) -> None:
        self.room -= len(vertex.data)
        if self.room < 0:
            raise DockerfileError(f"the build comes to more than {MAX_DEFINITION >> 20} MiB of instructions")
        self.vertices.append(vertex)

    def graph(self) -> Graph:
        return self.memo.united(self.vertices)
