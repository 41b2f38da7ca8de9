"""`run --resume` and `run --retry-failed`: the request of the last run in this folder, and what it has done."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakepy.errors import UsageError
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile, Target
from bakepy.model.value import dataclass
from bakepy.progress.journal import Past, last

if TYPE_CHECKING:
    import typer

_NOT_KEPT = frozenset({"resume", "retry_failed", "root", "print_", "list_", "list_targets", "list_variables"})
"""Parameters that are no part of a request."""
_BESIDE = frozenset({
    "resume", "retry_failed", "root", "progress", "metadata_file", "keep_going", "jobs", "pool", "memory_budget",
    "snapshotter", "engine", "allow", "var",
})  # fmt: skip
"""What may be said anew beside --resume: how to go on, not with what."""
_PATHS = frozenset({"metadata_file", "root"})
"""Parameters that typer makes paths of, after click."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options of a command as they were given, for the journal. `withheld` names sensitive variables, whose values
    are not kept; `earlier` is the run that this one goes on with."""

    options: FrozenMap[str, Any]
    withheld: tuple[str, ...] = ()
    earlier: Past | None = None


def given_options(context: typer.Context) -> dict[str, Any]:
    """The options of a command line, as JSON has them."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in context.params.items()
        if name not in _NOT_KEPT and _is_given(context, name)
    }


def request_of(options: Mapping[str, Any], sensitive: frozenset[str], earlier: Past | None) -> Request:
    """`sensitive` names the variables whose values are nobody else's business."""
    kept = dict(options)
    variables = list(kept.get("var") or ())
    withheld = tuple(text.partition("=")[0] for text in variables if text.partition("=")[0] in sensitive)
    if withheld:
        kept["var"] = [text for text in variables if text.partition("=")[0] not in sensitive]
    return Request(FrozenMap(kept), withheld, earlier)


@dataclass(frozen=True, slots=True)
class Resumption:
    """The last run of this folder, to be gone on with. `parameters` are those of the command."""

    past: Past
    parameters: Mapping[str, Any]
    options: Mapping[str, Any]
    failed_only: bool

    @classmethod
    def of(cls, context: typer.Context, root: Path, directory: Path, *, failed_only: bool) -> Resumption:
        """Raises UsageError if there is nothing to go on with, or if something else is asked for than then."""
        flag = "--retry-failed" if failed_only else "--resume"
        past = last(root, directory)
        if past is None:
            raise UsageError(
                f"{flag}: no run is known that began in {directory}", hint="--root must be that of the run"
            )
        if past.alive:
            raise UsageError(f"{flag}: the last run in {directory} is still going on")
        if "-" in (past.request.get("file") or ()):
            raise UsageError(f"{flag}: the last run read its bake file from standard input, which is gone")
        given = given_options(context)
        for name in given.keys() - _BESIDE:
            if not _is_as_it_was(name, given[name], past.request):
                raise UsageError(
                    f"{flag} goes on with what the last run was asked for: {_shown(context, name)} can not be changed",
                    hint="leave it out, or run without " + flag,
                )
        given = {name: value for name, value in given.items() if name in _BESIDE}
        options = {**past.request, **given}
        if variables := [*(past.request.get("var") or ()), *(given.get("var") or ())]:
            options["var"] = variables
        missing = [name for name in past.withheld if not any(text.startswith(f"{name}=") for text in variables)]
        if missing:
            raise UsageError(
                f"{flag}: values of sensitive variables are not kept: {', '.join(missing)}",
                hint=" ".join(f"--var {name}=…" for name in missing),
            )
        parameters = {**context.params, **options, "resume": False, "retry_failed": False}
        for name in _PATHS & parameters.keys():
            parameters[name] = None if parameters[name] is None else Path(parameters[name])
        return cls(past, parameters, options, failed_only)

    def narrowed(self, bake: BakeFile) -> BakeFile:
        """Of a bake file what is left to do: with --retry-failed the targets that have not succeeded, and what they
        link to. Raises UsageError if that is nothing."""
        if not self.failed_only:
            return bake
        left = {name for name, target in bake.targets.items() if not target.linked and name not in self.past.succeeded}
        if not left:
            raise UsageError("--retry-failed: all targets of the last run have succeeded")
        needed = set(left)
        stack = list(left)
        while stack:
            for name in _links(bake.targets[stack.pop()]):
                if name in bake.targets and name not in needed:
                    needed.add(name)
                    stack.append(name)
        targets = {
            name: target if name in left else replace(target, linked=True)
            for name, target in bake.targets.items()
            if name in needed
        }
        return replace(bake, targets=FrozenMap(targets))


def _is_as_it_was(name: str, value: Any, request: Mapping[str, Any]) -> bool:
    """Whether an option says what it said in the last run. A bake file that was found without being named may be named;
    a path may be written in another way."""
    before = request.get(name)
    if name != "file":
        return bool(_plain(value) == _plain(before))
    from bakepy.bakefile.lookup import chosen_names  # late: the engine's process reads no bake files
    from bakepy.bakefile.remote import Invocation
    from bakepy.cli.reading import Disk

    far = Invocation.of(request.get("targets") or ()).url  # the files are there
    if not before and not far:
        before = chosen_names((), os.environ, Disk())
    return [Path(each).resolve() for each in value] == [Path(each).resolve() for each in before or ()]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _links(target: Target) -> list[str]:
    return [value.removeprefix("target:") for value in target.contexts.values() if value.startswith("target:")]


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _shown(context: typer.Context, name: str) -> str:
    for parameter in context.command.params:
        if parameter.name == name and parameter.opts:
            return max(parameter.opts, key=len) if parameter.param_type_name == "option" else "the list of targets"
    return name
