"""A plan: one graph, and for every target × platform its head in that graph and its image config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from bakepy.llb.graph import Edge, Graph
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.location import SourceRange
from bakepy.model.platform import Platform
from bakepy.model.target import Target
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class PlannedPlatform:
    """One target for one platform. `head` None is an empty tree (scratch)."""

    platform: Platform
    head: Edge | None
    image: ImageConfig


@dataclass(frozen=True, slots=True)
class PlannedTarget:
    """One target. `multi_platform`: its image is an index, whatever the number of its platforms. `epoch` is
    SOURCE_DATE_EPOCH as its Dockerfile and arguments have it, in seconds; None: not set."""

    target: Target
    platforms: tuple[PlannedPlatform, ...]
    multi_platform: bool = False
    epoch: int | None = None

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def heads(self) -> tuple[Edge, ...]:
        return tuple(planned.head for planned in self.platforms if planned.head is not None)


@dataclass(frozen=True, slots=True)
class PlanWarning:
    """Something that a Dockerfile check found (`rule`), or the planner; `targets` are those that it is about."""

    message: str
    where: SourceRange | None = None
    rule: str = ""
    url: str = ""
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is to do.

    `targets` come in the order of the bake file's request, linked ones (`Target.linked`) before those that use them;
    `locals` tells the directory (absolute) behind the name of each `local://` source, `layouts` that behind each
    store name of an `oci-layout://` source.
    """

    graph: Graph
    targets: tuple[PlannedTarget, ...]
    locals: FrozenMap[str, str] = field(default_factory=FrozenMap)
    layouts: FrozenMap[str, str] = field(default_factory=FrozenMap)
    warnings: tuple[PlanWarning, ...] = ()

    def needed(self) -> Mapping[str, tuple[Digest, ...]]:
        """The vertices that each target needs, in definition order. Targets with equal heads share one tuple."""
        known: dict[tuple[Edge, ...], tuple[Digest, ...]] = {}
        found: dict[str, tuple[Digest, ...]] = {}
        for target in self.targets:
            heads = target.heads
            if heads not in known:
                known[heads] = tuple(vertex.digest for vertex in self.graph.reachable(heads))
            found[target.name] = known[heads]
        return found

    def users(self) -> Mapping[Digest, tuple[str, ...]]:
        """The names of the targets that need each vertex, in the plan's order."""
        users: dict[Digest, list[str]] = {digest: [] for digest in self.graph}
        for name, digests in self.needed().items():
            for digest in digests:
                users[digest].append(name)
        shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        result: dict[Digest, tuple[str, ...]] = {}
        for digest, names in users.items():
            together = tuple(names)
            result[digest] = shared.setdefault(together, together)
        return result
