"""The variables of a stage, ready for its steps: each line is written and marshalled once, not for every RUN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from bakepy.dockerfile.instructions import ArgItem
from bakepy.llb import wire


class Variables(NamedTuple):
    """Variables as a process gets them: `NAME=VALUE`, and the same marshalled. `arguments` is what the history of a
    RUN begins with: `|N A=1 …` for the stage's build arguments."""

    lines: tuple[str, ...]
    data: bytes
    arguments: str


NO_VARIABLES = Variables((), b"", "")


class Environment(dict[str, str]):
    """Variables in order; changed only by `put`. One that is set again moves to the end.

    `arguments` are the build arguments that were declared, whether they have a value or not.
    """

    __slots__ = ("_above", "_given", "_lines", "_variables", "arguments")

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        super().__init__(values or {})
        self._above: Environment | None = None
        self.arguments: list[ArgItem]
        self._lines: dict[str, tuple[str, bytes]]
        self._given: dict[str, str]
        self._variables: Variables | None
        if isinstance(values, Environment):
            self._lines, self._variables = values._lines.copy(), values._variables
            self.arguments, self._given = values.arguments.copy(), values._given.copy()
        else:
            self._lines, self._variables = {}, None
            self.arguments, self._given = [], {}

    def put(self, name: str, value: str) -> None:
        known = self.pop(name, None)
        self[name] = value
        line = self._lines.pop(name, None)
        if line is None or known != value:
            text = f"{name}={value}"
            line = text, wire.variable(text)
        self._lines[name] = line
        if name in self._given:
            self._given[name] = line[0]
        self._variables = self._above = None

    def declare(self, argument: ArgItem) -> None:
        self.arguments.append(argument)
        name = argument.name
        self._given[name] = f"{name}={self.get(name, argument.value or '')}"
        self._variables = self._above = None

    def is_declared(self, name: str) -> bool:
        """As a build argument."""
        return name in self._given

    def above(self, image: Mapping[str, str]) -> Environment:
        """What a stage on top begins with: the variables of the image are set once more. That is the same for all
        such stages."""
        if self._above is None:
            env = Environment(self)
            if list(env.items())[len(env) - len(image) :] != list(image.items()):
                for name, value in image.items():
                    env.put(name, value)
            env.variables()
            self._above = env
        return Environment(self._above)

    def variables(self) -> Variables:
        if self._variables is None:
            lines, data = zip(*self._lines.values(), strict=True) if self._lines else ((), ())
            given = self._given
            arguments = f"|{len(given)} {' '.join(given.values())} " if given else ""
            self._variables = Variables(lines, b"".join(data), arguments)
        return self._variables
