"""Compose files, through the compose specification, as far as bake looks at them.

All compose files of a run are one project: read, interpolated, with what they include and extend, merged. Its services
that have a `build` become targets (`compose_service`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import field
from typing import Any, Final

from bakepy.bakefile.compose_env import (
    EnvFileError,
    Lookup,
    SubstitutionError,
    merged_environment,
    parse_env_file,
    substitute,
)
from bakepy.bakefile.compose_paths import directory_of, joined, move_file, move_path, move_paths
from bakepy.bakefile.compose_scalars import scalar_text
from bakepy.bakefile.compose_shapes import check_shapes
from bakepy.bakefile.compose_yaml import VALUE, Document, Path, parse_yaml
from bakepy.bakefile.config import Config, GroupDraft
from bakepy.bakefile.entries import EntryError, make_attest, parse_attest, parse_bool
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.source import Span, Text
from bakepy.errors import DefinitionError
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile
from bakepy.model.value import dataclass

_NESTING: Final = 100


class Surroundings:
    """What compose files may look at: variables, and files through the reader."""

    def __init__(
        self, environment: Mapping[str, str], overrides: Mapping[str, str], reader: Reader | None, home: str = ""
    ) -> None:
        self.reader = reader
        self.home = home
        dotenv = self.read(".env") if self.kind(".env") == "file" else None
        try:
            self.environment = merged_environment(environment, dotenv)
        except EnvFileError as error:
            raise DefinitionError(f".env: {error}") from None
        self.environment.update(overrides)

    def kind(self, path: str) -> str:
        """`file`, `dir`, or empty if it is not there."""
        return self.reader.kind(path) if self.reader is not None else ""

    def read(self, path: str) -> str:
        """Raises DefinitionError."""
        if self.reader is None:
            raise DefinitionError(f"{path!r} can not be read: there is no access to files")
        try:
            return self.reader.read(path).decode("utf-8", "surrogateescape")
        except OSError as error:
            raise DefinitionError(f"open {path}: {(error.strerror or str(error)).lower()}") from None

    # How what a file says is understood. Whoever converts compose files instead of evaluating them has other ways.

    def compose_file(self, text: Text) -> ComposeFile:
        """What a compose file says. Raises DefinitionError."""
        return read_compose(text)

    def project_name(self, given: str, environment: Mapping[str, str]) -> str:
        """The name of a project in whose files `given` stands."""
        return given or environment.get("COMPOSE_PROJECT_NAME") or "bake"

    def interpolated(self, text: str, environment: Mapping[str, str]) -> str:
        """A text with the values of the variables that it names. Raises SubstitutionError."""
        return substitute(text, environment.get)

    def variable(self, name: str, environment: Mapping[str, str]) -> str | None:
        """The value of one variable."""
        return environment.get(name)

    def argument(self, name: str, service: Mapping[str, str], environment: Mapping[str, str]) -> str | None:
        """What an argument without a value gets: from the variables of its service, else from outside."""
        found = service.get(name)
        return self.variable(name, environment) if found is None else found

    def env_file(self, path: str, lookup: Lookup, earlier: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a file, over those of `earlier` ones. Raises DefinitionError and EnvFileError."""
        return parse_env_file(self.read(path), lookup, earlier)

    def moved(self, folder: str, path: Any) -> Any:
        """A context that is meant from `folder`, from the folder of the command."""
        return move_path(folder, path, self.home)

    def moved_file(self, folder: str, path: Any) -> Any:
        """The path of a file that is meant from `folder`, from the folder of the command."""
        return move_file(folder, path, self.home)

    def switch(self, value: Any) -> Any:
        """A switch, written as a bool or as a word; None if it is neither."""
        if isinstance(value, bool):
            return value
        word = value.lower() if isinstance(value, str) else ""
        return True if word in ("true", "y", "yes", "on") else False if word in ("false", "n", "no", "off") else None

    def attest(self, kind: str, text: str) -> FrozenMap[str, str]:
        """An attestation that is switched or described. Raises EntryError."""
        try:
            disabled = not parse_bool(text)
        except EntryError:
            return parse_attest(f"type={kind},{text}")
        return make_attest(kind, disabled, {})

    def entries(self, text: str, parse: Callable[[str], list[Any]]) -> list[Any]:
        """What a text says that has a form of its own: caches, an output, a secret, an agent. Raises EntryError."""
        return parse(text)

    def check(self, service: Mapping[str, Any], path: Path, error: Callable[[Path, str], DefinitionError]) -> None:
        """Raises the error of a part of a service that can not be read."""
        check_shapes(service, path, error)

    def give_values(self, services: Any, environment: Mapping[str, str]) -> None:
        """Names alone in lists of variables get the values that they have where the services are included from."""
        for service in services.values() if isinstance(services, dict) else ():
            names = service.get("environment") if isinstance(service, dict) else None
            if isinstance(names, list):
                known = [isinstance(each, str) and each in environment for each in names]
                service["environment"] = [
                    f"{each}={environment[each]}" if given else each for each, given in zip(names, known, strict=True)
                ]

    def words(self, text: str) -> list[str]:
        """A list that is written as one string."""
        return text.split()


