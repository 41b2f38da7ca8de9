"""The stages as a graph: who builds on whom, who copies from whom, what a target needs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.expansion import ExpansionError, Lexer
from bakepy.dockerfile.instructions import Copy, Instruction, Run
from bakepy.dockerfile.lower.state import Command, StageState
from bakepy.dockerfile.text import quote
from bakepy.errors import nearest

_SHOWN = 12
"""Stages of a cycle that are named."""
_NUMBER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)


class StageTable:
    """All stages in order; images that only a `--from` names are appended."""

    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer
        self.states: list[StageState] = []
        self.by_name: dict[str, StageState] = {}

    def add(self, stage: StageState) -> None:
        """Finds the base by its exact name among those added before."""
        self.states.append(stage)
        stage.base = self.by_name.get(stage.base_name)
        if stage.name:
            self.by_name[stage.name.lower()] = stage

    def find(self, name: str) -> StageState | None:
        return self.by_name.get(name.lower())

    def target(self, name: str) -> StageState:
        if not name:
            return self.states[-1]
        found = self.find(name)
        if found is None:
            names = [stage.label for stage in self.states if stage.label]
            raise DockerfileError(f"target stage {quote(name)} could not be found", hint=nearest(name, names)
                                  or ("stages are " + ", ".join(names[:20]) if names else ""))  # fmt: skip
        return found

    def command(self, instruction: Instruction, location: Location, *, trigger: bool = False) -> Command:
        """With the stages that it reads from; unknown names become images. Raises DockerfileError."""
        sources: tuple[StageState, ...] = ()
        if isinstance(instruction, Copy) and instruction.stage:
            sources = (self._copy_source(instruction, location),)
        elif isinstance(instruction, Run):
            sources = tuple(self._named(name or "scratch", ()) for name in instruction.mount_stages)
        return Command(instruction, sources, trigger, location)

    def _copy_source(self, copy: Copy, location: Location) -> StageState:
        name = copy.stage
        try:
            plain = self.lexer.word(name, {}) == name
        except ExpansionError:
            plain = False
        if not plain:
            raise copy.statement.error("variable expansion is not supported for --from", part="--from",
                                       hint="give the image a name: FROM … AS name")  # fmt: skip
        if not _NUMBER.match(name):
            return self._named(name, location)
        index = int(name[:12])
        if not 0 <= index < len(self.states):
            raise copy.statement.error(f"invalid stage index {index}", part="--from", hint="stages are counted from 0")
        return self.states[index]

    def _named(self, name: str, location: Location) -> StageState:
        return self.find(name) or StageState(name, location=location, registered=False)

    def attach(self, stage: StageState, command: Command) -> None:
        """Notes what the command needs."""
        for source in command.sources:
            stage.deps[source] = command
            if not source.registered:
                self.add(source)


def reachable(target: StageState) -> dict[StageState, None]:
    """The stage and all it needs, the stage first."""
    found: dict[StageState, None] = {}
    stack = [target]
    while stack:
        stage = stack.pop()
        if stage in found:
            continue
        found[stage] = None
        stack += reversed([*([stage.base] if stage.base else []), *stage.deps])
    return found


def check_cycles(states: Iterable[StageState]) -> None:
    """Raises DockerfileError that names the whole cycle, with all its instructions as places."""
    done: set[StageState] = set()
    for start in states:
        if start in done:
            continue
        path: dict[StageState, Command | None] = {start: None}
        stack = [(start, iter(start.deps.items()))]
        while stack:
            stage, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                path.pop(stage)
                done.add(stage)
                continue
            dep, command = following
            if dep in path:
                raise _cycle(start, [*path], [c for c in path.values() if c is not None] + [command], dep)
            if dep not in done:
                path[dep] = command
                stack.append((dep, iter(dep.deps.items())))


def _cycle(start: StageState, path: list[StageState], commands: list[Command], again: StageState) -> DockerfileError:
    ring = [stage.label or stage.base_name for stage in path[path.index(again) :]]
    if len(ring) > _SHOWN:
        ring[_SHOWN - 1 : -1] = [f"({len(ring) - _SHOWN} more)"]
    ring.append(ring[0])
    error = DockerfileError(
        f"circular dependency detected on stage: {' -> '.join(ring)}", location=commands[0].location
    )
    for command in commands[1:]:
        error.at(command.location)
    return error
