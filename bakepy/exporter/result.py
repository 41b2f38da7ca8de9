"""What comes in from the engine, and what an export leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.oci import Descriptor
from bakepy.model.platform import Platform
from bakepy.model.target import Target
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class PlatformResult:
    """One platform of one target: its top snapshot (None: an empty tree) and its config as the Dockerfile made it.

    `image.history` holds the base image's entries with their dates; those of this build have none unless
    SOURCE_DATE_EPOCH was known. `steps` names the step that made a snapshot, by snapshot id; it is asked only for
    layers that the history does not tell of.
    """

    platform: Platform
    snapshot: str | None
    image: ImageConfig
    steps: FrozenMap[str, str] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True)
class TargetResult:
    """All platforms of one target that was built.

    `multi_platform`: the images go into an image index, and folders get one folder for each platform. `epoch` is
    SOURCE_DATE_EPOCH as the build knew it (argument, environment or global ARG), in seconds; None where unset.
    """

    name: str
    target: Target
    platforms: tuple[PlatformResult, ...]
    multi_platform: bool = False
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """What the outputs of one target came to.

    `descriptor` is the image or image index (None if no output made one), `size` the bytes of all its blobs,
    `written` one line for people for each thing that was written, and `metadata` what a metadata file says of it
    (keys as buildx has them).
    """

    descriptor: Descriptor | None = None
    written: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=FrozenMap)
    size: int = 0
