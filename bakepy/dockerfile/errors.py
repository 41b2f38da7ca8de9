"""The error of a Dockerfile: besides the place shown to people, all lines that belong to the cause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from bakepy.errors import BakeError, DefinitionError, DefinitionErrors
from bakepy.model.location import SourceRange

Location: TypeAlias = tuple[SourceRange, ...]
"""One range per line."""


class DockerfileError(DefinitionError):
    """Something in a Dockerfile, or in what it is compiled with, is wrong.

    `locations` are the statements that take part, the innermost first. `part` is the text that the error is about,
    for somebody who knows the statement and so its place.
    """

    def __init__(
        self,
        what: str,
        *,
        location: Location = (),
        where: SourceRange | None = None,
        hint: str = "",
        detail: Iterable[str] = (),
        part: str = "",
    ) -> None:
        super().__init__(
            shortened(what),
            where=where or (location[0] if location else None),
            hint=shortened(hint),
            detail=tuple(detail),
        )
        self.locations: tuple[Location, ...] = (location,) if location else ()
        self.part = part

    def about(self, part: str) -> DockerfileError:
        """Tells what the error is about, unless that is told more exactly already."""
        self.part = self.part or part
        return self

    def at(self, location: Location) -> DockerfileError:
        """Adds a place that the error passes on its way up; the first one is what people see."""
        if location:
            self.locations = (*self.locations, location)
            self.where = self.where or location[0]
        return self


_SHOWN = 600


def shortened(what: str) -> str:
    """Without the middle of what is too long to be read: words of a Dockerfile can have any length."""
    return what if len(what) <= _SHOWN else f"{what[: _SHOWN - 200]} […] {what[-150:]}"


def each(error: BakeError) -> tuple[BakeError, ...]:
    """The errors of which this one is made."""
    return error.errors if isinstance(error, DefinitionErrors) else (error,)


def raise_all(errors: Sequence[BakeError]) -> None:
    """Raises the error, or all of them as DefinitionErrors; nothing if there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise DefinitionErrors(errors)
