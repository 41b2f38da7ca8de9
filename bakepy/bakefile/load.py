"""From the texts of bake files to a `BakeFile`. Touches neither disk nor environment: both come as arguments."""

from __future__ import annotations

import os
import posixpath
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any

from bakepy.bakefile import values as v
from bakepy.bakefile.body import Body
from bakepy.bakefile.config import Config, GroupDraft, TargetDraft, rebase_layout, unique
from bakepy.bakefile.evaluate import Evaluation, Options
from bakepy.bakefile.fields import BY_NAME
from bakepy.bakefile.finish import Finisher
from bakepy.bakefile.instances import Instance
from bakepy.bakefile.own import OWN
from bakepy.bakefile.places import Places, Written
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.resolve import Selection, add_epoch, raise_all, select
from bakepy.bakefile.source import Text, check_native, check_text, without_foreign
from bakepy.errors import BakeError, DefinitionError, UsageError
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile, SourceRange
from bakepy.model.target import BakeFile, Group, Target
from bakepy.model.value import dataclass

if TYPE_CHECKING:
    from bakepy.bakefile.compose.surroundings import Surroundings
    from bakepy.bakefile.compose.yaml_reader import ComposeFile
    from bakepy.bakefile.remote import Origin


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a run asks of its bake files.

    `targets`: names and patterns; none means `default`. `overrides`: the texts of `--set`, without the name of the
    flag, in order. `variables`: those of `--var`. `environment`: the whole environment. `builtins`: names with fixed
    values (`BAKE_CMD_CONTEXT`, `BAKE_LOCAL_PLATFORM`). `reader`: for what a target names and bake must look at
    (secrets, SSH keys); without one nothing is looked at. `disable_policies`: `--policy disabled=true`. `origin`:
    the repository or archive that the files come from, None for this disk. `now` and `random` feed the functions that
    give times and random identifiers.
    """

    targets: Sequence[str] = ()
    overrides: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    builtins: Mapping[str, str] = field(default_factory=dict)
    reader: Reader | None = None
    disable_policies: bool = False
    origin: Origin | None = None
    now: Callable[[], float] = time.time
    random: Callable[[int], bytes] = os.urandom


@dataclass(frozen=True, slots=True)
class VariableInfo:
    """A variable for `--list variables`. `value`: None for null; text as it is, other values as JSON."""

    name: str
    description: str
    type_name: str
    value: str | None
    sensitive: bool = False


@dataclass(slots=True)
class Definitions:
    """All that the files define, evaluated, nothing selected yet."""

    config: Config
    variables: tuple[VariableInfo, ...]


def load(files: Sequence[SourceFile], options: LoadOptions) -> BakeFile:
    """Reads, evaluates and resolves. Raises DefinitionError(s) or UsageError, both with exit code 2."""
    definitions = load_definitions(files, options)
    with deep_calls():
        return _resolve(definitions.config, options)


def load_definitions(files: Sequence[SourceFile], options: LoadOptions) -> Definitions:
    """Evaluates everything in the files, for lists and completion. Raises DefinitionError(s)."""
    if not files:
        raise UsageError("there is no bake definition", hint="looked for bake.toml, compose.yaml, docker-bake.hcl, …")
    with deep_calls():
        bodies, config = _read(files, options)
        evaluation = Evaluation(
            bodies,
            Options(
                lookup=_lookup(options),
                builtins=_builtins(options),
                now=options.now,
                random=options.random,
                home=options.environment.get("HOME") or "/",
            ),
        )
        evaluation.run()
        raise_all(_in_file_order(evaluation.faults.errors, files))
        _fill(config, evaluation, _file_relative(options))
        return Definitions(config, tuple(_variables(evaluation)))


_DEPTH = 20_000
"""Calls within calls, all of them Python's own: a chain of variables takes four for each."""


