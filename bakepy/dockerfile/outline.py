"""What a build can be told (`--call outline`) and which targets it has (`--call targets`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    """What one stage adds to the outline. `args` are those of its own ARGs, which hide global ones."""

    args: dict[str, ArgNote] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)
    secrets: dict[str, NeedNote] = field(default_factory=dict)
    ssh: dict[str, NeedNote] = field(default_factory=dict)

    def copy(self) -> OutlineNotes:
        return OutlineNotes(self.args.copy(), self.used.copy(), self.secrets.copy(), self.ssh.copy())

    def all_used(self, args: Mapping[str, ArgNote]) -> Iterable[str]:
        """Arguments in the default of a used one are used as well."""
        used = dict(self.used)
        queue = list(used)
        while queue:
            note = args.get(queue.pop())
            for name in note.deps if note else ():
                if name not in used:
                    used[name] = None
                    queue.append(name)
        return used


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


def make_outline(
    name: str, description: str, notes: Iterable[OutlineNotes], global_args: Mapping[str, ArgNote]
) -> Outline:
    """`notes` of the target first, then of the stages it needs; the first mention of a name counts."""
    args: dict[str, OutlineArg] = {}
    secrets: dict[str, OutlineNeed] = {}
    ssh: dict[str, OutlineNeed] = {}
    for note in notes:
        known = {**global_args, **note.args}
        for key in note.all_used(known):
            if key in known and key not in args:
                arg = known[key]
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
