"""The project that compose files are together: read, interpolated, with what they include and extend, merged."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import field
from typing import Any, Final

from bakepy.bakefile.compose.env import EnvFileError, SubstitutionError
from bakepy.bakefile.compose.merge import merge, reset, unify
from bakepy.bakefile.compose.paths import directory_of, joined, move_paths
from bakepy.bakefile.compose.scalars import scalar_text
from bakepy.bakefile.compose.surroundings import Surroundings
from bakepy.bakefile.compose.yaml_reader import VALUE, ComposeFile, Path, dotted
from bakepy.bakefile.source import Span, Text
from bakepy.errors import DefinitionError
from bakepy.model.location import SourceFile
from bakepy.model.value import dataclass

_NESTING: Final = 100


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


@dataclass(frozen=True, slots=True)
class Folder:
    """Where files of a project are. `names`: from where the files that they name are looked for, seen from the folder
    of the command; `values`: from where paths in them are meant, seen from the `values` of the files that include
    them."""

    names: str = ""
    values: str = ""


class ProjectLoader:
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
                reset(model, document.resets)
                self._extend_all(value, file.text.name, folder.names, environment, document.resets)
                model = merge(model, value)
                unify(model)
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
                        reset({section: {name: value}}, resets)
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
        reset({"services": {name: base}}, resets)
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
