"""Which frontend a Dockerfile asks for (`# syntax=`, BUILDKIT_SYNTAX), and whether this compiler stands for it."""

from __future__ import annotations

from bakepy.dockerfile.directives import find_syntax
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.parsed import ParsedDockerfile
from bakepy.errors import DefinitionError
from bakepy.model.location import SourceFile, SourceRange
from bakepy.model.reference import ImageReference

ARGUMENT = "BUILDKIT_SYNTAX"
_BUILT_IN = ("docker/dockerfile", "docker/dockerfile-upstream")
_HINT = (
    "only docker/dockerfile is built in; any other frontend is a container image that BuildKit runs: docker buildx bake"
)


def wants_labs(file: SourceFile, argument: str | None) -> bool:
    """Whether the labs channel is asked for, which knows instructions that are being tried out.

    `argument` is the build argument BUILDKIT_SYNTAX, which counts more than the file. This compiler stands for every
    version of docker/dockerfile, also from a mirror. Raises DockerfileError for all other frontends, with the place in
    the file if it is the file that asks for one.
    """
    if argument is not None:
        words = argument.split()
        if not words:
            raise DockerfileError(f"{ARGUMENT} is empty", hint="as in docker/dockerfile:1, or leave it out")
        return _labs(words[0])
    found = find_syntax(file.text)
    if found is None:
        return False
    image, _, line = found
    try:
        return _labs(image)
    except DockerfileError as error:
        column = file.line(line).find(image) + 1
        error.where = SourceRange.at(file, line, max(column, 1), max(len(image), 1))
        raise


def file_wants_labs(dockerfile: ParsedDockerfile) -> bool:
    """The same without an argument; looked for once in each file. Raises DockerfileError."""
    memo = dockerfile.memo
    if memo.labs is None:
        memo.labs = wants_labs(dockerfile.file, None)
    return memo.labs


def _labs(image: str) -> bool:
    """Whether a frontend image is of the labs channel. Raises DockerfileError if it is no docker/dockerfile."""
    try:
        reference = ImageReference.parse(image)
    except DefinitionError as error:
        raise DockerfileError(f"the frontend '{image}' is no image: {error.what}", hint=_HINT) from error
    if not f"/{reference.path}".endswith(tuple(f"/{name}" for name in _BUILT_IN)):
        raise DockerfileError(f"the frontend '{image}' can not be run by the embedded engine", hint=_HINT)
    return "labs" in reference.tag or "experimental" in reference.tag
