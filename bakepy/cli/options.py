"""Options that several commands have, and what stands for them when they are not given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

Root = Annotated[
    Path | None,
    typer.Option("--root", help="Where state lives: cache, layers, blobs. [BAKEPY_ROOT]", metavar="DIR"),
]
Snapshotter = Annotated[
    str,
    typer.Option(
        "--snapshotter",
        help="How trees are kept: auto, overlay or copy. [BAKEPY_SNAPSHOTTER]",
        metavar="KIND",
    ),
]
Engine = Annotated[str, typer.Option("--engine", help="Who builds; today: embedded.", metavar="NAME")]
Progress = Annotated[
    str, typer.Option("--progress", help="auto, plain, tty, rawjson or quiet. [BUILDKIT_PROGRESS]", metavar="KIND")
]
MetadataFile = Annotated[
    Path | None, typer.Option("--metadata-file", help="Write what was built to this file, as JSON.", metavar="FILE")
]
NoCache = Annotated[
    bool | None, typer.Option("--no-cache/--with-cache", help="Run every step, whatever is known of it.")
]
Pull = Annotated[bool | None, typer.Option("--pull/--no-pull", help="Ask the registries about every base image again.")]
Push = Annotated[bool, typer.Option("--push/--no-push", help="Push images to their registries.")]
Load = Annotated[bool, typer.Option("--load/--no-load", help="Give images to the local Docker daemon.")]
Jobs = Annotated[
    int | None,
    typer.Option("-j", "--max-parallelism", "--jobs", help="How many steps run at the same time.", metavar="N", min=1),
]
Pools = Annotated[
    list[str] | None,
    typer.Option("--pool", help="How many steps of this pool run at the same time.", metavar="NAME=N"),
]
MemoryBudget = Annotated[
    str,
    typer.Option("--memory-budget", help="What targets with memory may claim together: 8g.", metavar="SIZE"),
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going/--no-keep-going", "-k", help="Finish what does not need a target that failed; status 3."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the last run of this folder: the same targets and flags.")
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Of the last run of this folder, the targets that were not done.")
]
Allow = Annotated[list[str] | None, typer.Option("--allow", help="Grant an entitlement.", metavar="WHAT")]
Provenance = Annotated[str, typer.Option("--provenance", help="Not supported yet but for false.", metavar="SPEC")]
Sbom = Annotated[str, typer.Option("--sbom", help="Not supported yet but for false.", metavar="SPEC")]
Builder = Annotated[str, typer.Option("--builder", help="Not supported by the embedded engine.", metavar="NAME")]
Call = Annotated[str, typer.Option("--call", help="build, check, outline or targets.", metavar="METHOD")]
CheckOnly = Annotated[bool, typer.Option("--check/--no-check", help="The same as --call=check.")]


def state_root(given: Path | None, environment: Mapping[str, str]) -> Path:
    """Where state lives: as given, else BAKEPY_ROOT, else below the user's state directory (XDG_STATE_HOME).

    As root without HOME: /var/lib/bakepy.
    """
    if given is not None:
        return given.absolute()
    if named := environment.get("BAKEPY_ROOT"):
        return Path(named).absolute()
    if state := environment.get("XDG_STATE_HOME"):
        return Path(state, "bakepy").absolute()
    if home := environment.get("HOME"):
        return Path(home, ".local/state/bakepy").absolute()
    return Path("/var/lib/bakepy")
