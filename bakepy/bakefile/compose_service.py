"""Services of a compose project as targets: the part of the specification that bake reads, and what it means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bakepy.bakefile import entries as e
from bakepy.bakefile.compose import Project, Surroundings
from bakepy.bakefile.compose_env import EnvFileError
from bakepy.bakefile.compose_scalars import Moment, scalar_text
from bakepy.bakefile.compose_shapes import check_finite, check_shapes, check_top
from bakepy.bakefile.compose_yaml import Path
from bakepy.bakefile.config import TargetDraft, unique
from bakepy.bakefile.entries import EntryError
from bakepy.bakefile.fields import BY_NAME
from bakepy.errors import DefinitionError, nearest
from bakepy.model.target import SecretEntry, SSHEntry

_NAME: Final = re.compile(r"[a-zA-Z0-9._-]+\Z")
_TARGET: Final = re.compile(r"[a-zA-Z0-9_-]+\Z")
_SIZE: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?([kmgtp]?)(i?b)?\Z", re.IGNORECASE)
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
_SCALARS: Final = (str, int, float, bool, Moment)


class ServiceReader:
    """Checks the project's services and secrets and turns services into targets."""

    def __init__(self, project: Project, surroundings: Surroundings) -> None:
        self.project = project
        self.surroundings = surroundings

    def error(self, path: Path, what: str, hint: str = "", *, key: bool = False) -> DefinitionError:
        return self.project.error(path, what, hint, key=key)

    # -- the shape

    def services(self, checked: bool) -> dict[str, dict[str, Any]]:
        """The services, with their values checked. Raises DefinitionError."""
        model = self.project.model
        if "services" not in model and "secrets" not in model:
            somewhere = next(iter(self.project.places.values()), None)
            raise DefinitionError(
                "the compose file has neither services nor secrets",
                where=somewhere.where() if somewhere is not None else None,
            )
        check_top(model, self.error)
        self._secrets(model.get("secrets"))
        services = model.get("services") or {}
        if not isinstance(services, dict):
            raise self.error(("services",), "expected a mapping of services")
        found: dict[str, dict[str, Any]] = {}
        for name, value in services.items():
            path = ("services", name)
            if not _NAME.match(name):
                raise self.error(path, f"{name!r} can not be the name of a service: letters, digits, '.', '_' and '-'")
            if value is not None and not isinstance(value, dict):
                raise self.error(path, "expected a mapping")
            found[name] = self._service(value or {}, path)
        if checked:
            for name, service in found.items():
                self._consistent(name, service, found)
            for name, secret in (model.get("secrets") or {}).items():
                given = secret or {}
                external = self.surroundings.switch(given.get("external")) is True
                if not given.get("file") and not given.get("environment") and not external:
                    raise self.error(("secrets", name), "a secret needs a 'file' or an 'environment'")
        return found

    def _secrets(self, secrets: Any) -> None:
        if secrets is None:
            return
        if not isinstance(secrets, dict):
            raise self.error(("secrets",), "expected a mapping of secrets")
        for name, value in secrets.items():
            path = ("secrets", name)
            if not _NAME.match(name):
                raise self.error(path, f"{name!r} can not be the name of a secret")
            if value is None:
                continue
            if not isinstance(value, dict):
                raise self.error(path, "expected a mapping")
            for key in value:
                if key not in _SECRET and not key.startswith("x-"):
                    raise self.error((*path, key), f"unknown key {key!r}", nearest(key, _SECRET), key=True)
            for key in ("name", "environment", "file"):
                if key in value:
                    self._check_value("string", value[key], (*path, key))

    def _service(self, value: dict[str, Any], path: Path) -> dict[str, Any]:
        check_shapes(value, path, self.error)
        for key in ("image", "environment", "env_file", "build"):
            check_finite(value.get(key), (*path, key), self.error)
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
                found.append((self.surroundings.moved_file("", each), True, ""))
            elif isinstance(each, dict) and isinstance(each.get("path"), str):
                optional = self.surroundings.switch(each.get("required", True)) is False
                path_of_file = self.surroundings.moved_file("", each["path"])
                found.append((path_of_file, not optional, scalar_text(each.get("format") or "")))
            else:
                raise self.error(place, "expected a file name, or a mapping with 'path'")
        return found

    def _build(self, value: Any, path: Path) -> dict[str, Any]:
        if isinstance(value, str):
            return {"context": value}
        if not isinstance(value, dict):
            raise self.error(path, f"expected a folder or a mapping, found {_kind(value)}")
        for key, each in value.items():
            if key.startswith("x-"):
                continue
            if key not in _BUILD:
                hint = nearest(key, _BUILD) or "own keys begin with x-"
                raise self.error((*path, key), f"unknown key {key!r}", hint, key=True)
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
            raise self.error(path, f"expected {names.get(want, want)}, found {_kind(value)}")
        if isinstance(value, list) and want != "secrets":
            for position, each in enumerate(value):
                if not isinstance(each, (str, Moment) if want == "hosts" else str):
                    raise self.error((*path, f"[{position}]"), f"expected a string, found {_kind(each)}")
        if isinstance(value, dict) and want in ("pairs", "hosts"):
            for name, each in value.items():
                if not name and want == "pairs" and path[-1] != "ssh":
                    raise self.error((*path, name), "a name can not be empty", key=True)
                items = each if want == "hosts" and isinstance(each, list) else [each]
                if not all(isinstance(item, str if want == "hosts" else (*_SCALARS, type(None))) for item in items):
                    raise self.error((*path, name), f"expected a string, found {_kind(each)}")

    def _consistent(self, name: str, service: dict[str, Any], services: Mapping[str, dict[str, Any]]) -> None:
        path = ("services", name)
        build = service.get("build")
        if build is None:
            if not service.get("image"):
                raise self.error(path, f"the service {name!r} has neither an image nor a build")
            return
        if build.get("dockerfile") and build.get("dockerfile_inline"):
            raise self.error((*path, "build"), "there are both dockerfile and dockerfile_inline")
        for key, each in self._pairs(build.get("additional_contexts"), (*path, "build", "additional_contexts")).items():
            other = (each or "").removeprefix("service:")
            if other == (each or ""):
                continue
            place = (*path, "build", "additional_contexts", key)
            if other not in services:
                raise self.error(place, f"there is no service {other!r}", nearest(other, services))
            if "build" not in services[other]:
                raise self.error(place, f"the service {other!r} has no build")
        for secret in self._build_secrets(build, path):
            if secret not in (self.project.model.get("secrets") or {}):
                hint = nearest(secret, self.project.model.get("secrets") or {})
                raise self.error((*path, "build", "secrets"), f"there is no secret {secret!r}", hint)

    # -- a target

    def target(self, name: str, service: dict[str, Any]) -> TargetDraft | None:
        """The target of a service; None if it has no build. Raises DefinitionError."""
        environment = self._environment(name, service)
        build = service.get("build")
        if build is None:
            return None
        path = ("services", name, "build")
        target = name.replace(".", "_")
        if not _TARGET.match(target):
            raise self.error(path[:2], f"{target!r} can not be a name: only letters, digits, '_' and '-' are allowed")
        draft = TargetDraft(target)
        for field, value in self._values(name, service, build, path, environment).items():
            if value:
                draft.values[field] = value
        self._extension(draft, build.get("x-bake"), (*path, "x-bake"))
        if not draft.values.get("tags") and service.get("image"):
            draft.values["tags"] = (service["image"],)
        place = self.project.where(path)
        if place is not None:
            draft.places = dict.fromkeys((*draft.values, ""), (place,))
        return draft

    def _values(
        self, name: str, service: dict[str, Any], build: dict[str, Any], path: Path, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        outside = self.project.environment
        args = {
            key: self.surroundings.argument(key, environment, outside) if each is None else each
            for key, each in self._pairs(build.get("args"), (*path, "args")).items()
        }
        labels = {key: each or "" for key, each in self._pairs(build.get("labels"), (*path, "labels")).items()}
        contexts = self._pairs(build.get("additional_contexts"), (*path, "additional_contexts"))
        return {
            "context": self.surroundings.moved("", build.get("context") or "."),
            "contexts": {key: _linked(self.surroundings.moved("", each or "")) for key, each in contexts.items()},
            "dockerfile": build.get("dockerfile"),
            "dockerfile-inline": build.get("dockerfile_inline"),
            "args": {key: each for key, each in args.items() if each is not None},
            "labels": labels,
            "tags": tuple(build.get("tags") or ()),
            "cache-from": self._caches(build, "cache_from", path),
            "cache-to": self._caches(build, "cache_to", path),
            "target": build.get("target"),
            "secret": tuple(self._secret(each, path) for each in self._build_secrets(build, path[:2])),
            "ssh": self._ssh(build.get("ssh")),
            "platforms": tuple(build.get("platforms") or ()),
            "network": build.get("network"),
            "shm-size": self._shm_size(build.get("shm_size"), (*path, "shm_size")),
            "ulimits": self._ulimits(build.get("ulimits"), (*path, "ulimits")),
            "extra-hosts": self._hosts(build.get("extra_hosts"), (*path, "extra_hosts")),
            "attest": self._attests(build, path),
            "no-cache": self._switch(build, "no_cache", path),
            "pull": self._switch(build, "pull", path),
        }

    def _environment(self, name: str, service: dict[str, Any]) -> dict[str, str]:
        """The variables of a service: its own, then those of its files."""
        path = ("services", name)
        own = self._pairs(service.get("environment"), (*path, "environment"))
        outside = self.project.environment
        known = {key: outside.get(key) if each is None else each for key, each in own.items()}
        found: dict[str, str] = {}
        for file, required, form in service.get("env_file") or ():
            try:
                found.update(self.surroundings.env_file(file, lambda key: outside.get(key, known.get(key)), found))
            except EnvFileError as error:
                raise self.error((*path, "env_file"), f"{file}: {error}") from None
            except DefinitionError as error:
                if required:
                    raise self.error((*path, "env_file"), error.what) from None
                continue
            if form not in ("", ".env"):
                raise self.error((*path, "env_file"), f"there is no format {form!r} of environment files")
        for key, each in own.items():
            value = self.surroundings.variable(key, outside) if each is None else each
            if value is not None:
                found[key] = value
            else:
                found.pop(key, None)  # a name alone takes away what files say
        return found

    def _pairs(self, value: Any, path: Path) -> dict[str, str | None]:
        """A mapping, or `key=value` lines; null for a key alone."""
        if isinstance(value, dict):
            return {key: None if each is None else scalar_text(each) for key, each in value.items()}
        found: dict[str, str | None] = {}
        for each in value or ():
            key, equals, text = each.partition("=")
            if path[-1] == "additional_contexts" and not equals:
                raise self.error(path, f"expected name=value, found {each!r}")
            if path[-1] == "environment" and key[-1:].isspace():
                raise self.error(path, f"the name {key!r} ends with a blank")
            found[key] = text if equals else None
        return found

    def _caches(self, build: dict[str, Any], key: str, path: Path) -> tuple[Any, ...]:
        try:
            return tuple(
                entry for each in build.get(key) or () for entry in self.surroundings.entries(each, e.parse_caches)
            )
        except EntryError as error:
            raise self.error((*path, key), str(error)) from None

    def _build_secrets(self, build: dict[str, Any], path: Path) -> list[str]:
        found: list[str] = []
        for position, each in enumerate(build.get("secrets") or ()):
            place = (*path, "build", "secrets", f"[{position}]")
            if isinstance(each, str):
                found.append(each)
            elif isinstance(each, dict):
                for key in each:
                    if key not in ("source", "target", "uid", "gid", "mode") and not key.startswith("x-"):
                        raise self.error(place, f"unknown key {key!r}")
                found.append(scalar_text(each.get("source", "")))
            else:
                raise self.error(place, f"expected a name or a mapping, found {_kind(each)}")
        return found

    def _secret(self, name: str, path: Path) -> SecretEntry:
        secret = (self.project.model.get("secrets") or {}).get(name) or {}
        external = secret.get("external")
        if isinstance(external, dict) or self.surroundings.switch(external):
            raise self.error((*path, "secrets"), f"the external secret {name!r} can not be used")
        file = self.surroundings.moved_file("", secret.get("file") or "")
        return SecretEntry(name, file, secret.get("environment") or "")

    def _ssh(self, value: Any) -> tuple[SSHEntry, ...]:
        """Keys by id; lists have become mappings when the files were merged."""
        paths = {key: self.surroundings.moved_file("", each) for key, each in (value or {}).items()}
        found = [SSHEntry(key, (scalar_text(each),) if each else ()) for key, each in paths.items()]
        return tuple(sorted(found, key=lambda each: (each.id, each.paths)))

    def _shm_size(self, value: Any, path: Path) -> str | None:
        if value is None:
            return None
        if isinstance(value, (float, Moment)):
            return None  # buildx takes it for none
        size = value if isinstance(value, int) else _bytes(value)
        if size is None:
            raise self.error(path, f"{value!r} is no size", "such as 64m or 1g")
        return human_size(size) if size > 0 else None

    def _ulimits(self, value: Any, path: Path) -> tuple[str, ...]:
        from bakepy.bakefile.finish import ULIMITS

        found: list[str] = []
        for name in sorted(value or {}):
            limit = value[name]
            soft = hard = 0
            if isinstance(limit, dict):
                try:
                    soft, hard = _whole(limit["soft"]), _whole(limit["hard"])
                except (KeyError, ValueError):
                    found_ones = " and ".join(repr(limit.get(each)) for each in ("soft", "hard"))
                    what = f"expected soft and hard, both whole numbers, found {found_ones}"
                    raise self.error((*path, name), what) from None
            elif not isinstance(limit, int) or isinstance(limit, bool):
                raise self.error((*path, name), f"expected a whole number, or soft and hard, found {_kind(limit)}")
            if name not in ULIMITS:
                raise self.error((*path, name), f"there is no limit {name!r}", nearest(name, ULIMITS), key=True)
            if hard != -1 and (soft > hard or soft == -1):
                raise self.error((*path, name), "the soft limit is above the hard one")
            found.append(f"{name}={soft}:{hard}")
        return tuple(found)

    def _hosts(self, value: Any, path: Path) -> dict[str, str]:
        hosts: dict[str, list[str]] = {}
        if isinstance(value, dict):
            for name, each in value.items():
                hosts[name] = each if isinstance(each, list) else [each]
        for each in map(scalar_text, value) if isinstance(value, list) else ():
            separator = "=" if "=" in each else ":"
            name, found, addresses = each.partition(separator)
            if not found:
                raise self.error(path, f"{each!r} has no address")
            hosts.setdefault(name, []).extend(addresses.split(","))
        for name in hosts:
            if not name or ":" in name or "=" in name:
                raise self.error(path, f"{name!r} is no name of a host")
        return {name: ",".join(_unbracketed(each) for each in found) for name, found in hosts.items()}

    def _attests(self, build: dict[str, Any], path: Path) -> tuple[Any, ...]:
        found = []
        for kind in ("sbom", "provenance"):
            text = scalar_text(build[kind]) if build.get(kind) is not None else ""
            if not text:
                continue
            try:
                found.append(self.surroundings.attest(kind, text))
            except EntryError as error:
                raise self.error((*path, kind), str(error)) from None
        return tuple(found)

    def _switch(self, build: dict[str, Any], key: str, path: Path) -> bool | None:
        if key not in build:
            return None
        flag = self.surroundings.switch(build[key])
        if flag is None:
            raise self.error((*path, key), f"expected true or false, found {build[key]!r}")
        return flag or None

    # -- x-bake

    def _extension(self, draft: TargetDraft, value: Any, path: Path) -> None:
        """Keys of bake that compose has not."""
        if value is None:
            return
        if not isinstance(value, dict):
            raise self.error(path, f"expected a mapping, found {_kind(value)}")
        values = draft.values
        for name in ("tags", "platforms", "no-cache-filter"):
            if items := self._words(value.get(name), (*path, name)):
                values[name] = unique([*(values.get(name) or ()), *items])
        for name, parse in (
            ("cache-from", e.parse_caches),
            ("cache-to", e.parse_caches),
            ("secret", lambda text: [e.parse_secret(text)]),
            ("ssh", lambda text: [e.parse_ssh(text)]),
            ("output", lambda text: [e.parse_output(text)]),
        ):
            items = self._words(value.get(name), (*path, name))
            if not any(items):
                continue
            try:
                new = tuple(entry for text in items if text for entry in self.surroundings.entries(text, parse))
            except EntryError as error:
                raise self.error((*path, name), str(error)) from None
            merged = BY_NAME[name].kind.normalize((*(values.get(name) or ()), *new))
            values[name] = tuple(sorted(merged, key=lambda each: (each.id, each.paths))) if name == "ssh" else merged
        for name in ("pull", "no-cache"):
            if value.get(name) is not None:
                values[name] = self._yaml_bool(value[name], (*path, name))
        contexts = value.get("contexts")
        if contexts is not None:
            if not isinstance(contexts, dict) or not all(
                isinstance(each, (*_SCALARS, type(None))) for each in contexts.values()
            ):
                raise self.error((*path, "contexts"), "expected a mapping of strings")
            added = {key: _linked("" if each is None else _rewritten(each)) for key, each in contexts.items()}
            values["contexts"] = {**added, **(values.get("contexts") or {})}

    def _words(self, value: Any, path: Path) -> list[str]:
        """A list of strings, or one string whose words are the list."""
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(each, (*_SCALARS, type(None))) for each in value):
            return ["" if each is None else _rewritten(each) for each in value]
        if isinstance(value, _SCALARS):
            return self.surroundings.words(_rewritten(value))
        raise self.error(path, f"expected a list of strings, found {_kind(value)}")

    def _yaml_bool(self, value: Any, path: Path) -> bool:
        if isinstance(value, bool):
            return value
        if value in ("y", "Y", "yes", "on"):
            return True
        if value in ("n", "N", "no", "off"):
            return False
        raise self.error(path, f"expected true or false, found {value!r}")


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError
    return int(value)


