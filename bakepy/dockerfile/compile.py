"""The way in: parse once, then for each target ask for what is missing and lower.

    parsed = parse(text, "Dockerfile")
    compilation = Compilation(parsed, LowerOptions(target="web"))
    while requests := compilation.missing():
        for request in requests:
            compilation.provide(request, …)
    lowered = compilation.lower()

Nothing here waits, reads files or looks at the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bakepy.dockerfile.checks import CheckConfig, Checker, Warning
from bakepy.dockerfile.directives import find_directive
from bakepy.dockerfile.epoch import SourceTimeRequest, epoch_source
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.expansion import ExpansionError, Lexer
from bakepy.dockerfile.globals import global_args, predefined, proxy_env
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.dockerfile.instructions import Dockerfile
from bakepy.dockerfile.lower.contexts import main_context
from bakepy.dockerfile.lower.node import Assembler, Node
from bakepy.dockerfile.lower.scope import Scope
from bakepy.dockerfile.lower.stage import lower_stage
from bakepy.dockerfile.options import LowerOptions
from bakepy.dockerfile.outline import Outline, TargetInfo, list_targets, make_outline
from bakepy.dockerfile.parser import Parsed, parse_text
from bakepy.dockerfile.plan import MissingImages, Planner, StagePlan, follow
from bakepy.dockerfile.reader import Dialect, read_dockerfile
from bakepy.dockerfile.stages import reachable
from bakepy.dockerfile.static import check_text
from bakepy.dockerfile.text import parse_int
from bakepy.errors import BakeError, DefinitionErrors
from bakepy.llb.graph import Edge, Graph
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.location import SourceFile
from bakepy.model.platform import Platform
from bakepy.model.reference import ImageReference


@dataclass(frozen=True, slots=True)
class ParsedDockerfile:
    """A Dockerfile that was read once; any number of targets are lowered from it."""

    parsed: Parsed
    dockerfile: Dockerfile
    errors: tuple[BakeError, ...] = ()

    @property
    def file(self) -> SourceFile:
        return self.parsed.file

    def targets(self) -> tuple[TargetInfo, ...]:
        """All stages. Raises DockerfileError(s)."""
        self.require()
        return list_targets(self.dockerfile)

    def require(self) -> None:
        """Raises what is wrong with the text: one DockerfileError, or DefinitionErrors."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise DefinitionErrors(self.errors)


def parse(text: str, name: str, *, labs: bool = False) -> ParsedDockerfile:
    """Never raises; `require` does. `name` is how messages call the file."""
    file = SourceFile(name, text)
    if not text:
        error = DockerfileError(f"{name} is empty", hint="a Dockerfile begins with FROM")
        return ParsedDockerfile(Parsed(file, "\\", (), (), (), ()), Dockerfile("\\", (), ()), (error,))
    parsed = parse_text(file)
    dockerfile, errors = read_dockerfile(parsed.statements, Dialect(parsed.escape, labs))
    ordered = sorted((*parsed.errors, *errors), key=_place)
    return ParsedDockerfile(parsed, dockerfile, tuple(ordered))


def _place(error: BakeError) -> int:
    where = error.where
    return getattr(getattr(where, "start", None), "line", 0)


@dataclass(frozen=True, slots=True)
class Lowered:
    """What one target is. `head` None: an empty tree.

    `base_image` is the config of the image it builds on. `epoch` is SOURCE_DATE_EPOCH; `scans` are further trees for
    an SBOM scanner, by name; `uncached` tells whether any stage was built without the cache.
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


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`error`: why the build would fail, if it would."""

    warnings: tuple[Warning, ...]
    error: BakeError | None = None


