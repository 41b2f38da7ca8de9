"""Where the commands of a stage are cut, so that targets which differ in an argument share what does not depend on it.

A stage is cut into parts where an ARG takes a value from outside: what stands above it is the same stage for all.
Inside of a part, commands that no such value reaches make one stretch, which is looked up at once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import field

from bakepy.dockerfile.instructions import Arg, Env
from bakepy.dockerfile.lower.scope import Scope
from bakepy.dockerfile.lower.state import Command, StageState
from bakepy.dockerfile.lower.step import mentions, written_names
from bakepy.model.value import dataclass

_PARTS = 32
"""Parts of a stage at most: each keeps a copy of the stage's state."""


@dataclass(slots=True, eq=False)
class Stretch:
    """Commands that follow each other; `names` and `arguments` are the mentions of them all."""

    commands: tuple[Command, ...]
    names: tuple[str, ...]
    arguments: tuple[str, ...]

    @classmethod
    def of(cls, commands: Sequence[Command], scope: Scope) -> Stretch:
        found = [mentions(command, scope) for command in commands]
        return cls(
            tuple(commands),
            tuple(dict.fromkeys(name for names, _ in found for name in names)),
            tuple(dict.fromkeys(name for _, arguments in found for name in arguments)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Commands of a stage from `start` up to `stop`; `names` are declared by its ARGs, `sources` read by its COPYs
    and RUNs."""

    start: int
    stop: int
    names: tuple[str, ...]
    sources: tuple[StageState, ...]
    stretches: tuple[Stretch, ...]


@dataclass(slots=True, eq=False)
class Cut:
    """The parts of all stages of a plan when the arguments `given` are given; values from outside reach the variables
    `reached`."""

    given: frozenset[str]
    reached: Container[str]
    _parts: dict[StageState, tuple[Part, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Iterable[str], global_args: Iterable[Arg], stages: Iterable[StageState]) -> Cut:
        given = frozenset(given)
        return cls(given, _reached(given, global_args, stages) if given else given)

    def parts(self, stage: StageState, scope: Scope) -> tuple[Part, ...]:
        found = self._parts.get(stage)
        if found is None:
            found = self._parts[stage] = tuple(self._make(stage.commands, scope))
        return found

    def _make(self, commands: Sequence[Command], scope: Scope) -> Iterator[Part]:
        cuts = [k for k, command in enumerate(commands) if k and not self.given.isdisjoint(declared([command]))]
        starts = [0, *cuts][:_PARTS]
        for start, stop in zip(starts, [*starts[1:], len(commands)], strict=True):
            inside = commands[start:stop]
            sources = dict.fromkeys(source for command in inside for source in command.sources)
            stretches = tuple(self._stretches(inside, scope))
            yield Part(start, stop, tuple(dict.fromkeys(declared(inside))), tuple(sources), stretches)

    def _stretches(self, commands: Sequence[Command], scope: Scope) -> Iterator[Stretch]:
        together: list[Command] = []
        for command in commands:
            names = (*written_names(command.instruction), *declared([command]))
            if any(name in self.reached for name in names):
                if together:
                    yield Stretch.of(together, scope)
                yield Stretch.of([command], scope)
                together = []
            else:
                together.append(command)
        if together:
            yield Stretch.of(together, scope)


def declared(commands: Iterable[Command]) -> Iterator[str]:
    """The names in ARGs."""
    for command in commands:
        if isinstance(command.instruction, Arg):
            for item in command.instruction.items:
                yield item.name


def _reached(given: Iterable[str], global_args: Iterable[Arg], stages: Iterable[StageState]) -> set[str]:
    """The given arguments, and all variables that any ENV or ARG makes of them."""
    made_of: dict[str, list[str]] = {}
    instructions: list[Arg | Env] = [*global_args]
    for stage in stages:
        instructions += [entry for command in stage.commands if isinstance(entry := command.instruction, Arg | Env)]
    for instruction in instructions:
        made = [item.name for item in (instruction.items if isinstance(instruction, Arg) else instruction.pairs)]
        for name in written_names(instruction):
            made_of.setdefault(name, []).extend(made)
    reached = set(given)
    waiting = list(reached)
    while waiting:
        for name in made_of.pop(waiting.pop(), ()):
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return reached