@dataclass(slots=True)
class Project:
    """A merged project. `places`: where things stand, by path."""

    model: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, Span] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def where(self, path: Path) -> Span | None:
        """The place of what is at a path, else of its key, else of the nearest thing that holds it."""
        if (*path, VALUE) in self.places:
            return self.places[*path, VALUE]
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return None

    def error(self, path: Path, what: str, hint: str = "", *, key: bool = False) -> DefinitionError:
        """`key`: it is not the value that is wrong, but its key."""
        span = self.places.get(path) if key else self.where(path)
        return DefinitionError(what, where=span.where() if span else None, path=dotted(path), hint=hint)


def dotted(path: Path) -> str:
    return ".".join(path).replace(".[", "[")


@dataclass(frozen=True, slots=True)
class Folder:
    """Where files of a project are. `names`: from where the files that they name are looked for, seen from the folder
    of the command; `values`: from where paths in them are meant, seen from the `values` of the files that include
    them."""

    names: str = ""
    values: str = ""


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """A compose file as it was read."""

    text: Text
    documents: tuple[Document, ...]


def read_compose(text: Text) -> ComposeFile:
    """Raises DefinitionError for what is no YAML."""
    return ComposeFile(text, tuple(parse_yaml(text)))


def compose_config(
    files: Sequence[ComposeFile], surroundings: Surroundings, *, relative: bool = False, checked: bool = True
) -> Config:
    """The targets and groups of a project. Raises DefinitionError.

    `relative`: paths are meant from the folder of the first file. `checked`: services may not lack what they name.
    """
    from bakepy.bakefile.compose_service import ServiceReader

    project = _Loader(surroundings).project(files)
    config = Config()
    members: list[str] = []
    reader = ServiceReader(project, surroundings)
    services = reader.services(checked)
    folder = posixpath.dirname(files[0].text.name) or "." if relative and files[0].text.name != "-" else ""
    for name in sorted(services):
        draft = reader.target(name, services[name])
        if draft is None:
            continue
        members.append(draft.name)
        if folder:
            draft.folders[""] = folder
            draft.folders["context"] = folder
            draft.folders.update({f"contexts.{key}": folder for key in draft.values.get("contexts") or ()})
        config.add_target(draft)
    if services:
        config.add_group(GroupDraft("default", tuple(dict.fromkeys(members)), unlisted=not members))
    return config


