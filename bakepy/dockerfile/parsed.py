"""A Dockerfile that was read once, for any number of targets."""

from __future__ import annotations

from dataclasses import field
from itertools import islice

from bakepy.dockerfile.errors import DockerfileError, raise_all
from bakepy.dockerfile.faults import further_faults
from bakepy.dockerfile.instructions import Dockerfile
from bakepy.dockerfile.memo import Memo
from bakepy.dockerfile.outline import TargetInfo, list_targets
from bakepy.dockerfile.parser import Parsed, parse_text
from bakepy.dockerfile.reader import MAX_ERRORS, Dialect, read_dockerfile
from bakepy.errors import BakeError
from bakepy.model.location import SourceFile
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class ParsedDockerfile:
    """A Dockerfile that was read once; any number of targets are lowered from it."""

    parsed: Parsed
    dockerfile: Dockerfile
    errors: tuple[BakeError, ...] = ()
    memo: Memo = field(default_factory=Memo, compare=False, repr=False)

    @property
    def file(self) -> SourceFile:
        return self.parsed.file

    def targets(self) -> tuple[TargetInfo, ...]:
        """All stages. Raises DockerfileError(s)."""
        self.require()
        return list_targets(self.dockerfile)

    def require(self) -> None:
        """Raises what is wrong with the text: one DockerfileError, or DefinitionErrors."""
        raise_all(self.errors)


def parse(text: str, name: str) -> ParsedDockerfile:
    """Never raises; `require` does. `name` is how messages call the file."""
    file = SourceFile(name, text)
    if not text:
        error = DockerfileError(f"{name}: the Dockerfile cannot be empty", hint="it begins with FROM")
        return ParsedDockerfile(Parsed(file, "\\", (), (), (), ()), Dockerfile("\\", (), ()), (error,))
    parsed = parse_text(file)
    dockerfile, errors = read_dockerfile(parsed.statements, Dialect(parsed.escape))
    faults = sorted((*parsed.errors, *errors), key=_place)
    if faults:  # those of the text first, as with BuildKit, which tells the first one only
        faults += list(islice(further_faults(dockerfile), max(0, MAX_ERRORS - len(faults))))
    return ParsedDockerfile(parsed, dockerfile, tuple(faults))


def _place(error: BakeError) -> int:
    where = error.where
    return getattr(getattr(where, "start", None), "line", 0)
