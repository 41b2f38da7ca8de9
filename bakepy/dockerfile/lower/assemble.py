"""Nodes to vertices, without recursion; what was made for one target is used again for the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.lower.node import GivenNode, LateNode, Made, Node
from bakepy.llb.graph import Edge, Graph, Vertex
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass

MAX_DEFINITION = 256 << 20
"""Bytes of all ops of one result. No daemon takes so much, and no file that means well gets there."""

_MERGED = 4096
_new_edge = tuple.__new__
"""Half the time of `Edge`, which there is one of for each step of each target."""


@dataclass(slots=True)
class VertexMemo:
    """Vertices made before."""

    twins: dict[Digest, Vertex] = field(default_factory=dict)
    """So that equal vertices of many targets take memory once."""
    merged: dict[tuple[int, ...], tuple[tuple[Vertex, ...], Vertex]] = field(default_factory=dict)
    """By the identities of the mentions of one digest, which are held here too: what all say together."""

    def make(self, node: Node, inputs: tuple[Edge | None, ...]) -> Made:
        """A node with equal inputs gives an equal vertex."""
        vertex = node.vertex(inputs)
        digest = vertex.digest
        twin = self.twins.setdefault(digest, vertex)
        if twin is not vertex and (
            twin.form is vertex.form or (twin.metadata == vertex.metadata and twin.locations == vertex.locations)
        ):
            vertex = twin
        made = node.made = (inputs, _new_edge(Edge, (digest, 0)), vertex)
        return made

    def united(self, vertices: list[Vertex]) -> Graph:
        """Each digest once; later mentions add what they say to the first."""
        found = {vertex.digest: vertex for vertex in vertices}
        if len(found) == len(vertices):
            return Graph.ordered(found)
        found.clear()
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
        edges, vertices, find, make = self.edges, self.vertices, self.edges.get, self.memo.make
        path = [] if head in edges else [head]  # each needs the next, so none is on it twice
        while path:
            node = path[-1]
            trees = node.trees
            inputs: tuple[Edge | None, ...]
            missing: Node | None = None
            if len(trees) == 1:  # most RUNs
                only = trees[0]
                edge = None if only is None else find(only)
                inputs = (edge,)
                if edge is None:
                    missing = only
            elif len(trees) == 2:  # most COPYs
                first, second = trees
                left = None if first is None else find(first)
                right = None if second is None else find(second)
                inputs = (left, right)
                if left is None and first is not None:
                    missing = first
                elif right is None:
                    missing = second
            else:
                inputs = tuple([None if tree is None else find(tree) for tree in trees])
                missing = next((tree for tree in trees if tree is not None and tree not in edges), None)
            if missing is not None:
                while True:  # down to what is known, the usual chain at once
                    path.append(missing)
                    trees = missing.trees
                    if not trees or (missing := trees[0]) is None or missing in edges:
                        break
                continue
            path.pop()
            made = node.made
            if made is None or made[0] != inputs:
                if isinstance(node, LateNode):
                    edges[node] = self.add(node.with_paths(self.followed(node.owner)))
                    continue
                if isinstance(node, GivenNode):
                    self.vertices += node.given
                    edges[node] = node.edge
                    continue
                made = make(node, inputs)
            _, edges[node], vertex = made
            self.room -= len(vertex.data)
            vertices.append(vertex)
            if self.room < 0:
                raise DockerfileError(f"the build comes to more than {MAX_DEFINITION >> 20} MiB of instructions")
        return edges[head]

    def graph(self) -> Graph:
        return self.memo.united(self.vertices)
