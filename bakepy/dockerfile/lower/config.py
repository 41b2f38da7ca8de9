"""Instructions that change only the environment and the image config."""

from __future__ import annotations

from bakepy.dockerfile import paths
from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.expansion import ExpansionError
from bakepy.dockerfile.instructions import (
    Arg,
    ArgItem,
    Cmd,
    CommandLine,
    Entrypoint,
    Env,
    Expose,
    HealthcheckInstruction,
    Instruction,
    Label,
    Maintainer,
    Pair,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from bakepy.dockerfile.lower.copy import owner_option
from bakepy.dockerfile.lower.image import default_shell, healthcheck_text, plain_list, quoted_list
from bakepy.dockerfile.lower.names import shown, step_name
from bakepy.dockerfile.lower.node import ActionPlan, FileNode
from bakepy.dockerfile.lower.scope import NO_ENV, Scope, report_undefined
from bakepy.dockerfile.lower.sources import description
from bakepy.dockerfile.lower.state import Once, StageState
from bakepy.dockerfile.outline import ArgNote
from bakepy.dockerfile.ports import parse_ports
from bakepy.dockerfile.secrets import looks_secret
from bakepy.dockerfile.signals import is_signal
from bakepy.dockerfile.text import quote
from bakepy.llb.op import MkDirAction, OpMetadata


def _expanded(
    stage: StageState, pairs: tuple[Pair, ...], scope: Scope, location: Location, checker: Checker
) -> list[Pair]:
    """All with the variables as they are before the instruction."""
    return [
        Pair(
            scope.expand(stage, pair.name, location, checker),
            scope.expand(stage, pair.value, location, checker),
            pair.legacy,
        )
        for pair in pairs
    ]


def _warn_legacy(pair: Pair, instruction: Instruction, location: Location, checker: Checker) -> None:
    if pair.legacy:
        word = instruction.keyword
        message = f'"{word} key=value" should be used instead of legacy "{word} key value" format'
        checker.warn("LegacyKeyValueFormat", message, location)


def _warn_secret(keyword: str, name: str, location: Location, checker: Checker) -> None:
    if looks_secret(name):
        message = f"Do not use ARG or ENV instructions for sensitive data ({keyword} {quote(name)})"
        checker.warn("SecretsUsedInArgOrEnv", message, location)


def _once(seen: Once, instruction: Instruction, location: Location, checker: Checker) -> None:
    if seen.location is not None:
        message = (
            f"Multiple {instruction.keyword} instructions should not be used in the same stage "
            "because only the last one will be used"
        )
        checker.warn("MultipleInstructionsDisallowed", message, seen.location)
    seen.location = location


def lower_env(stage: StageState, env: Env, scope: Scope, location: Location, checker: Checker) -> None:
    text = "ENV"
    for pair in _expanded(stage, env.pairs, scope, location, checker):
        _warn_legacy(pair, env, location, checker)
        _warn_secret("ENV", pair.name, location, checker)
        text += f" {pair.name}={pair.value}"
        stage.set_env(pair.name, pair.value)
        stage.image.env[pair.name] = pair.value
    stage.image.commit(text, epoch=scope.epoch)


def lower_label(stage: StageState, label: Label, scope: Scope, location: Location, checker: Checker) -> None:
    text = "LABEL"
    for pair in _expanded(stage, label.pairs, scope, location, checker):
        _warn_legacy(pair, label, location, checker)
        stage.image.labels[pair.name] = pair.value
        text += f" {pair.name}={pair.value}"
    stage.image.commit(text, epoch=scope.epoch)


def lower_arg(stage: StageState, arg: Arg, scope: Scope, location: Location, checker: Checker) -> None:
    notes = stage.notes
    shown_items = []
    for item in arg.items:
        _warn_secret("ARG", item.name, location, checker)
        value = item.value
        inherited = False
        if item.name in scope.build_args:
            value = scope.build_args[item.name]
        elif value is None:
            value = scope.global_args.get(item.name)
            inherited = value is not None
        else:
            try:
                result = scope.lexer.expand(value, stage.env)
            except ExpansionError as error:
                report_undefined(error.unmatched, stage.env, stage.build_args, location, checker)
                raise DockerfileError(error.of(value), part=value) from error
            report_undefined(result.unmatched, stage.env, stage.build_args, location, checker)
            value = result.text
            scope.spend(len(value))
        if value is not None and item.name not in NO_ENV:
            stage.set_env(item.name, value)
        given = ArgItem(item.name, value, item.description)
        if not inherited:
            notes.args[item.name] = ArgNote(given, value or "", location)
        notes.used[item.name] = None
        stage.build_args.append(given)
        shown_items.append(item.name if value is None else f"{item.name}={value}")
    stage.image.commit("ARG " + " ".join(shown_items), epoch=scope.epoch)


def _process(
    stage: StageState, command: CommandLine, instruction: Instruction, location: Location, checker: Checker
) -> tuple[str, ...]:
    if not command.shell:
        return command.args
    if not stage.image.shell:
        message = (
            f"JSON arguments recommended for {instruction.keyword} to prevent unintended behavior related to OS signals"
        )
        checker.warn("JSONArgsRecommended", message, location)
    return (*(stage.image.shell or default_shell(stage.image.os)), " ".join(command.args))


def lower_cmd(stage: StageState, cmd: Cmd, scope: Scope, location: Location, checker: Checker) -> None:
    _once(stage.cmd_seen, cmd, location, checker)
    args = _process(stage, cmd.command, cmd, location, checker)
    stage.image.cmd = args
    stage.image.args_escaped = True
    stage.image.commit(f"CMD {quoted_list(args)}", epoch=scope.epoch)


def lower_entrypoint(stage: StageState, entry: Entrypoint, scope: Scope, location: Location, checker: Checker) -> None:
    _once(stage.entrypoint_seen, entry, location, checker)
    args = _process(stage, entry.command, entry, location, checker)
    stage.image.entrypoint = args
    if stage.cmd_seen.location is None:
        stage.image.cmd = None
    stage.image.commit(f"ENTRYPOINT {quoted_list(args)}", epoch=scope.epoch)


def lower_healthcheck(
    stage: StageState, check: HealthcheckInstruction, scope: Scope, location: Location, checker: Checker
) -> None:
    _once(stage.healthcheck_seen, check, location, checker)
    stage.image.healthcheck = check.healthcheck
    stage.image.commit(f"HEALTHCHECK {healthcheck_text(check.healthcheck)}", epoch=scope.epoch)


def lower_expose(stage: StageState, expose: Expose, scope: Scope, location: Location, checker: Checker) -> None:
    words: list[str] = []
    for port in expose.ports:
        try:
            words += scope.lexer.expand(port, stage.env).words
        except ExpansionError as error:
            raise DockerfileError(error.of(port), part=port) from error
    ports = parse_ports(words, location, checker)
    stage.image.ports.update(dict.fromkeys(ports))
    stage.image.commit(f"EXPOSE {plain_list(ports)}", epoch=scope.epoch)


def lower_volume(stage: StageState, volume: Volume, scope: Scope, location: Location, checker: Checker) -> None:
    names = [scope.expand(stage, path, location, checker) for path in volume.paths]
    if not all(names):
        raise DockerfileError("VOLUME specified can not be an empty string")
    stage.image.volumes.update(dict.fromkeys(names))
    stage.image.commit(f"VOLUME {plain_list(names)}", epoch=scope.epoch)


def lower_stop_signal(stage: StageState, stop: StopSignal, scope: Scope, location: Location, checker: Checker) -> None:
    signal = scope.expand(stage, stop.signal, location, checker)
    if not is_signal(signal):
        raise DockerfileError(f"invalid signal: {signal}", hint="as in SIGTERM or 15")
    stage.image.stop_signal = signal
    stage.image.commit(f"STOPSIGNAL {signal}", epoch=scope.epoch)


def lower_maintainer(stage: StageState, maintainer: Maintainer, scope: Scope) -> None:
    stage.image.author = maintainer.name
    stage.image.commit(f"MAINTAINER {maintainer.name}", epoch=scope.epoch)


def lower_user(stage: StageState, user: User, scope: Scope, location: Location, checker: Checker) -> None:
    name = scope.expand(stage, user.user, location, checker)
    stage.user = stage.image.user = name
    stage.image.commit(f"USER {name}", epoch=scope.epoch)


def enter_directory(stage: StageState, path: str) -> str:
    """Makes `path` the working directory, in the config and for the next steps."""
    directory = paths.workdir(stage.image.working_dir, path, stage.os)
    stage.image.working_dir = directory
    stage.dir = paths.to_slash(directory, stage.os)
    return stage.dir


def lower_workdir(stage: StageState, workdir: Workdir, scope: Scope, location: Location, checker: Checker) -> None:
    path = scope.expand(stage, workdir.path, location, checker)
    if not stage.workdir_set and not paths.is_absolute(path, stage.os):
        message = f"Relative workdir {quote(path)} can have unexpected results if the base image changes"
        checker.warn("WorkdirRelativePath", message, location)
    stage.workdir_set = True
    directory = enter_directory(stage, path)
    if directory != "/":
        platform = stage.platform or scope.target_platform
        name = step_name(
            stage,
            shown(scope.lexer, workdir.code, stage.env),
            platform if scope.options.multi_platform else None,
            stage.env,
        )
        owner = owner_option(stage.image.user) if stage.image.user else None
        timestamp = -1 if scope.epoch is None else scope.epoch * 10**9
        action = MkDirAction(paths.in_op(directory), 0o755, make_parents=True, owner=owner, timestamp=timestamp)
        stage.node = FileNode(
            OpMetadata(description=description(name), caps=frozenset({"file.base"})),
            (location,),
            stage.node,
            (ActionPlan(action),),
        )
    stage.image.commit(f"WORKDIR {directory}", layer=directory != "/", epoch=scope.epoch)
