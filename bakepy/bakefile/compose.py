"""Compose files, through the compose specification, as far as bake looks at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bakepy.bakefile.config import Config
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.source import Text
from bakepy.errors import UsageError


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """A compose file as it was read."""

    text: Text


def looks_like_compose(text: Text) -> bool:
    """Whether a file of no telling name is a compose file."""
    return False


def read_compose(text: Text) -> ComposeFile:
    raise UsageError(f"{text.name}: compose files can not be read yet")


def compose_config(
    files: Sequence[ComposeFile],
    variables: Mapping[str, str],
    environment: Mapping[str, str],
    reader: Reader | None,
    relative: bool,
) -> Config:
    """The targets and groups of a compose project."""
    return Config()
