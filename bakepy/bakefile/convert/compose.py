"""From a compose file to a `Document`. Interpolations become variables, with the rules of compose as expressions.

The file is loaded as bake loads it, with marks in the place of variables; where a mark can not go through (a variable
that decides about a bool, say), the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

from bakepy.bakefile import values as v
from bakepy.bakefile.compose import Surroundings, compose_config, read_compose
from bakepy.bakefile.config import TargetDraft
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
from bakepy.bakefile.fields import BY_NAME, EntriesKind
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.source import Text as Source
from bakepy.errors import DefinitionError, UsageError

_REFERENCE: Final = re.compile(
    r"\$(?:(?P<escape>\$)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<kind>:?-)(?P<default>[^${}\n]*))?\})"
)
_MARK: Final = re.compile("\ue000([0-9]+)\ue001")
_VARIABLE: Final = re.compile(r"[^\W\d][\w-]*")
_NO_VARIABLES: Final = frozenset(
    {"true", "false", "null", "group", "target", "BAKE_CMD_CONTEXT", "BAKE_LOCAL_PLATFORM", "COMPOSE_PROJECT_NAME"}
)
"""What means something else in a bake file, or in the compose file."""


class _Marks:
    """Marks for references to variables, and which variables must tell unset from empty."""

    def __init__(self, name: str) -> None:
        self.file = name
        self.found: list[tuple[str, str, str]] = []
        """Variable, kind (`:-`, `-`, `arg` or empty) and default of each mark."""

    def add(self, variable: str, kind: str = "", default: str = "") -> str:
        if variable in _NO_VARIABLES or not _VARIABLE.fullmatch(variable):
            raise self.refusal(f"a variable called {variable!r}")
        self.found.append((variable, kind, default))
        return f"\ue000{len(self.found) - 1}\ue001"

    def refusal(self, what: str) -> UsageError:
        return UsageError(
            f"{self.file}: {what} can not be expressed in a bake file", hint="write its value, and convert again"
        )

    def nullable(self) -> set[str]:
        return {name for name, kind, _ in self.found if kind in ("-", "arg")}

    def code(self, position: int) -> str:
        """The expression for a mark."""
        name, kind, default = self.found[position]
        fallback = quote(Text((default,)) if default else Text(()))
        nullable = name in self.nullable()
        match kind:
            case "arg":
                return name
            case "-":
                return f"{name} == null ? {fallback} : {name}"
            case ":-":
                unset = f'{name} == null || {name} == ""' if nullable else f'{name} == ""'
                return f"{unset} ? {fallback} : {name}"
        return f'{name} == null ? "" : {name}' if nullable else name

    def text(self, text: str) -> Text | Expression:
        """A text with code in the place of marks."""
        parts: list[str | Code] = []
        for position, piece in enumerate(_MARK.split(text)):
            if position % 2:
                parts.append(Code(self.code(int(piece))))
            elif piece:
                parts.append(piece)
        if len(parts) == 1 and isinstance(parts[0], Code):
            return Expression(parts[0].text)
        return Text(tuple(parts))

    def mark(self, value: Any) -> Any:
        if isinstance(value, str):
            if "\ue000" in value:
                raise self.refusal(f"the character U+E000 in {value!r}")
            marked = _REFERENCE.sub(self._marked, value)
            rest = _REFERENCE.sub("", value)
            if "$" in rest:
                raise self.refusal(f"the interpolation in {value!r}")
            return marked
        if isinstance(value, dict):
            if any("\ue000" in key for key in value if isinstance(key, str)):
                raise self.refusal("the character U+E000 in a key")
            return {key: self.mark(each) for key, each in value.items()}
        return [self.mark(each) for each in value] if isinstance(value, list) else value

    def _marked(self, found: re.Match[str]) -> str:
        if found["escape"]:
            return "$$"
        return self.add(found["name"] or found["braced"], found["kind"] or "", found["default"] or "")


def read_compose_document(text: Source, reader: Reader | None) -> Document:
    """Raises DefinitionError and UsageError."""
    file = read_compose(text)
    marks = _Marks(text.name)
    documents = []
    for document in file.documents:
        value = marks.mark(deepcopy(document.value))
        if isinstance(value, dict):
            _refuse_other_files(value, marks)
            _mark_arguments(value, marks)
        documents.append(replace(document, value=value))
    surroundings = Surroundings({}, {}, reader)
    dotenv = dict(surroundings.environment)
    surroundings.environment = {}
    try:
        config = compose_config([replace(file, documents=tuple(documents))], surroundings)
    except DefinitionError as error:
        if "\ue000" in error.render() or r"\ue000" in error.render():
            raise marks.refusal("a variable of another kind than text") from error
        raise
    if not config.targets:
        raise UsageError(f"{text.name}: no service has a build section, so there is nothing to bake")
    found = Document()
    for name in dict.fromkeys(name for name, _, _ in marks.found):
        found.content.append(_variable(name, dotenv, name in marks.nullable()))
    if any(name in dotenv for name, _, _ in marks.found):
        if "$" in surroundings.read(".env"):
            raise marks.refusal("a .env that refers to variables")
        found.notes.append("values of .env have become defaults of variables")
    for group in config.groups:
        targets: Value = Items([Item(Text((each,))) for each in group.targets])
        found.content.append(Section("group", group.name, [Setting("targets", targets)]))
    for target in config.targets.values():
        found.content.append(_target(target, marks))
    return found


def _refuse_other_files(model: Mapping[str, Any], marks: _Marks) -> None:
    if model.get("include") is not None:
        raise marks.refusal("include")
    services = model.get("services")
    for name, service in services.items() if isinstance(services, dict) else ():
        extends = service.get("extends") if isinstance(service, dict) else None
        if isinstance(extends, dict) and extends.get("file") is not None:
            raise marks.refusal(f"services.{name}.extends.file")


def _mark_arguments(model: Mapping[str, Any], marks: _Marks) -> None:
    """Arguments without a value take that of a variable, and are left out where there is none."""
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
        if not lacking:
            continue
        if service.get("environment") or service.get("env_file"):
            raise marks.refusal(f"an argument of services.{name} that takes its value from the service's environment")
        for key in lacking:
            if isinstance(arguments, dict):
                arguments[key] = marks.add(key, "arg")
            else:
                arguments[arguments.index(key)] = f"{key}={marks.add(key, 'arg')}"


def _variable(name: str, dotenv: Mapping[str, str], nullable: bool) -> Section:
    default: Value | None = NULL if nullable else None
    if name in dotenv:
        default = Text((dotenv[name],) if dotenv[name] else ())
    return Section("variable", name, [Setting("default", default)] if default is not None else [])


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