class _Loader:
    """Merges files, documents, includes and extended services into one model."""

    def __init__(self, surroundings: Surroundings) -> None:
        self.surroundings = surroundings
        self.places: dict[Path, Span] = {}
        self.files: dict[str, ComposeFile] = {}

    def project(self, files: Sequence[ComposeFile]) -> Project:
        environment = dict(self.surroundings.environment)
        environment["COMPOSE_PROJECT_NAME"] = self._name(files, environment)
        model = self._files(files, environment, Folder(), [])
        if not model:
            raise DefinitionError(f"{files[0].text.name}: the compose file is empty")
        return Project(model, self.places, environment)

    def _name(self, files: Sequence[ComposeFile], environment: Mapping[str, str]) -> str:
        name = ""
        for file in files:
            for document in file.documents:
                if isinstance(document.value, dict) and isinstance(document.value.get("name"), str):
                    name = document.value["name"] or name
        try:
            name = self.surroundings.interpolated(name, environment)
        except SubstitutionError as error:
            raise DefinitionError(f"name: {error}") from None
        return self.surroundings.project_name(name, environment)

    def _files(
        self, files: Sequence[ComposeFile], environment: Mapping[str, str], folder: Folder, included: list[str]
    ) -> dict[str, Any]:
        """The model of several files, with paths that are meant from where `folder.values` is."""
        model: dict[str, Any] = {}
        for file in files:
            for document in file.documents:
                self.places.update(document.places)
                value = deepcopy(document.value)
                if not isinstance(value, dict):
                    raise Span(file.text, 0, 1).error("expected a mapping with services")
                self._check_services(value)
                value = self._interpolated(value, (), environment)
                self._include(value, environment, folder, document.resets, [*included, file.text.name])
                _reset(model, document.resets)
                self._extend_all(value, file.text.name, folder.names, environment, document.resets)
                model = merge(model, value)
                _unify(model)
                self._name_keys(model)
        if folder.values:
            self._move(model, folder.values, whole=True)
        return model

    def _move(self, model: dict[str, Any], folder: str, *, whole: bool) -> None:
        here = self.surroundings
        move_paths(
            model, lambda path: here.moved(folder, path), lambda path: here.moved_file(folder, path), whole=whole
        )

    def _name_keys(self, model: dict[str, Any]) -> None:
        """Lists of SSH keys become mappings after each file, which decides what a later file can override."""
        services = model.get("services")
        for name, service in services.items() if isinstance(services, dict) else ():
            build = service.get("build") if isinstance(service, dict) else None
            keys = build.get("ssh") if isinstance(build, dict) else None
            if not isinstance(build, dict) or not isinstance(keys, list):
                continue
            named: dict[str, str | None] = {}
            for each in keys:
                key, equals, value = each.partition("=") if isinstance(each, str) else ("", "", "")
                if not equals and key != "default":
                    path = ("services", name, "build", "ssh")
                    raise self._error(path, f"{each!r} is no SSH key: expected default or id=path")
                named[key] = value if equals else None
            build["ssh"] = named

    def _error(self, path: Path, what: str, hint: str = "") -> DefinitionError:
        return Project(places=self.places).error(path, what, hint)

    def _check_services(self, value: dict[str, Any]) -> None:
        services = value.get("services")
        if services is not None and not isinstance(services, dict):
            raise self._error(("services",), "expected a mapping of services")
        for name, service in (services or {}).items():
            if isinstance(service, dict) and "build" in service and service["build"] is None:
                raise self._error(("services", name, "build"), "expected a folder or a mapping, found nothing")

    def _interpolated(self, value: Any, path: Path, environment: Mapping[str, str]) -> Any:
        if isinstance(value, str):
            try:
                return self.surroundings.interpolated(value, environment)
            except SubstitutionError as error:
                raise self._error(path, str(error)) from None
        if isinstance(value, dict):
            return {name: self._interpolated(each, (*path, name), environment) for name, each in value.items()}
        if isinstance(value, list):
            return [self._interpolated(each, (*path, f"[{at}]"), environment) for at, each in enumerate(value)]
        return value

    # -- include

    def _include(
        self,
        model: dict[str, Any],
        environment: Mapping[str, str],
        folder: Folder,
        resets: Sequence[Path],
        included: list[str],
    ) -> None:
        wanted = model.pop("include", None)
        if wanted is None:
            return
        if not isinstance(wanted, list):
            raise self._error(("include",), "expected a list of files")
        for position, each in enumerate(wanted):
            path = ("include", f"[{position}]")
            entry = {"path": each} if isinstance(each, str) else each
            if entry is None:
                continue
            if not isinstance(entry, dict):
                raise self._error(path, "expected a file name, or a mapping with 'path'")
            for section, things in self._included(entry, path, environment, folder, included).items():
                own = model.setdefault(section, {})
                for name, value in things.items():
                    if name in own:
                        _reset({section: {name: value}}, resets)
                        value = merge(value, own[name], (section, name))
                    own[name] = value

    def _included(
        self, entry: dict[str, Any], path: Path, environment: Mapping[str, str], folder: Folder, included: list[str]
    ) -> dict[str, dict[str, Any]]:
        """What other files define, by section; nothing if there is no path, as buildx has it."""
        for key in ("path", "env_file"):
            given = entry.get(key)
            if not (given is None or isinstance(given, str) or _strings(given) == given):
                raise self._error(path, f"{key}: expected a path, or a list of paths")
        if not isinstance(entry.get("project_directory") or "", str):
            raise self._error(path, "project_directory: expected a path")
        names = _strings(entry.get("path"))
        if not names:
            return {}
        if not names[0]:
            raise self._error(path, "expected the name of a file, found an empty one")
        files = [joined(folder.names, name) for name in names]
        if files[0] in included:
            cycle = " -> ".join([*included[included.index(files[0]) :], files[0]])
            raise self._error(path, f"files include each other: {cycle}")
        project = entry.get("project_directory")
        if not isinstance(project, str) or not project:
            base, home = directory_of(folder.names, files[0], self.surroundings.kind), posixpath.dirname(files[0])
        elif project.startswith("/"):
            base = home = project
        else:
            base, home = directory_of(folder.names, project, self.surroundings.kind), joined(folder.values, project)
        inner = dict(environment)
        env_files = [joined(folder.values, each) for each in _strings(entry.get("env_file")) if each != "/dev/null"]
        dotenv = joined(home, ".env")
        if not _strings(entry.get("env_file")) and self.surroundings.kind(dotenv) == "file":
            env_files = [dotenv]
        known: dict[str, str] = {}
        for name in env_files:
            known.update(self._env_file(name, inner, known, path))
        inner = {**known, **inner}
        places = self.places
        try:
            loaded = self._files([self._file(name, path) for name in files], inner, Folder(home, base), included)
        finally:
            self.places = {**self.places, **places}
        self.surroundings.give_values(loaded.get("services"), inner)
        sections = ("services", "volumes", "networks", "secrets", "configs", "models")
        return {each: loaded[each] for each in sections if isinstance(loaded.get(each), dict)}

    def _file(self, name: str, path: Path) -> ComposeFile:
        if name not in self.files:
            try:
                text = self.surroundings.read(name)
            except DefinitionError as error:
                raise self._error(path, error.what) from None
            self.files[name] = self.surroundings.compose_file(Text(SourceFile(name, text)))
        return self.files[name]

    def _env_file(
        self, name: str, environment: Mapping[str, str], earlier: Mapping[str, str], path: Path
    ) -> dict[str, str]:
        try:
            return self.surroundings.env_file(name, environment.get, earlier)
        except EnvFileError as error:
            raise self._error(path, f"{name}: {error}") from None
        except DefinitionError as error:
            raise self._error(path, error.what) from None

    # -- extends

    def _extend_all(
        self, model: dict[str, Any], file: str, folder: str, environment: Mapping[str, str], resets: Sequence[Path]
    ) -> None:
        services = model.get("services")
        if isinstance(services, dict):
            for name in list(services):
                services[name] = self._extended(name, services, file, folder, environment, resets, [])

    def _extended(
        self,
        name: str,
        services: dict[str, Any],
        file: str,
        folder: str,
        environment: Mapping[str, str],
        resets: Sequence[Path],
        path: list[str],
    ) -> Any:
        """A service with what it extends. `folder`: from where files are looked for; `resets`: what is forgotten of
        what it extends."""
        service = services[name]
        if service is None:
            return None
        where = ("services", name)
        if not isinstance(service, dict):
            raise self._error(where, "expected a mapping")
        extends = service.get("extends")
        if extends is None:
            service.pop("extends", None)
            return service
        base_name = (
            extends if isinstance(extends, str) else extends.get("service") if isinstance(extends, dict) else None
        )
        if not isinstance(base_name, str):
            raise self._error((*where, "extends"), "expected the name of a service")
        source, base_file, base_resets = services, file, resets
        if isinstance(extends, dict) and extends.get("file") is not None:
            base_file = joined(folder, scalar_text(extends["file"]))
            values = directory_of(folder, scalar_text(extends["file"]), self.surroundings.kind)
            source = self._services_of(base_file, values, environment, (*where, "extends"))
            base_resets = self._file(base_file, where).documents[-1].resets
        elif base_name not in services:
            raise self._error((*where, "extends"), f"there is no service {base_name!r} to extend")
        if base_name not in source:
            raise self._error((*where, "extends"), f"there is no service {base_name!r} in {base_file}")
        step = f"{file}#{name}" if base_file != file else name
        if step in path or len(path) > _NESTING:
            raise self._error((*where, "extends"), f"services extend each other: {' -> '.join([*path, step])}")
        base = self._extended(base_name, source, base_file, folder, environment, base_resets, [*path, step])
        if base is None:
            service.pop("extends")
            return service
        base = deepcopy(base)
        _reset({"services": {name: base}}, resets)
        merged = merge(base, service, where)
        merged.pop("extends", None)
        services[name] = merged
        return merged

    def _services_of(self, name: str, values: str, environment: Mapping[str, str], path: Path) -> dict[str, Any]:
        """The services of a file that one of them is extended from, not yet extended themselves; `values`: from where
        paths in it are meant."""
        model: dict[str, Any] = {}
        for document in self._file(name, path).documents:
            if isinstance(document.value, dict):
                self._check_services(document.value)
                value = self._interpolated(deepcopy(document.value), (), environment)
                model = merge(model, value)
        services = model.get("services")
        if not isinstance(services, dict):
            raise self._error(path, f"there are no services in {name}")
        for each, service in services.items():
            if isinstance(service, dict):
                self.surroundings.check(
                    service,
                    ("services", each),
                    lambda where, what: self._error(path, f"{name}: {dotted(where)}: {what}"),
                )
        self._name_keys(model)
        if values != ".":
            self._move(model, values, whole=False)
        return services


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _reset(model: Any, paths: Sequence[Path], path: Path = ()) -> None:
    """Forgets what stands at these paths."""
    if not paths or not isinstance(model, dict):
        return
    for name in list(model):
        if (*path, name) in paths:
            del model[name]
        else:
            _reset(model[name], paths, (*path, name))


