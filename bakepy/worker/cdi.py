"""Devices that other programs have registered for containers: what `RUN --device` gives a step.

Registered is what the Container Device Interface says (CDI specification 0.8 and before): files in /etc/cdi and
/var/run/cdi with changes to a container's configuration, for each device by a name `vendor/class=name`. Which device
a name means, and who has to allow it: BuildKit's `llbsolver/cdidevices` and `llbsolver/vertex.go`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bakepy.errors import BuildError, EngineError
from bakepy.llb.op import CDIDevice
from bakepy.model.value import dataclass

ENTITLEMENT = "device"

_CLASS = "org.mobyproject.buildkit.device.class"
_ALLOWED = "org.mobyproject.buildkit.device.autoallow"
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_NODES = {"b": stat.S_ISBLK, "c": stat.S_ISCHR, "u": stat.S_ISCHR, "p": stat.S_ISFIFO}


@dataclass(frozen=True, slots=True)
class Device:
    """A registered device. `file` says whose `common` edits have to be made once for all of its devices."""

    name: str
    file: Path
    common: Mapping[str, Any]
    edits: Mapping[str, Any]
    annotations: Mapping[str, str]

    @property
    def kind(self) -> str:
        return self.name.partition("=")[0]


def registered(folders: Iterable[Path]) -> dict[str, Device]:
    """All devices by name, sorted; in a later folder they take the place of those in earlier ones.

    A file that can not be read as a specification registers none, nor does a name that two files of one folder have.
    """
    found: dict[str, Device] = {}
    for folder in folders:
        here: dict[str, list[Device]] = {}
        try:
            files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".yaml", ".yml"))
        except OSError:  # the usual case: there is none
            continue
        for path in files:
            for device in _devices(path):
                here.setdefault(device.name, []).append(device)
        for name, several in here.items():
            found.pop(name, None)
            if len(several) == 1:
                found[name] = several[0]
    return dict(sorted(found.items()))


def _devices(path: Path) -> list[Device]:
    try:
        text = path.read_bytes()
        if path.suffix == ".json":
            spec = json.loads(text)
        else:
            import yaml

            spec = yaml.safe_load(text)
        common = spec.get("annotations") or {}
        return [
            Device(
                f"{spec['kind']}={device['name']}",
                path,
                spec.get("containerEdits") or {},
                device.get("containerEdits") or {},
                {**common, **(device.get("annotations") or {})},
            )
            for device in spec["devices"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # as the reference implementation does: files of others, which no step may have asked for
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            return []
        raise


def chosen(wanted: Sequence[CDIDevice], allowed: frozenset[str], devices: Mapping[str, Device]) -> tuple[Device, ...]:
    """The devices that a step gets. `allowed` are entitlements: `device` for all, `device=NAME[,alias=OTHER]`.

    Raises BuildError for a device that is not registered (unless it is optional) or not allowed.
    """
    grants = [text.partition("=")[2].split(",") for text in sorted(allowed) if text.startswith(f"{ENTITLEMENT}=")]
    aliases = {
        field.removeprefix("alias="): grant[0] for grant in grants for field in grant[1:] if field.startswith("alias=")
    }
    granted = {device.name for grant in grants for device in _find(CDIDevice(grant[0], optional=True), devices)}
    found: dict[str, Device] = {}
    refused: dict[str, None] = {}
    for one in wanted:
        for device in _find(CDIDevice(aliases.get(one.name, one.name), optional=one.optional), devices):
            found[device.name] = device
            free = device.annotations.get(_ALLOWED) in _TRUE
            if ENTITLEMENT not in allowed and device.name not in granted and not free:
                refused[device.name] = None
    if refused:
        names = f"devices {', '.join(refused)} are" if len(refused) > 1 else f"device {next(iter(refused))} is"
        raise BuildError(
            f"{names} requested by the build but not allowed",
            hint=" ".join(f"--allow {ENTITLEMENT}={name}" for name in refused),
        )
    return tuple(found.values())


def _find(wanted: CDIDevice, devices: Mapping[str, Device]) -> list[Device]:
    """By name; `KIND` is the first of a kind and `KIND=*` are all of it; else those of a class of that name."""
    kind, _, name = wanted.name.partition("=")
    of_kind = [device for device in devices.values() if device.kind == kind]
    match name:
        case "":
            found = of_kind[:1]
        case "*":
            found = of_kind
        case _:
            found = [device for device in of_kind if device.name == wanted.name]
    if not found:
        found = [device for device in devices.values() if device.annotations.get(_CLASS) == wanted.name]
    if not found and not wanted.optional:
        raise BuildError(
            f'required device "{wanted.name}" is not registered',
            hint=f"registered are {', '.join(devices)}" if devices else "devices are registered in /etc/cdi",
        )
    return found


@dataclass(frozen=True, slots=True)
class Edits:
    """What devices change in the configuration of a container."""

    parts: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, devices: Iterable[Device]) -> Edits:
        parts: list[Mapping[str, Any]] = []
        files: set[Path] = set()
        for device in devices:
            if device.file not in files:
                files.add(device.file)
                parts.append(device.common)
            parts.append(device.edits)
        return cls(tuple(parts))

    @property
    def has_nodes(self) -> bool:
        return any(part.get("deviceNodes") for part in self.parts)

    def apply(self, config: dict[str, Any]) -> None:
        """Changes an OCI runtime configuration. Raises EngineError for a device that this machine does not have, and
        for what makes no sense."""
        for part in self.parts:
            try:
                _apply(config, part)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise EngineError(f"a device is registered in a way that makes no sense: {error!r}") from error


def _apply(config: dict[str, Any], part: Mapping[str, Any]) -> None:
    process, linux = config["process"], config["linux"]
    for entry in part.get("env") or ():
        name = str(entry).partition("=")[0]
        process["env"] = [*(other for other in process["env"] if other.partition("=")[0] != name), str(entry)]
    for written in part.get("deviceNodes") or ():
        node, access = _node(written, process["user"])
        linux["devices"] = [*(one for one in linux.get("devices", ()) if one["path"] != node["path"]), node]
        if node["type"] in ("b", "c"):
            rule = {"allow": True, "type": node["type"], "major": node["major"], "minor": node["minor"]}
            linux.setdefault("resources", {}).setdefault("devices", []).append({**rule, "access": access})
    for written in part.get("mounts") or ():
        mount = {
            "destination": written["containerPath"],
            "type": written.get("type") or "bind",
            "source": written["hostPath"],
            "options": list(written.get("options") or ("rbind",)),
        }
        kept = [one for one in config["mounts"] if one["destination"] != mount["destination"]]
        config["mounts"] = [*kept, mount]
    for written in part.get("hooks") or ():
        hook = {key: written[key] for key in ("path", "args", "env", "timeout") if written.get(key) is not None}
        config.setdefault("hooks", {}).setdefault(written["hookName"], []).append(hook)
    groups = process["user"]["additionalGids"]
    groups += [gid for gid in part.get("additionalGids") or () if gid and gid not in groups]


def _node(written: Mapping[str, Any], user: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """A device node of the runtime configuration, and how the step may access it. What the registration leaves out is
    as the machine has it."""
    path = written["path"]
    node = {"path": path, **{key: written[key] for key in ("type", "major", "minor") if written.get(key)}}
    if "type" not in node or ("major" not in node and node["type"] != "p"):
        place = Path(written.get("hostPath") or path)
        try:
            facts = place.lstat()
        except OSError as error:
            raise EngineError(f"device {place}: {(error.strerror or str(error)).lower()}") from error
        kind = next((kind for kind, matches in _NODES.items() if matches(facts.st_mode)), None)
        if kind is None or node.get("type", kind) != kind:
            raise EngineError(f"device {place}: it is none, or one of another type")
        node |= {"type": kind, "major": os.major(facts.st_rdev), "minor": os.minor(facts.st_rdev)}
        node["fileMode"] = stat.S_IMODE(facts.st_mode)
    if written.get("fileMode"):
        node["fileMode"] = written["fileMode"]
    for key in ("uid", "gid"):
        if written.get(key) is not None or user[key]:
            node[key] = written[key] if written.get(key) is not None else user[key]
    return node, written.get("permissions") or "rwm"
