"""A stage while it is compiled: its place among the others, its file system so far, its environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from bakepy.dockerfile.errors import Location
from bakepy.dockerfile.instructions import ArgItem, From, Instruction
from bakepy.dockerfile.lower.image import NO_PLATFORM, ImageDraft
from bakepy.dockerfile.lower.node import Node
from bakepy.dockerfile.options import NamedContext
from bakepy.llb.op import NetMode
from bakepy.model.image_config import ImageConfig
from bakepy.model.platform import Platform


@dataclass(slots=True)
class Command:
    """An instruction of a stage, with the stages it reads from. `trigger`: it comes from an ONBUILD."""

    instruction: Instruction
    sources: tuple[StageState, ...] = ()
    trigger: bool = False
    location: Location = ()


@dataclass(slots=True)
class Once:
    """Where an instruction was seen that counts only once."""

    location: Location | None = None


@dataclass(slots=True, eq=False)
class StageState:
    """`head` is None for images that only a `--from` names.

    `paths` are the paths that are read from this stage, shared with the stages on top of it; `context_paths` those
    that this stage reads from the main context.
    """

    base_name: str
    name: str = ""
    label: str = ""
    head: From | None = None
    location: Location = ()
    commands: list[Command] = field(default_factory=list)
    deps: dict[StageState, Command] = field(default_factory=dict)
    base: StageState | None = None
    context: tuple[str, NamedContext] | None = None
    context_platform: Platform | None = None
    registered: bool = True

    platform: Platform | None = None
    state_platform: Platform | None = None
    """The platform that RUN gets; None: that of the target."""
    resolved: bool = False
    dispatched: bool = False
    triggers_done: bool = False

    node: Node | None = None
    env: dict[str, str] = field(default_factory=dict)
    dir: str = "/"
    user: str = ""
    hostname: str = ""
    network: NetMode = NetMode.SANDBOX
    image: ImageDraft = field(default_factory=lambda: ImageDraft.of(ImageConfig(NO_PLATFORM)))
    base_image: ImageConfig | None = None
    build_args: list[ArgItem] = field(default_factory=list)
    context_paths: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    ignore_cache: bool = False
    workdir_set: bool = False
    step: int = 0
    steps: int = 0
    in_trigger: bool = False
    cmd_seen: Once = field(default_factory=Once)
    entrypoint_seen: Once = field(default_factory=Once)
    healthcheck_seen: Once = field(default_factory=Once)
    scan_stage: bool = False
    scan_context: bool = False

    def inherit(self) -> None:
        """Begins where the base stage ends."""
        base = self.base
        if base is None:
            return
        self.node = base.node
        self.env = dict(base.env)
        self.dir, self.user, self.hostname, self.network = base.dir, base.user, base.hostname, base.network
        self.state_platform = base.state_platform
        self.platform = base.platform
        self.image = base.image.copy()
        self.base_image = base.base_image
        self.paths = base.paths
        self.workdir_set = base.workdir_set
        self.build_args = [*self.build_args, *base.build_args]

    def set_env(self, name: str, value: str) -> None:
        """A variable that is set again moves to the end."""
        self.env.pop(name, None)
        self.env[name] = value

    @property
    def os(self) -> str:
        return self.platform.os if self.platform else ""
