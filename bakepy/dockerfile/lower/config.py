"""Instructions that change only the environment and the image config. See `step` for what reading means."""

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
    OnBuild,
    Pair,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from bakepy.dockerfile.lower.copy import owner_option
from bakepy.dockerfile.lower.environment import Environment
from bakepy.dockerfile.lower.image import default_shell, healthcheck_text, history_line, plain_list, quoted_list
from bakepy.dockerfile.lower.names import next_step, shown, step_name
from bakepy.dockerfile.lower.node import FileForm, FileNode
from bakepy.dockerfile.lower.scope import NO_ENV, Scope, report_undefined
from bakepy.dockerfile.lower.sources import description
from bakepy.dockerfile.lower.state import StageState
from bakepy.dockerfile.lower.step import Step
from bakepy.dockerfile.outline import ArgNote
from bakepy.dockerfile.ports import parse_ports
from bakepy.dockerfile.secrets import looks_secret
from bakepy.dockerfile.signals import check_signal
from bakepy.dockerfile.text import decodable, quote
from bakepy.llb.op import MkDirAction, OpMetadata


def _expanded(
    stage: StageState, pairs: tuple[Pair, ...], scope: Scope, location: Location, checker: Checker
) -> list[Pair]:
    """All with the variables as they are before the instruction."""
    plain = scope.lexer.is_plain
    return [
        pair
        if plain(pair.value) and plain(pair.name)
        else Pair(
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


def _warn_again(stage: StageState, instruction: Instruction, checker: Checker) -> None:
    before = stage.seen.get(type(instruction))
    if before is not None:
        message = (
            f"Multiple {instruction.keyword} instructions should not be used in the same stage "
            "because only the last one will be used"
        )
        checker.warn("MultipleInstructionsDisallowed", message, before)


def read_env(stage: StageState, env: Env, scope: Scope, location: Location, checker: Checker) -> Step:
    pairs = _expanded(stage, env.pairs, scope, location, checker)
    for pair in pairs:
        _warn_legacy(pair, env, location, checker)
        _warn_secret("ENV", pair.name, location, checker)
    line = history_line(" ".join(["ENV", *(f"{pair.name}={pair.value}" for pair in pairs)]), epoch=scope.epoch)
    values = [(pair.name, pair.value) for pair in pairs]

    def take(stage: StageState, scope: Scope) -> None:
        for name, value in values:
            stage.env.put(name, value)
            stage.image.env[name] = value
        stage.image.history.append(line)

    return take


def read_label(stage: StageState, label: Label, scope: Scope, location: Location, checker: Checker) -> Step:
    pairs = _expanded(stage, label.pairs, scope, location, checker)
    for pair in pairs:
        _warn_legacy(pair, label, location, checker)
    line = history_line(" ".join(["LABEL", *(f"{pair.name}={pair.value}" for pair in pairs)]), epoch=scope.epoch)
    values = {pair.name: pair.value for pair in pairs}

    def take(stage: StageState, scope: Scope) -> None:
        stage.image.labels.update(values)
        stage.image.history.append(line)

    return take


def read_arg(stage: StageState, arg: Arg, scope: Scope, location: Location, checker: Checker) -> Step:
    env = stage.env if len(arg.items) == 1 else Environment(stage.env)  # each sees those before it
    given: list[ArgItem] = []
    own: dict[str, ArgNote] = {}
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
                result = scope.lexer.expand(value, env)
            except ExpansionError as error:
                report_undefined(error.unmatched, env, location, checker)
                raise DockerfileError(error.of(value), part=value, hint=error.hint) from error
            report_undefined(result.unmatched, env, location, checker)
            value = result.text
            scope.spend(len(value))
        given.append(ArgItem(item.name, value, item.description))
        if not inherited:
            own[item.name] = ArgNote(given[-1], value or "", location)
        if env is not stage.env:
            _declare(env, given[-1])
    names = dict.fromkeys(item.name for item in given)
    shown_items = (item.name if item.value is None else f"{item.name}={item.value}" for item in given)
    line = history_line("ARG " + " ".join(shown_items), epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        for item in given:
            _declare(stage.env, item)
        stage.notes.args.update(own)
        stage.notes.used.update(names)
        stage.image.history.append(line)

    return take


def _declare(env: Environment, item: ArgItem) -> None:
    env.declare(item)
    if item.value is not None and item.name not in NO_ENV:
        env.put(item.name, item.value)


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


def read_cmd(stage: StageState, cmd: Cmd, scope: Scope, location: Location, checker: Checker) -> Step:
    _warn_again(stage, cmd, checker)
    args = _process(stage, cmd.command, cmd, location, checker)
    line = history_line(f"CMD {quoted_list(args)}", epoch=scope.epoch)
    args = tuple(map(decodable, args))

    def take(stage: StageState, scope: Scope) -> None:
        stage.seen[Cmd] = location
        stage.image.cmd = args
        stage.image.args_escaped = True
        stage.image.history.append(line)

    return take


def read_entrypoint(stage: StageState, entry: Entrypoint, scope: Scope, location: Location, checker: Checker) -> Step:
    _warn_again(stage, entry, checker)
    args = _process(stage, entry.command, entry, location, checker)
    line = history_line(f"ENTRYPOINT {quoted_list(args)}", epoch=scope.epoch)
    args = tuple(map(decodable, args))

    def take(stage: StageState, scope: Scope) -> None:
        stage.seen[Entrypoint] = location
        stage.image.entrypoint = args
        if Cmd not in stage.seen:
            stage.image.cmd = None
        stage.image.history.append(line)

    return take


def read_healthcheck(
    stage: StageState, check: HealthcheckInstruction, scope: Scope, location: Location, checker: Checker
) -> Step:
    _warn_again(stage, check, checker)
    line = history_line(f"HEALTHCHECK {healthcheck_text(check.healthcheck)}", epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        stage.seen[HealthcheckInstruction] = location
        stage.image.healthcheck = check.healthcheck
        stage.image.history.append(line)

    return take


def read_expose(stage: StageState, expose: Expose, scope: Scope, location: Location, checker: Checker) -> Step:
    words: list[str] = []
    written: dict[str, str] = {}
    for port in expose.ports:
        try:
            found = scope.lexer.expand(port, stage.env).words
        except ExpansionError as error:
            raise DockerfileError(error.of(port), part=port, hint=error.hint) from error
        words += found
        written |= dict.fromkeys(found, port)
    try:
        ports = parse_ports(words, location, checker)
    except DockerfileError as error:
        error.part = written.get(error.part, "")
        raise
    line = history_line(f"EXPOSE {plain_list(ports)}", epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        scope.expose(len(ports))
        stage.image.ports.update(dict.fromkeys(ports))
        stage.image.history.append(line)

    return take


def read_volume(stage: StageState, volume: Volume, scope: Scope, location: Location, checker: Checker) -> Step:
    names = [scope.expand(stage, path, location, checker) for path in volume.paths]
    if not all(names):
        raise DockerfileError("VOLUME specified can not be an empty string")
    line = history_line(f"VOLUME {plain_list(names)}", epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        stage.image.volumes.update(dict.fromkeys(names))
        stage.image.history.append(line)

    return take


def read_stop_signal(stage: StageState, stop: StopSignal, scope: Scope, location: Location, checker: Checker) -> Step:
    signal = scope.expand(stage, stop.signal, location, checker)
    try:
        check_signal(signal)
    except DockerfileError as error:
        raise error.about(stop.signal) from None
    line = history_line(f"STOPSIGNAL {signal}", epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        stage.image.stop_signal = signal
        stage.image.history.append(line)

    return take


def read_maintainer(maintainer: Maintainer, scope: Scope) -> Step:
    line = history_line(f"MAINTAINER {maintainer.name}", epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        stage.image.author = maintainer.name
        stage.image.history.append(line)

    return take


def read_shell(shell: Shell, scope: Scope) -> Step:
    line = history_line(f"SHELL [{' '.join(shell.args)}]", epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        stage.image.shell = shell.args
        stage.image.history.append(line)

    return take


def read_trigger(trigger: OnBuild) -> Step:
    return lambda stage, scope: stage.image.on_build.append(trigger.expression)


def read_user(stage: StageState, user: User, scope: Scope, location: Location, checker: Checker) -> Step:
    name = scope.expand(stage, user.user, location, checker)
    line = history_line(f"USER {name}", epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        stage.user = stage.image.user = name
        stage.image.history.append(line)

    return take


def enter_directory(stage: StageState, path: str) -> None:
    """Makes `path` the working directory, in the config and for the next steps."""
    stage.image.working_dir = paths.workdir(stage.image.working_dir, path, stage.os)
    stage.dir = paths.to_slash(stage.image.working_dir, stage.os)


def read_workdir(stage: StageState, workdir: Workdir, scope: Scope, location: Location, checker: Checker) -> Step:
    path = scope.expand(stage, workdir.path, location, checker)
    if not stage.workdir_set and not paths.is_absolute(path, stage.os):
        message = f"Relative workdir {quote(path)} can have unexpected results if the base image changes"
        checker.warn("WorkdirRelativePath", message, location)
    written = paths.workdir(stage.image.working_dir, path, stage.os)
    directory = paths.to_slash(written, stage.os)
    scope.spend(len(directory))  # relative ones grow with each
    form: FileForm | None = None
    number = stage.step
    if directory != "/":
        number = next_step(stage)
        platform = stage.platform or scope.target_platform
        name = step_name(
            stage,
            shown(scope.lexer, workdir.code, stage.env),
            platform if scope.options.multi_platform else None,
            stage.env,
            number,
        )
        owner = owner_option(stage.image.user) if stage.image.user else None
        timestamp = -1 if scope.epoch is None else scope.epoch * 10**9
        form = FileForm(
            OpMetadata(description=description(name), caps=frozenset({"file.base"})),
            (location,),
            (MkDirAction(paths.in_op(directory), 0o755, make_parents=True, owner=owner, timestamp=timestamp),),
        )
    line = history_line(f"WORKDIR {directory}", layer=form is not None, epoch=scope.epoch)

    def take(stage: StageState, scope: Scope) -> None:
        stage.workdir_set = True
        stage.image.working_dir, stage.dir = written, directory
        stage.step = number
        if form is not None:
            stage.node = FileNode((stage.node, None), form)
        stage.image.history.append(line)

    return take
