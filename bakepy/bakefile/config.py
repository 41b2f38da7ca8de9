"""What the files say together: groups and targets as written, merged over files, not yet inherited or overridden."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Any

from bakepy.bakefile.fields import BY_NAME
from bakepy.bakefile.places import Written


class GroupDraft:
    """A group as written. `unlisted`: nothing lists its targets, not even an empty list."""

    __slots__ = ("description", "name", "places", "targets", "unlisted")

    def __init__(
        self,
        name: str,
        targets: tuple[str, ...],
        description: str = "",
        places: dict[str, Written] | None = None,
        unlisted: bool = False,
    ) -> None:
        self.name = name
        self.targets = targets
        self.description = description
        self.places: dict[str, Written] = places or {}
        self.unlisted = unlisted


class TargetDraft:
    """A target as written, or as merged so far. A field that is absent, or None, is not given.

    `folders`: the folder that a relative path is meant from, by field (`context`), by named context (`contexts.NAME`),
    and for a target without a context (`""`). `places` says where values were written. `built`: values that are built
    with and not printed.
    """

    __slots__ = ("built", "folders", "name", "places", "values")

    def __init__(
        self,
        name: str,
        values: dict[str, Any] | None = None,
        folders: dict[str, str] | None = None,
        places: dict[str, Written] | None = None,
    ) -> None:
        self.name = name
        self.values: dict[str, Any] = values or {}
        self.folders: dict[str, str] = folders or {}
        self.places: dict[str, Written] = places or {}
        self.built: dict[str, Any] = {}

    def merge(self, other: TargetDraft) -> None:
        """What `other` gives, over what is here."""
        mine, theirs = self.values, other.values
        for name, new in theirs.items():
            if new is None:
                continue
            mine[name] = BY_NAME[name].kind.merge(mine.get(name), new)
        if "context" in theirs:
            self.folders.pop("context", None)
        for name in theirs.get("contexts") or ():
            self.folders.pop(f"contexts.{name}", None)
        self.folders.update(other.folders)
        if not self.places:
            self.places.update(other.places)
            return
        for name, written in other.places.items():
            added = name in self.places and name in BY_NAME and BY_NAME[name].kind.adds
            self.places[name] = tuple(dict.fromkeys((*self.places[name], *written))) if added else written

    def copy(self) -> TargetDraft:
        return TargetDraft(self.name, dict(self.values), dict(self.folders), dict(self.places))

    def normalize(self) -> None:
        """Duplicates and empty entries go; the host's network asks for its right."""
        values = self.values
        for name, plain in values.items():
            if plain is not None:
                values[name] = BY_NAME[name].kind.normalize(plain)
        if values.get("network") == "host":
            entitlements = (*(values.get("entitlements") or ()), "network.host")
            values["entitlements"] = BY_NAME["entitlements"].kind.normalize(entitlements)


class Config:
    """Groups in the order of their definition (the first of a name counts), targets by name; places of pools."""

    __slots__ = ("_named", "groups", "pools", "targets")

    def __init__(self) -> None:
        self.groups: list[GroupDraft] = []
        self.targets: dict[str, TargetDraft] = {}
        self.pools: dict[str, int] = {}
        self._named: dict[str, int] = {}

    def find_group(self, name: str) -> GroupDraft | None:
        """The first one of this name."""
        position = self._named.get(name)
        return None if position is None else self.groups[position]

    def add_target(self, draft: TargetDraft) -> None:
        if draft.name in self.targets:
            self.targets[draft.name].merge(draft)
        else:
            self.targets[draft.name] = draft

    def add_group(self, group: GroupDraft) -> None:
        """A group beside those that are there, perhaps of the same name."""
        self._named.setdefault(group.name, len(self.groups))
        self.groups.append(group)

    def set_group(self, group: GroupDraft) -> None:
        """A group that is defined again replaces the former one."""
        if group.name in self._named:
            self.groups[self._named[group.name]] = group
        else:
            self.add_group(group)

    def names(self) -> list[str]:
        return list(dict.fromkeys([*(each.name for each in self.groups), *self.targets]))


def unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


# -- paths

_SPECIAL = ("cwd://", "target:", "docker-image:", "oci-layout://")


def is_remote(path: str) -> bool:
    """Whether a context is a URL or a remote repository, rather than a folder."""
    if path.startswith(("http://", "https://", "git://", "ssh://", "git@", "github.com/")):
        return True
    name, at, _ = path.partition("@")
    return bool(at) and "/" not in name and ":" in path and not path.startswith((".", "/"))


def rebase(folder: str, path: str) -> str:
    """`path`, which is meant from `folder`, from the folder of the command."""
    if not folder or not path or path.startswith(("/", *_SPECIAL)) or is_remote(path):
        return path
    return posixpath.normpath(posixpath.join(folder, path))


def rebase_layout(folder: str, context: str) -> str:
    """The same for the folder of an OCI layout, which only bake.toml means from its own place."""
    path = context.removeprefix("oci-layout://")
    if path == context or not path or path.startswith("/"):
        return context
    return f"oci-layout://{posixpath.normpath(posixpath.join(folder, path))}"
