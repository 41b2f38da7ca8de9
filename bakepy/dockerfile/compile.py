"""The way in: parse once, then for each target ask for what is missing and lower.

    parsed = parse(text, "Dockerfile")
    compilation = Compilation(parsed, LowerOptions(target="web"))
    while requests := compilation.missing():
        for request in requests:
            compilation.provide(request, …)
    lowered = compilation.lower()

Nothing here waits, reads files or looks at the machine.
"""

from __future__ import annotations

from bakepy.dockerfile.checks import Warning
from bakepy.dockerfile.epoch import NAME as EPOCH
from bakepy.dockerfile.epoch import SourceTimeRequest
from bakepy.dockerfile.images import ImageRequest, MissingImages, ResolvedImageConfig
from bakepy.dockerfile.options import LowerOptions
from bakepy.dockerfile.outline import Outline
from bakepy.dockerfile.parsed import ParsedDockerfile, parse
from bakepy.dockerfile.session import Lowered, Session
from bakepy.errors import BakeError
from bakepy.model.value import dataclass

__all__ = ["CheckResult", "Compilation", "Lowered", "ParsedDockerfile", "parse"]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`error`: why the build would fail, if it would."""

    warnings: tuple[Warning, ...]
    error: BakeError | None = None


class Compilation:
    """One target of one Dockerfile. `images` are those that were provided to others already; answers do not change."""

    def __init__(
        self,
        parsed: ParsedDockerfile,
        options: LowerOptions,
        images: dict[ImageRequest, ResolvedImageConfig | BakeError] | None = None,
    ) -> None:
        self.parsed, self.options = parsed, options
        self._images = {} if images is None else images
        self._times: dict[SourceTimeRequest, int | BakeError | None] = {}
        self._begun: Session | None = None

    def _session(self) -> Session:
        return Session(self.parsed, self.options, self._images, self._times)

    def missing_time(self) -> SourceTimeRequest | None:
        """The source whose time SOURCE_DATE_EPOCH names, if it names one; ask before `missing`."""
        if EPOCH not in self.options.build_args and not self.parsed.dockerfile.declares(EPOCH):
            return None
        session = self._session()
        try:
            session.prepare()
        except (MissingImages, BakeError):
            return session.wanted_time
        return None

    def provide_time(self, request: SourceTimeRequest, answer: int | BakeError | None) -> None:
        """Seconds; None if the source has no time, which is as if SOURCE_DATE_EPOCH were not set."""
        self._times[request] = answer
        self._begun = None

    def missing(self) -> tuple[ImageRequest, ...]:
        """Images whose config is needed now; more may be asked for when these are there. Errors of the Dockerfile
        are not raised here but by `lower`."""
        session, self._begun = self._begun or self._session(), None
        try:
            session.prepare()
        except BakeError:
            return ()
        except MissingImages as missing:
            self._begun = session
            return missing.requests
        self._begun = session
        return ()

    def provide(self, request: ImageRequest, answer: ResolvedImageConfig | BakeError) -> None:
        """An error is raised by `lower`, at the FROM that wanted the image."""
        if self._images.setdefault(request, answer) is not answer:
            self._images = {**self._images, request: answer}
        if self._begun is not None and self._begun.known is not None:
            self._begun = None  # its plan rests on other answers

    def lower(self) -> Lowered:
        """Raises DockerfileError, DefinitionErrors; RuntimeError if something is missing still."""
        session, self._begun = self._begun or self._session(), None
        try:
            session.prepare()
        except MissingImages as missing:
            raise RuntimeError(f"not provided: {missing.requests}") from missing
        session.compile()
        return session.assemble()

    def check(self) -> CheckResult:
        """All warnings; with no target given, those of all stages. `missing` must be empty for this compilation,
        whose options must have `all_stages` then."""
        session = self._session()
        try:
            session.prepare()
            session.compile()
        except MissingImages as missing:
            raise RuntimeError(f"not provided: {missing.requests}") from missing
        except BakeError as error:
            return CheckResult(tuple(session.warnings), error)
        return CheckResult(tuple(session.warnings), session.violation)

    def outline(self) -> Outline:
        """Arguments, secrets and SSH agents of the target. Raises as `lower`."""
        session = self._session()
        session.prepare()
        session.compile()
        return session.outline()