@contextmanager
def deep_calls() -> Iterator[None]:
    """Lets names refer to names over thousands of levels; beyond, it is an error like any other."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _DEPTH))
    try:
        yield
    except RecursionError:
        raise DefinitionError("values or names refer to each other over too many levels") from None
    finally:
        sys.setrecursionlimit(before)


def _builtins(options: LoadOptions) -> dict[str, str]:
    return {"BAKE_CMD_CONTEXT": "cwd://", "BAKE_LOCAL_PLATFORM": "linux/amd64", **options.builtins}


def environment_allowed(environment: Mapping[str, str]) -> bool:
    """Whether variables may take their values from the environment."""
    return environment.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", "") not in ("1", "t", "T", "TRUE", "true", "True")


def _lookup(options: LoadOptions) -> Any:
    allowed = environment_allowed(options.environment)

    def lookup(name: str) -> str | None:
        if name in options.variables:
            return options.variables[name]
        return options.environment.get(name) if allowed else None

    return lookup


def _file_relative(options: LoadOptions) -> bool:
    text = options.environment.get("BUILDX_BAKE_FILE_RELATIVE_PATHS", "").strip()
    if text in ("", "0", "f", "F", "FALSE", "false", "False"):
        return False
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    raise UsageError(f"BUILDX_BAKE_FILE_RELATIVE_PATHS must be true or false, not {text!r}")


# -- reading


def _read(files: Sequence[SourceFile], options: LoadOptions) -> tuple[list[Body], Config]:
    """The bodies of the files, and what compose files define, which is the lowest layer."""
    bodies: list[Body] = []
    compose: list[ComposeFile] = []
    errors: list[BakeError] = []
    for file in files:
        try:
            body = _read_file(Text(file), errors, compose, options)
            if body is not None:
                bodies.append(body)
        except DefinitionError as error:
            errors.append(error)
    raise_all(errors)
    if not compose:
        return bodies, Config()
    from bakepy.bakefile.compose import compose_config

    surroundings = _surroundings(options)
    for each in compose:
        compose_config([each], surroundings, checked=False)
    return bodies, compose_config(compose, surroundings, relative=_file_relative(options))


def _surroundings(options: LoadOptions) -> Surroundings:
    from bakepy.bakefile.compose.surroundings import Surroundings

    environment = options.environment if environment_allowed(options.environment) else {}
    return Surroundings(environment, options.variables, options.reader, options.environment.get("HOME", ""))


def _read_file(text: Text, errors: list[BakeError], compose: list[ComposeFile], options: LoadOptions) -> Body | None:
    """The body of a file; None if it is a compose file, which is added to `compose`."""
    name = text.name.lower()
    if text.name.endswith(".hcl"):
        return _native(text, errors)
    if name.endswith(".toml"):
        check_text(text)
        from bakepy.bakefile.toml_reader import read_toml

        body, found = read_toml(text)
        errors += found
        return body
    if text.name.endswith(".json"):
        from bakepy.bakefile.json_reader import parse_json

        return parse_json(without_foreign(text))
    if name.endswith((".yaml", ".yml")):
        from bakepy.bakefile.compose.yaml_reader import read_compose

        check_text(text)
        compose.append(read_compose(text))
        return None
    return _guess(text, compose, options)


def _native(text: Text, errors: list[BakeError]) -> Body | None:
    from bakepy.bakefile.hcl_reader import BodyParser

    parser = BodyParser(text)
    try:
        body = parser.file()
    except DefinitionError:
        check_text(text)
        errors += parser.errors
        return None
    check_native(text)
    return body


def _guess(text: Text, compose: list[ComposeFile], options: LoadOptions) -> Body | None:
    """A file whose name does not tell: compose, then HCL, then JSON; at last, TOML."""
    from bakepy.bakefile.compose import compose_config
    from bakepy.bakefile.compose.yaml_reader import read_compose
    from bakepy.bakefile.hcl_reader import BodyParser
    from bakepy.bakefile.json_reader import parse_json
    from bakepy.bakefile.toml_reader import read_toml

    try:
        check_text(text)
        file = read_compose(text)
        compose_config([file], _surroundings(options), checked=False)
        compose.append(file)
        return None
    except DefinitionError:
        pass  # then it is something else
    native: DefinitionError
    try:
        hcl = BodyParser(text).file()
        check_native(text)
        return hcl
    except DefinitionError as error:
        native = error
    try:
        return parse_json(without_foreign(text))
    except DefinitionError as error:
        if text.text.lstrip().startswith("{"):
            raise error from None
    check_text(text)
    body, found = read_toml(text)
    if not found:
        return body
    raise native


def _in_file_order(errors: Sequence[BakeError], files: Sequence[SourceFile]) -> list[BakeError]:
    order = {file.name: position for position, file in enumerate(files)}

    def key(error: BakeError) -> tuple[int, int, int]:
        where = error.where
        if isinstance(where, SourceRange):
            return order.get(where.file.name, len(order)), where.start.line, where.start.column
        return len(order), 0, 0

    return sorted(errors, key=key)


# -- filling the configuration


def _fill(config: Config, evaluation: Evaluation, relative: bool) -> None:
    """Targets and groups of the evaluated blocks, over what is there."""
    config.pools.update(evaluation.pools)
    labels: dict[str, list[str]] = {}
    for instance in evaluation.instances:
        file = instance.block.span.text.file
        if instance.kind == "group":
            config.set_group(
                GroupDraft(
                    instance.name,
                    unique(instance.values.get("targets") or ()),  # type: ignore[arg-type]
                    str(instance.values.get("description") or ""),
                    _group_places(instance),
                )
            )
            continue
        labels.setdefault(instance.label, []).append(instance.name)
        folder = posixpath.dirname(file.name) or "."
        local = "://" not in file.name and file.name not in ("", "-", "<stdin>")
        moving = relative or (instance.block.body.strict and folder != ".")
        config.add_target(_draft(instance, folder if local and moving else ""))
    for label, names in labels.items():
        distinct = unique(names)
        if distinct != (label,):
            config.add_group(GroupDraft(label, distinct))


def _group_places(instance: Instance) -> dict[str, Written]:
    places: dict[str, Written] = {"": (instance.block.label_spans[0],)}
    if attribute := instance.content.attributes.get("targets"):
        places["targets"] = (attribute,)
    return places


def _draft(instance: Instance, folder: str) -> TargetDraft:
    draft = TargetDraft(instance.name, dict(instance.values))
    attributes = instance.content.attributes
    draft.places = {name: (attributes[name if name in attributes else OWN],) for name in instance.values}
    draft.places[""] = (instance.block.label_spans[0],)
    if folder:
        draft.folders[""] = folder
        if instance.values.get("context") is not None:
            draft.folders["context"] = folder
        for name in instance.values.get("contexts") or ():  # type: ignore[attr-defined]
            draft.folders[f"contexts.{name}"] = folder
        if instance.block.body.strict and draft.values.get("contexts"):
            contexts = draft.values["contexts"]
            draft.values["contexts"] = {name: rebase_layout(folder, path) for name, path in contexts.items()}
    return draft


def _variables(evaluation: Evaluation) -> Iterator[VariableInfo]:
    from bakepy.bakefile.functions.json_encoding import encode, encode_with_type

    for name in sorted(evaluation.variables):
        each = evaluation.variables[name]
        value = evaluation.find(name)
        assert value is not None, "every variable has a value when nothing failed"
        shown: str | None = None
        if value.raw is not None:
            shown = encode(value) if each.type is not v.DYNAMIC else encode_with_type(value)
            if value.type is v.STRING and each.type is not v.DYNAMIC:
                # As buildx does: all quotes at both ends go, of the text itself too.
                shown = value.raw if each.type is None else shown.strip('"')
        type_name = "" if each.type is None else _type_name(each.type)
        yield VariableInfo(name, each.description, type_name, shown, each.is_sensitive())


def _type_name(type: v.Type) -> str:
    return "any type" if type is v.DYNAMIC else str(type)


# -- the result


def _resolve(config: Config, options: LoadOptions) -> BakeFile:
    lookup = options.environment.get if environment_allowed(options.environment) else (lambda name: None)
    selection = select(config, tuple(options.targets) or ("default",), options.overrides, lookup)
    if options.disable_policies:
        from bakepy.model.target import PolicyEntry

        for draft in selection.targets.values():
            draft.values["policy"] = (PolicyEntry(disabled=True),)
    add_epoch(selection, options.environment)
    Finisher(options.environment, options.reader, options.origin).finish(selection)
    return _freeze(selection, config.pools)


def _freeze(selection: Selection, pools: Mapping[str, int]) -> BakeFile:
    targets = {name: _target(draft, name in selection.linked) for name, draft in sorted(selection.targets.items())}
    groups = {
        name: Group(name, each.targets, each.description, each.unlisted)
        for name, each in sorted(selection.groups.items())
    }
    return BakeFile(FrozenMap(targets), FrozenMap(groups), FrozenMap(pools))


def _target(draft: TargetDraft, linked: bool) -> Target:
    printed = Target(name=draft.name, linked=linked, locations=Places(draft.places), **_fields(draft.values))
    if not draft.built:
        return printed
    from dataclasses import replace

    return replace(printed, printed=printed, **_fields(draft.built))


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    if hosts := values.get("extra-hosts"):
        values = {**values, "extra-hosts": dict(sorted(hosts.items()))}  # the order of the lines in /etc/hosts
    return {
        BY_NAME[name].field: FrozenMap(plain) if isinstance(plain, dict) else plain
        for name, plain in values.items()
        if plain is not None
    }
