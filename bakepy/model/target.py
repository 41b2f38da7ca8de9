"""What a bake file says when all is evaluated: targets and groups, every value final.

Field names follow the bake reference (`cache-from` is `cache_from`); the order of the fields is the order in which
`docker buildx bake --print` writes them.
"""

from __future__ import annotations

from dataclasses import field

from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceRange
from bakepy.model.value import dataclass

_EMPTY: FrozenMap[str, str] = FrozenMap()


@dataclass(frozen=True, slots=True)
class OutputEntry:
    """One output. `attrs` holds every attribute but `type` and `dest` (`name`, `push`, `compression`, …) as text."""

    type: str
    dest: str = ""
    attrs: FrozenMap[str, str] = _EMPTY


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One cache import or export: `type=registry,ref=…`; `attrs` without `type`."""

    type: str
    attrs: FrozenMap[str, str] = _EMPTY


@dataclass(frozen=True, slots=True)
class SecretEntry:
    """A secret that RUN may mount: from the file `src` or the variable `env`; both empty: whichever has that name."""

    id: str
    src: str = ""
    env: str = ""


@dataclass(frozen=True, slots=True)
class SSHEntry:
    """An agent socket or keys, by id."""

    id: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """A source policy: files to evaluate and how; `reset` forgets those before it."""

    files: tuple[str, ...] = ()
    reset: bool = False
    disabled: bool = False
    strict: bool | None = None
    log_level: str | None = None


NETWORK, EXIT = "network", "exit"
"""Why something is tried again: a registry or the network failed; a process ended with any failing status."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often something is tried, in all; after how many seconds again the first time (each further time after
    twice as many); and why: NETWORK, EXIT, single exit codes."""

    attempts: int
    backoff: float = 1.0
    on: tuple[str | int, ...] = (NETWORK, EXIT)


@dataclass(frozen=True, slots=True)
class Target:
    """One target, resolved. `None` means not given; paths are relative to the directory of the command."""

    name: str
    description: str = ""
    inherits: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    attest: tuple[FrozenMap[str, str], ...] = ()
    context: str = "."
    contexts: FrozenMap[str, str] = _EMPTY
    dockerfile: str = "Dockerfile"
    dockerfile_inline: str | None = None
    args: FrozenMap[str, str | None] = _EMPTY
    labels: FrozenMap[str, str | None] = _EMPTY
    tags: tuple[str, ...] = ()
    cache_from: tuple[CacheEntry, ...] = ()
    cache_to: tuple[CacheEntry, ...] = ()
    target: str | None = None
    secrets: tuple[SecretEntry, ...] = ()
    ssh: tuple[SSHEntry, ...] = ()
    platforms: tuple[str, ...] = ()
    outputs: tuple[OutputEntry, ...] = ()
    pull: bool | None = None
    no_cache: bool | None = None
    network: str | None = None
    no_cache_filter: tuple[str, ...] = ()
    shm_size: str | None = None
    ulimits: tuple[str, ...] = ()
    resources: FrozenMap[str, str | int] | None = None
    call: str | None = None
    entitlements: tuple[str, ...] = ()
    extra_hosts: FrozenMap[str, str | None] = _EMPTY
    policy: tuple[PolicyEntry, ...] = ()
    metadata_file: str | None = None
    """Where the target's own metadata goes. This and what follows is bakepy's own, unknown to buildx."""
    memory: int | None = None
    """Bytes that each RUN step takes of the memory budget of a run."""
    pools: tuple[str, ...] = ()
    """The pools in which each RUN step takes a place."""
    retry: Retry | None = None
    linked: bool = False
    """Only there because another target's context names it."""
    printed: Target | None = field(default=None, repr=False)
    """The target as `--print` shows it, if it is built from something else: a definition that was read far away names
    folders that are there, and what is lent to its server is not in the file."""
    locations: FrozenMap[str, SourceRange] = field(default_factory=FrozenMap, compare=False, repr=False)
    """Where a value was written, by its path in the file's spelling: `tags`, `args.VERSION`, `platforms[1]`."""

    def where(self, path: str) -> SourceRange | None:
        """The place of `path`, else of the nearest enclosing value, else of the target itself (`""`)."""
        while path:
            if path in self.locations:
                return self.locations[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.locations.get("")


@dataclass(frozen=True, slots=True)
class Group:
    """A name for several targets (or groups)."""

    name: str
    targets: tuple[str, ...]
    description: str = ""
    unlisted: bool = False
    """Nothing ever listed its targets: the default group of a compose project in which nothing is built."""


@dataclass(frozen=True, slots=True)
class BakeFile:
    """What one run was asked for: `targets` holds those that were asked for and those that they link to.

    `groups["default"].targets` is what was asked for. `bakepy.bakefile.render` gives the JSON text of `--print`.
    """

    targets: FrozenMap[str, Target]
    groups: FrozenMap[str, Group]
    pools: FrozenMap[str, int] = field(default_factory=FrozenMap)
    """How many places each named pool has."""
