"""Statements to instructions: one function per keyword. What is wrong is raised as DockerfileError with its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from bakepy.dockerfile import instructions as i
from bakepy.dockerfile.duration import parse_duration
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.flags import Flags, csv_fields, read_flags
from bakepy.dockerfile.heredoc import Heredoc, find_heredoc
from bakepy.dockerfile.mounts import parse_device
from bakepy.dockerfile.parser import Statement, split_statement
from bakepy.dockerfile.text import SPACE, number_fault, parse_int, quote, split_blanks
from bakepy.dockerfile.words import NotStrings, assignments, json_or_words, json_words, split_words
from bakepy.errors import nearest
from bakepy.model.image_config import Healthcheck
from bakepy.model.value import dataclass

_STAGE_NAME = re.compile(r"[a-z][a-z0-9._-]*\Z", re.ASCII)
_ONBUILD = re.compile(r"[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE | re.ASCII)
_MILLISECOND = 10**6
MAX_STAGES = 10_000
"""More are an accident or an attack; each costs time, needed or not."""
MAX_ERRORS = 100
"""Nobody reads more of them at a time."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is to be read."""

    escape: str = "\\"


def read_instruction(statement: Statement, dialect: Dialect) -> i.Instruction:
    """Raises DockerfileError."""
    reader = _READERS.get(statement.keyword.lower())
    if reader is None:
        names = [name.upper() for name in _READERS]
        near = nearest(statement.keyword.upper(), names) or f"instructions are {', '.join(sorted(names))}"
        raise statement.error(f"unknown instruction: {statement.keyword}", hint=near)
    try:
        return reader(statement, dialect)
    except NotStrings as error:
        raise statement.error(str(error), part="[", hint='as in ["make", "install"]') from error


_FORMS = {
    "ARG": "ARG NAME or ARG NAME=VALUE",
    "ENV": "ENV NAME=VALUE",
    "LABEL": "LABEL NAME=VALUE",
    "EXPOSE": "EXPOSE 80 or EXPOSE 53/udp",
    "MAINTAINER": "LABEL org.opencontainers.image.authors=NAME, which has replaced MAINTAINER",
    "ONBUILD": "ONBUILD RUN make",
    "SHELL": 'SHELL ["/bin/bash", "-c"]',
    "STOPSIGNAL": "STOPSIGNAL SIGTERM",
    "USER": "USER NAME or USER UID:GID",
    "VOLUME": "VOLUME /data",
    "WORKDIR": "WORKDIR /src",
}


def _none(statement: Statement, number: str = "at least") -> DockerfileError:
    """The arguments are missing."""
    keyword = statement.keyword.upper()
    return statement.error(f"{keyword} requires {number} one argument", hint=f"as in {_FORMS[keyword]}")


def _one_text(statement: Statement) -> str:
    if not statement.rest:
        raise _none(statement, "exactly")
    return statement.rest


def _pairs(statement: Statement, dialect: Dialect) -> tuple[i.Pair, ...]:
    read_flags(statement)
    keyword = statement.keyword.upper()
    try:
        pairs = tuple(i.Pair(*pair) for pair in assignments(statement.rest, keyword, dialect.escape))
    except ValueError as error:
        hint = f"as in {keyword} NAME=VALUE"
        raise statement.error(str(error), part=statement.rest, hint=hint) from error
    if not pairs:
        raise _none(statement)
    for pair in pairs:
        if not pair.name:
            raise statement.error(
                f"{keyword} names can not be blank", part=f"={pair.value}", hint=f"as in {_FORMS[keyword]}"
            )
    return pairs


def _env(statement: Statement, dialect: Dialect) -> i.Env:
    return i.Env(statement, _pairs(statement, dialect))


def _label(statement: Statement, dialect: Dialect) -> i.Label:
    return i.Label(statement, _pairs(statement, dialect))


def _maintainer(statement: Statement, dialect: Dialect) -> i.Maintainer:
    name = _one_text(statement)
    read_flags(statement)
    return i.Maintainer(statement, name)


def _description(statement: Statement, name: str) -> str:
    for comment in statement.comments if name else ():
        if comment.startswith(name + " "):
            return comment[len(name) + 1 :]
    return ""


