"""Vertices to be: what a step does, pointing at the steps it needs, before anything is marshalled.

A node points to nodes, not to digests, because the attributes of local sources (which paths are followed) are known
only when the last stage is compiled; `assemble` turns them into vertices then.

A step that many targets have with other inputs, or with other variables, has one form: what of it is always the same,
marshalled once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field, replace
from typing import NamedTuple, TypeAlias

from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.lower.environment import NO_VARIABLES, Variables
from bakepy.llb import wire
from bakepy.llb.graph import Edge, Vertex, VertexForm, always
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
from bakepy.model.digest import Digest
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass

_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""Bytes of the file that could not be decoded."""


@dataclass(slots=True, eq=False)
class Node:
    """Nodes are compared by identity. `trees` are those that the step reads; None is the empty tree. What the node
    says does not change; what was `made` of it is remembered for the next target."""

    trees: tuple[Node | None, ...]
    made: Made | None = field(default=None, init=False)

    def vertex(self, edges: tuple[Edge | None, ...]) -> Vertex:
        """The node with these edges as its trees. Raises DockerfileError."""
        raise NotImplementedError


Made: TypeAlias = tuple[tuple[Edge | None, ...], Edge, Vertex]
"""What became of a node: the edges of its trees then, its own edge, and the vertex."""


@dataclass(slots=True, eq=False)
class SourceNode(Node):
    """`locations` as in a vertex."""

    metadata: OpMetadata
    locations: tuple[Location, ...]
    op: SourceOp
    platform: Platform | None = None

    def vertex(self, edges: tuple[Edge | None, ...]) -> Vertex:
        return Vertex.make(self.op, platform=self.platform, metadata=self.metadata, locations=self.locations)


@dataclass(slots=True, eq=False)
class LateNode(Node):
    """A local source: which paths of it are followed is known when all stages are compiled.

    `owner` is the stage that it is the base of; None for the main context.
    """

    owner: object
    make: Callable[[tuple[str, ...]], Node]
    settled: dict[tuple[str, ...], Node] = field(default_factory=dict, init=False)

    def with_paths(self, followed: tuple[str, ...]) -> Node:
        """The source with the paths that are followed."""
        node = self.settled.get(followed)
        if node is None:
            node = self.settled[followed] = self.make(followed)
        return node


@dataclass(slots=True, eq=False)
class GivenNode(Node):
    """What somebody else has lowered already; taken over byte by byte. `given` in definition order."""

    given: tuple[Vertex, ...]
    edge: Edge


@dataclass(frozen=True, slots=True)
class MountPlan:
    """A mount before its input has a number."""

    dest: str
    selector: str = ""
    readonly: bool = False
    no_output: bool = False
    cache: CacheOpt | None = None
    tmpfs_size: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ExecForm:
    """A RUN, whatever its inputs and its variables are. `meta` has only those variables that come last in every case.

    `mounts` are sorted by destination, the root first; `extra` (secrets and sockets) follow them as they are.
    """

    metadata: OpMetadata
    locations: tuple[Location, ...]
    platform: Platform
    meta: Meta
    mounts: tuple[MountPlan, ...]
    extra: tuple[Mount, ...]
    network: NetMode
    security: SecurityMode
    secret_env: tuple[SecretEnv, ...]
    devices: tuple[CDIDevice, ...]
    _numbered: dict[tuple[int, ...], _NumberedExec] = field(default_factory=dict)

    def numbered(self, numbers: tuple[int, ...]) -> _NumberedExec:
        """The form with those inputs for its mounts. Raises DockerfileError."""
        found = self._numbered.get(numbers)
        if found is None:
            found = self._numbered[numbers] = self._number(numbers)
        return found

    def _number(self, numbers: tuple[int, ...]) -> _NumberedExec:
        meta = self.meta
        if not meta.args:
            where = next((location[0] for location in self.locations if location), None)
            raise DockerfileError("arguments are required for RUN", where=where, hint='as in RUN ["make", "install"]')
        if any(not arg.isascii() and _NOT_UTF8.search(arg) for arg in meta.args):
            raise DockerfileError("the command of a RUN is not UTF-8")
        mounts: list[Mount] = []
        outputs = 0
        for plan, index in zip(self.mounts, numbers, strict=True):
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
        all_mounts = (*mounts, *self.extra)
        metadata = self.metadata
        if any(mount.input != NONE and mount.type is MountType.BIND for mount in mounts):
            metadata = replace(metadata, caps=metadata.caps | {"exec.mount.bind"})

        def op(variables: Variables) -> ExecOp:
            env = (*variables.lines, *meta.env) if meta.env else variables.lines
            return ExecOp(meta.with_env(env), all_mounts, self.network, self.security, self.secret_env, self.devices)

        return _NumberedExec(
            VertexForm(op, self.platform, metadata, tuple(range(max(numbers) + 1)), self.locations),
            wire.constraints(self.platform),
            wire.arguments(meta),
            wire.variables(meta.env) + wire.settings(meta),
            wire.surroundings(op(NO_VARIABLES)),
            {},
        )


