"""Targets from Dockerfile texts to a plan, and an engine that bakes them, without a command line."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.engine.embedded import Embedded
from bakepy.engine.protocol import Outcome, SolveOptions
from bakepy.events import Event, VertexAdded, VertexCached, VertexDone, VertexMissed, VertexStarted
from bakepy.exporter.result import Exported, TargetResult
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import host_platform
from bakepy.model.target import BakeFile, Target
from bakepy.planner.compiling import PlanOptions, make_plan
from bakepy.planner.images import side_by_side
from bakepy.planner.plan import Plan


@dataclass(frozen=True)
class Files:
    """Reads relative to a folder."""

    folder: Path

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def is_directory(self, path: str) -> bool:
        return (self.folder / path).is_dir()

    def names(self, path: str) -> Iterable[str]:
        return [entry.name for entry in (self.folder / path).iterdir()]

    def absolute(self, path: str) -> str:
        return os.path.normpath(self.folder / path)


@dataclass
class Kitchen:
    """An open engine, the folder of the command, and what was told in the last run."""

    engine: Embedded
    folder: Path
    events: list[Event] = field(default_factory=list)
    exported: dict[str, TargetResult] = field(default_factory=dict)

    async def plan(self, targets: Iterable[Target], granted: frozenset[str] = frozenset()) -> Plan:
        async def resolve(
            request: ImageRequest, layouts: Mapping[str, str], targets: Sequence[Target]
        ) -> ResolvedImageConfig:
            image = await self.engine.resolve_image(
                request.identifier,
                request.platform or self.engine.host,
                {"oci.store": request.store} if request.store else {},
                {name: Path(path) for name, path in layouts.items()},
            )
            return ResolvedImageConfig(image.digest, image.config)

        bake = BakeFile(FrozenMap({target.name: target for target in targets}), FrozenMap())
        return await make_plan(
            bake, files=Files(self.folder), resolve=side_by_side(resolve), options=PlanOptions(granted=granted)
        )

    async def bake(
        self, *targets: Target, options: SolveOptions | None = None, plan: Plan | None = None
    ) -> dict[str, Outcome]:
        """One run: the outcome of each target."""
        options = options or SolveOptions()
        plan = plan or await self.plan(targets, options.entitlements)
        self.events.clear()
        self.exported.clear()

        async def export(result: TargetResult) -> Exported:
            self.exported[result.name] = result
            return Exported()

        outcomes = await self.engine.solve(plan, export=export, emit=self.events.append, options=options)
        return {outcome.target: outcome for outcome in outcomes}

    def steps(self, kind: type[Event]) -> Counter[str]:
        """How often each step had an event of that kind, by name."""
        names = {event.digest: event.name for event in self.events if isinstance(event, VertexAdded)}
        return Counter(names[event.digest] for event in self.events if type(event) is kind)  # type: ignore[union-attr]

    @property
    def ran(self) -> list[str]:
        """The steps that were begun and not found, in order: sources and file ops included."""
        names = {event.digest: event.name for event in self.events if isinstance(event, VertexAdded)}
        cached = {event.digest for event in self.events if isinstance(event, VertexCached)}
        begun = [event.digest for event in self.events if isinstance(event, VertexStarted)]
        return [names[digest] for digest in begun if digest not in cached]

    @property
    def processes(self) -> list[str]:
        """The commands of the RUN steps among them."""
        return [name.partition(" RUN ")[2] for name in self.ran if " RUN " in name]

    @property
    def misses(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Why steps had to run, and because of which inputs, by instruction; without the sources."""
        names = {event.digest: event.name for event in self.events if isinstance(event, VertexAdded)}
        missed = [event for event in self.events if isinstance(event, VertexMissed)]
        return {
            names[event.digest].rpartition("] ")[2]: (event.reason, event.changed)
            for event in missed
            if not names[event.digest].startswith("[internal]")
        }

    @property
    def done(self) -> Counter[str]:
        return self.steps(VertexDone)


@asynccontextmanager
async def kitchen(root: Path, folder: Path) -> AsyncIterator[Kitchen]:
    async with Embedded.open(root, environment={"PATH": os.environ["PATH"]}, host=host_platform()) as engine:
        yield Kitchen(engine, folder)


def target(name: str, dockerfile: str, **options: object) -> Target:
    """A target with its Dockerfile inline; contexts and arguments as dictionaries."""
    maps = {key: FrozenMap(value) if isinstance(value, dict) else value for key, value in options.items()}
    return Target(name=name, dockerfile_inline=dockerfile, **maps)  # type: ignore[arg-type]