class Compilation:
    """One target of one Dockerfile."""

    def __init__(self, parsed: ParsedDockerfile, options: LowerOptions) -> None:
        self.parsed, self.options = parsed, options
        self._images: dict[ImageRequest, ResolvedImageConfig | BakeError] = {}
        self._times: dict[SourceTimeRequest, int | BakeError | None] = {}
        self._ready: _Session | None = None

    def _session(self) -> _Session:
        return _Session(self.parsed, self.options, self._images, self._times)

    def missing_time(self) -> SourceTimeRequest | None:
        """The source whose time SOURCE_DATE_EPOCH names, if it names one; ask before `missing`."""
        session = self._session()
        try:
            session.prepare()
        except (MissingImages, BakeError):
            return session.wanted_time
        return None

    def provide_time(self, request: SourceTimeRequest, answer: int | BakeError | None) -> None:
        """Seconds; None if the source has no time, which is as if SOURCE_DATE_EPOCH were not set."""
        self._times[request] = answer
        self._ready = None

    def missing(self) -> tuple[ImageRequest, ...]:
        """Images whose config is needed now; more may be asked for when these are there. Errors of the Dockerfile
        are not raised here but by `lower`."""
        session = self._session()
        try:
            session.prepare()
        except MissingImages as missing:
            return missing.requests
        except BakeError:
            return ()
        self._ready = session
        return ()

    def provide(self, request: ImageRequest, answer: ResolvedImageConfig | BakeError) -> None:
        """An error is raised by `lower`, at the FROM that wanted the image."""
        self._images[request] = answer
        self._ready = None

    def lower(self) -> Lowered:
        """Raises DockerfileError, DefinitionErrors; RuntimeError if something is missing still."""
        session, self._ready = self._ready, None
        if session is None:
            session = self._session()
            try:
                session.prepare()
            except MissingImages as missing:
                raise RuntimeError(f"not provided: {missing.requests}") from missing
        session.compile()
        return session.assemble()

    def check(self) -> CheckResult:
        """All warnings; with no target given, those of all stages. `missing` must be empty for this compilation,
        whose options must have `all_stages` then."""
        session = self._session()
        try:
            session.prepare()
            session.compile()
        except MissingImages as missing:
            raise RuntimeError(f"not provided: {missing.requests}") from missing
        except BakeError as error:
            return CheckResult(tuple(session.checker.warnings), error)
        return CheckResult(tuple(session.checker.warnings))

    def outline(self) -> Outline:
        """Arguments, secrets and SSH agents of the target. Raises as `lower`."""
        session = self._session()
        session.prepare()
        session.compile()
        return session.outline()


