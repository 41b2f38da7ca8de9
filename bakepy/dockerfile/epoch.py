"""SOURCE_DATE_EPOCH that is not a number: the time of the context, of a named context or of a source-only stage.

Which source's time is wanted is found here; asking for it is the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping

from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.expansion import ExpansionError, Lexer
from bakepy.dockerfile.giturl import parse_git
from bakepy.dockerfile.instructions import Add, Arg, Dockerfile, Stage
from bakepy.dockerfile.lower.contexts import main_git_source, named_context, named_git_source
from bakepy.dockerfile.lower.copy import check_digest, is_http, url_filename
from bakepy.dockerfile.lower.sources import description, git_source, http_source
from bakepy.dockerfile.options import (
    GitContext,
    GraphContext,
    HTTPContext,
    InvalidContext,
    LowerOptions,
    NamedContext,
)
from bakepy.llb.op import SourceOp
from bakepy.model.value import dataclass

NAME = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True, slots=True)
class SourceTimeRequest:
    """The time of a git or HTTP source is wanted: that of the commit, Last-Modified, or the newest file in an
    archive; in seconds, None if there is none."""

    op: SourceOp


def epoch_source(
    value: str, dockerfile: Dockerfile, options: LowerOptions, args: Mapping[str, str], build_args: Mapping[str, str]
) -> SourceTimeRequest | None:
    """Whose time `value` names; None for sources without a time. Raises DockerfileError."""
    if value == "context":
        return _of_context(options, options.context, main=True)
    try:
        found = named_context(options, value, options.build_platform)  # for whatever platform the target is
    except DockerfileError as error:
        raise DockerfileError(
            f"invalid {NAME} '{value}'", hint="it is a number of seconds or names a source"
        ) from error
    if found is not None:
        return _of_context(options, found[1], main=False)
    for stage in dockerfile.stages:
        if stage.name == value.lower() and stage.name:
            inner = {name: text for name, text in args.items() if name != NAME}
            try:
                return SourceTimeRequest(_stage_source(stage, Lexer(dockerfile.escape), inner, build_args))
            except DockerfileError as error:
                error.at(stage.head.location)
                raise
    raise DockerfileError(f"invalid {NAME} '{value}'", hint="it is a number of seconds, 'context', or names a source")


def _of_context(options: LowerOptions, context: NamedContext, *, main: bool) -> SourceTimeRequest | None:
    match context:
        case InvalidContext(message=message):
            raise DockerfileError(message)
        case GitContext():
            source = main_git_source(options, context) if main else named_git_source("", context)
            return SourceTimeRequest(source.op)
        case HTTPContext():
            return SourceTimeRequest(http_source(context.url, "context", description("")).op)
        case GraphContext(head=head) if head is not None:
            ops = [vertex.op for vertex in context.graph.reachable([head]) if isinstance(vertex.op, SourceOp)]
            if len(ops) == 1 and ops[0].scheme in ("git", "http", "https"):
                return SourceTimeRequest(ops[0])
    return None


def _stage_source(stage: Stage, lexer: Lexer, env: dict[str, str], build_args: Mapping[str, str]) -> SourceOp:
    """A stage of nothing but `FROM scratch`, arguments and one remote ADD."""
    try:
        if lexer.word(stage.head.base, env) != "scratch":
            raise _unfit(stage, "must use FROM scratch")
        found: SourceOp | None = None
        for instruction in stage.instructions:
            if isinstance(instruction, Arg):
                for item in instruction.items:
                    value = build_args.get(item.name)
                    if value is None and item.value is not None:
                        value = lexer.word(item.value, env)
                    if value is not None:
                        env[item.name] = value
            elif isinstance(instruction, Add) and found is None:
                found = _add_source(stage, instruction, lexer, env)
            else:
                what = f"does not meet source-only requirements: unsupported {instruction.keyword.lower()} instruction"
                raise _unfit(stage, what)
    except ExpansionError as error:
        raise DockerfileError(str(error)) from error
    if found is None:
        raise _unfit(stage, "must contain exactly one remote ADD")
    return found


def _unfit(stage: Stage, what: str) -> DockerfileError:
    return DockerfileError(f"{NAME} stage {what}", hint=f"stage '{stage.name}' shall give the time of the build")


def _add_source(stage: Stage, add: Add, lexer: Lexer, env: Mapping[str, str]) -> SourceOp:
    if add.documents or len(add.sources) != 1:
        raise _unfit(stage, "must contain exactly one remote ADD source")
    path = lexer.word(add.sources[0], env)
    checksum = lexer.word(add.checksum, env)
    git = parse_git(path)
    if git is not None:
        keep = bool(add.keep_git_dir) or bool(git.keep_git_dir)
        return git_source(git, description(""), keep_git_dir=keep, checksum=checksum or git.checksum).op
    if not is_http(path):
        raise _unfit(stage, "source must be a single HTTP(S) or Git ADD")
    if checksum:
        check_digest(checksum)
    return http_source(path, url_filename(path), description(""), checksum).op
