"""From a compose file to a `Document`. Interpolations become variables, with the rules of compose as expressions.

The file is loaded as bake loads it, with marks in the place of variables; where a mark can not go through (a variable
that decides about a bool, say), the file is refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

from bakepy.bakefile import values as v
from bakepy.bakefile.compose import ComposeFile, Surroundings, compose_config, read_compose
from bakepy.bakefile.compose_env import NESTING, Reference, SubstitutionError, references
from bakepy.bakefile.config import TargetDraft, is_remote
from bakepy.bakefile.convert.document import (
    NULL,
    Code,
    Document,
    Expression,
    Field,
    Fields,
    Item,
    Items,
    Plain,
    Section,
    Setting,
    Text,
    Value,
)
from bakepy.bakefile.convert.hcl import quote
from bakepy.bakefile.fields import BY_NAME
from bakepy.bakefile.kinds import EntriesKind
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.source import Text as Source
from bakepy.errors import DefinitionError, UsageError

_MARK: Final = re.compile("\ue000([0-9]+)\ue001")
_VARIABLE: Final = re.compile(r"[^\W\d][\w-]*")
_NO_VARIABLES: Final = frozenset(
    {"true", "false", "null", "group", "target", "BAKE_CMD_CONTEXT", "BAKE_LOCAL_PLATFORM", "COMPOSE_PROJECT_NAME"}
)
"""What means something else in a bake file, or in the compose file."""
_ARGUMENT: Final = "arg"
"""Stands for the operator where an argument is left out if its variable is not set."""


class _Marks:
    """Marks for references to variables, and which variables must tell unset from empty."""

    def __init__(self, name: str) -> None:
        self.file = name
        self.found: list[Reference] = []

    def add(self, reference: Reference) -> str:
        if reference.name in _NO_VARIABLES or not _VARIABLE.fullmatch(reference.name):
            raise self.refusal(f"a variable called {reference.name!r}")
        self.found.append(reference)
        return f"\ue000{len(self.found) - 1}\ue001"

    def refusal(self, what: str) -> UsageError:
        return UsageError(
            f"{self.file}: {what} can not be expressed in a bake file", hint="write its value, and convert again"
        )

    def names(self) -> list[str]:
        return list(dict.fromkeys(each.name for each in self.found))

    def nullable(self) -> set[str]:
        return {each.name for each in self.found if each.operator in ("-", "?", "+", _ARGUMENT)}

    def code(self, reference: Reference) -> str:
        """The expression for a reference."""
        name, operator = reference.name, reference.operator
        nullable = name in self.nullable()
        if operator == _ARGUMENT or (not nullable and not operator.endswith(("-", "+"))):
            return name
        if not operator or operator.endswith("?"):
            return f'{name} == null ? "" : {name}'
        absent = f"{name} == null" if nullable else ""
        if operator.startswith(":"):
            absent += (" || " if absent else "") + f'{name} == ""'
        other = self.text(reference.argument)
        argument = quote(other) if isinstance(other, Text) else f"({other.text})"
        if operator.endswith("-"):
            return f"{absent} ? {argument} : {name}"
        return f'{absent} ? "" : {argument}'

    def rules(self, name: str) -> list[Section]:
        """What is asked of a variable that must be there."""
        rules = []
        for reference in dict.fromkeys(self.found):
            if reference.name != name or not reference.operator.endswith("?"):
                continue
            conditions = [f"{name} != null"] if name in self.nullable() else []
            conditions += [f'{name} != ""'] if reference.operator == ":?" else []
            message = self.text(reference.argument)
            if not isinstance(message, Text) or not message.is_literal:
                raise self.refusal(f"the message of {name}, which has a variable in it,")
            rule = Section("validation", "", [Setting("condition", Expression(" && ".join(conditions)))])
            what = message.literal or "it is required"
            rule.settings.append(Setting("error_message", Text((what,))))
            rules.append(rule)
        return rules

    def text(self, text: str) -> Text | Expression:
        """A text with code in the place of marks."""
        parts: list[str | Code] = []
        for position, piece in enumerate(_MARK.split(text)):
            if position % 2:
                parts.append(Code(self.code(self.found[int(piece)])))
            elif piece:
                parts.append(piece)
        if len(parts) == 1 and isinstance(parts[0], Code):
            return Expression(parts[0].text)
        return Text(tuple(parts))

    def mark(self, value: Any) -> Any:
        """A value with marks for references; what is left is escaped, for compose to read."""
        if isinstance(value, str):
            if "\ue000" in value:
                raise self.refusal(f"the character U+E000 in {value!r}")
            return self._marked(value, 0).replace("$", "$$")
        if isinstance(value, dict):
            if any("\ue000" in key for key in value if isinstance(key, str)):
                raise self.refusal("the character U+E000 in a key")
            return {key: self.mark(each) for key, each in value.items()}
        return [self.mark(each) for each in value] if isinstance(value, list) else value

    def _marked(self, text: str, depth: int) -> str:
        if depth > NESTING:
            raise self.refusal("what is nested so deep")
        try:
            pieces = list(references(text)) if "$" in text else [text]
        except SubstitutionError as error:
            raise UsageError(f"{self.file}: {error}") from None
        return "".join(
            each
            if isinstance(each, str)
            else self.add(Reference(each.name, each.operator, self._marked(each.argument, depth + 1)))
            for each in pieces
        )

    def file_of(self, file: ComposeFile) -> ComposeFile:
        """A file with marks."""
        documents = []
        for document in file.documents:
            value = self.mark(deepcopy(document.value))
            if isinstance(value, dict):
                _refuse_own_variables(value, self)
                _mark_arguments(value, self)
            documents.append(replace(document, value=value))
        return replace(file, documents=tuple(documents))


class _Marked(Surroundings):
    """Surroundings without variables, in which files that others name are marked too."""

    def __init__(self, reader: Reader | None, marks: _Marks) -> None:
        super().__init__({}, {}, reader)
        self.marks = marks
        self.dotenv = self.environment
        self.environment = {}

    def compose_file(self, text: Source) -> ComposeFile:
        folder = posixpath.dirname(text.name)
        if folder and self.reader is not None and self.reader.kind(f"{folder}/.env") == "file":
            raise self.marks.refusal(f"{folder}/.env, which counts for {text.name} only,")
        return self.marks.file_of(super().compose_file(text))


def read_compose_document(text: Source, reader: Reader | None, folder: str = "") -> Document:
    """Raises DefinitionError and UsageError. `folder`: what paths of contexts shall be meant from, rather than the
    folder of the command."""
    marks = _Marks(text.name)
    file = marks.file_of(read_compose(text))
    surroundings = _Marked(reader, marks)
    try:
        config = compose_config([file], surroundings)
    except DefinitionError as error:
        if "\ue000" in error.render() or r"\ue000" in error.render():
            raise marks.refusal("a variable of another kind than text") from error
        raise
    if not config.targets:
        raise UsageError(f"{text.name}: no service has a build section, so there is nothing to bake")
    found = Document()
    for name in marks.names():
        found.content.append(_variable(name, surroundings.dotenv, marks))
    if any(name in surroundings.dotenv for name in marks.names()):
        if "$" in surroundings.read(".env"):
            raise marks.refusal("a .env that refers to variables")
        found.notes.append("values of .env have become defaults of variables")
    for group in config.groups:
        targets: Value = Items([Item(Text((each,))) for each in group.targets])
        found.content.append(Section("group", group.name, [Setting("targets", targets)]))
    for target in config.targets.values():
        _move(target, folder, marks)
        found.content.append(_target(target, marks))
    return found


def _refuse_own_variables(model: Mapping[str, Any], marks: _Marks) -> None:
    """Files that are included can have variables for themselves."""
    included = model.get("include")
    for each in included if isinstance(included, list) else ():
        for key in ("env_file", "project_directory"):
            if isinstance(each, dict) and each.get(key):
                raise marks.refusal(f"the {key} of an include")


def _move(target: TargetDraft, folder: str, marks: _Marks) -> None:
    """Paths of contexts become paths from `folder`."""

    def moved(path: str) -> str:
        local = path.removeprefix("oci-layout://")
        if local == path and (is_remote(path) or ":" in path):
            return path
        if local.startswith("\ue000"):
            raise marks.refusal("a context that begins with a variable, for a file in another folder,")
        prefix = path[: len(path) - len(local)]
        return path if local.startswith("/") else prefix + posixpath.relpath(local, folder)

    if folder:
        target.values["context"] = moved(target.values["context"])
        contexts = target.values.get("contexts") or {}
        target.values["contexts"] = {name: moved(path) for name, path in contexts.items()}


def _mark_arguments(model: Mapping[str, Any], marks: _Marks) -> None:
    """Arguments without a value take that of a variable, and are left out where there is none; unless the service's
    environment has it."""
    services = model.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        build = service.get("build") if isinstance(service, dict) else None
        arguments = build.get("args") if isinstance(build, dict) else None
        if isinstance(arguments, list):
            lacking = [each for each in arguments if isinstance(each, str) and "=" not in each]
        elif isinstance(arguments, dict):
            lacking = [key for key, each in arguments.items() if each is None]
        else:
            continue
        given = _given_names(service.get("environment"))
        lacking = [each for each in lacking if each not in given]
        if lacking and service.get("env_file"):
            raise marks.refusal(f"an argument of services.{name} that takes its value from the service's environment")
        for key in lacking:
            mark = marks.add(Reference(key, _ARGUMENT))
            if isinstance(arguments, dict):
                arguments[key] = mark
            else:
                arguments[arguments.index(key)] = f"{key}={mark}"


def _given_names(environment: Any) -> set[str]:
    """What an `environment` gives a value."""
    if isinstance(environment, dict):
        return {key for key, each in environment.items() if each is not None}
    texts = environment if isinstance(environment, list) else []
    return {each.partition("=")[0] for each in texts if isinstance(each, str) and "=" in each}


def _variable(name: str, dotenv: Mapping[str, str], marks: _Marks) -> Section:
    default: Value | None = NULL if name in marks.nullable() else None
    if name in dotenv:
        default = Text((dotenv[name],) if dotenv[name] else ())
    settings = [Setting("default", default)] if default is not None else []
    return Section("variable", name, settings, marks.rules(name))


def _target(target: TargetDraft, marks: _Marks) -> Section:
    section = Section("target", target.name)
    for name, plain in target.values.items():
        if plain is None or plain in ((), {}, ""):
            continue
        kind = BY_NAME[name].kind
        section.settings.append(Setting(name, _value(kind.to_value(plain), marks, isinstance(kind, EntriesKind))))
    return section


def _value(value: v.Value, marks: _Marks, entries: bool = False) -> Value:
    """`entries`: in objects, empty texts stand for what is not given."""
    raw = value.raw
    if raw is None:
        return NULL
    if isinstance(raw, str):
        return marks.text(raw)
    if isinstance(raw, bool):
        return Plain("true" if raw else "false")
    if isinstance(raw, dict):
        found = {key: each for key, each in raw.items() if not entries or each.raw not in (None, "", ())}
        fields = []
        for key, each in found.items():
            name = marks.text(key)
            if not isinstance(name, Text) or not name.is_literal:
                raise marks.refusal("a variable in a key")
            fields.append(Field(name, _value(each, marks)))
        return Fields(fields)
    if isinstance(raw, (tuple, list, set, frozenset)):
        return Items([Item(_value(each, marks, entries)) for each in raw])
    return Plain(str(raw))