class _Session:
    """The working state of one lowering."""

    def __init__(
        self,
        parsed: ParsedDockerfile,
        options: LowerOptions,
        images: dict[ImageRequest, ResolvedImageConfig | BakeError],
        times: dict[SourceTimeRequest, int | BakeError | None],
    ) -> None:
        self.parsed, self.options, self.images, self.times = parsed, options, images, times
        self.wanted_time: SourceTimeRequest | None = None
        self.checker = Checker()
        self.lexer = Lexer(parsed.dockerfile.escape)
        self.target_platform = options.platform or options.build_platform
        self.build_args: dict[str, str] = dict(options.build_args)
        self.args: dict[str, str] = {}
        self.epoch = options.epoch
        self.plan: StagePlan | None = None
        self.scope: Scope | None = None
        self.context_paths: set[str] = set()

    def prepare(self) -> None:
        """Raises MissingImages, DockerfileError, DefinitionErrors."""
        parsed, options = self.parsed, self.options
        check = options.check
        if check is None:
            found = find_directive(parsed.file.text, "check")
            check = found[0] if found else ""
        self.checker = Checker(CheckConfig.parse(check))
        parsed.require()
        dockerfile = parsed.dockerfile
        check_text(parsed.parsed, dockerfile, self.checker)
        start = predefined(
            options.build_platform,
            self.target_platform,
            self.build_args,
            options.target or dockerfile.stages[-1].name,
        )
        self._check_defaults(start)
        self.args, notes = global_args(start, dockerfile.global_args, self.lexer, self.build_args)
        self._settle_epoch()
        planner = Planner(
            dockerfile,
            options,
            args=self.args,
            arg_notes=notes,
            target_platform=self.target_platform,
            images=self.images,
            checker=self.checker,
        )
        self.plan = planner.make()

    def _check_defaults(self, start: dict[str, str]) -> None:
        """Warns of FROMs that are invalid when no build argument is given."""
        try:
            args, _ = global_args(start, self.parsed.dockerfile.global_args, self.lexer, {})
        except DockerfileError:
            return  # reported when the arguments are needed
        for stage in self.parsed.dockerfile.stages:
            head = stage.head
            try:
                name = self.lexer.word(head.base, args)
            except ExpansionError:
                return
            try:
                ImageReference.parse(name)
            except BakeError:
                message = f"Default value for ARG {head.base} results in empty or invalid base image name"
                self.checker.warn("InvalidDefaultArgInFrom", message, head.location)

    def _settle_epoch(self) -> None:
        """SOURCE_DATE_EPOCH as build argument or global ARG."""
        name = "SOURCE_DATE_EPOCH"
        value = self.build_args.get(name)
        if value is None:
            value = self.args.get(name) or None
        if value is None:
            return
        self.epoch = parse_int(value) if value else None
        if value and self.epoch is None:
            self.epoch = self._source_time(value)
        for values in (self.build_args, self.args):
            if name in values:
                if self.epoch is None:
                    del values[name]
                else:
                    values[name] = str(self.epoch)

    def _source_time(self, value: str) -> int | None:
        request = epoch_source(value, self.parsed.dockerfile, self.options, self.args, self.build_args)
        if request is None:
            return None
        if request not in self.times:
            self.wanted_time = request
            raise DockerfileError(f"the time of '{value}' for SOURCE_DATE_EPOCH is not known",
                                  hint="give SOURCE_DATE_EPOCH as a number of seconds")  # fmt: skip
        answer = self.times[request]
        if isinstance(answer, BakeError):
            raise DockerfileError(answer.what, hint=answer.hint) from answer
        return answer

    def compile(self) -> None:
        """Lowers the stages of the plan. Raises DockerfileError."""
        plan, options = self._plan(), self.options
        main = main_context(options, follow(self.context_paths))
        self.scope = scope = Scope(
            options,
            self.lexer,
            self.checker,
            self.target_platform,
            self.build_args,
            self.args,
            main.node,
            self.epoch,
            main.ignored,
            proxy_env(self.build_args),
            plan.notes,
        )
        for stage in plan.wanted(options.all_stages):
            lower_stage(stage, scope)
            self.context_paths |= stage.context_paths
        plan.target.paths.add("/")
        if self.checker.config.error and self.checker.warnings:
            rules = sorted({warning.rule.name for warning in self.checker.warnings})
            raise DockerfileError(f"checks failed: {', '.join(rules)}", hint="'# check=error=true' asks for that")

    def _plan(self) -> StagePlan:
        assert self.plan is not None
        return self.plan

    def assemble(self) -> Lowered:
        """Vertices of the target and what is below it."""
        plan, options = self._plan(), self.options
        target = plan.target
        assembler = Assembler()
        head = self._edge(assembler, target.node)
        scans: dict[str, Edge | None] = {}
        uncached = target.ignore_cache
        if target.scan_context and self.scope is not None:
            scans["context"] = self._edge(assembler, self.scope.context)
        for stage in reachable(target):
            if stage is not target and stage.scan_stage:
                scans[stage.label] = self._edge(assembler, stage.node)
                uncached = uncached or stage.ignore_cache
        return Lowered(
            head,
            assembler.graph(),
            target.image.finish(self._image_platform(target.image.base.platform), options.labels),
            self.target_platform,
            target.base_image,
            tuple(self.checker.warnings),
            self.epoch,
            FrozenMap(scans),
            uncached,
        )

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
        return replace(found, os=found.os or "linux").normalized()

    def outline(self) -> Outline:
        plan = self._plan()
        head = plan.target.head
        notes = [plan.notes[stage] for stage in reachable(plan.target)]
        return make_outline(plan.target.name, head.description if head else "", notes)
