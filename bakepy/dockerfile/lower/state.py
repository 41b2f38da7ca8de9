"""A stage while it is compiled: its place among the others, its file system so far, its environment."""

from __future__ import annotations

from dataclasses import field, replace

from bakepy.dockerfile.checks import Warning
from bakepy.dockerfile.errors import Location
from bakepy.dockerfile.instructions import From, Instruction
from bakepy.dockerfile.lower.environment import Environment
from bakepy.dockerfile.lower.image import ImageDraft, default_path, no_image
from bakepy.dockerfile.lower.node import Node
from bakepy.dockerfile.options import NamedContext
from bakepy.dockerfile.outline import OutlineNotes
from bakepy.llb.op import NetMode
from bakepy.model.image_config import ImageConfig
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass


@dataclass(slots=True, eq=False)
class Command:
    """An instruction of a stage, with the stages it reads from. `trigger`: it comes from an ONBUILD. `mentions`: names
    of variables, and of build arguments, that may have a say in it."""

    instruction: Instruction
    sources: tuple[StageState, ...] = ()
    trigger: bool = False
    location: Location = ()
    mentions: tuple[tuple[str, ...], tuple[str, ...]] | None = None


@dataclass(slots=True, eq=False)
class StageState:
    """A stage: as planned, and, made from that by `begin`, as compiled.

    What is planned does not change when it is compiled, so one plan serves many compilations. `head` is None for
    images that only a `--from` names. `dispatched`: there is nothing to compile, as for named contexts.
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
    resolved: bool = False
    dispatched: bool = False
    triggers_done: bool = False
    ignore_cache: bool = False
    steps: int = 0
    step: int = 0

    platform: Platform | None = None
    state_platform: Platform | None = None
    """The platform that RUN gets; None: that of the target."""
    node: Node | None = None
    env: Environment = field(default_factory=Environment)
    dir: str = "/"
    user: str = ""
    hostname: str = ""
    network: NetMode = NetMode.SANDBOX
    image: ImageDraft = field(default_factory=no_image)
    base_image: ImageConfig | None = None
    notes: OutlineNotes = field(default_factory=OutlineNotes)

    context_paths: set[str] = field(default_factory=set)
    """What is read from the main context."""
    reads: dict[StageState, set[str]] = field(default_factory=dict)
    """What is read from other stages, by their planned form."""
    reads_itself: bool = False
    """A process runs in it, which may read everything."""
    workdir_set: bool = False
    in_trigger: bool = False
    seen: dict[type[Instruction], Location] = field(default_factory=dict)
    """Where the last instruction of each kind is that counts only once."""
    scan_stage: bool = False
    scan_context: bool = False
    warnings: list[Warning] = field(default_factory=list)

    def begin(self, base: StageState | None) -> StageState:
        """This planned stage, ready to be compiled on top of its compiled base."""
        source = base or self
        image = source.image.copy(with_triggers=base is None)
        if "PATH" not in image.env and source.os != "windows":
            image.env["PATH"] = default_path(source.os)
        return StageState(
            self.base_name,
            self.name,
            self.label,
            self.head,
            self.location,
            self.commands,
            self.deps,
            base,
            ignore_cache=self.ignore_cache,
            steps=self.steps,
            step=self.step,
            platform=source.platform,
            state_platform=source.state_platform,
            node=source.node,
            env=source.env.above(image.env),
            dir=source.dir,
            user=source.user,
            hostname=source.hostname,
            network=source.network,
            image=image,
            base_image=source.base_image,
            notes=self.notes.copy(),
            workdir_set=source.workdir_set,
        )

    def copy(self) -> StageState:
        """This stage, half compiled, to be compiled further."""
        return replace(
            self,
            env=Environment(self.env),
            image=self.image.copy(with_triggers=True),
            notes=self.notes.copy(),
            context_paths=set(self.context_paths),
            reads={source: set(paths) for source, paths in self.reads.items()},
            seen=dict(self.seen),
        )

    def root(self) -> StageState:
        """The lowest stage below this one."""
        stage = self
        while stage.base is not None:
            stage = stage.base
        return stage

    @property
    def os(self) -> str:
        return self.platform.os if self.platform else ""
