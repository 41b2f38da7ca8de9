"""The ops of LLB as frozen values. Names and meanings follow BuildKit's `solver/pb/ops.proto`.

Numbers that point to inputs (`Mount.input`, `FileAction.input`, …) index the vertex's `inputs`; -1 (`NONE`) is none.
"""

from __future__ import annotations

from dataclasses import field
from enum import IntEnum

from bakepy.model.frozen import FrozenMap
from bakepy.model.url import redacted_text
from bakepy.model.value import dataclass

NONE = -1


class NetMode(IntEnum):
    """The network of an exec op; 0 is the sandbox."""

    SANDBOX = 0
    HOST = 1
    NONE = 2


class SecurityMode(IntEnum):
    """INSECURE is a privileged container, behind an entitlement."""

    SANDBOX = 0
    INSECURE = 1


class MountType(IntEnum):
    """What is mounted."""

    BIND = 0
    SECRET = 1
    SSH = 2
    CACHE = 3
    TMPFS = 4


class CacheSharing(IntEnum):
    """Who may use a cache mount at the same time."""

    SHARED = 0
    PRIVATE = 1
    LOCKED = 2


@dataclass(frozen=True, slots=True)
class Ulimit:
    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class HostIP:
    """An extra line of /etc/hosts."""

    host: str
    ip: str


@dataclass(frozen=True, slots=True)
class ProxyEnv:
    """Proxy settings: in the process's environment, but not in the cache key's sense of the image."""

    http_proxy: str = ""
    https_proxy: str = ""
    ftp_proxy: str = ""
    no_proxy: str = ""
    all_proxy: str = ""


@dataclass(frozen=True, slots=True)
class Meta:
    """The process of an exec op."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    proxy_env: ProxyEnv | None = None
    extra_hosts: tuple[HostIP, ...] = ()
    hostname: str = ""
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str = ""
    remove_mount_stubs_recursive: bool = False
    valid_exit_codes: tuple[int, ...] = ()

    def with_env(self, env: tuple[str, ...]) -> Meta:
        """As `dataclasses.replace`, which takes several times as long."""
        return Meta(
            self.args,
            env,
            self.cwd,
            self.user,
            self.proxy_env,
            self.extra_hosts,
            self.hostname,
            self.ulimits,
            self.cgroup_parent,
            self.remove_mount_stubs_recursive,
            self.valid_exit_codes,
        )


@dataclass(frozen=True, slots=True)
class CacheOpt:
    id: str
    sharing: CacheSharing = CacheSharing.SHARED


@dataclass(frozen=True, slots=True)
class SecretOpt:
    """Also used for SSH sockets. `mode` are permission bits."""

    id: str
    uid: int = 0
    gid: int = 0
    mode: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of an exec op; the one at `/` is the root file system."""

    dest: str
    input: int = 0
    selector: str = ""
    output: int = 0
    readonly: bool = False
    type: MountType = MountType.BIND
    tmpfs_size: int | None = None
    """Not None writes a TmpfsOpt; 0: no limit."""
    cache: CacheOpt | None = None
    secret: SecretOpt | None = None
    ssh: SecretOpt | None = None
    result_id: str = ""
    content_cache: int = 0


@dataclass(frozen=True, slots=True)
class SecretEnv:
    """A variable that holds a secret."""

    id: str
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class CDIDevice:
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ExecOp:
    """Runs a process."""

    meta: Meta
    mounts: tuple[Mount, ...]
    network: NetMode = NetMode.SANDBOX
    security: SecurityMode = SecurityMode.SANDBOX
    secret_env: tuple[SecretEnv, ...] = ()
    cdi_devices: tuple[CDIDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceOp:
    """A root of the graph: `docker-image://…`, `local://…`, `git://…`, `https://…`, `oci-layout://…`."""

    identifier: str
    attrs: FrozenMap[str, str] = field(default_factory=FrozenMap)

    @property
    def scheme(self) -> str:
        return self.identifier.partition("://")[0]


@dataclass(frozen=True, slots=True)
class UserOpt:
    """A user or group: by number, or by name as found in the input `input`."""

    id: int | None = None
    name: str = ""
    input: int = NONE


@dataclass(frozen=True, slots=True)
class ChownOpt:
    user: UserOpt | None = None
    group: UserOpt | None = None


@dataclass(frozen=True, slots=True)
class CopyAction:
    """Copies from `FileAction.secondary_input` onto `FileAction.input`. `mode`/`timestamp` -1: keep."""

    src: str
    dest: str
    owner: ChownOpt | None = None
    mode: int = -1
    follow_symlink: bool = False
    dir_copy_contents: bool = False
    attempt_unpack: bool = False
    create_dest_path: bool = False
    allow_wildcard: bool = False
    allow_empty_wildcard: bool = False
    timestamp: int = -1
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    always_replace: bool = False
    mode_str: str = ""
    required_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MkFileAction:
    """Makes a file. `timestamp` in nanoseconds; -1: the time of the build."""

    path: str
    mode: int
    data: bytes = b""
    owner: ChownOpt | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True)
class MkDirAction:
    path: str
    mode: int
    make_parents: bool = False
    owner: ChownOpt | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True)
class RmAction:
    path: str
    allow_not_found: bool = False
    allow_wildcard: bool = False


@dataclass(frozen=True, slots=True)
class SymlinkAction:
    oldpath: str
    newpath: str
    owner: ChownOpt | None = None
    timestamp: int = -1


Action = CopyAction | MkFileAction | MkDirAction | RmAction | SymlinkAction


@dataclass(frozen=True, slots=True)
class FileAction:
    """One action of a file op. An input number ≥ the number of the op's inputs is the result of an earlier
    action (number of inputs + its place). `output` -1: the result is only for later actions."""

    action: Action
    input: int = NONE
    secondary_input: int = NONE
    output: int = 0


@dataclass(frozen=True, slots=True)
class FileOp:
    """A list of changes to file trees, made without a container."""

    actions: tuple[FileAction, ...]


@dataclass(frozen=True, slots=True)
class MergeOp:
    """Trees laid over each other, the last on top."""

    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DiffOp:
    """What `upper` has more or less than `lower`; -1 is the empty tree."""

    lower: int
    upper: int


Op = ExecOp | SourceOp | FileOp | MergeOp | DiffOp


@dataclass(frozen=True, slots=True)
class ProgressGroup:
    """Vertexes shown as one line. The id is arbitrary and never part of a key."""

    id: str
    name: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class LinuxResources:
    """cgroup limits of a step; bytes, microseconds. Never part of a key."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""


@dataclass(frozen=True, slots=True)
class OpMetadata:
    """What is said about a vertex without changing its digest."""

    ignore_cache: bool = False
    description: FrozenMap[str, str] = field(default_factory=FrozenMap)
    export_cache: bool | None = None
    caps: frozenset[str] = frozenset()
    progress_group: ProgressGroup | None = None
    linux_resources: LinuxResources | None = None

    @property
    def name(self) -> str:
        """The line that displays show (`[build 2/4] RUN make`)."""
        return redacted_text(self.description.get("llb.customname", ""))

    def merged(self, other: OpMetadata) -> OpMetadata:
        """What both say; where they contradict each other, what `other` says."""
        return OpMetadata(
            self.ignore_cache or other.ignore_cache,
            FrozenMap({**self.description, **other.description}),
            self.export_cache if other.export_cache is None else other.export_cache,
            self.caps | other.caps,
            other.progress_group or self.progress_group,
            other.linux_resources or self.linux_resources,
        )
