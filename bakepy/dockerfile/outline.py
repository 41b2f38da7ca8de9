"""What a build can be told (`--call outline`) and which targets it has (`--call targets`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from bakepy.dockerfile.errors import Location
from bakepy.dockerfile.instructions import ArgItem, Dockerfile
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class ArgNote:
    """An argument that a stage knows: its value, and the arguments in its default."""

    item: ArgItem
    value: str
    location: Location
    deps: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NeedNote:
    """A secret or an SSH agent that a stage wants."""

    required: bool
    location: Location


@dataclass(slots=True)
class OutlineNotes:
    """What one stage adds to the outline."""

    args: dict[str, ArgNote] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    secrets: dict[str, NeedNote] = field(default_factory=dict)
    ssh: dict[str, NeedNote] = field(default_factory=dict)

    def copy(self) -> OutlineNotes:
        return OutlineNotes(dict(self.args), dict(self.used), dict(self.secrets), dict(self.ssh))

    def mark_used(self) -> None:
        """Arguments in the default of a used one are used as well."""
        queue = list(self.used)
        seen = set(queue)
        while queue:
            note = self.args.get(queue.pop())
            for name in note.deps if note else ():
                self.used[name] = None
                if name not in seen:
                    seen.add(name)
                    queue.append(name)


@dataclass(frozen=True, slots=True)
class OutlineArg:
    name: str
    value: str
    description: str
    location: Location


@dataclass(frozen=True, slots=True)
class OutlineNeed:
    name: str
    required: bool
    location: Location


@dataclass(frozen=True, slots=True)
class Outline:
    """Everything that influences one target, in the order of the file."""

    name: str
    description: str
    args: tuple[OutlineArg, ...]
    secrets: tuple[OutlineNeed, ...]
    ssh: tuple[OutlineNeed, ...]


def make_outline(name: str, description: str, notes: Iterable[OutlineNotes]) -> Outline:
    """`notes` of the target first, then of the stages it needs; the first mention of a name counts."""
    args: dict[str, OutlineArg] = {}
    secrets: dict[str, OutlineNeed] = {}
    ssh: dict[str, OutlineNeed] = {}
    for note in notes:
        note.mark_used()
        for key in note.used:
            if key in note.args and key not in args:
                arg = note.args[key]
                args[key] = OutlineArg(arg.item.name, arg.value, arg.item.description, arg.location)
        for found, needs in ((secrets, note.secrets), (ssh, note.ssh)):
            for key, need in needs.items():
                found.setdefault(key, OutlineNeed(key, need.required, need.location))
    return Outline(
        name,
        description,
        tuple(sorted(args.values(), key=_line)),
        tuple(sorted(secrets.values(), key=_line)),
        tuple(sorted(ssh.values(), key=_line)),
    )


def _line(entry: OutlineArg | OutlineNeed) -> tuple[int, str]:
    return entry.location[0].start.line if entry.location else 0, entry.name


@dataclass(frozen=True, slots=True)
class TargetInfo:
    """One stage that can be built; `default` is the last."""

    name: str
    description: str
    default: bool
    base: str
    platform: str
    location: Location


def list_targets(dockerfile: Dockerfile) -> tuple[TargetInfo, ...]:
    last = len(dockerfile.stages) - 1
    return tuple(
        TargetInfo(
            stage.name, stage.head.description, stage.index == last, stage.head.base, stage.head.platform,
            stage.head.location,
        )
        for stage in dockerfile.stages
    )  # fmt: skip
