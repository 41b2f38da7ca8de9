"""RUN: the process, its mounts, and its line in the history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address

from bakepy.dockerfile import paths
from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.expansion import Lexer
from bakepy.dockerfile.heredoc import find_heredoc
from bakepy.dockerfile.instructions import Run
from bakepy.dockerfile.lower import step
from bakepy.dockerfile.lower.image import COMMENT, UNIX_PATH, created_at, default_shell
from bakepy.dockerfile.lower.names import INTERNAL, first_line, next_step, shown, step_name
from bakepy.dockerfile.lower.node import ExecForm, ExecNode, FileForm, FileNode, MountPlan, Node
from bakepy.dockerfile.lower.scope import Scope
from bakepy.dockerfile.lower.sources import description
from bakepy.dockerfile.lower.state import Command, StageState
from bakepy.dockerfile.lower.step import Origin, Step
from bakepy.dockerfile.mounts import MountOptions, parse_device, parse_mount
from bakepy.dockerfile.outline import NeedNote, OutlineNotes
from bakepy.dockerfile.text import quote
from bakepy.llb.op import (
    NONE,
    CacheOpt,
    CacheSharing,
    CDIDevice,
    ChownOpt,
    Meta,
    MkDirAction,
    MkFileAction,
    Mount,
    MountType,
    NetMode,
    OpMetadata,
    SecretEnv,
    SecretOpt,
    SecurityMode,
    UserOpt,
)
from bakepy.model.image_config import HistoryEntry

_SHARING = {"": CacheSharing.SHARED, "shared": CacheSharing.SHARED, "private": CacheSharing.PRIVATE,
            "locked": CacheSharing.LOCKED}  # fmt: skip
_PIPES = "/dev/pipes/"


class _Mounts:
    """Collects the mounts of one RUN."""

    def __init__(self, stage: StageState, scope: Scope) -> None:
        self.stage, self.scope = stage, scope
        self.plans: list[tuple[MountPlan, Origin]] = [(MountPlan("/"), step.base)]
        self.secrets: list[Mount] = []
        self.sockets: list[Mount] = []
        self.secret_env: list[SecretEnv] = []
        self.socket_env: tuple[str, ...] = ()
        self.caps: set[str] = set()
        self.notes = OutlineNotes()
        self.context_paths: list[str] = []
        self.reads: list[tuple[StageState, str]] = []

    def add(self, mount: MountOptions, source: StageState, location: Location) -> None:
        if not mount.stage and mount.type == "cache":
            mount.stage = "scratch"
        tree: Origin = step.context
        if mount.stage:
            if self.scope.source(source) is None:
                raise DockerfileError(
                    f"cannot mount from stage {quote(mount.stage)} to {quote(mount.target)}, "
                    "stage needs to be defined before current command",
                    hint="a stage can only use stages above it",
                )
            tree = step.result(source)
        match mount.type:
            case "secret":
                self.secret(mount, location)
                return
            case "ssh":
                self.socket(mount, location)
                return
            case "tmpfs":
                tree = step.fixed(None)
        target = mount.target
        if not target.startswith("/"):
            target = paths.join("/", self.stage.dir, target)
        if target == "/":
            raise DockerfileError('invalid mount target "/"', hint="give it a target=/PATH")
        selector = paths.join("/", mount.source)
        if selector == "/":
            selector = ""
            if mount.has_owner:
                tree = _owned_directory(mount, tree)
                selector = "/cache"
        plan = MountPlan(
            target,
            selector,
            bool(mount.readonly),
            no_output=mount.type == "bind"
            and not mount.readonly
            and self.scope.supports("exec.mount.bind.readwrite-nooutput"),
            cache=self.cache(mount) if mount.type == "cache" else None,
            tmpfs_size=mount.size if mount.type == "tmpfs" else None,
        )
        self.plans.append((plan, tree))
        read = paths.join("/", mount.source)
        if mount.stage:
            self.reads.append((source, read))
        else:
            self.context_paths.append(read)

    def cache(self, mount: MountOptions) -> CacheOpt:
        name = mount.id or paths.clean(mount.target)
        return CacheOpt(f"{self.scope.options.cache_namespace}/{name}", _SHARING[mount.sharing])

    def secret(self, mount: MountOptions, location: Location) -> None:
        name = mount.source or mount.id
        if not name:
            name = paths.base(mount.target)
        self.notes.secrets.setdefault(name, NeedNote(mount.required, location))
        if mount.env is not None:
            self.secret_env.append(SecretEnv(name, mount.env, not mount.required))
            self.caps.add("exec.secretenv")
        dest = mount.target or ("" if mount.env is not None else f"/run/secrets/{paths.base(name)}")
        if dest:
            option = SecretOpt(name, *_owner(mount, 0o400), optional=not mount.required)
            self.secrets.append(Mount(dest, NONE, type=MountType.SECRET, secret=option))
        self.caps.add("exec.mount.secret")

    def socket(self, mount: MountOptions, location: Location) -> None:
        if mount.source:
            raise DockerfileError("ssh does not support source")
        self.notes.ssh.setdefault(mount.id or "default", NeedNote(mount.required, location))
        dest = mount.target or f"/run/buildkit/ssh_agent.{len(self.sockets)}"
        option = SecretOpt(mount.id, *_owner(mount, 0o600), optional=not mount.required)
        if not self.sockets and "SSH_AUTH_SOCK" not in self.stage.env:
            self.socket_env = (f"SSH_AUTH_SOCK={dest}",)
        self.sockets.append(Mount(dest, NONE, type=MountType.SSH, ssh=option))
        self.caps.add("exec.mount.ssh")

    def noted(self) -> Callable[[StageState], None] | None:
        """Tells a stage what the mounts need; None if they need nothing."""
        context_paths, reads, secrets, sockets = self.context_paths, self.reads, self.notes.secrets, self.notes.ssh
        if not (context_paths or reads or secrets or sockets):
            return None

        def note(stage: StageState) -> None:
            stage.context_paths.update(context_paths)
            for source, path in reads:
                stage.reads.setdefault(source, set()).add(path)
            for kind, needs in ((stage.notes.secrets, secrets), (stage.notes.ssh, sockets)):
                for name, need in needs.items():
                    kind.setdefault(name, need)

        return note

    def sorted(self) -> tuple[tuple[MountPlan, Origin], ...]:
        for plan, _ in self.plans:
            if plan.selector:
                self.caps.add("exec.mount.selector")
            if plan.cache:
                self.caps |= {"exec.mount.cache", "exec.mount.cache.sharing"}
            elif plan.tmpfs_size is not None:
                self.caps |= {"exec.mount.tmpfs"} | ({"exec.mount.tmpfs.size"} if plan.tmpfs_size > 0 else set())
        return tuple(sorted(self.plans, key=lambda plan: plan[0].dest.encode("utf-8", "surrogateescape")))


def _owner(mount: MountOptions, mode: int) -> tuple[int, int, int]:
    """uid, gid and mode of a secret or socket."""
    return mount.uid or 0, mount.gid or 0, mode if mount.mode is None else mount.mode


def _owned_directory(mount: MountOptions, tree: Origin) -> Origin:
    """A directory /cache with the owner and mode that a cache mount asks for."""
    owner = ChownOpt(UserOpt(mount.uid or 0), UserOpt(mount.gid or 0))
    mode = 0o755 if mount.mode is None else mount.mode & 0o777
    form = FileForm(
        OpMetadata(
            description=description(INTERNAL + "setting cache mount permissions"), caps=frozenset({"file.base"})
        ),
        (),
        (MkDirAction("/cache", mode, owner=owner),),
    )
    return lambda stage, scope: FileNode((tree(stage, scope), None), form)


def read_run(stage: StageState, command: Command, run: Run, scope: Scope, checker: Checker) -> Step:
    """Raises DockerfileError without a place."""
    options = scope.options

    def expand(text: str) -> str:
        return scope.expand(stage, text, command.location, checker)

    given = [parse_mount(text, expand) for text in run.mounts]
    name = run.code
    args, script, summary = _arguments(run, stage.image.os)
    name += summary
    mounts = _Mounts(stage, scope)
    if script is not None:
        mounts.plans.append((MountPlan(_PIPES, "/", readonly=True), step.fixed(script)))
    if run.command.shell:
        args = (*(stage.image.shell or default_shell(stage.image.os)), " ".join(args))
    for mount, source, text in zip(given, command.sources, run.mounts, strict=True):
        try:
            mounts.add(mount, source, command.location)
        except DockerfileError as error:
            raise error.about(text) from error.__cause__
    network = {"none": NetMode.NONE, "host": NetMode.HOST}.get(run.network, stage.network)
    security = SecurityMode.INSECURE if run.security == "insecure" else SecurityMode.SANDBOX
    devices: tuple[CDIDevice, ...] = ()
    if run.devices and scope.supports("exec.meta.cdi"):  # else they are not looked at
        if not options.labs:
            raise DockerfileError(
                "device feature is only supported in Dockerfile frontend 1.14.0-labs or later",
                part="--device",
                hint="# syntax=docker/dockerfile:1-labs",
            )
        devices = _devices(run)
    platform = stage.state_platform or scope.target_platform
    shown_env: Mapping[str, str] = stage.env
    masked = {mount.env: "****" for mount in given if mount.type == "secret" and mount.env is not None}
    if masked:
        shown_env = {**stage.env, **masked}
    lexer = Lexer(scope.lexer.escape, raw_quotes=True, keep_unset=True)
    number = next_step(stage)
    label = step_name(
        stage,
        shown(lexer, name, shown_env),
        stage.state_platform if options.multi_platform else None,
        stage.env,
        number,
    )
    if options.shm_size > 0 and scope.supports("exec.mount.tmpfs.size"):
        mounts.plans.append((MountPlan("/dev/shm", tmpfs_size=options.shm_size), step.fixed(None)))
    plans = mounts.sorted()
    caps = mounts.caps | {"exec.meta.base"}
    extra_env = mounts.socket_env
    if scope.supports("exec.meta.setsdefaultpath"):
        caps.add("exec.meta.setsdefaultpath")
    elif "PATH" not in stage.env and scope.target_platform.os != "windows":
        extra_env = (*extra_env, f"PATH={UNIX_PATH}")
    ulimits = options.ulimits if scope.supports("exec.meta.ulimit") else ()
    resources = options.resources if scope.supports("exec.meta.linux.resources") else None
    for wanted, cap in (
        (ulimits, "exec.meta.ulimit"),
        (resources, "exec.meta.linux.resources"),
        (network, "exec.meta.network"),
        (security, "exec.meta.security"),
        (scope.proxy, "exec.meta.proxyenv"),
        (devices, "exec.meta.cdi"),
    ):
        if wanted:
            caps.add(cap)
    form = ExecForm(
        OpMetadata(
            ignore_cache=stage.ignore_cache,
            description=description(label, run.code),
            caps=frozenset(caps),
            linux_resources=resources,
        ),
        (command.location,),
        platform,
        Meta(
            args,
            extra_env,
            stage.dir,
            stage.user,
            scope.proxy,
            options.extra_hosts,
            stage.hostname,
            ulimits,
            options.cgroup_parent if scope.supports("exec.meta.cgroup.parent") else "",
            remove_mount_stubs_recursive=True,
        ),
        tuple(plan for plan, _ in plans),
        (*mounts.secrets, *mounts.sockets),
        network,
        security,
        tuple(mounts.secret_env),
        devices,
    )
    origins = [origin for _, origin in plans]
    note = mounts.noted()
    created, text = created_at(scope.epoch), " ".join(args) + " # buildkit"

    alone = len(origins) == 1  # there is nothing but the tree of the stage
    plain = HistoryEntry(created, f"RUN {text}", comment=COMMENT)

    def take(stage: StageState, scope: Scope) -> None:
        variables = stage.env.variables()
        trees = (stage.node,) if alone else tuple([origin(stage, scope) for origin in origins])
        stage.node = ExecNode(trees, form, variables)
        stage.step = number
        stage.reads_itself = True
        if note is not None:
            note(stage)
        if given := variables.arguments:
            scope.room -= len(given) + len(text)
            if scope.room < 0:
                scope.spend(0)
            stage.image.history.append((created, given, text))
        else:
            stage.image.history.append(plain)

    return take


def _arguments(run: Run, os: str) -> tuple[tuple[str, ...], Node | None, str]:
    """Arguments, the script to mount if there is one, and what is added to the name."""
    command = run.command
    documents = command.documents
    if not documents:
        return command.args, None, ""
    line = command.args[0] if command.args else ""
    if find_heredoc(line) is None:
        text = line + "".join(f"\n{doc.content}{doc.name}" for doc in documents)
        return (text,), None, ""
    summary = f" ({first_line(documents[0].content)})"
    text = documents[0].text
    if os == "windows" or not text.startswith("#!"):
        return (text,), None, summary
    name = documents[0].name
    script = FileNode.of(
        OpMetadata(description=description(INTERNAL + "preparing inline document"), caps=frozenset({"file.base"})),
        None,
        MkFileAction(paths.in_op(name), 0o755, text.encode("utf-8", "surrogateescape")),
    )
    return (paths.join(_PIPES, name),), script, summary


def _devices(run: Run) -> tuple[CDIDevice, ...]:
    found = (parse_device(text) for text in run.devices)
    return tuple(CDIDevice(name, not required) for name, required in found)


def canonical_ip(text: str) -> str:
    """As Go prints it: IPv4 addresses in IPv6 clothes as IPv4. Raises ValueError, also for zones (`fe80::1%eth0`)."""
    if "%" in text:
        raise ValueError(f"the address {text} has a zone")
    address = ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
