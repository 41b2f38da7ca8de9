"""Instructions as typed, immutable values: what is written, nothing expanded yet."""

from __future__ import annotations

from bakepy.dockerfile.errors import Location
from bakepy.dockerfile.heredoc import Heredoc
from bakepy.dockerfile.parser import Statement
from bakepy.model.image_config import Healthcheck
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Instruction:
    """What all instructions have: the statement they were read from."""

    statement: Statement

    @property
    def location(self) -> Location:
        return self.statement.location

    @property
    def code(self) -> str:
        return self.statement.code

    @property
    def keyword(self) -> str:
        """As it is written, which may be lower case."""
        return self.statement.keyword


@dataclass(frozen=True, slots=True)
class ArgItem:
    """`value` None: without default. `description` comes from the comment above."""

    name: str
    value: str | None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """`legacy`: written as `NAME VALUE`."""

    name: str
    value: str
    legacy: bool = False


@dataclass(frozen=True, slots=True)
class CommandLine:
    """`shell`: `args` holds one text for the shell; else it is the list of arguments itself."""

    args: tuple[str, ...]
    shell: bool
    documents: tuple[Heredoc, ...] = ()


@dataclass(frozen=True, slots=True)
class Arg(Instruction):
    items: tuple[ArgItem, ...]


@dataclass(frozen=True, slots=True)
class From(Instruction):
    """`name` is in lower case; empty if the stage has none."""

    base: str
    name: str
    platform: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Env(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Label(Instruction):
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class Run(Instruction):
    """`mounts` and `devices` are the values of the flags; `mount_stages` the `from` of each mount, or empty."""

    command: CommandLine
    mounts: tuple[str, ...] = ()
    mount_stages: tuple[str, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transfer(Instruction):
    """What COPY and ADD have in common. `documents` are sources given as here-documents."""

    sources: tuple[str, ...]
    dest: str
    documents: tuple[Heredoc, ...]
    chown: str
    chmod: str
    link: bool
    excludes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Copy(Transfer):
    stage: str = ""
    parents: bool = False


@dataclass(frozen=True, slots=True)
class Add(Transfer):
    """`keep_git_dir` and `unpack` are None where the flag is not given."""

    keep_git_dir: bool | None = None
    checksum: str = ""
    unpack: bool | None = None


@dataclass(frozen=True, slots=True)
class Workdir(Instruction):
    path: str


@dataclass(frozen=True, slots=True)
class User(Instruction):
    user: str


@dataclass(frozen=True, slots=True)
class Cmd(Instruction):
    command: CommandLine


@dataclass(frozen=True, slots=True)
class Entrypoint(Instruction):
    command: CommandLine


@dataclass(frozen=True, slots=True)
class Expose(Instruction):
    """Sorted as text."""

    ports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Volume(Instruction):
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HealthcheckInstruction(Instruction):
    healthcheck: Healthcheck


@dataclass(frozen=True, slots=True)
class Shell(Instruction):
    args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopSignal(Instruction):
    signal: str


@dataclass(frozen=True, slots=True)
class OnBuild(Instruction):
    """`expression` is the text of the trigger, documents included."""

    expression: str


@dataclass(frozen=True, slots=True)
class Maintainer(Instruction):
    name: str


@dataclass(frozen=True, slots=True)
class Stage:
    """A FROM and the instructions up to the next one."""

    head: From
    instructions: tuple[Instruction, ...]
    index: int

    @property
    def name(self) -> str:
        return self.head.name


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file. `global_args` stand before the first FROM."""

    escape: str
    global_args: tuple[Arg, ...]
    stages: tuple[Stage, ...]

    @property
    def heads(self) -> str:
        """All that FROMs can expand: an argument whose name is not in it has no say in the plan."""
        return " ".join([f"{stage.head.base} {stage.head.platform}" for stage in self.stages])

    def declares(self, name: str) -> bool:
        """Whether there is an ARG of that name before the first FROM."""
        return any(item.name == name for arg in self.global_args for item in arg.items)
