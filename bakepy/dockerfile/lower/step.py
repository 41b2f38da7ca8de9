"""Steps: instructions with their variables replaced, to be taken in any stage that means the same by them.

An instruction is read once for all targets that agree in the variables it mentions; taking the step is what each target
does for itself, on its own tree and with its own environment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator
from typing import TypeAlias

from bakepy.dockerfile import instructions as i
from bakepy.dockerfile.lower.node import Node
from bakepy.dockerfile.lower.scope import Scope
from bakepy.dockerfile.lower.state import Command, StageState

Step: TypeAlias = Callable[[StageState, Scope], None]
"""Changes a stage as its instruction says."""

Origin: TypeAlias = Callable[[StageState, Scope], Node | None]
"""Gives a tree that a step reads."""

_REMEMBERED = 8192
_VARIABLE = re.compile(r"\$(?=\{?([^\W\d]\w*|\d+|[@*#?$!-]))")
"""Each name that an expansion can look up; perhaps more, where the `$` has no meaning."""
_PLATFORM = ("TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT")
"""Variables that the names of steps show, where there are several platforms."""


def base(stage: StageState, scope: Scope) -> Node | None:
    """The tree that the stage has so far."""
    return stage.node


def context(stage: StageState, scope: Scope) -> Node | None:
    return scope.context


def result(planned: StageState) -> Origin:
    """What another stage makes."""

    def found(stage: StageState, scope: Scope) -> Node | None:
        source = scope.source(planned)
        assert source is not None, "it was looked for when the instruction was read"
        return source.node

    return found


def fixed(node: Node | None) -> Origin:
    return lambda stage, scope: node


class StepMemo:
    """Steps that were read for stages of one plan and with equal settings, by what else they depend on: those of one
    command, or of several that follow each other."""

    __slots__ = ("_room", "_steps", "find")

    def __init__(self) -> None:
        self._steps: dict[Hashable, tuple[Step, ...]] = {}
        self._room = _REMEMBERED
        self.find = self._steps.get

    def put(self, key: Hashable, steps: tuple[Step, ...]) -> None:
        self._room -= len(steps)
        if self._room < 0:
            self._steps.clear()
            self._room = _REMEMBERED
        self._steps[key] = steps


def reading(
    what: Hashable, names: tuple[str, ...], arguments: tuple[str, ...], stage: StageState, scope: Scope
) -> Hashable:
    """What the steps of something depend on, besides what the plan and the settings of all stages say: the variables
    and arguments that it mentions, where in the stage it stands, and who works there."""
    image = stage.image
    key: tuple[object, ...]
    key = (what, stage.step, stage.dir, image.working_dir, stage.user, image.user)
    if names:
        key = (*key, *map(stage.env.get, names))
    if arguments:
        key = (*key, *map(scope.build_args.get, arguments), *map(scope.global_args.get, arguments))
    return key


def mentions(command: Command, scope: Scope) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of variables that may have a say in the step, and of arguments."""
    found = command.mentions
    if found is None:
        instruction = command.instruction
        names = written_names(instruction)
        if isinstance(instruction, i.Run):
            names |= {"PATH", "SSH_AUTH_SOCK"}
        if scope.options.multi_platform and isinstance(instruction, i.Run | i.Transfer | i.Workdir):
            names.update(_PLATFORM)
        arguments = (item.name for item in instruction.items) if isinstance(instruction, i.Arg) else ()
        found = command.mentions = tuple(names), tuple(arguments)
    return found


def written_names(instruction: i.Instruction) -> set[str]:
    """The names of variables that stand in it."""
    return {name for text in _texts(instruction) if "$" in text for name in _VARIABLE.findall(text)}


def _texts(instruction: i.Instruction) -> Iterator[str]:
    """Everything in which variables are replaced, the name of the step included."""
    match instruction:
        case i.Run():
            yield instruction.code
            yield from instruction.mounts
            yield from (document.content for document in instruction.command.documents)
        case i.Transfer():
            yield from (instruction.code, instruction.dest, instruction.chown, instruction.chmod)
            yield from instruction.sources
            yield from (document.text for document in instruction.documents)
            if isinstance(instruction, i.Add):
                yield instruction.checksum
        case i.Env() | i.Label():
            for pair in instruction.pairs:
                yield from (pair.name, pair.value)
        case i.Arg():
            yield from (item.value for item in instruction.items if item.value is not None)
        case i.Workdir():
            yield from (instruction.code, instruction.path)
        case i.User():
            yield instruction.user
        case i.Expose():
            yield from instruction.ports
        case i.Volume():
            yield from instruction.paths
        case i.StopSignal():
            yield instruction.signal
