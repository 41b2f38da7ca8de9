"""Services of a compose project as targets: what the part of the specification that bake reads means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bakepy.bakefile import entries as e
from bakepy.bakefile.compose.env import EnvFileError
from bakepy.bakefile.compose.project import Project
from bakepy.bakefile.compose.scalars import Moment, scalar_text
from bakepy.bakefile.compose.service import kind_of, linked, pairs, secret_names
from bakepy.bakefile.compose.surroundings import Surroundings
from bakepy.bakefile.compose.yaml_reader import Path
from bakepy.bakefile.config import TargetDraft
from bakepy.bakefile.entries import EntryError
from bakepy.errors import DefinitionError, nearest
from bakepy.model.target import SecretEntry, SSHEntry

_TARGET: Final = re.compile(r"[a-zA-Z0-9_-]+\Z")
_SIZE: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?([kmgtp]?)(i?b)?\Z", re.IGNORECASE)


class TargetMaker:
    """Turns checked services (`ServiceChecker`) into targets."""

    def __init__(self, project: Project, surroundings: Surroundings) -> None:
        self._project = project
        self._surroundings = surroundings
        self._error = project.error

    def target(self, name: str, service: dict[str, Any]) -> TargetDraft | None:
        """The target of a service; None if it has no build. Raises DefinitionError."""
        environment = self._environment(name, service)
        build = service.get("build")
        if build is None:
            return None
        path = ("services", name, "build")
        target = name.replace(".", "_")
        if not _TARGET.match(target):
            raise self._error(path[:2], f"{target!r} can not be a name: only letters, digits, '_' and '-' are allowed")
        draft = TargetDraft(target)
        for field, value in self._values(name, service, build, path, environment).items():
            if value:
                draft.values[field] = value
        if build.get("x-bake") is not None:
            from bakepy.bakefile.compose.extension import extend

            extend(draft, build["x-bake"], (*path, "x-bake"), self._surroundings, self._error)
        if not draft.values.get("tags") and service.get("image"):
            draft.values["tags"] = (service["image"],)
        place = self._project.where(path)
        if place is not None:
            draft.places = dict.fromkeys((*draft.values, ""), (place,))
        return draft

    def _values(
        self, name: str, service: dict[str, Any], build: dict[str, Any], path: Path, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        outside = self._project.environment
        args = {
            key: self._surroundings.argument(key, environment, outside) if each is None else each
            for key, each in pairs(build.get("args"), (*path, "args"), self._error).items()
        }
        labels = {key: each or "" for key, each in pairs(build.get("labels"), (*path, "labels"), self._error).items()}
        contexts = pairs(build.get("additional_contexts"), (*path, "additional_contexts"), self._error)
        return {
            "context": self._surroundings.moved("", build.get("context") or "."),
            "contexts": {key: linked(self._surroundings.moved("", each or "")) for key, each in contexts.items()},
            "dockerfile": build.get("dockerfile"),
            "dockerfile-inline": build.get("dockerfile_inline"),
            "args": {key: each for key, each in args.items() if each is not None},
            "labels": labels,
            "tags": tuple(build.get("tags") or ()),
            "cache-from": self._caches(build, "cache_from", path),
            "cache-to": self._caches(build, "cache_to", path),
            "target": build.get("target"),
            "secret": tuple(self._secret(each, path) for each in secret_names(build, path[:2], self._error)),
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
        own = pairs(service.get("environment"), (*path, "environment"), self._error)
        outside = self._project.environment
        known = {key: outside.get(key) if each is None else each for key, each in own.items()}
        found: dict[str, str] = {}
        for file, required, form in service.get("env_file") or ():
            try:
                found.update(self._surroundings.env_file(file, lambda key: outside.get(key, known.get(key)), found))
            except EnvFileError as error:
                raise self._error((*path, "env_file"), f"{file}: {error}") from None
            except DefinitionError as error:
                if required:
                    raise self._error((*path, "env_file"), error.what) from None
                continue
            if form not in ("", ".env"):
                raise self._error((*path, "env_file"), f"there is no format {form!r} of environment files")
        for key, each in own.items():
            value = self._surroundings.variable(key, outside) if each is None else each
            if value is not None:
                found[key] = value
            else:
                found.pop(key, None)  # a name alone takes away what files say
        return found

    def _caches(self, build: dict[str, Any], key: str, path: Path) -> tuple[Any, ...]:
        try:
            return tuple(
                entry for each in build.get(key) or () for entry in self._surroundings.entries(each, e.parse_caches)
            )
        except EntryError as error:
            raise self._error((*path, key), str(error)) from None

    def _secret(self, name: str, path: Path) -> SecretEntry:
        secret = (self._project.model.get("secrets") or {}).get(name) or {}
        external = secret.get("external")
        if isinstance(external, dict) or self._surroundings.switch(external):
            raise self._error((*path, "secrets"), f"the external secret {name!r} can not be used")
        file = self._surroundings.moved_file("", secret.get("file") or "")
        return SecretEntry(name, file, secret.get("environment") or "")

    def _ssh(self, value: Any) -> tuple[SSHEntry, ...]:
        """Keys by id; lists have become mappings when the files were merged."""
        paths = {key: self._surroundings.moved_file("", each) for key, each in (value or {}).items()}
        found = [SSHEntry(key, (scalar_text(each),) if each else ()) for key, each in paths.items()]
        return tuple(sorted(found, key=lambda each: (each.id, each.paths)))

    def _shm_size(self, value: Any, path: Path) -> str | None:
        if value is None:
            return None
        if isinstance(value, (float, Moment)):
            return None  # buildx takes it for none
        size = value if isinstance(value, int) else _bytes(value)
        if size is None:
            raise self._error(path, f"{value!r} is no size", "such as 64m or 1g")
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
                    raise self._error((*path, name), what) from None
            elif not isinstance(limit, int) or isinstance(limit, bool):
                raise self._error((*path, name), f"expected a whole number, or soft and hard, found {kind_of(limit)}")
            if name not in ULIMITS:
                raise self._error((*path, name), f"there is no limit {name!r}", nearest(name, ULIMITS), key=True)
            if hard != -1 and (soft > hard or soft == -1):
                raise self._error((*path, name), "the soft limit is above the hard one")
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
                raise self._error(path, f"{each!r} has no address")
            hosts.setdefault(name, []).extend(addresses.split(","))
        for name in hosts:
            if not name or ":" in name or "=" in name:
                raise self._error(path, f"{name!r} is no name of a host")
        return {name: ",".join(_unbracketed(each) for each in found) for name, found in hosts.items()}

    def _attests(self, build: dict[str, Any], path: Path) -> tuple[Any, ...]:
        found = []
        for kind in ("sbom", "provenance"):
            text = scalar_text(build[kind]) if build.get(kind) is not None else ""
            if not text:
                continue
            try:
                found.append(self._surroundings.attest(kind, text))
            except EntryError as error:
                raise self._error((*path, kind), str(error)) from None
        return tuple(found)

    def _switch(self, build: dict[str, Any], key: str, path: Path) -> bool | None:
        if key not in build:
            return None
        flag = self._surroundings.switch(build[key])
        if flag is None:
            raise self._error((*path, key), f"expected true or false, found {build[key]!r}")
        return flag or None


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError
    return int(value)


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
