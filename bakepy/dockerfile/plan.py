"""From stages as written to stages that are ready to be compiled: bases resolved, triggers put in, targets found.

Nothing waits here. An image whose config is not known yet is asked for by raising `MissingImages`; the caller starts
again when it has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bakepy.dockerfile.bases import Bases
from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import DockerfileError, raise_all
from bakepy.dockerfile.expansion import Expanded, ExpansionError, Lexer
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.dockerfile.instructions import Add, Copy, Dockerfile, OnBuild, Run, Stage, Workdir
from bakepy.dockerfile.lower.contexts import find_context
from bakepy.dockerfile.lower.state import Command, StageState
from bakepy.dockerfile.options import LowerOptions
from bakepy.dockerfile.outline import OutlineNotes
from bakepy.dockerfile.parser import line_location, parse_text
from bakepy.dockerfile.reader import MAX_ERRORS, Dialect, read_instruction
from bakepy.dockerfile.stages import StageTable, check_cycles, reachable
from bakepy.dockerfile.suggest import guess
from bakepy.dockerfile.text import quote
from bakepy.errors import BakeError, nearest
from bakepy.model.location import SourceFile
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass

_COUNTED = (Add, Copy, Run, Workdir)


@dataclass(slots=True)
class StagePlan:
    """Stages in the order in which they are compiled, and the target among them."""

    table: StageTable
    target: StageState
    needed: Mapping[StageState, None]
    """The target and all stages that it needs, the target first."""

    def wanted(self, all_stages: bool) -> list[StageState]:
        """The stages to compile."""
        if all_stages:
            return self.table.states
        return [stage for stage in self.table.states if stage in self.needed and not stage.dispatched]


class Planner:
    """Makes one `StagePlan`."""

    def __init__(
        self,
        dockerfile: Dockerfile,
        options: LowerOptions,
        *,
        args: Mapping[str, str],
        declared: Iterable[str],
        target_platform: Platform,
        images: Mapping[ImageRequest, ResolvedImageConfig | BakeError],
        checker: Checker,
    ) -> None:
        self.dockerfile, self.options = dockerfile, options
        self.args, self.declared = args, declared
        self.checker = checker
        self.lexer = Lexer(dockerfile.escape)
        self.table = StageTable(self.lexer)
        self.bases = Bases(self.table, options, target_platform, images, checker)
        self.entered: StageState | None = None

    def make(self) -> StagePlan:
        """Goes on where it stopped if it is called again with more images. Raises DockerfileError, or DefinitionErrors
        for several stages; MissingImages."""
        if self.entered is None:
            self.entered = self._enter_all()
        while True:
            needed = reachable(self.entered)
            self.bases.resolve(needed)
            if not self.add_triggers(needed):
                break
        return StagePlan(self.table, self.entered, needed)

    def _enter_all(self) -> StageState:
        """All stages with their instructions; gives the target."""
        errors: list[DockerfileError] = []
        for stage in self.dockerfile.stages:
            try:
                self.enter(stage)
            except DockerfileError as error:
                errors.append(error)
                self.checker = Checker(self.checker.config)  # warnings end at the first error
                if len(errors) >= MAX_ERRORS:
                    break
        raise_all(errors)
        target = self.table.target(self.options.target)
        for state, stage in zip(list(self.table.states), self.dockerfile.stages, strict=True):
            for instruction in stage.instructions:
                command = self.table.command(instruction, instruction.location)
                state.commands.append(command)
                self.table.attach(state, command)
        check_cycles(self.table.states)
        if len(self.table.states) == 1:
            self.table.states[0].label = ""
        return target

    def enter(self, stage: Stage) -> None:
        """Expands FROM and adds the stage to the table."""
        head = stage.head
        checker = self.checker.merged(head.statement.comments)
        base = self._expand(head.base, stage, checker, head.base)
        if not base.text:
            raise head.statement.error(
                f"base name ({head.base}) should not be blank", part=head.base, hint=self._default_hint(base)
            )
        state = StageState(
            base.text,
            head.name,
            head.name or f"stage-{stage.index}",
            head,
            head.location,
            ignore_cache=self._is_uncached(head.name),
        )
        used = list(base.matched)
        if head.platform:
            state.platform, matched = self._platform(stage, checker)
            used += matched
        if head.name:
            try:
                state.context = find_context(self.options, head.name, state.platform)
            except DockerfileError as error:
                error.at(head.location)
                raise
        self.table.add(state)
        if state.context is not None:
            state.context_platform = state.platform
            state.base = None
            state.ignore_cache = False
            return
        state.notes = state.base.notes.copy() if state.base else OutlineNotes()
        state.notes.used.update(dict.fromkeys(used))
        counted = sum(isinstance(instruction, _COUNTED) for instruction in stage.instructions)
        state.steps = counted + (state.base_name != "scratch" and state.base is None)

    def _default_hint(self, base: Expanded) -> str:
        if base.matched:
            return f"${base.matched[0]} has no value"
        if not base.unmatched:
            return ""
        name = base.unmatched[0]
        if name in self.declared:
            return f"${name} has no value"
        return nearest(name, {*self.args, *self.declared}) or f"FROM knows only what is declared above it: ARG {name}=…"

    def _is_uncached(self, name: str) -> bool:
        options = self.options
        return options.no_cache or any(wanted.lower() == name.lower() for wanted in options.no_cache_filter)

    def _expand(self, text: str, stage: Stage, checker: Checker, part: str) -> Expanded:
        head = stage.head
        try:
            result = self.lexer.expand(text, self.args)
        except ExpansionError as error:
            self._warn_undeclared(error.unmatched, stage, checker)
            raise head.statement.error(error.of(text), part=part, hint=error.hint) from error
        self._warn_undeclared(result.unmatched, stage, checker)
        return result

    def _warn_undeclared(self, names: Iterable[str], stage: Stage, checker: Checker) -> None:
        known = {*self.args, *self.declared}
        for name in names:
            if name not in known:
                near = guess(name, sorted(known), len(checker.warnings))
                message = f"FROM argument '{name}' is not declared" + (f" (did you mean {near}?)" if near else "")
                checker.warn("UndefinedArgInFrom", message, stage.head.location)

    def _platform(self, stage: Stage, checker: Checker) -> tuple[Platform, tuple[str, ...]]:
        head = stage.head
        result = self._expand(head.platform, stage, checker, head.platform)
        only_target = result.matched == ("TARGETPLATFORM",) and not result.unmatched
        if only_target and result.text == self.args.get("TARGETPLATFORM"):
            message = (
                f"Setting platform to predefined {head.platform} in FROM is redundant as this is the default behavior"
            )
            checker.warn("RedundantTargetPlatform", message, head.location)
        if not result.text:
            names = result.unmatched or result.matched
            near = nearest(names[0], self.args) if names else ""
            raise head.statement.error(
                f"empty platform value from expression {head.platform}", part=head.platform, hint=near
            )
        try:
            platform = Platform.parse(result.text)
        except BakeError as error:
            what = f"failed to parse platform {result.text}: {error.what}"
            raise head.statement.error(what, part=head.platform, hint=error.hint) from error
        constant = not result.matched and not result.unmatched
        if constant and platform.os not in head.name and platform.architecture not in head.name:
            message = f"FROM --platform flag should not use constant value {quote(result.text)}"
            checker.warn("FromPlatformFlagConstDisallowed", message, head.location)
        return platform, result.matched

    def add_triggers(self, needed: Iterable[StageState]) -> bool:
        """Puts ONBUILD triggers in front of the stages' own instructions; whether new stages may be needed."""
        more = False
        for state in needed:
            if state.base is None:
                triggers, state.image.on_build = state.image.on_build, []
            elif not state.triggers_done:
                triggers = [
                    command.instruction.expression
                    for command in state.base.commands
                    if isinstance(command.instruction, OnBuild)
                ]
                state.triggers_done = True
            else:
                continue
            commands = []
            for trigger in triggers:
                try:
                    command = self._trigger(state, trigger)
                except DockerfileError as error:
                    error.locations = ()
                    error.where = None
                    error.detail = (*error.detail, f"in the trigger ONBUILD {trigger}")
                    error.at(state.location)
                    raise
                more = more or bool(command.sources)
                commands.append(command)
                self.table.attach(state, command)
            state.commands = commands + state.commands
            state.steps += len(commands)
        return more

    def _trigger(self, state: StageState, text: str) -> Command:
        """A trigger is parsed alone; its place is that of the FROM that fires it."""
        file = SourceFile("ONBUILD", text)
        parsed = parse_text(file)
        if parsed.errors:
            error = parsed.errors[0]
            raise error if isinstance(error, DockerfileError) else DockerfileError(error.what)
        if len(parsed.statements) != 1:
            raise DockerfileError("onbuild trigger should be a single expression")
        instruction = read_instruction(parsed.statements[0], Dialect(parsed.escape))
        lines = [place.start.line for place in state.location]
        location = line_location(state.location[0].file, min(lines), max(lines)) if lines else ()
        return self.table.command(instruction, location, trigger=True)


def followed(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths to follow in a local source, sorted; none if everything is needed."""
    paths = set(paths)
    if "/" in paths:
        return ()
    return tuple(sorted((path[1:] for path in paths), key=lambda path: path.encode("utf-8", "surrogateescape")))