def _arg(statement: Statement, dialect: Dialect) -> i.Arg:
    words = split_words(statement.rest, dialect.escape)
    if not words:
        raise _none(statement)
    items = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and not name:
            raise statement.error("ARG names can not be blank", part=word, hint=f"as in {_FORMS['ARG']}")
        items.append(i.ArgItem(name, value if equals else None, _description(statement, name)))
    return i.Arg(statement, tuple(items))


def _from(statement: Statement, dialect: Dialect) -> i.From:
    words = split_blanks(statement.rest) if statement.rest else []
    name = ""
    if len(words) == 3 and words[1].lower() == "as":
        name = words[2].lower()
        if not _STAGE_NAME.match(name):
            what = f"invalid name for build stage: {quote(words[2])}, name can't start with a number or contain symbols"
            raise statement.error(what, part=words[2], hint="letters, digits, '-', '_' and '.' are fine")
    elif len(words) != 1:
        raise statement.error("FROM requires either one or three arguments", part=statement.rest,
                              hint="as in FROM IMAGE or FROM IMAGE AS NAME")  # fmt: skip
    flags = read_flags(statement, texts=("platform",))
    return i.From(statement, words[0], name, flags.text("platform"), _description(statement, name))


def _documents(statement: Statement, words: list[str]) -> tuple[list[str], list[Heredoc]]:
    """Which of the words are paths, and which are documents."""
    contents = {doc.name: doc.content for doc in statement.heredocs}
    paths: list[str] = []
    documents: list[Heredoc] = []
    for word in words:
        if doc := find_heredoc(word):
            documents.append(doc.with_content(contents.get(doc.name, "")))
        else:
            paths.append(word)
    return paths, documents


def _transfer(statement: Statement) -> tuple[tuple[str, ...], str, tuple[Heredoc, ...]]:
    keyword = statement.keyword.upper()
    words, _ = json_or_words(statement.rest)
    if len(words) < 2:
        # also where there is none
        what = f"{keyword} requires at least two arguments, but only one was provided."
        what += " Destination could not be determined"
        raise statement.error(what, part=statement.rest, hint=f"as in {keyword} SOURCE DESTINATION")
    if find_heredoc(words[-1]):
        raise statement.error(f"{keyword} cannot accept a heredoc as a destination", part=words[-1])
    paths, documents = _documents(statement, words[:-1])
    return tuple(paths), words[-1], tuple(documents)


def _copy(statement: Statement, dialect: Dialect) -> i.Copy:
    sources, dest, documents = _transfer(statement)
    flags = read_flags(statement, texts=("chown", "from", "chmod"), lists=("exclude",), switches=("link", "parents"))
    return i.Copy(statement, sources, dest, documents, flags.text("chown"), flags.text("chmod"),
                  bool(flags.switch("link")), flags.list("exclude"),
                  stage=flags.text("from"), parents=bool(flags.switch("parents")))  # fmt: skip


def _add(statement: Statement, dialect: Dialect) -> i.Add:
    sources, dest, documents = _transfer(statement)
    flags = read_flags(
        statement,
        texts=("chown", "chmod", "checksum"),
        lists=("exclude",),
        switches=("link", "keep-git-dir", "unpack"),
    )
    return i.Add(statement, sources, dest, documents, flags.text("chown"), flags.text("chmod"),
                 bool(flags.switch("link")), flags.list("exclude"), keep_git_dir=flags.switch("keep-git-dir"),
                 checksum=flags.text("checksum"), unpack=flags.switch("unpack"))  # fmt: skip


def _command(statement: Statement, text: str) -> i.CommandLine:
    args = json_words(text)
    if args is not None:
        return i.CommandLine(tuple(args), False, statement.heredocs)
    return i.CommandLine((text,) if text else (), True, statement.heredocs)


def _run(statement: Statement, dialect: Dialect) -> i.Run:
    flags = read_flags(statement, texts=("network", "security"), lists=("mount", "device"))
    mounts = flags.list("mount")
    stages = tuple(_mount_stage(statement, mount) for mount in mounts)
    network, security = (
        _choice(statement, flags, "network", ("default", "none", "host")),
        _choice(statement, flags, "security", ("sandbox", "insecure")),
    )
    for device in flags.list("device"):
        try:
            parse_device(device)
        except DockerfileError as error:
            raise statement.error(error.what, part="--device", hint=error.hint) from error
    command = _command(statement, statement.rest)
    return i.Run(statement, command, mounts, stages, network, security, flags.list("device"))


_WRONG_CHOICE = {"network": "invalid network mode {}", "security": "security {} is not valid"}