# -- merging

_TO_SEQUENCE: Final = frozenset(
    {
        ("build", "args"),
        ("build", "additional_contexts"),
        ("build", "labels"),
        ("annotations",),
        ("deploy", "labels"),
        ("dns",),
        ("dns_opt",),
        ("dns_search",),
        ("env_file",),
        ("label_file",),
        ("environment",),
        ("labels",),
        ("sysctls",),
        ("tmpfs",),
    }
)
_HOSTS: Final = frozenset({("build", "extra_hosts"), ("extra_hosts",)})
_REPLACED: Final = frozenset({("command",), ("entrypoint",), ("healthcheck", "test")})


def merge(base: Any, over: Any, path: Path = ()) -> Any:
    """`over` over `base`: mappings by key, lists one after another, with the exceptions of the specification."""
    inner = path[2:] if len(path) > 2 and path[0] == "services" else None
    if inner is not None:
        if inner in _REPLACED:
            return over
        if inner in _TO_SEQUENCE:
            return [*_sequence(base), *_sequence(over)]
        if inner in _HOSTS:
            kept = _sequence(base)
            return [*kept, *(each for each in _sequence(over) if each not in kept)]
        if inner == ("build",):
            base, over = _as_build(base), _as_build(over)
        if inner in (("depends_on",), ("networks",), ("models",)):
            alone: dict[str, Any] | None = {} if inner == ("depends_on",) else None
            base, over = _as_mapping(base, alone), _as_mapping(over, alone)
        if inner == ("logging",) and isinstance(base, dict) and isinstance(over, dict):
            drivers = base.get("driver"), over.get("driver")
            if drivers[0] != drivers[1] and None not in drivers:
                return over
    if over is None:
        return base
    if isinstance(base, dict):
        if not isinstance(over, dict):
            raise DefinitionError("a mapping can not be overridden by something else", path=dotted(path))
        merged = dict(base)
        for name, value in over.items():
            merged[name] = merge(merged[name], value, (*path, name)) if name in merged else value
        return merged
    if isinstance(base, list):
        if not isinstance(over, list):
            raise DefinitionError("a list can not be overridden by something else", path=dotted(path))
        return [*base, *over]
    return over


