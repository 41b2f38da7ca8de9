"""What the lowerings of one Dockerfile have in common, so that a matrix of targets costs what differs.

Everything here is a pure function's result by its arguments; forgetting any of it changes nothing but time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Set
from dataclasses import field
from typing import Generic, TypeVar

from bakepy.dockerfile.checks import CheckConfig, Warning
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.dockerfile.instructions import Dockerfile
from bakepy.dockerfile.lower.assemble import VertexMemo
from bakepy.dockerfile.lower.contexts import MainContext
from bakepy.dockerfile.lower.parts import Cut
from bakepy.dockerfile.lower.state import StageState
from bakepy.dockerfile.lower.step import StepMemo
from bakepy.dockerfile.options import GraphContext, LowerOptions, NamedContext
from bakepy.dockerfile.plan import StagePlan
from bakepy.errors import BakeError
from bakepy.llb.graph import Edge, Graph
from bakepy.model.frozen import FrozenMap
from bakepy.model.value import dataclass

V = TypeVar("V")
_PLANS, _STAGES, _CONTEXTS, _RESULTS = 32, 64, 32, 8
KEPT_TARGETS = 4
"""For so many targets at least all stages are kept. What is kept longer costs more when it is forgotten."""


class Recent(Generic[V]):
    """A mapping that keeps the `limit` values used last."""

    __slots__ = ("_last", "_limit", "_values")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[Hashable, V] = OrderedDict()
        self._last: V | None = None
        """The one at the end, if that is known: no need to move it there."""

    def find(self, key: Hashable) -> V | None:
        value = self._values.get(key)
        if value is not None and value is not self._last:
            self._values.move_to_end(key)
            self._last = value
        return value

    def hold(self, least: int) -> None:
        self._limit = max(self._limit, least)

    def put(self, key: Hashable, value: V) -> V:
        before = len(self._values)
        self._values[key] = value
        self._last = value if len(self._values) > before else None  # else it stands where it stood
        if len(self._values) > self._limit:
            self._values.popitem(last=False)
        return value


@dataclass(slots=True, eq=False)
class KnownPlan:
    """A plan, the warnings that came with it and the image configs that it rests on."""

    plan: StagePlan
    warnings: tuple[Warning, ...]
    used: dict[ImageRequest, ResolvedImageConfig | BakeError]
    held: tuple[object, ...]
    """Objects whose identity is part of the key; while they are held here it is not given to others."""
    declared: Set[str]
    """The names that any ARG declares."""
    checked: object = None
    """Images that were found to be those that are used; none of them changes."""
    cuts: dict[frozenset[str], Cut] = field(default_factory=dict)

    def cut(self, dockerfile: Dockerfile, given: Iterable[str]) -> Cut:
        """How stages are cut when those arguments are given."""
        names = frozenset([name for name in given if name in self.declared])
        found = self.cuts.get(names)
        if found is None:
            found = self.cuts[names] = Cut.of(names, dockerfile.global_args, self.plan.table.states)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class AskedImages:
    """What a plan was found to need before it could be made; `held` as in `KnownPlan`."""

    requests: tuple[ImageRequest, ...]
    held: tuple[object, ...]
    plan: list[KnownPlan] = field(default_factory=list)
    """The plan, when it was made."""


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
    starts: Recent[dict[str, str]] = field(default_factory=lambda: Recent(_CONTEXTS))
    """The platform arguments, by what they depend on where no build argument has their name. Not to be changed."""
    plans: Recent[KnownPlan | AskedImages] = field(default_factory=lambda: Recent(_PLANS))
    stages: Recent[StageState] = field(default_factory=lambda: Recent(_STAGES))
    steps: Recent[StepMemo] = field(default_factory=lambda: Recent(_PLANS))
    """By the plan and everything else that all stages have in common."""
    contexts: Recent[MainContext] = field(default_factory=lambda: Recent(_CONTEXTS))
    followed: Recent[tuple[str, ...]] = field(default_factory=lambda: Recent(_CONTEXTS))
    """The paths to follow, sorted, by those that are read."""
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
