"""Vertices to be: what a step does, pointing at the steps it needs, before anything is marshalled.

A node points to nodes, not to digests, because the attributes of local sources (which paths are followed) are known
only when the last stage is compiled; `assemble` turns them into vertices then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.llb.graph import Edge, Vertex
from bakepy.llb.op import (
    NONE,
    Action,
    CacheOpt,
    CDIDevice,
    ChownOpt,
    CopyAction,
    ExecOp,
    FileAction,
    FileOp,
    MergeOp,
    Meta,
    MkDirAction,
    Mount,
    MountType,
    NetMode,
    OpMetadata,
    SecretEnv,
    SecurityMode,
    SourceOp,
    UserOpt,
)
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass

_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""Bytes of the file that could not be decoded."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Node:
    """`locations` as in a vertex. Nodes are compared by identity."""

    metadata: OpMetadata
    locations: tuple[Location, ...]

    def needs(self) -> tuple[Node, ...]:
        """Nodes that this one reads, each once, in the order in which a definition visits them."""
        return ()

    def vertex(self, edges: Mapping[Node, Edge]) -> Vertex:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class SourceNode(Node):
    op: SourceOp
    platform: Platform | None = None

    def vertex(self, edges: Mapping[Node, Edge]) -> Vertex:
        return Vertex.make(self.op, platform=self.platform, metadata=self.metadata, locations=self.locations)


@dataclass(frozen=True, slots=True, eq=False)
class LateNode(Node):
    """A local source: which paths of it are followed is known when all stages are compiled.

    `owner` is the stage that it is the base of; None for the main context.
    """

    owner: object
    make: Callable[[tuple[str, ...]], Node]


@dataclass(frozen=True, slots=True, eq=False)
class GivenNode(Node):
    """What somebody else has lowered already; taken over byte by byte. `given` in definition order."""

    given: tuple[Vertex, ...]
    edge: Edge


@dataclass(frozen=True, slots=True)
class MountPlan:
    """A mount before its input has a number."""

    dest: str
    source: Node | None
    selector: str = ""
    readonly: bool = False
    no_output: bool = False
    cache: CacheOpt | None = None
    tmpfs_size: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ExecNode(Node):
    """`mounts` are sorted by destination, the root first; `extra` (secrets and sockets) follow them as they are."""

    platform: Platform
    meta: Meta
    mounts: tuple[MountPlan, ...]
    extra: tuple[Mount, ...]
    network: NetMode
    security: SecurityMode
    secret_env: tuple[SecretEnv, ...]
    devices: tuple[CDIDevice, ...]

    def needs(self) -> tuple[Node, ...]:
        return tuple(dict.fromkeys(mount.source for mount in self.mounts if mount.source is not None))

    def vertex(self, edges: Mapping[Node, Edge]) -> Vertex:
        if not self.meta.args:
            raise DockerfileError("arguments are required for RUN", hint='as in RUN ["make", "install"]')
        if any(not arg.isascii() and _NOT_UTF8.search(arg) for arg in self.meta.args):
            raise DockerfileError("the command of a RUN is not UTF-8")
        inputs: dict[Edge, int] = {}
        mounts: list[Mount] = []
        outputs = 0
        for plan in self.mounts:
            index = NONE if plan.source is None else inputs.setdefault(edges[plan.source], len(inputs))
            output = NONE
            if not (plan.no_output or plan.readonly or plan.cache or plan.tmpfs_size is not None):
                output = outputs
                outputs += 1
            kind = MountType.CACHE if plan.cache else MountType.BIND if plan.tmpfs_size is None else MountType.TMPFS
            mounts.append(
                Mount(
                    plan.dest,
                    index,
                    plan.selector,
                    output,
                    plan.readonly,
                    kind,
                    tmpfs_size=plan.tmpfs_size,
                    cache=plan.cache,
                )
            )
        op = ExecOp(self.meta, (*mounts, *self.extra), self.network, self.security, self.secret_env, self.devices)
        return Vertex.make(op, inputs, platform=self.platform, metadata=self.metadata, locations=self.locations)


@dataclass(frozen=True, slots=True)
class ActionPlan:
    """One action; owners in it have `input` 0 where the base's user database is meant."""

    action: Action
    source: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FileNode(Node):
    base: Node | None
    actions: tuple[ActionPlan, ...]

    def needs(self) -> tuple[Node, ...]:
        found: dict[Node, None] = {}
        for plan in reversed(self.actions):
            if self.base is not None:
                found[self.base] = None
            if plan.source is not None:
                found[plan.source] = None
        return tuple(found)

    def vertex(self, edges: Mapping[Node, Edge]) -> Vertex:
        inputs: dict[Edge, int] = {}
        base = NONE if self.base is None else inputs.setdefault(edges[self.base], 0)
        sources = [
            NONE if plan.source is None else inputs.setdefault(edges[plan.source], len(inputs)) for plan in self.actions
        ]
        count, last = len(inputs), len(self.actions) - 1
        actions = tuple(
            FileAction(
                _owned(plan.action, base),
                base if k == 0 else count + k - 1,
                sources[k],
                0 if k == last else NONE,
            )
            for k, plan in enumerate(self.actions)
        )
        visits = tuple(dict.fromkeys(inputs[edges[node]] for node in self.needs()))
        return Vertex.make(FileOp(actions), inputs, metadata=self.metadata, locations=self.locations, visits=visits)


def _owned(action: Action, base: int) -> Action:
    if base == 0:
        return action
    match action:
        case CopyAction(owner=ChownOpt() as owner) | MkDirAction(owner=ChownOpt() as owner):
            return replace(action, owner=ChownOpt(_rebased(owner.user, base), _rebased(owner.group, base)))
    return action


def _rebased(user: UserOpt | None, base: int) -> UserOpt | None:
    return user if user is None or user.id is not None else replace(user, input=base)


@dataclass(frozen=True, slots=True, eq=False)
class MergeNode(Node):
    """Two or more trees; equal inputs stay apart."""

    inputs: tuple[Node, ...]

    def needs(self) -> tuple[Node, ...]:
        return tuple(dict.fromkeys(self.inputs))

    def vertex(self, edges: Mapping[Node, Edge]) -> Vertex:
        return Vertex.make(
            MergeOp(tuple(range(len(self.inputs)))),
            [edges[node] for node in self.inputs],
            metadata=self.metadata,
            locations=self.locations,
        )
