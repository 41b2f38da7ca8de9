"""One lowering from beginning to end: arguments, plan, stages, vertices."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import field

from bakepy.dockerfile.checks import CheckConfig, Checker, ChecksFailed, Warning
from bakepy.dockerfile.directives import find_directive
from bakepy.dockerfile.epoch import NAME as EPOCH
from bakepy.dockerfile.epoch import SourceTimeRequest, epoch_source
from bakepy.dockerfile.errors import DockerfileError, each, raise_all
from bakepy.dockerfile.expansion import ExpansionError, Lexer
from bakepy.dockerfile.globals import global_args, predefined, proxy_env
from bakepy.dockerfile.images import ImageRequest, MissingImages, ResolvedImageConfig
from bakepy.dockerfile.lower.assemble import Assembler
from bakepy.dockerfile.lower.contexts import MainContext, main_context
from bakepy.dockerfile.lower.node import Node
from bakepy.dockerfile.lower.parts import Part, declared
from bakepy.dockerfile.lower.scope import SCAN_CONTEXT, SCAN_STAGE, Scope
from bakepy.dockerfile.lower.stage import begin_stage, end_stage, lower_part
from bakepy.dockerfile.lower.state import StageState
from bakepy.dockerfile.lower.step import StepMemo
from bakepy.dockerfile.memo import KEPT_TARGETS, AskedImages, Assembled, KnownPlan, context_key, plan_key, stage_key
from bakepy.dockerfile.options import LowerOptions
from bakepy.dockerfile.outline import ArgNote, Outline, make_outline
from bakepy.dockerfile.parsed import ParsedDockerfile
from bakepy.dockerfile.parser import line_location
from bakepy.dockerfile.plan import Planner, followed
from bakepy.dockerfile.reader import MAX_ERRORS
from bakepy.dockerfile.static import check_text
from bakepy.dockerfile.text import parse_int
from bakepy.errors import BakeError
from bakepy.llb.graph import Edge, Graph
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.location import SourceRange
from bakepy.model.platform import Platform
from bakepy.model.reference import ImageReference
from bakepy.model.value import dataclass

FIRST_SECOND, LAST_SECOND = -62135596800, 253402300799
"""Of the years 1 and 9999, beyond which no date can be written."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """What one target is. `head` None: an empty tree.

    `base_image` is the config of the image it builds on. `epoch` is SOURCE_DATE_EPOCH; `scans` are further trees for
    an SBOM scanner, by name; `uncached` tells whether any stage was built without the cache; `violation` is the error
    if there are warnings in a file that wants them to be one.
    """

    head: Edge | None
    graph: Graph
    image: ImageConfig
    platform: Platform
    base_image: ImageConfig | None = None
    warnings: tuple[Warning, ...] = ()
    epoch: int | None = None
    scans: FrozenMap[str, Edge | None] = field(default_factory=FrozenMap)
    uncached: bool = False
    violation: ChecksFailed | None = None


class Session:
    """The working state of one lowering."""

    def __init__(
        self,
        parsed: ParsedDockerfile,
        options: LowerOptions,
        images: dict[ImageRequest, ResolvedImageConfig | BakeError],
        times: dict[SourceTimeRequest, int | BakeError | None],
    ) -> None:
        self.parsed, self.options, self.images, self.times = parsed, options, images, times
        self.memo = parsed.memo
        self.wanted_time: SourceTimeRequest | None = None
        self.config = CheckConfig()
        self.warnings: list[Warning] = []
        self.lexer = Lexer(parsed.dockerfile.escape)
        self.target_platform = options.platform or options.build_platform
        self.build_args: dict[str, str] = dict(options.build_args)
        self.args: dict[str, str] = {}
        self.arg_notes: dict[str, ArgNote] = {}
        self.epoch = options.epoch
        self.start: dict[str, str] = {}
        self.key: Hashable = None
        self.planner: Planner | None = None
        self.asked: AskedImages | None = None
        self.checker = Checker()
        """Of the planner."""
        self.known: KnownPlan | None = None
        self.scope: Scope | None = None
        self.violation: ChecksFailed | None = None

    def prepare(self) -> None:
        """Raises MissingImages (call again when there are more of them), DockerfileError, DefinitionErrors."""
        if not self.start:
            self._begin()
        if self.known is None:
            self.known = self._plan()
            self.warnings += self.known.warnings

    def _begin(self) -> None:
        parsed, options = self.parsed, self.options
        self.config = self._check_config()
        self.checker = Checker(self.config)
        if parsed.errors:
            self.warnings += self._warnings_before_fault()
        parsed.require()
        self.warnings += self._text_warnings()
        key = (options.build_platform, options.platform, options.target)
        start = self.memo.starts.find(key)
        if start is None or not start.keys().isdisjoint(self.build_args):
            name = options.target or parsed.dockerfile.stages[-1].name
            start = predefined(options.build_platform, self.target_platform, self.build_args, name)
            if start.keys().isdisjoint(self.build_args):
                self.memo.starts.put(key, start)
        try:
            self.args, self.arg_notes = global_args(start, parsed.dockerfile.global_args, self.lexer, self.build_args)
            self._settle_epoch()
        except BakeError:
            self.start = start
            checker = Checker(self.config)
            self._check_defaults(checker)
            self.warnings += checker.warnings
            raise
        self.start = start

    def _check_config(self) -> CheckConfig:
        check = self.options.check
        known = self.memo.configs.get(check)
        if known is None:
            found = find_directive(self.parsed.file.text, "check") if check is None else (check, 0)
            try:
                known = self.memo.configs[check] = CheckConfig.parse(found[0] if found else "")
            except DockerfileError as error:
                of = "check options" if check is None else "build-arg:BUILDKIT_DOCKERFILE_CHECK"
                line = found[1] if found and check is None else 0
                where = line_location(self.parsed.file, line, line)[0] if line else None
                raise DockerfileError(f"failed to parse {of}: {error.what}", where=where, hint=error.hint) from error
        return known

    def _text_warnings(self) -> tuple[Warning, ...]:
        known = self.memo.text_warnings.get(self.config)
        if known is None:
            checker = Checker(self.config)
            check_text(self.parsed.parsed, self.parsed.dockerfile, checker)
            known = self.memo.text_warnings[self.config] = tuple(checker.warnings)
        return known

    def _warnings_before_fault(self) -> list[Warning]:
        """What the text shows up to the first instruction that can not be read. Nothing if not even the lines can."""
        checker = Checker(self.config)
        where = self.parsed.errors[0].where
        if not self.parsed.parsed.errors and isinstance(where, SourceRange):
            check_text(self.parsed.parsed, self.parsed.dockerfile, checker, fault=where.start.line)
        return checker.warnings

    def _plan_key(self) -> Hashable:
        written = self.parsed.dockerfile.heads
        values = tuple([value for name, value in self.args.items() if name in written])
        return (plan_key(self.options), self.config, tuple(self.start.values()), tuple(self.args), values)

    def _plan(self) -> KnownPlan:
        if self.key is None:
            self.key = self._plan_key()
        key, asked = self.key, self.asked
        known = asked.plan[0] if asked is not None and asked.plan else self.memo.plans.find(key)
        if isinstance(known, KnownPlan):
            if known.checked is self.images:
                return known
            missing = [request for request in known.used if request not in self.images]
            if missing:
                raise MissingImages(missing)
            if all(self.images[request] in (answer,) for request, answer in known.used.items()):  # is, or equal
                known.checked = self.images
                return known
        elif known is not None:
            self.asked = known
            if still := [request for request in known.requests if request not in self.images]:
                raise MissingImages(still)
        held = tuple(self.options.contexts.values())
        checker = self.checker
        try:
            planner = self._planner(checker)
            plan = planner.make()
        except MissingImages as missing:
            asked = self.asked = AskedImages(missing.requests, held)
            self.memo.plans.put(key, asked)
            raise
        except BakeError:
            self.planner = None
            self.warnings += checker.warnings
            raise
        arguments = {name for stage in plan.table.states for name in declared(stage.commands)}
        made = KnownPlan(plan, tuple(checker.warnings), planner.bases.used, held, arguments | self.arg_notes.keys())
        self.memo.plans.put(key, made)
        self.memo.stages.hold(KEPT_TARGETS * len(plan.table.states))
        if asked is not None:
            asked.plan[:] = [made]
        return made

    def _planner(self, checker: Checker) -> Planner:
        """The one that asked for images, unless it has used others than there are now."""
        if self.planner is None or any(
            self.images.get(one) is not answer for one, answer in self.planner.bases.used.items()
        ):
            checker.warnings.clear()
            self._check_defaults(checker)
            self.planner = Planner(
                self.parsed.dockerfile,
                self.options,
                args=self.args,
                declared=self.arg_notes,
                target_platform=self.target_platform,
                images=self.images,
                checker=checker,
            )
        return self.planner

    def _check_defaults(self, checker: Checker) -> None:
        """Warns of FROMs that are invalid when no build argument is given."""
        try:
            args, _ = global_args(self.start, self.parsed.dockerfile.global_args, self.lexer, {})
        except DockerfileError:
            return  # reported when the arguments are needed
        sound: set[str] = set()
        for stage in self.parsed.dockerfile.stages:
            head = stage.head
            try:
                name = self.lexer.word(head.base, args)
            except ExpansionError:
                return
            if name in sound:
                continue
            try:
                ImageReference.parse(name)
                sound.add(name)
            except BakeError:
                message = f"Default value for ARG {head.base} results in empty or invalid base image name"
                checker.warn("InvalidDefaultArgInFrom", message, head.location)

    def _settle_epoch(self) -> None:
        """SOURCE_DATE_EPOCH as build argument or global ARG."""
        value = self.build_args.get(EPOCH)
        if value is None:
            value = self.args.get(EPOCH) or None
        if value is None:
            return
        self.epoch = parse_int(value) if value else None
        if value and self.epoch is None:
            self.epoch = self._source_time(value)
        if self.epoch is not None and not FIRST_SECOND <= self.epoch <= LAST_SECOND:
            raise DockerfileError(f"SOURCE_DATE_EPOCH {self.epoch} lies outside of the years 1 to 9999")
        for values in (self.build_args, self.args):
            if EPOCH in values:
                if self.epoch is None:
                    del values[EPOCH]
                else:
                    values[EPOCH] = str(self.epoch)

    def _source_time(self, value: str) -> int | None:
        request = epoch_source(value, self.parsed.dockerfile, self.options, self.args, self.build_args)
        if request is None:
            return None
        if request not in self.times:
            self.wanted_time = request
            raise DockerfileError(
                f"the time of '{value}' for SOURCE_DATE_EPOCH is not known",
                hint="give SOURCE_DATE_EPOCH as a number of seconds",
            )
        answer = self.times[request]
        if isinstance(answer, BakeError):
            raise DockerfileError(answer.what, hint=answer.hint) from answer
        return answer

    def compile(self) -> None:
        """Lowers the stages of the plan, or takes those that were lowered for another target.

        Raises DockerfileError, or DefinitionErrors when several stages are wrong. Warnings end at the first error.
        """
        known, options = self._known(), self.options
        main = self._main_context()
        scope = self.scope = Scope(
            options,
            self.lexer,
            Checker(self.config),
            self.target_platform,
            self.build_args,
            self.args,
            main.node,
            self.epoch,
            main.ignored,
            proxy_env(self.build_args),
        )
        shared = (
            known,
            main,
            stage_key(options),
            self.epoch,
            scope.proxy,
            self.args.get(SCAN_CONTEXT),
            self.args.get(SCAN_STAGE),
        )
        steps = self.memo.steps.find(shared) or self.memo.steps.put(shared, StepMemo())
        cut = known.cut(self.parsed.dockerfile, self.build_args)
        errors: list[BakeError] = []
        failed: set[StageState] = set()
        for planned in known.plan.wanted(options.all_stages):
            parts = cut.parts(planned, scope)
            if failed and (planned.base in failed or any(one in failed for part in parts for one in part.sources)):
                failed.add(planned)  # what it says can not be judged
                continue
            try:
                stage = self._stage(planned, parts, steps, scope)
            except BakeError as error:
                if not errors:
                    self.warnings += scope.checker.warnings
                errors += each(error)
                failed.add(planned)
                if len(errors) >= MAX_ERRORS:
                    break
                continue
            scope.compiled[planned] = stage
            if not errors:
                self.warnings += stage.warnings
        raise_all(errors)
        if self.config.error and self.warnings:
            rules = sorted({warning.rule.name for warning in self.warnings})
            what = f"lint violation found for rules: {', '.join(rules)}"
            self.violation = ChecksFailed(what, hint="'# check=error=true' asks for that")

    def _stage(self, planned: StageState, parts: tuple[Part, ...], steps: StepMemo, scope: Scope) -> StageState:
        """The compiled stage. Raises DockerfileError; `scope.checker` has the warnings up to there."""
        stage = scope.compiled.get(planned.base) if planned.base else None
        errors: list[BakeError] = []
        for part in parts:
            if errors:  # only what else is wrong is wanted
                assert stage is not None
                if not lower_part(stage, part, scope, steps, errors):
                    break
                continue
            key = (
                planned,
                part.start,
                part.stop,
                stage,
                None if part.start else steps,  # half a stage stands for what it was made with
                tuple([scope.source(source) for source in part.sources]) if part.sources else (),
                tuple([(self.build_args.get(name), self.args.get(name)) for name in part.names]) if part.names else (),
            )
            known = self.memo.stages.find(key)
            if known is None:
                scope.checker = Checker(self.config, list(stage.warnings) if stage and part.start else [])
                known = stage.copy() if stage and part.start else begin_stage(planned, scope)
                going_on = lower_part(known, part, scope, steps, errors)
                if errors:
                    stage = known
                    if going_on:
                        continue
                    break
                if part is parts[-1]:
                    end_stage(known, scope)
                known.warnings = scope.checker.warnings
                self.memo.stages.put(key, known)
            stage = known
        raise_all(errors)
        assert stage is not None, "a stage has one part at least"
        return stage

    def _main_context(self) -> MainContext:
        options = self.options
        key = (context_key(options.context), options.context_subdir, bool(options.build_args.get(EPOCH)))
        known = self.memo.contexts.find(key)
        return known if known is not None else self.memo.contexts.put(key, main_context(options))

    def _known(self) -> KnownPlan:
        assert self.known is not None
        return self.known

    def _followed(self) -> Callable[[object], tuple[str, ...]]:
        """The paths that are read from each local source."""
        scope, memo = self.scope, self.memo.followed
        assert scope is not None
        compiled = scope.compiled
        others: dict[object, set[str]] = {}

        def of(owner: object) -> tuple[str, ...]:
            if owner is None:
                paths = frozenset().union(*[stage.context_paths for stage in compiled.values()])
                known = memo.find(paths)
                return known if known is not None else memo.put(paths, followed(paths))
            if not others:
                others[self._known().plan.target.root()] = {"/"}
                for planned, stage in compiled.items():
                    if stage.reads_itself:
                        others.setdefault(planned.root(), set()).add("/")
                    for source, read in stage.reads.items():
                        others.setdefault(source.root(), set()).update(read)
            return followed(others.get(owner, ()))

        return of

    def assemble(self) -> Lowered:
        """Vertices of the target and what is below it."""
        plan, scope = self._known().plan, self.scope
        assert scope is not None
        target = scope.compiled.get(plan.target, plan.target)
        key = (plan.target, scope.context, tuple(scope.compiled.values()))  # everything else follows from these
        made = self.memo.results.find(key) or self.memo.results.put(key, self._assembled(target, scope))
        return Lowered(
            made.head,
            made.graph,
            target.image.finish(self._image_platform(target.image.base.platform), self.options.labels),
            self.target_platform,
            target.base_image,
            tuple(self.warnings),
            self.epoch,
            made.scans,
            made.uncached,
            self.violation,
        )

    def _assembled(self, target: StageState, scope: Scope) -> Assembled:
        plan = self._known().plan
        assembler = Assembler(self.memo.vertices, self._followed())
        head = self._edge(assembler, target.node)
        scans: dict[str, Edge | None] = {}
        uncached = target.ignore_cache
        if target.scan_context:
            scans["context"] = self._edge(assembler, scope.context)
        for planned in plan.needed:
            stage = scope.compiled.get(planned, planned)
            if planned is not plan.target and stage.scan_stage:
                scans[stage.label] = self._edge(assembler, stage.node)
                uncached = uncached or stage.ignore_cache
        return Assembled(head, assembler.graph(), FrozenMap(scans), uncached)

    @staticmethod
    def _edge(assembler: Assembler, node: Node | None) -> Edge | None:
        return None if node is None else assembler.add(node)

    def _image_platform(self, found: Platform) -> Platform:
        """The platform in the image config: the base's, unless one was asked for."""
        wanted = self.options.platform
        if wanted is not None:
            same = (wanted.os, wanted.architecture) == (found.os, found.architecture)
            found = Platform(
                wanted.os,
                wanted.architecture,
                wanted.variant if wanted.variant or not same else found.variant,
                wanted.os_version if wanted.os_version or not same else found.os_version,
                wanted.os_features or found.os_features,
            )
        return found.normalized()

    def outline(self) -> Outline:
        plan, scope = self._known().plan, self.scope
        assert scope is not None
        head = plan.target.head
        notes = [scope.compiled.get(stage, stage).notes for stage in plan.needed]
        return make_outline(plan.target.name, head.description if head else "", notes, self.arg_notes)
