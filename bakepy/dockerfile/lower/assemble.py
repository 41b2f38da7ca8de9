"""Nodes to vertices, without recursion; what was made for one target is used again for the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from weakref import WeakKeyDictionary

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.lower.node import GivenNode, LateNode, Node
from bakepy.llb.graph import Edge, Graph, Vertex
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass

MAX_DEFINITION = 256 << 20
"""Bytes of all ops of one result. No daemon takes so much, and no file that means well gets there."""

_MERGED = 4096


@dataclass(slots=True)
class VertexMemo:
    """Vertices made before, as long as somebody holds their nodes: a node with equal inputs gives an equal vertex."""

    made: WeakKeyDictionary[Node, tuple[tuple[Edge, ...], Vertex]] = field(default_factory=WeakKeyDictionary)
    late: WeakKeyDictionary[Node, dict[tuple[str, ...], Node]] = field(default_factory=WeakKeyDictionary)
    twins: dict[Digest, Vertex] = field(default_factory=dict)
    """So that equal vertices of many targets take memory once."""
    merged: dict[tuple[int, int], tuple[Vertex, Vertex, Vertex]] = field(default_factory=dict)
    """By the identities of two mentions of one digest, which are held here too: what both say together."""

    def vertex(self, node: Node, needs: tuple[Node, ...], edges: Mapping[Node, Edge]) -> Vertex:
        inputs = tuple([edges[need] for need in needs])
        known = self.made.get(node)
        if known is not None and known[0] == inputs:
            return known[1]
        vertex = node.vertex(edges)
        twin = self.twins.setdefault(vertex.digest, vertex)
        if twin is not vertex and twin.metadata == vertex.metadata and twin.locations == vertex.locations:
            vertex = twin
        self.made[node] = (inputs, vertex)
        return vertex

    def merge(self, vertices: list[Vertex]) -> list[Vertex]:
        """Each digest once; later mentions add what they say to the first."""
        found: dict[Digest, Vertex] = {}
        for vertex in vertices:
            first = found.get(vertex.digest)
            found[vertex.digest] = vertex if first is None else self._both(first, vertex)
        return list(found.values())

    def _both(self, first: Vertex, second: Vertex) -> Vertex:
        key = (id(first), id(second))
        if key not in self.merged:
            if len(self.merged) >= _MERGED:
                self.merged.clear()
            self.merged[key] = (first, second, first.merged([second]))
        return self.merged[key][2]

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
        edges = self.edges
        stack: list[tuple[Node, tuple[Node, ...], int]] = []
        if head not in edges:
            stack.append((head, self._needs(head), 0))
        while stack:
            node, needs, position = stack.pop()
            if node in edges:
                continue
            while position < len(needs) and needs[position] in edges:
                position += 1
            if position < len(needs):
                stack.append((node, needs, position + 1))
                stack.append((needs[position], self._needs(needs[position]), 0))
            else:
                self._finish(node, needs)
        return edges[head]

    def _needs(self, node: Node) -> tuple[Node, ...]:
        if isinstance(node, LateNode):
            return (self.memo.settled(node, self.followed(node.owner)),)
        return node.needs()

    def _finish(self, node: Node, needs: tuple[Node, ...]) -> None:
        if isinstance(node, LateNode):
            self.edges[node] = self.edges[needs[0]]
        elif isinstance(node, GivenNode):
            self.vertices.extend(node.given)
            self.edges[node] = node.edge
        else:
            vertex = self.memo.vertex(node, needs, self.edges)
            self.room -= len(vertex.data)
            if self.room < 0:
                raise DockerfileError(f"the build comes to more than {MAX_DEFINITION >> 20} MiB of instructions")
            self.vertices.append(vertex)
            self.edges[node] = Edge(vertex.digest)

    def graph(self) -> Graph:
        return Graph(self.memo.merge(self.vertices))