def _rewritten(value: Any) -> str:
    """A scalar of x-bake, which is written as YAML again before it is read."""
    return value.standard if isinstance(value, Moment) else scalar_text(value)


def _kind(value: Any) -> str:
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


def _linked(value: str) -> str:
    if value.startswith(("service:", "target:")):
        return "target:" + value.partition(":")[2].replace(".", "_")
    return value


def _unbracketed(address: str) -> str:
    return address[1:-1] if len(address) > 2 and address[0] == "[" and address[-1] == "]" else address


def _bytes(text: str) -> int | None:
    """A size such as `64m`."""
    if re.fullmatch(r"-?[0-9]{1,4000}", text):
        return int(text)
    found = _SIZE.match(text)
    if not found or (found[3] and found[3].lower() == "ib" and not found[2]):
        return None
    if len(found[1]) > 300:
        return None
    return int(float(found[1]) * 1024 ** ("kmgtp".index(found[2].lower()) + 1 if found[2] else 0))


def human_size(size: int) -> str:
    """Four digits and a unit of 1024s, as Docker writes sizes."""
    value, unit = float(size), 0
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
    while value >= 1024 and unit < len(units) - 1:
        value /= 1024
        unit += 1
    text = f"{value:.4g}"
    if "e" in text:
        mantissa, _, power = text.partition("e")
        text = f"{mantissa}e{power[0]}{power[1:].lstrip('0').rjust(2, '0')}"
    return f"{text}{units[unit]}"
