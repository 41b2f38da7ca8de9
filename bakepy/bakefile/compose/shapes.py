"""What bake does not use of a compose file, and what must yet be in order: short forms and types of scalars.

The compose loader reads all of a service before bake looks at it (compose-go: `transform`, `override/uncity`,
`loader/interpolate`); what it can not read there is an error of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bakepy.bakefile.compose.yaml_reader import Path
from bakepy.errors import DefinitionError

Error = Callable[[Path, str], DefinitionError]

_TEXT_LISTS: Final = (
    ("annotations",), ("cap_add",), ("cap_drop",), ("deploy", "labels"), ("dns",), ("dns_opt",), ("dns_search",),
    ("labels",), ("links",), ("profiles",), ("sysctls",), ("tmpfs",), ("networks",), ("models",),
    ("networks", "*", "aliases"), ("networks", "*", "link_local_ips"),
)  # fmt: skip
"""If they are lists, then of strings."""
_WHOLE: Final = (
    ("cpu_count",), ("cpu_period",), ("cpu_quota",), ("cpu_rt_period",), ("cpu_rt_runtime",), ("cpu_shares",),
    ("deploy", "replicas"), ("deploy", "update_config", "parallelism"), ("deploy", "rollback_config", "parallelism"),
    ("deploy", "restart_policy", "max_attempts"), ("deploy", "placement", "max_replicas_per_node"),
    ("healthcheck", "retries"), ("oom_score_adj",), ("pids_limit",), ("ports", "[]", "target"), ("scale",),
    ("ulimits", "*"), ("ulimits", "*", "hard"), ("ulimits", "*", "soft"),
)  # fmt: skip
_NUMBERS: Final = (
    ("cpu_percent",), ("cpus",), ("deploy", "update_config", "max_failure_ratio"),
    ("deploy", "rollback_config", "max_failure_ratio"),
)  # fmt: skip
_SWITCHES: Final = (
    ("init",), ("depends_on", "*", "required"), ("depends_on", "*", "restart"), ("healthcheck", "disable"),
    ("oom_kill_disable",), ("privileged",), ("build", "privileged"), ("read_only",), ("stdin_open",), ("tty",),
    ("volumes", "[]", "read_only"), ("volumes", "[]", "volume", "nocopy"),
)  # fmt: skip
_TOP_SWITCHES: Final = (
    *((("networks", "*", key)) for key in ("external", "internal", "attachable", "enable_ipv4", "enable_ipv6")),
    ("volumes", "*", "external"), ("secrets", "*", "external"), ("configs", "*", "external"),
)  # fmt: skip
_SWITCH: Final = re.compile(r"true|false|y|yes|on|n|no|off", re.IGNORECASE)
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_FLOAT: Final = re.compile(
    r"[+-]?(?:(?:\d[\d_]*\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity|nan)", re.IGNORECASE | re.ASCII
)


def check_shapes(service: Mapping[str, Any], path: Path, error: Error) -> None:
    """Raises the error of the first part that can not be read."""
    _check_scalars(service, path, error, ((_WHOLE, _INTEGER, "a whole number"), (_NUMBERS, _FLOAT, "a number"),
                                          (_SWITCHES, _SWITCH, "true or false")))  # fmt: skip
    for place in _TEXT_LISTS:
        for where, value in _at(service, place):
            if isinstance(value, list):
                for position, each in enumerate(value):
                    if not isinstance(each, str):
                        raise error((*path, *where, f"[{position}]"), "expected a string")
    _check_ports(service, (*path, "ports"), error)
    _check_depends_on(service, (*path, "depends_on"), error)
    _check_gpus(service, (*path, "gpus"), error)
    _check_items(service, path, error)


def check_finite(value: Any, path: Path, error: Error) -> None:
    """Raises the error of a number that JSON has not: the loader writes as JSON what is checked by its schema."""
    if isinstance(value, float) and not math.isfinite(value):
        raise error(path, "this number can not be used; in quotes it is text")
    if isinstance(value, dict):
        for name, each in value.items():
            check_finite(each, (*path, name), error)
    elif isinstance(value, list):
        for position, each in enumerate(value):
            check_finite(each, (*path, f"[{position}]"), error)


def check_top(model: Mapping[str, Any], error: Error) -> None:
    """Volumes, networks, configs and secrets of the whole project."""
    for section in ("volumes", "networks", "configs", "secrets"):
        for where, each in _at(model, (section, "*")):
            if each is not None and not isinstance(each, dict):
                raise error(where, "expected a mapping")
    _check_scalars(model, (), error, ((_TOP_SWITCHES, _SWITCH, "true or false"),))


def _check_scalars(
    value: Mapping[str, Any],
    path: Path,
    error: Error,
    rules: tuple[tuple[tuple[Path, ...], re.Pattern[str], str], ...],
) -> None:
    """Text in the place of a number or a switch must read as one."""
    for places, form, what in rules:
        for place in places:
            for where, each in _at(value, place):
                if isinstance(each, str) and not form.fullmatch(each):
                    raise error((*path, *where), f"expected {what}, found {each!r}")


def _at(value: Any, place: Path, path: Path = ()) -> list[tuple[Path, Any]]:
    """What is at a place; `*` stands for every key and element, `[]` for every element."""
    if not place:
        return [(path, value)]
    head, *rest = place
    found: list[tuple[Path, Any]] = []
    if isinstance(value, dict):
        names = value if head == "*" else [head] if head in value else []
        for name in names:
            found += _at(value[name], tuple(rest), (*path, name))
    elif isinstance(value, list) and head in ("*", "[]"):
        for position, each in enumerate(value):
            found += _at(each, tuple(rest), (*path, f"[{position}]"))
    return found


def _check_ports(service: Mapping[str, Any], path: Path, error: Error) -> None:
    if "ports" not in service:
        return
    ports = service["ports"]
    if not isinstance(ports, list):
        raise error(path, "expected a list of ports")
    for position, each in enumerate(ports):
        place = (*path, f"[{position}]")
        if isinstance(each, dict):
            if "target" not in each:
                raise error(place, "a port needs a 'target', its number in the container")
        elif isinstance(each, bool) or not isinstance(each, (str, int)) or not _port_fits(str(each)):
            raise error(place, f"{each!r} is no port")


def _check_depends_on(service: Mapping[str, Any], path: Path, error: Error) -> None:
    if "depends_on" not in service:
        return
    value = service["depends_on"]
    if not isinstance(value, (dict, list)):
        raise error(path, "expected a list or a mapping of services")
    for where, each in _at(value, ("*",)):
        if not isinstance(each, dict if isinstance(value, dict) else str):
            raise error((*path, *where), "expected a mapping" if isinstance(value, dict) else "expected a service")


def _check_gpus(service: Mapping[str, Any], path: Path, error: Error) -> None:
    if "gpus" not in service or isinstance(service["gpus"], str):
        return
    if not isinstance(service["gpus"], list):
        raise error(path, "expected 'all' or a list of devices")
    for where, each in _at(service["gpus"], ("[]",)):
        if not isinstance(each, dict):
            raise error((*path, *where), "expected a mapping")


def _check_items(service: Mapping[str, Any], path: Path, error: Error) -> None:
    """Lists, or mappings, of things that have a short form."""
    for key in ("volumes", "devices", "secrets", "configs", "ulimits", "expose"):
        for where, each in _at(service.get(key), ("*",)):
            place = (*path, key, *where)
            number = isinstance(each, int) and not isinstance(each, bool)
            match key:
                case "ulimits":
                    if not isinstance(each, (dict, str)) and not number:
                        raise error(place, "expected a number, or a mapping with 'soft' and 'hard'")
                    continue
                case "expose":
                    if isinstance(service[key], list) and not isinstance(each, str) and not number:
                        raise error(place, "expected a port")
                    continue
            if not isinstance(each, (dict, str)):
                raise error(place, f"expected a mapping or the short form of one of the {key}")
            listed = isinstance(service[key], list)
            if isinstance(each, dict):
                if key in ("volumes", "devices") and listed and not isinstance(each.get("target"), str):
                    raise error(place, f"one of the {key} needs a 'target', the place to mount it at")
                if key in ("secrets", "configs") and listed and not isinstance(each.get("target", ""), str):
                    raise error(place, "the target must be a path")
            elif key == "volumes" and (problem := _volume_problem(each)):
                raise error(place, f"{each!r} is no volume: {problem}")
            elif key == "devices" and each.count(":") > 2:
                raise error(place, f"{each!r} is no device: there are too many colons")


def _volume_problem(text: str) -> str:
    """What is wrong with a short form of a volume: `[SOURCE:]TARGET[:OPTIONS]`. A letter alone before a colon is taken
    for a drive."""
    if not text:
        return "it is empty"
    if len(text) <= 2:
        return ""
    fields, field = 0, ""
    for character in re.sub(r"\$\{[^}]*\}", "x", text) + "\0":
        if (character == ":" and len(field) == 1 and field.isalpha()) or character not in ":\0":
            field += character
        elif not field:
            return "there is nothing between colons"
        else:
            fields += 1
            if fields == 3 and character == ":":
                return "there are too many colons"
            field = ""
    return ""


def _port_fits(text: str) -> bool:
    """Whether a short form of a port can be read: `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, with ranges."""
    numbers = text.partition("/")[0]
    if numbers.startswith("["):
        numbers = numbers.partition("]")[2].removeprefix(":")
    parts = numbers.split(":")
    return all(
        re.fullmatch(r"[0-9]{1,18}(?:-[0-9]{1,18})?", part) is not None
        and all(int(each) <= 65535 for each in part.split("-"))
        for part in parts[-2:]
        if part or part is parts[-1]
    )
