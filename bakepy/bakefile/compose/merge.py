"""Compose files over each other: by the rules of the specification for mappings, lists and what is neither."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bakepy.bakefile.compose.scalars import scalar_text
from bakepy.bakefile.compose.yaml_reader import Path, dotted
from bakepy.errors import DefinitionError

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


def unify(model: dict[str, Any]) -> None:
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


def reset(model: Any, paths: Sequence[Path], path: Path = ()) -> None:
    """Forgets what stands at these paths."""
    if not paths or not isinstance(model, dict):
        return
    for name in list(model):
        if (*path, name) in paths:
            del model[name]
        else:
            reset(model[name], paths, (*path, name))
