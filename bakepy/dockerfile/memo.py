"""What the lowerings of one Dockerfile have in common, so that a matrix of targets costs what differs.

Everything here is a pure function's result by its arguments; forgetting any of it changes nothing but time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import field
from typing import Generic, TypeVar

from bakepy.dockerfile.checks import CheckConfig, Warning
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.dockerfile.instructions import Arg
from bakepy.dockerfile.lower.assemble import VertexMemo
from bakepy.dockerfile.lower.contexts import MainContext
from bakepy.dockerfile.lower.state import Command, StageState
from bakepy.dockerfile.lower.step import StepMemo
from bakepy.dockerfile.options import GraphContext, LowerOptions, NamedContext
from bakepy.dockerfile.plan import StagePlan
from bakepy.errors import BakeError
from bakepy.llb.graph import Edge, Graph
from bakepy.model.frozen import FrozenMap
from bakepy.model.value import dataclass

V = TypeVar("V")
_PLANS, _STAGES, _CONTEXTS, _RESULTS = 32, 512, 32, 64
_PARTS = 32
"""Parts of a stage at most: each keeps a copy of the stage's state."""


class Recent(Generic[V]):
    """A mapping that keeps the `limit` values used last."""

    __slots__ = ("_limit", "_values")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def find(self, key: Hashable) -> V | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Hashable, value: V) -> V:
        self._values[key] = value
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
        return value


@dataclass(frozen=True, slots=True)
class Part:
    """Commands of a stage from `start` up to `stop`; `names` are declared by its ARGs, `sources` read by its COPYs
    and RUNs.

    A stage is cut where an ARG takes a value from outside, so that targets which differ in that value share what
    stands above it.
    """

    start: int
    stop: int
    names: tuple[str, ...]
    sources: tuple[StageState, ...]


def _parts(commands: Sequence[Command], given: Container[str]) -> Iterator[Part]:
    cuts = [k for k, command in enumerate(commands) if k and any(name in given for name in _declared([command]))]
    starts = [0, *cuts][:_PARTS]
    for start, stop in zip(starts, [*starts[1:], len(commands)], strict=True):
        inside = commands[start:stop]
        sources = dict.fromkeys(source for command in inside for source in command.sources)
        yield Part(start, stop, tuple(dict.fromkeys(_declared(inside))), tuple(sources))


def _declared(commands: Iterable[Command]) -> Iterator[str]:
    for command in commands:
        if isinstance(command.instruction, Arg):
            for item in command.instruction.items:
                yield item.name


@dataclass(slots=True, eq=False)
class KnownPlan:
    """A plan, the warnings that came with it and the image configs that it rests on."""

    plan: StagePlan
    warnings: tuple[Warning, ...]
    used: dict[ImageRequest, ResolvedImageConfig | BakeError]
    held: tuple[object, ...]
    """Objects whose identity is part of the key; while they are held here it is not given to others."""
    declared: dict[StageState, tuple[str, ...]] = field(default_factory=dict)
    """The names that the ARGs of each stage declare."""
    parts: dict[tuple[StageState, tuple[str, ...]], tuple[Part, ...]] = field(default_factory=dict)

    def parts_of(self, stage: StageState, given: Container[str]) -> tuple[Part, ...]:
        """The parts of a stage when those arguments are given."""
        names = self.declared.get(stage)
        if names is None:
            names = self.declared[stage] = tuple(dict.fromkeys(_declared(stage.commands)))
        names = tuple([name for name in names if name in given])
        found = self.parts.get((stage, names))
        if found is None:
            found = self.parts[stage, names] = tuple(_parts(stage.commands, frozenset(names)))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class AskedImages:
    """What a plan was found to need before it could be made; `held` as in `KnownPlan`."""

    requests: tuple[ImageRequest, ...]
    held: tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Assembled:
    """The vertices of one target and of the trees that are scanned besides it."""

    head: Edge | None
    graph: Graph
    scans: FrozenMap[str, Edge | None]
    uncached: bool


@dataclass(slots=True, eq=False)
class Memo:
    """Belongs to one parsed Dockerfile. Not for several threads at once."""

    labs: bool | None = None
    """Whether the syntax line asks for the labs channel."""
    configs: dict[str | None, CheckConfig] = field(default_factory=dict)
    """By the options that override those in the file."""
    text_warnings: dict[CheckConfig, tuple[Warning, ...]] = field(default_factory=dict)
    plans: Recent[KnownPlan | AskedImages] = field(default_factory=lambda: Recent(_PLANS))
    stages: Recent[StageState] = field(default_factory=lambda: Recent(_STAGES))
    steps: Recent[StepMemo] = field(default_factory=lambda: Recent(_PLANS))
    """By the plan and everything else that all stages have in common."""
    contexts: Recent[MainContext] = field(default_factory=lambda: Recent(_CONTEXTS))
    vertices: VertexMemo = field(default_factory=VertexMemo)
    results: Recent[Assembled] = field(default_factory=lambda: Recent(_RESULTS))


def context_key(context: NamedContext) -> Hashable:
    """Equal for contexts that are interchangeable; graphs are compared by identity."""
    if isinstance(context, GraphContext):
        return (id(context.graph), context.head, id(context.image))
    return context


def plan_key(options: LowerOptions) -> Hashable:
    """What of the options has a say in the plan."""
    return (
        options.target,
        options.platform,
        options.build_platform,
        options.multi_platform,
        tuple((name, context_key(context)) for name, context in options.contexts.items()),
        options.no_cache,
        options.no_cache_filter,
        options.resolve_mode,
        options.labs,
        options.all_stages,
    )


def stage_key(options: LowerOptions) -> Hashable:
    """What of the options has a say in every stage, besides the plan."""
    return (
        options.network,
        options.extra_hosts,
        options.ulimits,
        options.shm_size,
        options.hostname,
        options.cgroup_parent,
        options.resources,
        options.cache_namespace,
        options.unsupported,
    )
