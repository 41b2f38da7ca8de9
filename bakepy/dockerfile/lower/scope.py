"""What all stages of one lowering share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.expansion import ExpansionError, Lexer
from bakepy.dockerfile.globals import MAX_TEXT
from bakepy.dockerfile.ignore import Ignored
from bakepy.dockerfile.lower.environment import Environment
from bakepy.dockerfile.lower.node import Node
from bakepy.dockerfile.lower.state import StageState
from bakepy.dockerfile.options import LowerOptions
from bakepy.dockerfile.suggest import guess
from bakepy.llb.op import ProxyEnv
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass

SCAN_CONTEXT, SCAN_STAGE = "BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"
NO_ENV = frozenset({SCAN_CONTEXT, SCAN_STAGE})
"""Arguments for the builder that never reach the environment."""


MAX_PORTS = 1 << 20
MAX_CARRIED = 1 << 18
"""Variables, labels, ports and volumes that stages take over from those below them, and history in hundreds of lines:
some 500 bytes each."""


@dataclass(slots=True)
class Scope:
    """`context` stands for the main context; `epoch` is SOURCE_DATE_EPOCH in seconds."""

    options: LowerOptions
    lexer: Lexer
    checker: Checker
    target_platform: Platform
    build_args: Mapping[str, str]
    global_args: Mapping[str, str]
    context: Node | None
    epoch: int | None
    ignored: Ignored | None
    proxy: ProxyEnv | None
    room: int = MAX_TEXT
    ports: int = MAX_PORTS
    """How many more EXPOSE may name."""
    carried: int = MAX_CARRIED
    """How much more stages may take over."""
    compiled: dict[StageState, StageState] = field(default_factory=dict)
    """Planned stages and what became of them."""

    def source(self, planned: StageState) -> StageState | None:
        """A stage that is read from; None if it is not compiled yet."""
        return self.compiled.get(planned) or (planned if planned.dispatched else None)

    def expand(self, stage: StageState, text: str, location: Location, checker: Checker) -> str:
        """A word with the stage's variables. Raises DockerfileError without a place."""
        return self._expand(self.lexer, stage, text, location, checker)

    def expand_document(self, stage: StageState, text: str, location: Location, checker: Checker) -> str:
        """A here-document: quotes are text, and the escape character is always the backslash."""
        return self._expand(_DOCUMENT, stage, text, location, checker)

    def _expand(self, lexer: Lexer, stage: StageState, text: str, location: Location, checker: Checker) -> str:
        if lexer.is_plain(text):
            return text
        try:
            result = lexer.expand(text, stage.env)
        except ExpansionError as error:
            report_undefined(error.unmatched, stage.env, location, checker)
            raise DockerfileError(error.of(text), part=text, hint=error.hint) from error
        if result.unmatched:
            report_undefined(result.unmatched, stage.env, location, checker)
        if result.matched:
            self.spend(len(result.text))
        return result.text

    def spend(self, characters: int) -> None:
        """Raises DockerfileError when variables (or directories) make more text than any build needs."""
        self.room -= characters
        if self.room < 0:
            raise DockerfileError(f"the values of variables come to more than {MAX_TEXT} characters")

    def expose(self, ports: int) -> None:
        """Raises DockerfileError when all EXPOSEs of a build name more ports than there are, five times over."""
        self.ports -= ports
        if self.ports < 0:
            raise DockerfileError(f"EXPOSE names more than {MAX_PORTS} ports in this build")

    def carry(self, stage: StageState) -> None:
        """Raises DockerfileError when stages upon stages copy more than any build needs."""
        image = stage.image
        self.carried -= len(stage.env) + len(image.labels) + len(image.ports) + len(image.volumes)
        self.carried -= len(image.history) // 100
        if self.carried < 0:
            what = (
                f"stages take over more than {MAX_CARRIED} variables, labels, ports and volumes from those below them"
            )
            raise DockerfileError(what, location=stage.location)

    @property
    def is_spent(self) -> bool:
        """Whether a bound is reached: what comes now would be refused for that only."""
        return self.room < 0 or self.ports < 0 or self.carried < 0

    def supports(self, capability: str) -> bool:
        return capability not in self.options.unsupported


_DOCUMENT = Lexer(plain_quotes=True)


def report_undefined(
    names: tuple[str, ...],
    env: Environment,
    location: Location,
    checker: Checker,
) -> None:
    """Warns of variables that are neither set nor declared."""
    for name in names:
        if env.is_declared(name) or name in NO_ENV:
            continue
        near = guess(name, env, len(checker.warnings))
        message = f"Usage of undefined variable '${name}'" + (f" (did you mean ${near}?)" if near else "")
        checker.warn("UndefinedVar", message, location)
