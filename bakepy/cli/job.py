"""What one run is to do, as one process gives it to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile
from bakepy.model.value import dataclass

if TYPE_CHECKING:
    from bakepy.cli.resume import Request


@dataclass(frozen=True, slots=True)
class BakeOptions:
    """How one run goes about it. `jobs`, `pools` and `memory` (bytes) limit what is under way at a time.
    `unsupported` are capabilities that the engine lacks.
    `single`: the bake file has one target, made of flags; `image_id_file` and `print_id` are for such.
    `request` is what the journal keeps; None: no journal."""

    root: Path
    environment: Mapping[str, str]
    directory: Path = field(default_factory=Path.cwd)
    progress: str = "auto"
    metadata_file: Path | None = None
    keep_going: bool = False
    jobs: int | None = None
    pools: FrozenMap[str, int] = field(default_factory=FrozenMap)
    memory: int | None = None
    grants: frozenset[str] = frozenset()
    cgroup_parent: str = ""
    unsupported: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    single: bool = False
    image_id_file: Path | None = None
    print_id: bool = False
    request: Request | None = None

    @property
    def talks(self) -> bool:
        """Whether there is something to tell for people besides errors."""
        return self.progress not in ("quiet", "rawjson")


@dataclass(frozen=True, slots=True)
class Job:
    """A bake file with all that was asked for, and how to go about it."""

    bake_file: BakeFile
    options: BakeOptions