def _choice(statement: Statement, flags: Flags, name: str, values: tuple[str, ...]) -> str:
    value = flags.texts.get(name, values[0])
    if value not in values:
        hint = nearest(value, values) or "it is one of " + ", ".join(values)
        raise statement.error(_WRONG_CHOICE[name].format(quote(value)), part=f"--{name}", hint=hint)
    return value


def _mount_stage(statement: Statement, mount: str) -> str:
    """The `from` of a mount; it decides on the stages that are built and therefore holds no variable."""
    try:
        fields = csv_fields(mount)
    except ValueError as error:
        raise statement.error(f"failed to parse csv mounts: {error}", part="--mount") from error
    stage = ""
    for field in fields:
        key, equals, value = field.partition("=")
        if equals and key.lower() == "from":
            if -1 < value.find("$") < len(value) - 1:
                raise statement.error("'from' doesn't support variable expansion", part="--mount",
                                      hint="give the stage a name: FROM … AS name")  # fmt: skip
            stage = value
    return stage


def _cmd(statement: Statement, dialect: Dialect) -> i.Cmd:
    read_flags(statement)
    return i.Cmd(statement, _command(statement, statement.rest))


def _entrypoint(statement: Statement, dialect: Dialect) -> i.Entrypoint:
    read_flags(statement)
    return i.Entrypoint(statement, _command(statement, statement.rest))


def _onbuild(statement: Statement, dialect: Dialect) -> i.OnBuild:
    if not statement.rest:
        raise _none(statement)
    read_flags(statement)
    keyword, _, rest = split_statement(statement.rest, dialect.escape)
    _check_trigger(statement, keyword, rest, dialect)
    match keyword.upper():
        case "ONBUILD":
            raise statement.error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", part=keyword)
        case "MAINTAINER" | "FROM":
            raise statement.error(f"{keyword.upper()} isn't allowed as an ONBUILD trigger", part=keyword)
    expression = _ONBUILD.sub("", statement.text, count=1) if _ONBUILD.match(statement.text) else statement.text
    for doc in statement.heredocs:
        expression += f"\n{doc.content}{doc.name}"
    return i.OnBuild(statement, expression)


def _check_trigger(statement: Statement, keyword: str, rest: str, dialect: Dialect) -> None:
    """What is wrong with the form of a trigger's arguments is wrong here already; all else when it fires."""
    match keyword.lower():
        case "add" | "copy" | "run" | "cmd" | "entrypoint" | "shell" | "volume":
            json_words(rest)
        case "healthcheck":
            json_words(split_first(rest)[-1])
        case "env" | "label":
            try:
                assignments(rest, keyword.upper(), dialect.escape)
            except ValueError as error:
                raise statement.error(str(error), part=rest) from error


def _workdir(statement: Statement, dialect: Dialect) -> i.Workdir:
    path = _one_text(statement)
    read_flags(statement)
    return i.Workdir(statement, path)


def _user(statement: Statement, dialect: Dialect) -> i.User:
    user = _one_text(statement)
    read_flags(statement)
    return i.User(statement, user)


