"""Compiles one stage: its base's environment first, then one instruction after the other."""

from __future__ import annotations

from collections.abc import Hashable

from bakepy.dockerfile import instructions as i
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.lower import config
from bakepy.dockerfile.lower.copy import read_copy
from bakepy.dockerfile.lower.parts import Part, Stretch
from bakepy.dockerfile.lower.run import read_run
from bakepy.dockerfile.lower.scope import SCAN_CONTEXT, SCAN_STAGE, Scope
from bakepy.dockerfile.lower.state import Command, StageState
from bakepy.dockerfile.lower.step import Step, StepMemo, mentions, reading
from bakepy.dockerfile.reader import MAX_ERRORS
from bakepy.dockerfile.text import parse_bool
from bakepy.errors import BakeError
from bakepy.model.platform import Platform


def begin_stage(planned: StageState, scope: Scope) -> StageState:
    """The stage before its first instruction. Raises DockerfileError with the place of its FROM."""
    base = planned.base
    below = scope.compiled.get(base, base) if base else None
    stage = planned.begin(below)
    if below:
        scope.carry(stage)
    if stage.platform is None:
        stage.platform = Platform("", "")
    if scope.options.hostname:
        stage.hostname = scope.options.hostname
    if stage.image.working_dir and (base is None or base.dispatched or stage.os == "windows"):  # else it is the same
        try:
            config.enter_directory(stage, stage.image.working_dir)
        except DockerfileError as error:
            error.at(stage.location)
            raise
    if stage.image.user:
        stage.user = stage.image.user
    stage.network = scope.options.network
    return stage


def lower_part(stage: StageState, part: Part, scope: Scope, memo: StepMemo, errors: list[BakeError]) -> bool:
    """Some of its instructions. What is wrong goes to `errors`, with the place of the instruction; False if nothing
    behind it can be judged, because it would have set variables."""
    for stretch in part.stretches:
        key = reading(stretch, stretch.names, stretch.arguments, stage, scope)
        known = memo.find(key)
        if known is None:
            if not _lower_stretch(stage, stretch, key, scope, memo, errors):
                return False
            continue
        for command, step in zip(stretch.commands, known, strict=True):
            try:
                step(stage, scope)
            except DockerfileError as error:
                if not _note(error, command, scope, errors):
                    return False
    return True


def _lower_stretch(
    stage: StageState, stretch: Stretch, key: Hashable, scope: Scope, memo: StepMemo, errors: list[BakeError]
) -> bool:
    """Reads the instructions; what is told now has to be told for each target, and is not remembered."""
    alone = len(stretch.commands) == 1
    steps: list[Step] = []
    for command in stretch.commands:
        try:
            own = key if alone else reading(command, *mentions(command, scope), stage, scope)
            if (known := None if alone else memo.find(own)) is not None:
                (step,) = known
                steps.append(step)
            else:
                told = len(scope.checker.warnings)
                step = _read(stage, command, scope)
                if len(scope.checker.warnings) == told and not errors:
                    memo.put(own, (step,))
                    steps.append(step)
            step(stage, scope)
        except DockerfileError as error:
            if not _note(error, command, scope, errors):
                return False
    if not alone and len(steps) == len(stretch.commands):
        memo.put(key, tuple(steps))
    return True


def _note(error: DockerfileError, command: Command, scope: Scope, errors: list[BakeError]) -> bool:
    """False if nothing behind the instruction can be judged."""
    if error.where is None and error.locations == ():
        error.where = command.instruction.statement.find(error.part)
        if command.trigger:
            error.where = command.location[0] if command.location else None
    # without the frames, which would keep what the instruction was made into
    errors.append(error.at(command.location).with_traceback(None))
    scope.checker.silent = True
    return not (isinstance(command.instruction, i.Env | i.Arg) or scope.is_spent or len(errors) >= MAX_ERRORS)


def _read(stage: StageState, command: Command, scope: Scope) -> Step:
    stage.in_trigger = command.trigger
    instruction, location = command.instruction, command.location
    checker = scope.checker.merged(instruction.statement.comments)
    match instruction:
        case i.Run():
            return read_run(stage, command, instruction, scope, checker)
        case i.Copy() | i.Add():
            return read_copy(stage, command, instruction, scope, checker)
        case i.Env():
            return config.read_env(stage, instruction, scope, location, checker)
        case i.Arg():
            return config.read_arg(stage, instruction, scope, location, checker)
        case i.Label():
            return config.read_label(stage, instruction, scope, location, checker)
        case i.Workdir():
            return config.read_workdir(stage, instruction, scope, location, checker)
        case i.User():
            return config.read_user(stage, instruction, scope, location, checker)
        case i.Cmd():
            return config.read_cmd(stage, instruction, scope, location, checker)
        case i.Entrypoint():
            return config.read_entrypoint(stage, instruction, scope, location, checker)
        case i.HealthcheckInstruction():
            return config.read_healthcheck(stage, instruction, scope, location, checker)
        case i.Expose():
            return config.read_expose(stage, instruction, scope, location, checker)
        case i.Volume():
            return config.read_volume(stage, instruction, scope, location, checker)
        case i.StopSignal():
            return config.read_stop_signal(stage, instruction, scope, location, checker)
        case i.Maintainer():
            return config.read_maintainer(instruction, scope)
        case i.Shell():
            return config.read_shell(instruction, scope)
        case i.OnBuild():
            return config.read_trigger(instruction)
    raise AssertionError(f"no instruction of a stage: {instruction}")


def end_stage(stage: StageState, scope: Scope) -> None:
    """Settles which trees an SBOM scanner looks at besides the result."""
    for name in (SCAN_CONTEXT, SCAN_STAGE):
        wanted = False
        if name in scope.global_args:
            wanted = _is_enabled(stage.label, scope.global_args[name])
        if stage.env.is_declared(name):
            for item in stage.env.arguments:
                if item.name == name and item.value is not None:
                    wanted = _is_enabled(stage.label, item.value)
        if wanted and name == SCAN_CONTEXT:
            stage.scan_context = True
        elif wanted:
            stage.scan_stage = True


def _is_enabled(label: str, value: str) -> bool:
    flag = parse_bool(value)
    return label in value.split(",") if flag is None else flag