def _as_build(value: Any) -> Any:
    return {"context": value} if isinstance(value, str) else {} if value is None else value


def _as_mapping(value: Any, alone: dict[str, Any] | None) -> Any:
    """`alone`: what is behind a name in a list."""
    return {scalar_text(each): alone for each in value} if isinstance(value, list) else value


def _sequence(value: Any) -> list[Any]:
    """A mapping as `key=value` lines."""
    if isinstance(value, dict):
        found: list[str] = []
        for name, each in value.items():
            if each is None:
                found.append(name)
            elif isinstance(each, list):
                found += [f"{name}={scalar_text(item)}" for item in each]
            else:
                found.append(f"{name}={scalar_text(each)}")
        return sorted(found)
    if isinstance(value, list):
        return list(value)
    return [value] if isinstance(value, str) else []


_UNIQUE: Final = (
    ("build", "args"),
    ("build", "additional_contexts"),
    ("build", "tags"),
    ("build", "labels"),
    ("environment",),
    ("env_file",),
)


def _entry_name(entry: Any) -> str | None:
    name = entry.get("path") if isinstance(entry, dict) else entry
    return name if isinstance(name, str) else None


def _unify(model: dict[str, Any]) -> None:
    """Of entries with one key, the last one's value in the first one's place."""
    services = model.get("services")
    for service in services.values() if isinstance(services, dict) else ():
        for path in _UNIQUE:
            holder = service
            for name in path[:-1]:
                holder = holder.get(name) if isinstance(holder, dict) else None
            items = holder.get(path[-1]) if isinstance(holder, dict) else None
            if not isinstance(items, list):
                continue
            names = [each for each in map(_entry_name, items) if each is not None]
            if len(names) == len(items):
                if path != ("env_file",):
                    names = [each.partition("=")[0] for each in names]
                holder[path[-1]] = list(dict(zip(names, items, strict=True)).values())
