"""All targets of a bake file into one plan.

Linked targets come first, level by level. Within a level equal compilations are one; the images that they are missing
are resolved together, each distinct one once, until none is missing; then lowering is a plain function.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import Protocol

from bakepy.dockerfile.checks import Warning
from bakepy.dockerfile.compile import Compilation, Lowered
from bakepy.dockerfile.epoch import SourceTimeRequest
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.dockerfile.options import GraphContext, InvalidContext, NamedContext
from bakepy.errors import BakeError, DefinitionError, DefinitionErrors, nearest
from bakepy.llb.graph import Graph
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import Platform, host_platform
from bakepy.model.reference import ImageReference
from bakepy.model.target import BakeFile, Target
from bakepy.model.value import dataclass
from bakepy.planner.entitlements import check_entitlements
from bakepy.planner.files import FileReader
from bakepy.planner.plan import Plan, PlannedPlatform, PlannedTarget, PlanWarning
from bakepy.planner.remote import RemoteReader
from bakepy.planner.settings import TargetSettings, located, read_target
from bakepy.planner.sources import Sources

ResolvedImages = Mapping[ImageRequest, ResolvedImageConfig | BakeError]


class ImageResolver(Protocol):
    """Finds out what image references point to (`images.side_by_side` makes one of what can do it for one)."""

    async def __call__(
        self, wanted: Mapping[ImageRequest, Sequence[Target]], layouts: Mapping[str, str]
    ) -> ResolvedImages:
        """The digest and the config of each, or why there is none. The values of `wanted` are the targets that want to
        know; `layouts` tells the folder behind the store name of an OCI layout.

        Asked once for each distinct request of a plan.
        """
        ...


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """`granted` are the entitlements that the command allows (`network.host`, `security.insecure`); `unsupported` are
    capabilities that the engine lacks."""

    build_platform: Platform = field(default_factory=host_platform)
    granted: frozenset[str] = frozenset()
    cgroup_parent: str = ""
    unsupported: frozenset[str] = frozenset()


@dataclass(slots=True)
class Unit:
    """One compilation, perhaps of several targets. `lowered` stays None if it fails."""

    compilation: Compilation
    targets: list[Target]
    lowered: Lowered | None = None


@dataclass(slots=True)
class Failures:
    """What went wrong, each thing once, in the order of the targets."""

    by_target: dict[str, list[BakeError]] = field(default_factory=dict)

    def add(self, target: str, error: BakeError) -> None:
        errors = self.by_target.setdefault(target, [])
        for one in error.errors if isinstance(error, DefinitionErrors) else (error,):
            if one not in errors:
                errors.append(one)

    def raise_any(self, order: Iterable[str]) -> None:
        """Definition errors first; failed look-ups of images only if the files are right."""
        found: dict[str, BakeError] = {}
        for name in order:
            for error in self.by_target.get(name, ()):
                found.setdefault(error.render(), error)
        errors = list(found.values())
        errors = [error for error in errors if isinstance(error, DefinitionError)] or errors
        if len(errors) == 1:
            raise errors[0]
        if errors and all(isinstance(error, DefinitionError) for error in errors):
            raise DefinitionErrors(errors)
        if errors:
            worst = max(errors, key=lambda error: error.exit_code)
            raise type(worst)(
                f"{len(errors)} images can not be used",
                detail=[line for error in errors for line in error.render().splitlines()],
            )


async def make_plan(
    bake: BakeFile,
    *,
    files: FileReader,
    resolve: ImageResolver,
    options: PlanOptions | None = None,
    remote: RemoteReader | None = None,
) -> Plan:
    """Compiles every target of `bake`. Without `remote` contexts that are far away are refused.

    Raises DefinitionError, or DefinitionErrors for several of them, with their places; and what `resolve` raises.
    """
    options = options or PlanOptions()
    sources = Sources(files)
    failures = Failures()
    levels = link_levels(bake, failures)
    if remote is not None:
        await sources.remote.load(bake.targets, remote)
    settings = read_targets(bake, sources, options, failures)
    compiler = Compiler(resolve, sources.layouts, settings, failures, remote)
    for level in levels:
        await compiler.compile(level)
    plan = compiler.plan([name for level in levels for name in level], sources)
    failures.raise_any(bake.targets)
    check_entitlements(plan, options.granted)
    return plan


def read_targets(
    bake: BakeFile, sources: Sources, options: PlanOptions, failures: Failures
) -> dict[str, TargetSettings]:
    """All targets that can be read; what is wrong with the others is a failure."""
    settings: dict[str, TargetSettings] = {}
    for name, target in bake.targets.items():
        try:
            settings[name] = read_target(
                target,
                sources,
                build_platform=options.build_platform,
                cgroup_parent=options.cgroup_parent,
                unsupported=options.unsupported,
            )
        except BakeError as error:
            failures.add(name, error)
    return settings


def link_levels(bake: BakeFile, failures: Failures) -> list[list[str]]:
    """Targets such that links point to earlier levels only. A cycle or an unknown link is a failure."""
    level: dict[str, int] = {}
    for start in bake.targets:
        stack = [(start, iter(_links(bake.targets[start])))] if start not in level else []
        on_path = dict.fromkeys([start])
        while stack:
            name, links = stack[-1]
            for context, other in links:
                if other in on_path:
                    path = [*on_path][[*on_path].index(other) :]
                    failures.add(
                        name, _link_error(bake.targets[name], context, f"a cycle: {' -> '.join((*path, other))}")
                    )
                elif other not in bake.targets:
                    hint = nearest(other, bake.targets)
                    failures.add(name, _link_error(bake.targets[name], context, f"there is no target '{other}'", hint))
                elif other not in level:
                    stack.append((other, iter(_links(bake.targets[other]))))
                    on_path[other] = None
                    break
            else:
                below = [level[other] for _, other in _links(bake.targets[name]) if other in level]
                level[name] = max(below, default=-1) + 1
                stack.pop()
                on_path.pop(name, None)
    levels: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for name in bake.targets:
        levels[level[name]].append(name)
    return levels


def _links(target: Target) -> list[tuple[str, str]]:
    return [
        (name, text.removeprefix("target:")) for name, text in target.contexts.items() if text.startswith("target:")
    ]


def _link_error(target: Target, context: str, what: str, hint: str = "") -> DefinitionError:
    path = f"contexts.{context}"
    return DefinitionError(what, where=target.where(path), path=f"target.{target.name}.{path}", hint=hint)


@dataclass(slots=True)
class Compiler:
    """The compilations of a plan, by what makes them different."""

    resolve: ImageResolver
    layouts: Mapping[str, str]
    settings: Mapping[str, TargetSettings]
    failures: Failures
    remote: RemoteReader | None = None
    images: dict[ImageRequest, ResolvedImageConfig | BakeError] = field(default_factory=dict)
    """All that any compilation asked for; each sees those of the others."""
    _times: dict[SourceTimeRequest, int | BakeError | None] = field(default_factory=dict)
    _units: dict[Hashable, Unit] = field(default_factory=dict)
    _of: dict[str, list[Unit]] = field(default_factory=dict)

    def compiled(self, name: str) -> bool:
        """Whether that target was compiled without a failure."""
        return name in self._of

    async def compile(self, names: Iterable[str]) -> None:
        """Compiles these targets, whose links are compiled already. What fails is noted, not raised."""
        fresh: list[Unit] = []
        for name in names:
            setting = self.settings.get(name)
            if setting is None or any(other not in self._of for other in setting.links.values()):
                continue  # told already, here or for the target that it needs
            try:
                units = []
                for platform in setting.platforms:
                    unit, new = self._unit(setting, platform)
                    units.append(unit)
                    if new:
                        fresh.append(unit)
                self._of[name] = units
            except BakeError as error:
                self.failures.add(name, error)
        await self.provide_images(fresh)
        for unit in fresh:
            try:
                unit.lowered = unit.compilation.lower()
            except BakeError as error:
                first = unit.targets[0]
                if error.where is None and first.target and first.target in error.what:
                    with suppress(BakeError), located(first, "target", first.target):
                        raise error
                for target in unit.targets:
                    self.failures.add(target.name, self.as_caused(error, unit))
        for name, units in tuple(self._of.items()):
            lowered = [unit.lowered for unit in units]
            if lowered[0] is not None and (violation := lowered[0].violation) is not None:
                self.failures.add(name, violation)  # of the first platform, as with BuildKit
                del self._of[name]
            elif None in lowered:
                del self._of[name]

    def _unit(self, setting: TargetSettings, platform: Platform | None) -> tuple[Unit, bool]:
        options = setting.for_platform(platform)
        linked, identity = self.linked(setting, platform)
        key = (id(setting.dockerfile), options, identity)
        if linked:
            options = replace(options, contexts=FrozenMap({**options.contexts, **linked}))
        unit = Unit(Compilation(setting.dockerfile, options, self.images), [])
        known = self._units.setdefault(key, unit)
        known.targets.append(setting.target)
        return known, known is unit

    def linked(
        self, setting: TargetSettings, platform: Platform | None
    ) -> tuple[dict[str, NamedContext], tuple[Hashable, ...]]:
        """The graphs of linked targets as contexts, and what tells them from others.

        A target with one platform serves every platform; one with several serves those, each by its own graph
        (buildx: waitContextDeps).
        """
        contexts: dict[str, NamedContext] = {}
        identity: list[Hashable] = []
        for name, other in setting.links.items():
            theirs = self.settings[other]
            wanted = (platform or setting.options.build_platform).normalized()
            if not theirs.multi_platform:
                graph = self._graph(self._of[other][0])
                contexts[name] = graph
                identity.append((name, graph.head, graph.image))
                continue
            key = f"{name}::{wanted}"
            for their_platform, unit in zip(theirs.platforms, self._of[other], strict=True):
                if (their_platform or theirs.options.build_platform).normalized() == wanted:
                    graph = self._graph(unit)
                    contexts[key] = graph
                    identity.append((key, graph.head, graph.image))
            if key not in contexts:
                built = ", ".join(str(one) for one in theirs.platforms)
                message = f"the target '{other}' is built for {built}, not for {wanted}"
                contexts[key] = InvalidContext(message)
                identity.append((key, message))
        return contexts, tuple(identity)

    def _graph(self, unit: Unit) -> GraphContext:
        assert unit.lowered is not None
        return GraphContext(unit.lowered.graph, unit.lowered.head, unit.lowered.image)

    async def provide_images(self, units: Iterable[Unit]) -> None:
        """Rounds: ask every compilation what it is missing, and resolve it for them all."""
        waiting = list(units)
        await self._provide_times(waiting)
        while waiting:
            asked = {id(unit): unit.compilation.missing() for unit in waiting}
            waiting = [unit for unit in waiting if asked[id(unit)]]
            wanting: dict[ImageRequest, list[Target]] = {}
            for unit in waiting:
                for request in asked[id(unit)]:
                    wanting.setdefault(request, []).extend(unit.targets)
            if wanting:
                self.images.update(await self.resolve(wanting, self.layouts))

    async def _provide_times(self, units: Iterable[Unit]) -> None:
        """Finds out the times of sources that SOURCE_DATE_EPOCH names."""
        for unit in units:
            request = unit.compilation.missing_time()
            if request is None or self.remote is None:
                continue
            if request not in self._times:
                try:
                    self._times[request] = await self.remote.time(request.op, unit.targets)
                except BakeError as error:
                    self._times[request] = error
            unit.compilation.provide_time(request, self._times[request])

    def as_caused(self, error: BakeError, unit: Unit) -> BakeError:
        """A registry that failed shows at the FROM that wanted the image, but it stays a registry error. The name of
        the image may be a stage's, misspelled."""
        cause = error.__cause__
        while isinstance(cause, BakeError):
            if not isinstance(cause, DefinitionError) and any(known is cause for known in self.images.values()):
                hint = error.hint
                for request, known in self.images.items():
                    if known is cause and not request.store:
                        written = ImageReference.parse(request.reference).familiar().removesuffix(":latest")
                        stages = [stage.name for stage in unit.compilation.parsed.dockerfile.stages if stage.name]
                        hint = nearest(written, stages) or hint
                return cause.retold(error, hint=hint)
            cause = cause.__cause__
        return error

    def plan(self, order: Iterable[str], sources: Sources) -> Plan:
        """What was compiled, united."""
        graphs: dict[int, Graph] = {}
        targets = []
        warnings, twice = _Warnings(), []
        for name in order:
            if name not in self._of:
                continue
            setting = self.settings[name]
            platforms = []
            epoch = None
            for platform, unit in zip(setting.platforms, self._of[name], strict=True):
                lowered = unit.lowered
                assert lowered is not None
                graphs[id(lowered)] = lowered.graph
                planned = (platform or setting.options.build_platform).normalized()
                platforms.append(PlannedPlatform(planned, lowered.head, lowered.image))
                epoch = lowered.epoch
                if len(platforms) == 1:  # the others are not checked, as with BuildKit (builder.Build)
                    for warning in lowered.warnings:
                        warnings.add(name, warning)
            targets.append(PlannedTarget(setting.target, tuple(platforms), setting.multi_platform, epoch))
            counted = Counter(planned.platform for planned in platforms)
            twice += [
                PlanWarning(f'Duplicate platform result requested "{platform}"', targets=(name,))
                for platform, times in counted.items()
                if times > 1
            ]
        return Plan(
            Graph().union(*graphs.values()),
            tuple(targets),
            FrozenMap(sources.locals),
            FrozenMap(sources.layouts),
            (*warnings.all(), *twice),
        )


@dataclass(slots=True)
class _Warnings:
    """Findings of the Dockerfile checks, each once, with the targets that it is about."""

    _targets: dict[Warning, dict[str, None]] = field(default_factory=dict)

    def add(self, target: str, warning: Warning) -> None:
        self._targets.setdefault(warning, {})[target] = None

    def all(self) -> tuple[PlanWarning, ...]:
        return tuple(
            PlanWarning(
                warning.message,
                warning.location[0] if warning.location else None,
                warning.rule.name,
                warning.rule.url,
                tuple(targets),
            )
            for warning, targets in self._targets.items()
        )