def _expose(statement: Statement, dialect: Dialect) -> i.Expose:
    if not statement.rest:
        raise _none(statement)
    read_flags(statement)
    return i.Expose(statement, tuple(sorted(split_blanks(statement.rest), key=_bytes)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _volume(statement: Statement, dialect: Dialect) -> i.Volume:
    words, _ = json_or_words(statement.rest)
    if not words:
        raise _none(statement)
    read_flags(statement)
    paths = tuple(word.strip(SPACE) for word in words)
    if not all(paths):
        raise statement.error("VOLUME specified can not be an empty string", part='""')
    return i.Volume(statement, paths)


def _shell(statement: Statement, dialect: Dialect) -> i.Shell:
    read_flags(statement)
    args = json_words(statement.rest)
    if args is None and statement.rest:
        raise statement.error("SHELL requires the arguments to be in JSON form", part=statement.rest,
                              hint='as in SHELL ["/bin/bash", "-c"]')  # fmt: skip
    if not args:
        raise _none(statement)
    return i.Shell(statement, tuple(args))


def _stop_signal(statement: Statement, dialect: Dialect) -> i.StopSignal:
    return i.StopSignal(statement, _one_text(statement))


def _healthcheck(statement: Statement, dialect: Dialect) -> i.HealthcheckInstruction:
    if not statement.rest:
        raise statement.error("HEALTHCHECK requires at least one argument", hint="NONE, or CMD and a command")
    kind, *tail = split_first(statement.rest)
    rest = tail[0] if tail else ""
    command = _command(statement, rest)
    if kind.upper() == "NONE":
        if command.args:
            raise statement.error("HEALTHCHECK NONE takes no arguments", part=rest)
        return i.HealthcheckInstruction(statement, Healthcheck(("NONE",)))
    flags = read_flags(statement, texts=("interval", "timeout", "start-period", "start-interval", "retries"))
    if kind.upper() != "CMD":
        raise statement.error(f"Unknown type {quote(kind.upper())} in HEALTHCHECK (try CMD)", part=kind,
                              hint=nearest(kind.upper(), ("CMD", "NONE")))  # fmt: skip
    if not command.args:
        raise statement.error("Missing command after HEALTHCHECK CMD", part=kind,
                              hint="as in HEALTHCHECK CMD curl -f http://localhost/")  # fmt: skip
    check = Healthcheck(
        ("CMD-SHELL" if command.shell else "CMD", *command.args),
        interval=_interval(statement, flags, "interval"),
        timeout=_interval(statement, flags, "timeout"),
        start_period=_interval(statement, flags, "start-period"),
        start_interval=_interval(statement, flags, "start-interval"),
    )
    if text := flags.text("retries"):
        retries = parse_int(text, bits=32)
        if retries is None:
            raise statement.error(f"--retries: {number_fault(text)}", part="--retries", hint="a whole number")
        if retries < 0:
            raise statement.error(f"--retries cannot be negative ({retries})", part="--retries")
        check = replace(check, retries=retries)
    return i.HealthcheckInstruction(statement, check)


def split_first(text: str) -> list[str]:
    """The first word and what follows it."""
    match = re.match(rf"([^{SPACE}]*)[{SPACE}]*(.*)\Z", text, re.DOTALL)
    assert match is not None
    return [match[1], match[2]] if match[2] else [match[1]]


def _interval(statement: Statement, flags: Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    try:
        value = parse_duration(text)
    except ValueError as error:
        raise statement.error(f"--{name}: {error}", part=f"--{name}", hint="as in 30s or 1m30s") from error
    if value and value < _MILLISECOND:
        raise statement.error(f"Interval {quote(name)} cannot be less than 1ms", part=f"--{name}")
    return value


_READERS: dict[str, Callable[[Statement, Dialect], i.Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}


def read_dockerfile(
    statements: tuple[Statement, ...], dialect: Dialect
) -> tuple[i.Dockerfile, tuple[DockerfileError, ...]]:
    """The stages, and what is wrong with any of the statements, in file order."""
    errors: list[DockerfileError] = []
    global_args: list[i.Arg] = []
    heads: list[i.From] = []
    bodies: list[list[i.Instruction]] = []
    for statement in statements:
        if len(errors) >= MAX_ERRORS:
            errors.append(statement.error(f"{MAX_ERRORS} faults, and the rest of the file was not read"))
            break
        try:
            instruction = read_instruction(statement, dialect)
        except DockerfileError as error:
            # the words by which people search for such errors; triggers of base images are on no line of this file
            error.what = f"dockerfile parse error on line {statement.first_line}: {error.what}"
            errors.append(error)
            if statement.keyword.lower() == "from":
                bodies.append([])  # what follows belongs to this stage, not to the one before
                heads.append(i.From(statement, "scratch", "", ""))
            continue
        if isinstance(instruction, i.From):
            if len(heads) == MAX_STAGES:
                errors.append(statement.error(f"more than {MAX_STAGES} stages"))
                break
            heads.append(instruction)
            bodies.append([])
        elif bodies:
            bodies[-1].append(instruction)
        elif isinstance(instruction, i.Arg):
            global_args.append(instruction)
        else:
            what = f"no build stage in current context: {statement.keyword.upper()} stands before the first FROM"
            errors.append(statement.error(what, hint="only ARG may stand there"))
    if not heads and not errors and statements:
        errors.append(DockerfileError("dockerfile contains no stages to build", where=statements[-1].find(""),
                                      hint="a stage begins with FROM"))  # fmt: skip
    stages = tuple(
        i.Stage(head, tuple(body), index) for index, (head, body) in enumerate(zip(heads, bodies, strict=True))
    )
    return i.Dockerfile(dialect.escape, tuple(global_args), stages), tuple(errors)
