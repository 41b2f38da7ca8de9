"""The services and secrets of a compose project, checked: keys, types and what they name, as far as bake reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bakepy.bakefile.compose.project import Project
from bakepy.bakefile.compose.scalars import SCALARS, Moment, scalar_text
from bakepy.bakefile.compose.shapes import Error, check_finite, check_shapes, check_top
from bakepy.bakefile.compose.surroundings import Surroundings
from bakepy.bakefile.compose.yaml_reader import Path
from bakepy.errors import DefinitionError, nearest

_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+\Z")
_BUILD: Final[dict[str, str]] = {
    "context": "string",
    "dockerfile": "string",
    "dockerfile_inline": "string",
    "entitlements": "strings",
    "args": "pairs",
    "ssh": "pairs",
    "labels": "pairs",
    "cache_from": "strings",
    "cache_to": "strings",
    "no_cache": "flag",
    "no_cache_filter": "string or strings",
    "additional_contexts": "pairs",
    "network": "string",
    "provenance": "flag",
    "sbom": "flag",
    "pull": "flag",
    "target": "string",
    "shm_size": "size",
    "extra_hosts": "hosts",
    "isolation": "string",
    "privileged": "flag",
    "secrets": "secrets",
    "tags": "strings",
    "ulimits": "ulimits",
    "platforms": "strings",
}
"""The keys of `build`, and what they take."""
_SECRET: Final = ("name", "environment", "file", "external", "labels", "driver", "driver_opts", "template_driver")


class ServiceChecker:
    """Checks the services and secrets of a project."""

    def __init__(self, project: Project, surroundings: Surroundings) -> None:
        self._project = project
        self._surroundings = surroundings
        self._error = project.error

    def services(self, checked: bool) -> dict[str, dict[str, Any]]:
        """The services, with their values checked. Raises DefinitionError."""
        model = self._project.model
        if "services" not in model and "secrets" not in model:
            somewhere = next(iter(self._project.places.values()), None)
            raise DefinitionError(
                "the compose file has neither services nor secrets",
                where=somewhere.where() if somewhere is not None else None,
            )
        check_top(model, self._error)
        self._secrets(model.get("secrets"))
        services = model.get("services") or {}
        if not isinstance(services, dict):
            raise self._error(("services",), "expected a mapping of services")
        found: dict[str, dict[str, Any]] = {}
        for name, value in services.items():
            path = ("services", name)
            if not _NAME.match(name):
                raise self._error(path, f"{name!r} can not be the name of a service: letters, digits, '.', '_' and '-'")
            if value is not None and not isinstance(value, dict):
                raise self._error(path, "expected a mapping")
            found[name] = self._service(value or {}, path)
        if checked:
            for name, service in found.items():
                self._consistent(name, service, found)
            for name, secret in (model.get("secrets") or {}).items():
                given = secret or {}
                external = self._surroundings.switch(given.get("external")) is True
                if not given.get("file") and not given.get("environment") and not external:
                    raise self._error(("secrets", name), "a secret needs a 'file' or an 'environment'")
        return found

    def _secrets(self, secrets: Any) -> None:
        if secrets is None:
            return
        if not isinstance(secrets, dict):
            raise self._error(("secrets",), "expected a mapping of secrets")
        for name, value in secrets.items():
            path = ("secrets", name)
            if not _NAME.match(name):
                raise self._error(path, f"{name!r} can not be the name of a secret")
            if value is None:
                continue
            if not isinstance(value, dict):
                raise self._error(path, "expected a mapping")
            for key in value:
                if key not in _SECRET and not key.startswith("x-"):
                    raise self._error((*path, key), f"unknown key {key!r}", nearest(key, _SECRET), key=True)
            for key in ("name", "environment", "file"):
                if key in value:
                    self._check_value("string", value[key], (*path, key))

    def _service(self, value: dict[str, Any], path: Path) -> dict[str, Any]:
        check_shapes(value, path, self._error)
        for key in ("image", "environment", "env_file", "build"):
            check_finite(value.get(key), (*path, key), self._error)
        service: dict[str, Any] = {}
        if "image" in value:
            self._check_value("string", value["image"], (*path, "image"))
            service["image"] = value["image"]
        if "environment" in value:
            self._check_value("pairs", value["environment"], (*path, "environment"))
            service["environment"] = value["environment"]
        if "env_file" in value:
            service["env_file"] = self._env_files(value["env_file"], (*path, "env_file"))
        if "build" in value:
            service["build"] = self._build(value["build"], (*path, "build"))
        return service

    def _env_files(self, value: Any, path: Path) -> list[tuple[str, bool, str]]:
        """Path, whether it is required, format."""
        found: list[tuple[str, bool, str]] = []
        for position, each in enumerate(value if isinstance(value, list) else [value]):
            place = (*path, f"[{position}]") if isinstance(value, list) else path
            if isinstance(each, str):
                found.append((self._surroundings.moved_file("", each), True, ""))
            elif isinstance(each, dict) and isinstance(each.get("path"), str):
                optional = self._surroundings.switch(each.get("required", True)) is False
                path_of_file = self._surroundings.moved_file("", each["path"])
                found.append((path_of_file, not optional, scalar_text(each.get("format") or "")))
            else:
                raise self._error(place, "expected a file name, or a mapping with 'path'")
        return found

    def _build(self, value: Any, path: Path) -> dict[str, Any]:
        if isinstance(value, str):
            return {"context": value}
        if not isinstance(value, dict):
            raise self._error(path, f"expected a folder or a mapping, found {kind_of(value)}")
        for key, each in value.items():
            if key.startswith("x-"):
                continue
            if key not in _BUILD:
                hint = nearest(key, _BUILD) or "own keys begin with x-"
                raise self._error((*path, key), f"unknown key {key!r}", hint, key=True)
            self._check_value(_BUILD[key], each, (*path, key))
        return value

    def _check_value(self, want: str, value: Any, path: Path) -> None:
        good = True
        match want:
            case "string":
                good = isinstance(value, str)
            case "strings":
                good = isinstance(value, list)
            case "string or strings":
                good = isinstance(value, (str, list))
            case "flag":
                good = isinstance(value, (bool, str))
            case "size":
                whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
                good = isinstance(value, (str, Moment)) or (whole and not isinstance(value, bool))
            case "pairs" | "hosts":
                good = isinstance(value, (dict, list))
            case "secrets":
                good = isinstance(value, list)
            case "ulimits":
                good = isinstance(value, dict)
        if not good:
            names = {
                "flag": "true or false",
                "size": "a size",
                "pairs": "a mapping or a list",
                "hosts": "a mapping or a list",
            }
            raise self._error(path, f"expected {names.get(want, want)}, found {kind_of(value)}")
        if isinstance(value, list) and want != "secrets":
            for position, each in enumerate(value):
                if not isinstance(each, (str, Moment) if want == "hosts" else str):
                    raise self._error((*path, f"[{position}]"), f"expected a string, found {kind_of(each)}")
        if isinstance(value, dict) and want in ("pairs", "hosts"):
            for name, each in value.items():
                if not name and want == "pairs" and path[-1] != "ssh":
                    raise self._error((*path, name), "a name can not be empty", key=True)
                items = each if want == "hosts" and isinstance(each, list) else [each]
                if not all(isinstance(item, str if want == "hosts" else (*SCALARS, type(None))) for item in items):
                    raise self._error((*path, name), f"expected a string, found {kind_of(each)}")

    def _consistent(self, name: str, service: dict[str, Any], services: Mapping[str, dict[str, Any]]) -> None:
        path = ("services", name)
        build = service.get("build")
        if build is None:
            if not service.get("image"):
                raise self._error(path, f"the service {name!r} has neither an image nor a build")
            return
        if build.get("dockerfile") and build.get("dockerfile_inline"):
            raise self._error((*path, "build"), "there are both dockerfile and dockerfile_inline")
        for key, each in pairs(
            build.get("additional_contexts"), (*path, "build", "additional_contexts"), self._error
        ).items():
            other = (each or "").removeprefix("service:")
            if other == (each or ""):
                continue
            place = (*path, "build", "additional_contexts", key)
            if other not in services:
                raise self._error(place, f"there is no service {other!r}", nearest(other, services))
            if "build" not in services[other]:
                raise self._error(place, f"the service {other!r} has no build")
        for secret in secret_names(build, path, self._error):
            if secret not in (self._project.model.get("secrets") or {}):
                hint = nearest(secret, self._project.model.get("secrets") or {})
                raise self._error((*path, "build", "secrets"), f"there is no secret {secret!r}", hint)


def pairs(value: Any, path: Path, error: Error) -> dict[str, str | None]:
    """A mapping, or `key=value` lines; null for a key alone."""
    if isinstance(value, dict):
        return {key: None if each is None else scalar_text(each) for key, each in value.items()}
    found: dict[str, str | None] = {}
    for each in value or ():
        key, equals, text = each.partition("=")
        if path[-1] == "additional_contexts" and not equals:
            raise error(path, f"expected name=value, found {each!r}")
        if path[-1] == "environment" and key[-1:].isspace():
            raise error(path, f"the name {key!r} ends with a blank")
        found[key] = text if equals else None
    return found


def secret_names(build: dict[str, Any], path: Path, error: Error) -> list[str]:
    """The secrets that a build names; `path` is that of its service."""
    found: list[str] = []
    for position, each in enumerate(build.get("secrets") or ()):
        place = (*path, "build", "secrets", f"[{position}]")
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            for key in each:
                if key not in ("source", "target", "uid", "gid", "mode") and not key.startswith("x-"):
                    raise error(place, f"unknown key {key!r}")
            found.append(scalar_text(each.get("source", "")))
        else:
            raise error(place, f"expected a name or a mapping, found {kind_of(each)}")
    return found


def kind_of(value: Any) -> str:
    """What a value is, for messages."""
    match value:
        case None:
            return "nothing"
        case Moment():
            return "a date (in quotes it is text)"
        case bool():
            return "a bool"
        case int() | float():
            return f"the number {scalar_text(value)}"
        case str():
            return f"the string {value!r}"
        case list():
            return "a list"
    return "a mapping"


def linked(value: str) -> str:
    """A context, which may be another service: the target of that name."""
    if value.startswith(("service:", "target:")):
        return "target:" + value.partition(":")[2].replace(".", "_")
    return value
