"""From what the files say to what was asked for: names and patterns, inheritance, overrides, linked targets."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bakepy.bakefile.config import Config, GroupDraft, TargetDraft, is_remote, rebase, unique
from bakepy.bakefile.matching import PatternError, is_pattern, match_path
from bakepy.bakefile.overrides import Overrides
from bakepy.bakefile.places import nearest_place
from bakepy.errors import BakeError, DefinitionError, DefinitionErrors, UsageError, nearest
from bakepy.model.target import OutputEntry


class Selection:
    """What a run was asked for: drafts that are complete, and the groups that led to them."""

    __slots__ = ("groups", "linked", "targets")

    def __init__(self) -> None:
        self.targets: dict[str, TargetDraft] = {}
        self.groups: dict[str, GroupDraft] = {}
        self.linked: set[str] = set()


def select(
    config: Config, wanted: Sequence[str], set_texts: Iterable[str], lookup: Callable[[str], str | None]
) -> Selection:
    """Resolves the targets and groups named `wanted`. Raises UsageError or DefinitionError."""
    names: list[str] = []
    for each in wanted:
        names += _matching(config, each.replace(".", "_"))
    asked = unique(names)
    overrides = Overrides.parse(set_texts, config, lookup)
    resolver = _Resolver(config, overrides)
    selection = Selection()
    for name in asked:
        targets, groups = resolver.members(name)
        for target in targets:
            if target not in selection.targets:
                selection.targets[target] = resolver.target(target, name if target != name else "")
        for group in groups:
            found = config.find_group(group)
            if found is not None:
                selection.groups[group] = found
    _default_group(selection, asked)
    for name in list(selection.targets):
        resolver.link(name, selection, [])
    return selection


def _matching(config: Config, pattern: str) -> list[str]:
    if not is_pattern(pattern):
        return [pattern]
    found: list[str] = []
    try:
        found = [each.name for each in config.groups if match_path(pattern, each.name)]
        found += [name for name in config.targets if match_path(pattern, name)]
    except PatternError as error:
        raise UsageError(f"{pattern!r} is no pattern: {error}") from None
    if not found:
        raise UsageError(f"no target matches {pattern!r}", hint=nearest(pattern, config.names()))
    return found


def _default_group(selection: Selection, asked: Sequence[str]) -> None:
    """The group `default` always stands for what was asked for, in the order of the names.

    A target named `default` that comes after others is left out, as buildx does it.
    """
    given = selection.groups.get("default")
    members = list(given.targets) if given is not None else []
    known = given is not None
    for name in asked:
        if name != "default" or not known:
            members.append(name)
            known = True
    selection.groups["default"] = GroupDraft(
        "default",
        tuple(sorted(unique(members))),
        given.description if given else "",
        given.places if given else None,
        unlisted=given is not None and given.unlisted and not members,
    )


class _Resolver:
    def __init__(self, config: Config, overrides: Overrides) -> None:
        self.config = config
        self.overrides = overrides
        self.done: dict[str, TargetDraft] = {}
        self._linked_up: set[str] = set()
        self._looped = False
        self._groups: dict[str, GroupDraft] = {}
        for each in config.groups:
            self._groups.setdefault(each.name, each)

    # -- groups

    def members(self, name: str) -> tuple[Sequence[str], Sequence[str]]:
        """The targets and the groups that a name stands for."""
        targets, groups = self._members(name, {})
        return unique(targets), unique(groups)

    def _members(self, name: str, seen: dict[str, tuple[list[str], list[str]]]) -> tuple[list[str], list[str]]:
        if name in seen:
            return seen[name]
        group = self._groups.get(name)
        if group is None:
            return [name], []
        seen[name] = ([], [])
        targets: list[str] = []
        groups = [name]
        for member in group.targets:
            inner_targets, inner_groups = self._members(member, seen)
            # A group that leads nowhere (it is empty, or being gone through) is looked for as a target.
            targets += inner_targets or [member]
            groups += inner_groups
        seen[name] = (targets, groups)
        return targets, groups

    # -- targets

    def target(self, name: str, by: str = "") -> TargetDraft:
        """A target with all it inherits and all overrides, and the values that none need give."""
        if name not in self.config.targets:
            raise self._missing(name, by)
        draft = self._resolved(name).copy()
        values = draft.values
        values.pop("inherits", None)
        if values.get("context") is None:
            folder = draft.folders.get("", "")
            values["context"] = rebase(folder, ".") if folder else "."
        elif folder := draft.folders.get("context", ""):
            values["context"] = rebase(folder, values["context"])
        if values.get("contexts"):
            values["contexts"] = {
                key: rebase(draft.folders.get(f"contexts.{key}", ""), path) for key, path in values["contexts"].items()
            }
        values["dockerfile"] = values.get("dockerfile") or "Dockerfile"
        return draft

    def _missing(self, name: str, by: str) -> BakeError:
        hint = nearest(name, self.config.names())
        group = self._groups.get(by)
        if group is not None:
            holder = next((each for each in self._reachable(group) if name in each.targets), group)
            path = f"targets[{holder.targets.index(name)}]" if name in holder.targets else "targets"
            place = nearest_place(holder.places, path)
            at = f"group.{holder.name}.{path}"
            if name in self._groups:
                cycle = self._group_cycle(name)
                return DefinitionError(f"the group {name!r} leads to no target: {cycle}", where=place, path=at)
            return DefinitionError(f"there is no target {name!r}", where=place, path=at, hint=hint)
        if name in self._groups:
            place = nearest_place(self._groups[name].places, "targets")
            what = f"the group {name!r} leads to no target: {self._group_cycle(name)}"
            return DefinitionError(what, where=place, path=f"group.{name}.targets")
        known = ", ".join(sorted(each for each in self.config.names() if not each.startswith("_"))[:20])
        if name == "default" and not hint:
            return UsageError(
                "there is no target or group 'default', and none was asked for", hint=f"known: {known}" if known else ""
            )
        return UsageError(f"there is no target {name!r}", hint=hint or (f"known: {known}" if known else ""))

    def _reachable(self, group: GroupDraft) -> list[GroupDraft]:
        """The group and all groups it leads to."""
        found = {group.name: group}
        waiting = [group]
        for each in waiting:
            for member in each.targets:
                inner = self._groups.get(member)
                if inner is not None and member not in found:
                    found[member] = inner
                    waiting.append(inner)
        return waiting

    def _group_cycle(self, name: str) -> str:
        """The way from a group back to itself, or that it is empty."""
        path, current = {name: None}, name
        while True:
            following = next((each for each in self._groups[current].targets if each in self._groups), None)
            if following is None:
                return "it is empty"
            if following in path:
                names = [*path, following]
                return " -> ".join(names[names.index(following) :])
            path[following] = None
            current = following

    def _resolved(self, name: str) -> TargetDraft:
        """The target over what it inherits. Results are kept for other targets, unless a loop had a part in them."""
        visited: dict[str, TargetDraft | None] = {}
        self._looped = False
        draft = self._inherited(name, visited)
        if not self._looped:
            self.done.update({each: found for each, found in visited.items() if found is not None})
        return draft

    def _inherited(self, name: str, visited: dict[str, TargetDraft | None]) -> TargetDraft:
        """With its overrides. A target that is met again on the way to itself gives nothing (None in `visited`)."""
        if name in self.done:
            return self.done[name]
        visited[name] = None
        own = self.config.targets[name]
        base = TargetDraft(name)
        parents: Sequence[str] = own.values.get("inherits") or ()
        for position, parent in enumerate(parents):
            if parent not in self.config.targets:
                known = parent in self._groups
                raise DefinitionError(
                    f"{parent!r} is a group (or a matrix): only targets can be inherited from"
                    if known
                    else f"there is no target {parent!r} to inherit from",
                    where=nearest_place(own.places, f"inherits[{position}]"),
                    path=f"target.{name}.inherits[{position}]",
                    hint="" if known else nearest(parent, self.config.targets),
                )
            inherited = visited[parent] if parent in visited else self._inherited(parent, visited)
            if inherited is None:
                self._looped = True
                self._refuse_loop(own, position, [each for each, draft in visited.items() if draft is None])
            else:
                base.merge(inherited)
        base.folders.pop("", None)
        base.places.pop("inherits", None)  # those of all ancestors would be gathered, again for each of them
        base.merge(own)
        self.overrides.apply(base)
        base.normalize()
        base.values.pop("inherits", None)  # they are in it; else they would double with each child that names one twice
        visited[name] = base
        return base

    @staticmethod
    def _refuse_loop(target: TargetDraft, position: int, path: list[str]) -> None:
        """buildx takes targets that inherit from each other; bake.toml is read strictly."""
        parent = target.values["inherits"][position]
        where = nearest_place(target.places, f"inherits[{position}]")
        if where is not None and where.file.name.endswith(".toml"):
            cycle = " -> ".join([*path[path.index(parent) :], parent])
            raise DefinitionError(
                f"targets inherit from each other: {cycle}",
                where=where,
                path=f"target.{target.name}.inherits[{position}]",
            )

    # -- links

    def link(self, name: str, selection: Selection, path: list[str]) -> None:
        """Adds the targets that `name` takes for contexts; checks that they fit."""
        if name in self._linked_up:
            return
        target = selection.targets[name]
        path = [*path, name]
        for key, value in sorted((target.values.get("contexts") or {}).items()):
            other = value.removeprefix("target:")
            if other == value:
                continue
            place = nearest_place(target.places, f"contexts.{key}")
            at = f"target.{name}.contexts.{key}"
            if other == name:
                raise DefinitionError(f"the target {name!r} uses itself: {name} -> {name}", where=place, path=at)
            if other in path:
                cycle = " -> ".join([*path[path.index(other) :], other])
                raise DefinitionError(f"targets use each other: {cycle}", where=place, path=at)
            if other not in selection.targets:
                if other not in self.config.targets:
                    hint = nearest(other, self.config.targets)
                    raise DefinitionError(f"there is no target {other!r}", where=place, path=at, hint=hint)
                linked = self.target(other)
                linked.values["output"] = (OutputEntry("cacheonly"),)
                selection.targets[other] = linked
                selection.linked.add(other)
            self.link(other, selection, path)
            self._pass_on(target, selection.targets[other], place, at)
        self._linked_up.add(name)

    @staticmethod
    def _pass_on(target: TargetDraft, other: TargetDraft, place: Any, at: str) -> None:
        """Rights of what is used are needed too; platforms must be among those of what is used."""
        rights = target.values.get("entitlements") or ()
        if more := [each for each in other.values.get("entitlements") or () if each not in rights]:
            target.values["entitlements"] = (*rights, *more)
        mine, theirs = target.values.get("platforms") or (), other.values.get("platforms") or ()
        if len(mine) > 1 and len(theirs) > 1 and not set(mine) <= set(theirs):
            lacking = ", ".join(each for each in mine if each not in theirs)
            raise DefinitionError(
                f"the target {other.name!r} is not built for {lacking}, which {target.name!r} needs",
                where=place,
                path=at,
            )


def add_epoch(selection: Selection, environment: Mapping[str, str]) -> None:
    """`SOURCE_DATE_EPOCH` of the environment becomes an argument where there is none."""
    epoch = environment.get("SOURCE_DATE_EPOCH", "")
    if not epoch:
        return
    for target in selection.targets.values():
        arguments = target.values.get("args") or {}
        if "SOURCE_DATE_EPOCH" not in arguments:
            target.values["args"] = {**arguments, "SOURCE_DATE_EPOCH": epoch}


def clean_context(path: str) -> str:
    """The main context as it is printed: cleaned like a path, unless it is a URL."""
    if is_remote(path):
        return path
    path = path.removeprefix("cwd://")
    cleaned = posixpath.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def raise_all(errors: Sequence[BakeError]) -> None:
    """Raises what there is to raise: what is wrong at one place is told once, whichever value led there."""
    told: dict[tuple[object, ...], BakeError] = {}
    for error in errors:
        place = (error.where.label(), error.what) if error.where is not None else (error.path, error.what)
        told.setdefault(place, error)
    errors = list(told.values())
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DefinitionErrors(errors)
