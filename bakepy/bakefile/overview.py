"""What is in the bake files, for people: groups and what they hold, targets and what they come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bakepy.bakefile.config import Config, TargetDraft
from bakepy.bakefile.resolve import select
from bakepy.errors import BakeError
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class GroupOverview:
    """A group; `targets` may name groups, too."""

    name: str
    targets: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True, slots=True)
class TargetOverview:
    """A target. `inherits` is as written; `platforms` and `tags` are what it comes to with what it inherits.

    `error`: why it can not be resolved; then they are as written, too.
    """

    name: str
    description: str = ""
    inherits: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    error: BakeError | None = None


def groups_of(config: Config, *, private: bool = False) -> list[GroupOverview]:
    """All groups by name; without `private`, those whose names begin with `_` are left out."""
    found = {
        each.name: GroupOverview(each.name, tuple(each.targets), each.description)
        for each in reversed(config.groups)
        if private or not each.name.startswith("_")
    }
    return [found[name] for name in sorted(found)]


def targets_of(config: Config, *, private: bool = False) -> list[TargetOverview]:
    """All targets by name; without `private`, those whose names begin with `_` are left out."""
    plain = Config()
    plain.targets = config.targets
    names = [name for name in sorted(config.targets) if private or not name.startswith("_")]
    try:
        resolved = _resolved(plain, names)
    except BakeError:
        return [_one(plain, name) for name in names]
    return [_overview(config.targets[name], resolved[name]) for name in names]


def _resolved(config: Config, names: Iterable[str]) -> dict[str, TargetDraft]:
    return select(config, tuple(names), (), lambda name: None).targets


def _one(config: Config, name: str) -> TargetOverview:
    written = config.targets[name]
    try:
        return _overview(written, _resolved(config, [name])[name])
    except BakeError as error:
        return _overview(written, written, error)


def _overview(written: TargetDraft, resolved: TargetDraft, error: BakeError | None = None) -> TargetOverview:
    def texts(values: dict[str, Any], name: str) -> tuple[str, ...]:
        return tuple(values.get(name) or ())

    return TargetOverview(
        written.name,
        str(written.values.get("description") or resolved.values.get("description") or ""),
        texts(written.values, "inherits"),
        texts(resolved.values, "platforms"),
        texts(resolved.values, "tags"),
        error,
    )
