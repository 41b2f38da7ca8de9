"""From a compose file to a `Document`. Interpolations become variables, with the rules of compose as expressions.

The file is loaded as bake loads it, with marks in the place of variables; where a mark can not go through (a variable
that gives a size, say), the file is refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from bakepy.bakefile import values as v
from bakepy.bakefile.compose import compose_config
from bakepy.bakefile.compose.env import EnvFileError, Lookup, parse_env_file
from bakepy.bakefile.compose.paths import move_path
from bakepy.bakefile.compose.surroundings import Surroundings
from bakepy.bakefile.compose.yaml_reader import ComposeFile
from bakepy.bakefile.config import TargetDraft, is_remote
from bakepy.bakefile.convert.compose_marks import (
    BEGIN,
    NULL_OR_VALUE,
    PROJECT,
    RESERVED,
    UNKNOWN,
    Attestation,
    Entry,
    Marks,
    Moved,
    Switch,
    Use,
)
from bakepy.bakefile.convert.document import (
    NULL,
    Document,
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
from bakepy.bakefile.fields import BY_NAME
from bakepy.bakefile.kinds import EntriesKind
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.source import Text as Source
from bakepy.errors import DefinitionError, UsageError
from bakepy.model.frozen import FrozenMap

_HERE = "./"


class _Marked(Surroundings):
    """Surroundings without variables, in which marks stand for those that are referred to."""

    def __init__(self, reader: Reader | None, marks: Marks) -> None:
        super().__init__({}, {}, None)
        self.reader = reader
        self.marks = marks
        if self.kind(".env") == "file":
            try:
                marks.dotenv = self.env_file(".env", lambda name: None)
            except EnvFileError as error:
                raise DefinitionError(f".env: {error}") from None

    def read(self, path: str) -> str:
        if BEGIN in path:
            raise self.marks.refusal("a variable in the name of a file that is read")
        return super().read(path)

    def compose_file(self, text: Source) -> ComposeFile:
        file = super().compose_file(text)
        for document in file.documents:
            self._refuse_reserved(document.value)
        return file

    def _refuse_reserved(self, value: Any) -> None:
        if isinstance(value, str) and RESERVED.search(value):
            raise self.marks.refusal(f"the character U+{ord(RESERVED.findall(value)[0]):04X} in {value!r}")
        inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
        for each in inner:
            self._refuse_reserved(each)

    def project_name(self, given: str, environment: Mapping[str, str]) -> str:
        if not given:
            return self.marks.add(Use(PROJECT, ":-", "bake"))
        return given if self.marks.literal(given) else UNKNOWN  # it may turn out to be empty

    def interpolated(self, text: str, environment: Mapping[str, str]) -> str:
        return self.marks.marked(text, environment)

    def variable(self, name: str, environment: Mapping[str, str]) -> str | None:
        if name == PROJECT:
            return self.marks.known(environment[name], "the name of the project")
        return self.marks.add(Use(name, NULL_OR_VALUE))

    def argument(self, name: str, service: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
        if UNKNOWN in service:
            raise self.marks.refusal(f"the argument {name}, which may be in a file named by a variable,")
        found = service.get(name)
        if found is not None:
            return self.marks.known(found, f"the value of {name} in an environment file")
        return self.variable(name, environment)

    def env_file(self, path: str, lookup: Lookup, earlier: Mapping[str, str] | None = None) -> dict[str, str]:
        """`lookup` and `earlier` are not looked at: values that depend on other variables are UNKNOWN."""
        if BEGIN in path:
            return {UNKNOWN: path}
        text = self.read(path)
        moving = parse_env_file(text, lambda name: UNKNOWN)
        try:
            fixed = parse_env_file(text, lambda name: None)
        except EnvFileError:  # a variable is required
            return dict.fromkeys(moving, UNKNOWN)
        return {name: value if moving[name] == value else UNKNOWN for name, value in fixed.items()}

    def moved(self, folder: str, path: Any) -> Any:
        if not isinstance(path, str) or BEGIN not in path:
            return super().moved(folder, path)
        if ".." in path[path.index(BEGIN) :].split("/"):
            raise self.marks.refusal("a path with '..' behind a variable")
        if path[0] == BEGIN:
            return self.marks.add(Moved(path, folder, "below")) if folder else move_path(folder, path)
        found: str = move_path(folder, path)
        return _HERE + found if found[0] == BEGIN else found  # it is relative, even if the variable is empty

    def moved_file(self, folder: str, path: Any) -> Any:
        return self.moved(folder, path) if isinstance(path, str) and BEGIN in path else super().moved_file(folder, path)

    def check(self, service: Mapping[str, Any], path: Any, error: Any) -> None:
        """Nothing: variables are not known yet."""

    def give_values(self, services: Any, environment: Mapping[str, str]) -> None:
        """Nothing: variables are not known yet."""

    def switch(self, value: Any) -> Any:
        return Switch(value) if isinstance(value, str) and BEGIN in value else super().switch(value)

    def attest(self, kind: str, text: str) -> FrozenMap[str, str]:
        return Attestation({"type": kind, "": text}) if BEGIN in text else super().attest(kind, text)

    def entries(self, text: str, parse: Callable[[str], list[Any]]) -> list[Any]:
        return [Entry(text)] if BEGIN in text else super().entries(text, parse)

    def words(self, text: str) -> list[str]:
        if BEGIN in text:
            raise self.marks.refusal("a variable in a list that is written as one string")
        return super().words(text)


def read_compose_document(text: Source, reader: Reader | None, folder: str = "") -> Document:
    """Raises DefinitionError and UsageError. `folder`: what paths of contexts shall be meant from, rather than the
    folder of the command."""
    marks = Marks(text.name)
    surroundings = _Marked(reader, marks)
    try:
        config = compose_config([surroundings.compose_file(text)], surroundings)
    except DefinitionError as error:
        if RESERVED.search(error.render()) or r"\ue00" in error.render():
            what = "a variable can not be expressed in a bake file here"
            raise DefinitionError(what, where=error.where, path=error.path, hint=marks.hint) from error
        raise
    if not config.targets:
        raise UsageError(f"{text.name}: no service has a build section, so there is nothing to bake")
    groups = []
    for group in config.groups:
        targets: Value = Items([Item(Text((each,))) for each in group.targets])
        groups.append(Section("group", group.name, [Setting("targets", targets)]))
    for target in config.targets.values():
        if contexts := target.values.get("contexts"):  # as they are printed, unlike the main one
            target.values["contexts"] = {
                name: path.removeprefix(_HERE) if path.startswith(_HERE + BEGIN) else path
                for name, path in contexts.items()
            }
        _move(target, folder, marks)
    sections = [_target(target, marks) for target in config.targets.values()]
    variables = marks.variables()
    found = Document([*variables, *marks.functions(), *groups, *sections])
    if any(each.label in marks.dotenv for each in variables):
        found.notes.append("values of .env have become defaults of variables")
    return found


def _move(target: TargetDraft, folder: str, marks: Marks) -> None:
    """Paths of contexts become paths from `folder`."""

    def moved(path: str) -> str:
        local = path.removeprefix("oci-layout://")
        if local.startswith(BEGIN):
            if local != path:
                raise marks.refusal("an OCI layout whose name begins with a variable, for a file in another folder,")
            return marks.add(Moved(path, posixpath.relpath(".", folder), "from_here"))
        if local == path and (is_remote(path) or ":" in path):
            return path
        prefix = path[: len(path) - len(local)]
        return path if local.startswith("/") else prefix + posixpath.relpath(local, folder)

    if folder:
        target.values["context"] = moved(target.values["context"])
        contexts = target.values.get("contexts") or {}
        target.values["contexts"] = {name: moved(path) for name, path in contexts.items()}


def _target(target: TargetDraft, marks: Marks) -> Section:
    section = Section("target", target.name)
    for name, plain in target.values.items():
        if plain is None or plain in ((), {}, ""):
            continue
        kind = BY_NAME[name].kind
        if name == "ssh" and len(plain) > 1 and any(isinstance(each, Entry) for each in plain):
            raise marks.refusal("a variable in one of several SSH agents, which have an order,")
        if isinstance(plain, Switch):
            value: Value = marks.switch(plain)
        elif isinstance(kind, EntriesKind):
            value = Items([Item(_entry(name, each, kind, marks)) for each in plain])
        else:
            value = _value(kind.to_value(plain), marks)
        section.settings.append(Setting(name, value))
    return section


def _entry(name: str, plain: Any, kind: EntriesKind, marks: Marks) -> Value:
    """What may become several entries, or ones of another type, stays the text that it was."""
    if isinstance(plain, Attestation):
        return marks.attestation(plain)
    if isinstance(plain, Entry):
        return marks.text(plain)
    (value,) = kind.to_value((plain,)).raw
    optional = value.raw.keys() if not kind.open_properties else ("dest",) if name == "output" else ()
    given = {key: each for key, each in value.raw.items() if key not in optional or each.raw not in (None, "", ())}
    return Fields([Field(_key(key, marks), _value(each, marks)) for key, each in given.items()])


def _key(key: str, marks: Marks) -> Text:
    if BEGIN in key:
        raise marks.refusal("a variable in a key")
    return Text((key,))


def _value(value: v.Value, marks: Marks) -> Value:
    raw = value.raw
    if raw is None:
        return NULL
    if isinstance(raw, str):
        return marks.text(raw)
    if isinstance(raw, bool):
        return Plain("true" if raw else "false")
    if isinstance(raw, dict):
        return Fields([Field(_key(key, marks), _value(each, marks)) for key, each in raw.items()])
    if isinstance(raw, (tuple, list, set, frozenset)):
        return Items([Item(_value(each, marks)) for each in raw])
    return Plain(str(raw))