class _NumberedExec(NamedTuple):
    """An ExecForm whose inputs are known. The variables belong between `arguments` and `settings`."""

    form: VertexForm
    constraints: bytes
    arguments: bytes
    settings: bytes
    around: bytes
    heads: dict[int, bytes]
    """What stands before `arguments` where the variables have so many bytes."""

    def body(self, variables: bytes) -> bytes:
        """All that follows the inputs."""
        head = self.heads.get(len(variables))
        if head is None:
            head = wire.before_variables(self.arguments, len(variables), self.settings, self.around)
            head = self.heads[len(variables)] = self.constraints + head
        return b"".join((head, self.arguments, variables, self.settings, self.around))


@dataclass(slots=True, eq=False)
class ExecNode(Node):
    """Its trees are those of the form's mounts."""

    form: ExecForm
    variables: Variables

    def vertex(self, edges: tuple[Edge | None, ...]) -> Vertex:
        variables = self.variables
        inputs, numbers = _numbers(edges)
        known = self.form.numbered(numbers)
        data = wire.inputs(inputs) + known.body(variables.data)
        return Vertex(Digest.of(data), inputs, data, known.form, variables)


@dataclass(frozen=True, slots=True, eq=False)
class FileForm:
    """A step of file actions, whatever its inputs are; owners in them have `input` 0 where the base's user database is
    meant."""

    metadata: OpMetadata
    locations: tuple[Location, ...]
    actions: tuple[Action, ...]
    _numbered: dict[tuple[int, ...], _Numbered] = field(default_factory=dict)

    def numbered(self, numbers: tuple[int, ...]) -> _Numbered:
        """The form with those inputs for its base and its actions."""
        found = self._numbered.get(numbers)
        if found is None:
            found = self._numbered[numbers] = self._number(*numbers)
        return found

    def _number(self, base: int, *numbers: int) -> _Numbered:
        count, last = max(base, *numbers) + 1, len(self.actions) - 1
        actions = tuple(
            FileAction(
                _owned(action, base),
                base if k == 0 else count + k - 1,
                numbers[k],
                0 if k == last else NONE,
            )
            for k, action in enumerate(self.actions)
        )
        op = FileOp(actions)
        visits = dict.fromkeys(index for number in reversed(numbers) for index in (base, number) if index != NONE)
        form = VertexForm(always(op), None, self.metadata, tuple(visits), self.locations)
        return _Numbered(form, wire.body(op, None))


class _Numbered(NamedTuple):
    """A form whose inputs are known: all of the op but these."""

    form: VertexForm
    body: bytes


@dataclass(slots=True, eq=False)
class FileNode(Node):
    """Its trees are the one that is changed, and what each action of the form reads."""

    form: FileForm

    @classmethod
    def of(cls, metadata: OpMetadata, base: Node | None, action: Action, source: Node | None = None) -> FileNode:
        """One action that nobody wrote."""
        return cls((base, source), FileForm(metadata, (), (action,)))

    def vertex(self, edges: tuple[Edge | None, ...]) -> Vertex:
        inputs, numbers = _numbers(edges)
        known = self.form.numbered(numbers)
        data = wire.inputs(inputs) + known.body
        return Vertex(Digest.of(data), inputs, data, known.form)


_ONE, _ONE_ONLY, _TWO = (0,), (0, NONE), (0, 1)


def _numbers(edges: tuple[Edge | None, ...]) -> tuple[tuple[Edge, ...], tuple[int, ...]]:
    """The inputs of a vertex, each once, and for each tree the number of its input."""
    if len(edges) == 1 and edges[0] is not None:  # most RUNs
        return edges, _ONE  # type: ignore[return-value]
    if len(edges) == 2 and (first := edges[0]) is not None:  # most COPYs, WORKDIRs
        if (second := edges[1]) is None:
            return (first,), _ONE_ONLY
        if first != second:
            return edges, _TWO  # type: ignore[return-value]
    inputs: dict[Edge, int] = {}
    numbers = tuple([NONE if edge is None else inputs.setdefault(edge, len(inputs)) for edge in edges])
    return tuple(inputs), numbers


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
class MergeForm:
    """Trees laid over each other, whatever they are."""

    metadata: OpMetadata
    locations: tuple[Location, ...]
    _counted: dict[int, _Numbered] = field(default_factory=dict)

    def counted(self, trees: int) -> _Numbered:
        """The form with so many trees."""
        found = self._counted.get(trees)
        if found is None:
            op, numbers = MergeOp(tuple(range(trees))), tuple(range(trees))
            form = VertexForm(always(op), None, self.metadata, numbers, self.locations)
            found = self._counted[trees] = _Numbered(form, wire.body(op, None))
        return found


@dataclass(slots=True, eq=False)
class MergeNode(Node):
    """Two or more trees; equal inputs stay apart."""

    form: MergeForm

    def vertex(self, edges: tuple[Edge | None, ...]) -> Vertex:
        inputs = tuple([edge for edge in edges if edge is not None])
        known = self.form.counted(len(inputs))
        data = wire.inputs(inputs) + known.body
        return Vertex(Digest.of(data), inputs, data, known.form)
