"""Exec ops: one process in a container on top of the inputs' trees, as BuildKit runs it.

A step costs two hops to a thread (start, finish) besides what the runtime itself takes: the event loop only waits for
the process and passes its output on.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from bakepy.errors import BuildError, EngineError, ProcessError, disk_hint
from bakepy.llb.op import ExecOp, LinuxResources, NetMode, SecurityMode
from bakepy.model.platform import Platform
from bakepy.model.quoted import quote
from bakepy.model.value import dataclass
from bakepy.snapshot import syscalls
from bakepy.snapshot.rootpath import make_directories, read_text
from bakepy.snapshot.tree import remove_tree
from bakepy.worker.cgroups import LIMITS
from bakepy.worker.context import NETWORK_HOST, SECURITY_INSECURE, ExecContext
from bakepy.worker.emulation import check_runnable
from bakepy.worker.launcher import end
from bakepy.worker.mounts import StepMounts, missing_secret
from bakepy.worker.oci import DEFAULT_CAPABILITIES, HOSTNAME, PATH, Container, all_capabilities, hosts_text, is_ulimit
from bakepy.worker.oomcount import INSIDE, OomCount
from bakepy.worker.ref import Ref, TreeRef
from bakepy.worker.runtime import ContainerProcess, explain
from bakepy.worker.stubs import Stubs
from bakepy.worker.users import find_user

if TYPE_CHECKING:
    from bakepy.worker.cdi import Edits

Log = Callable[[int, bytes], None]

OUT_OF_MEMORY = "the kernel killed a process for lack of memory while this step ran"
OVER_LIMIT = "the kernel killed a process of this step at the step's memory limit"

NO_PROGRAMS = (
    "the state root is on a file system that is mounted noexec, and trees are copies there: no step can run;"
    " choose another with --root or BAKEPY_ROOT"
)

TOO_HIGH = "only root can raise limits above the machine's own (ulimit -H): --ulimit"

_FULL_BYTES = 1 << 20
"""A disk with less room is full: what failed to be written may have been a bit more than what there is."""

_TAIL_LINES = 10
_TAIL_BYTES = 8192


async def run_exec(
    op: ExecOp,
    inputs: Sequence[Ref],
    result_id: str,
    *,
    context: ExecContext,
    platform: Platform,
    log: Log,
    resources: LinuxResources | None = None,
) -> Sequence[Ref]:
    """Runs the process and returns one ref for each output, in their order.

    Output 0 has the id `result_id`, output N `result_id#N`. `log` is called from the event loop with the stream (1
    or 2) and the bytes. Raises ProcessError if the process fails, BuildError for what is wrong with the step,
    EngineError if containers can not be run. When it is cancelled the container is gone and nothing stays mounted.
    """
    _check(op, context, platform)
    tail = _Tail(log)
    async with AsyncExitStack() as stack:
        mounts = StepMounts(op, inputs, context)
        await mounts.acquire(stack)
        step = _Step(op, result_id, context, mounts, resources)
        try:
            process = await anyio.to_thread.run_sync(step.start)
            for note in step.notes:
                log(2, f"bakepy: {note}\n".encode())
            status = await process.wait(tail.add)
            return await anyio.to_thread.run_sync(step.finish, status, process, tail)
        except OSError as error:
            # a full disk, a state root that went away: nothing that the step did
            place = f" ({error.filename})" if error.filename else ""
            raise EngineError(
                f"the step can not be run here: {error.strerror}{place}", hint=disk_hint(error.errno)
            ) from error
        finally:
            if not step.closed:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(step.close)


def _check(op: ExecOp, context: ExecContext, platform: Platform) -> None:
    """What needs no look at any tree."""
    if op.network is NetMode.HOST and NETWORK_HOST not in context.entitlements:
        raise BuildError("network.host is not allowed", hint="allow it with --allow network.host")
    if op.security is SecurityMode.INSECURE and SECURITY_INSECURE not in context.entitlements:
        raise BuildError("security.insecure is not allowed", hint="allow it with --allow security.insecure")
    if op.security is SecurityMode.INSECURE and context.restricted:
        raise EngineError("security.insecure needs bakepy to run as root: an ordinary user has no rights to pass on")
    for limit in op.meta.ulimits:
        if not is_ulimit(limit.name):
            raise BuildError(f"invalid ulimit type: {limit.name}")
    check_runnable(platform, context.host, context.foreign)


@dataclass(slots=True)
class _Step:
    """One run, as the threads see it. `held` is all that has to be given back, in order."""

    op: ExecOp
    result_id: str
    context: ExecContext
    mounts: StepMounts
    resources: LinuxResources | None
    held: ExitStack = field(default_factory=ExitStack)
    closed: bool = False
    files: Path | None = None
    stubs: Stubs | None = None
    notes: list[str] = field(default_factory=list)
    kills: int = 0
    oom: OomCount | None = None
    edits: Edits | None = None

    def start(self) -> ContainerProcess:
        """Mounts, takes a runtime and gives it the configuration. What was made is held even if it raises."""
        limits, lost = _limits(self.resources, self.context)
        if lost:
            self.notes.append(f"no limit of {' and '.join(lost)}: cgroups do not allow it here (bakepy doctor)")
        self.edits = self._device_edits()
        has_nodes = self.edits is not None and self.edits.has_nodes
        own_cgroup = bool(limits) or has_nodes or self.op.security is SecurityMode.INSECURE
        claimed = self.context.launcher.claim(own_cgroup=own_cgroup)
        self.held.callback(end, claimed)
        self.mounts.build(self._files, self.held)
        if self.mounts.root is None:
            raise BuildError("no root mount")
        rootfs = self.mounts.root.path
        process = claimed.result()
        memory = limits.get("memory")
        if memory and (count := OomCount.begin(self.context.cgroups, self.context.token, process.id, memory)):
            self.oom = count
            self.held.callback(count.close)
            limits["memory"] = count.inner(memory)
        self.held.callback(process.abandon)
        inherits = self.context.launcher.shared is not None and not own_cgroup
        cgroup = "" if inherits else f"{self.context.cgroups.parent(self.context.token)}/{process.id}"
        if self.oom is not None:
            cgroup += f"/{INSIDE}"
        container = self._container(rootfs, cgroup, limits)
        parents = self.op.meta.remove_mount_stubs_recursive
        try:
            self.stubs = Stubs.make(rootfs, self.mounts.mounts, parents=parents)
        except (NotADirectoryError, BuildError) as error:
            raise self._no_place(error, rootfs) from error
        make_directories(rootfs, container.cwd, uid=container.user.uid, gid=container.user.gid)
        self.kills = _kernel_kills()
        process.start(container.config())
        self.context.launcher.prepare()
        return process

    def _device_edits(self) -> Edits | None:
        """What the registered devices that the step asks for change; None if it gets none."""
        if not self.op.cdi_devices:
            return None
        from bakepy.worker import cdi  # late: hardly a step asks for one

        devices = cdi.registered(self.context.device_folders)
        found = cdi.chosen(self.op.cdi_devices, self.context.entitlements, devices)
        if not found:
            names = ", ".join(device.name for device in self.op.cdi_devices)
            self.notes.append(f"no device {names}: it is not registered, and not required")
            return None
        edits = cdi.Edits.of(found)
        if edits.has_nodes and self.context.restricted:
            raise EngineError("device nodes need bakepy to run as root: an ordinary user has no rights to pass on")
        return edits

    def finish(self, status: int, process: ContainerProcess, tail: _Tail) -> Sequence[Ref]:
        """Keeps the trees and gives back the rest, or raises ProcessError for a status that is not allowed."""
        if status < 0:
            raise self._runtime_killed(-status)
        if status not in (self.op.meta.valid_exit_codes or (0,)):
            raise self._failure(status, process, tail)
        if self.stubs is not None:
            self.stubs.remove()
        refs: dict[int, Ref] = dict(self.mounts.passed)
        for number, active in self.mounts.trees.items():
            id = self.result_id if number == 0 else f"{self.result_id}#{number}"
            refs[number] = TreeRef(id, active.commit_now(id).id)
        self.close()
        return [refs[number] for number in sorted(refs)]

    def close(self) -> None:
        """Gives back what is held; blocks."""
        self.closed = True
        self.held.close()

    def _files(self) -> Path:
        """A folder in memory for what only this step has."""
        if self.files is None:
            self.files = self.context.volatile / f"{self.context.new_id()}-files"
            self.files.mkdir(mode=0o700)
            self.held.callback(remove_tree, self.files)
        return self.files

    def _container(self, rootfs: Path, cgroup: str, limits: dict[str, Any]) -> Container:
        op, context, meta = self.op, self.context, self.op.meta
        user = find_user(meta.user, read_text(rootfs, "/etc/passwd"), read_text(rootfs, "/etc/group"))
        insecure = op.security is SecurityMode.INSECURE
        # nodes are made by the runtime, in a /dev of its own making
        nodes = self.edits is not None and self.edits.has_nodes
        network: Path | None = None
        if op.network is NetMode.SANDBOX:
            network = self.held.enter_context(context.sandboxes.lend(altered=insecure))
            if network is None and context.sandboxes.complaint:
                self.notes.append(f"no sandbox network ({context.sandboxes.complaint}): the machine's is used")
        return Container(
            rootfs=rootfs,
            args=meta.args,
            env=self._environment(user.home),
            cwd=meta.cwd or "/",
            user=user,
            hostname=meta.hostname or HOSTNAME,
            hosts=self._hosts(),
            resolv_conf=context.sandbox_resolv_conf if network else context.resolv_conf,
            mounts=tuple(self.mounts.mounts),
            own_network=op.network is NetMode.NONE,
            network_namespace=network,
            insecure=insecure,
            compiled_seccomp=context.root / "seccomp" if context.runtime.name == "crun" else None,
            readonly_root=any(mount.dest == "/" and mount.readonly for mount in op.mounts),
            ulimits=meta.ulimits,
            devices=self.held.enter_context(context.devices.lend()) if context.devices and not nodes else None,
            bound_devices=context.devices.bound if context.devices and not nodes else (),
            edits=self.edits,
            cgroup=cgroup if cgroup and context.runtime.cgroups else None,
            cgroup_namespace=context.runtime.cgroups and context.cgroups.kind == "unified",
            # read-only with all below it: mount_setattr(2)
            cgroup_bind=context.runtime.cgroups and context.cgroups.kind != "unified" and syscalls.kernel() >= (5, 12),
            resources=limits,
            capabilities=self._capabilities(insecure),
            restricted=context.restricted,
        )

    def _capabilities(self, insecure: bool) -> tuple[str, ...]:
        if insecure:
            return all_capabilities()
        if self.context.runtime.cgroups or self.context.restricted:
            return DEFAULT_CAPABILITIES
        # a device made by the step could be opened: only cgroups or a user namespace deny that
        return tuple(name for name in DEFAULT_CAPABILITIES if name != "CAP_MKNOD")

    def _environment(self, home: str) -> tuple[str, ...]:
        meta = self.op.meta
        if any("\0" in text for text in (*meta.args, *meta.env)):
            # runc refuses it, others pass on what comes before
            raise self._failed(1, ["invalid argument or environment variable: it has a NUL byte"])
        env = list(meta.env)
        if proxy := meta.proxy_env:
            for name, value in (
                ("http_proxy", proxy.http_proxy),
                ("https_proxy", proxy.https_proxy),
                ("ftp_proxy", proxy.ftp_proxy),
                ("no_proxy", proxy.no_proxy),
                ("all_proxy", proxy.all_proxy),
            ):
                if value:
                    env += [f"{name.upper()}={value}", f"{name}={value}"]
        names = {entry.partition("=")[0] for entry in env}
        if "PATH" not in names:
            env.append(f"PATH={PATH}")
        if "HOME" not in names or "HOME=" in env:
            env = [*(entry for entry in env if entry != "HOME="), f"HOME={home}"]
        for secret in self.op.secret_env:
            if not secret.name:
                # runc refuses it, others do not
                raise self._failed(1, ["invalid environment variable: name cannot be empty"])
            data = self.context.secrets.get(secret.id)
            if data is None and not secret.optional:
                raise missing_secret(secret.id)
            env.append(f"{secret.name}={(data or b'').decode(errors='surrogateescape')}")
        return tuple(env)

    def _hosts(self) -> Path:
        meta = self.op.meta
        if not meta.extra_hosts and meta.hostname in ("", HOSTNAME):
            return self.context.hosts
        path = self._files() / "hosts"
        path.write_text(hosts_text(meta.hostname or HOSTNAME, [(entry.host, entry.ip) for entry in meta.extra_hosts]))
        path.chmod(0o644)
        return path

    def _disk_is_full(self) -> bool:
        """Whether what the step wrote last may have had no room: programs tell that in their own words, if at all."""
        facts = os.statvfs(self.context.root)
        return facts.f_bavail * facts.f_frsize < _FULL_BYTES or (facts.f_files > 0 and facts.f_favail == 0)

    def _runtime_killed(self, number: int) -> EngineError:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return EngineError(
            f"{self.context.runtime.name} was killed ({name}) while process"
            f" {quote(' '.join(self.op.meta.args))} ran, which was ended with it",
            hint=OUT_OF_MEMORY if _kernel_kills() > self.kills else "",  # the runtime is in no cgroup of the step
        )

    def _no_place(self, error: NotADirectoryError | BuildError, rootfs: Path) -> ProcessError:
        """A file or a circle of symlinks is in the way of a mount: for BuildKit that is a process that failed, because
        it has the runtime make the place."""
        why = error.what if isinstance(error, BuildError) else f"{error.filename}: not a directory"
        return self._failed(1, [f"no place to mount on: {why.removeprefix(str(rootfs))}"])

    def _failure(self, status: int, process: ContainerProcess, tail: _Tail) -> ProcessError:
        detail = tail.lines()
        complaint = process.complaint()
        if complaint:
            # crun says it on stderr as well
            detail = [line for line in detail if line.strip() != complaint]
            reason = explain(complaint, self.op.meta.args[0] if self.op.meta.args else "")
            detail.append(f"{self.context.runtime.name}: unable to start container process: {reason}")
        hint = ""
        if status == 128 + 9 and self.oom is not None:
            hint = OVER_LIMIT if self.oom.killed() else ""
        elif status == 128 + 9 and _kernel_kills() > self.kills:
            hint = OUT_OF_MEMORY
        elif complaint and self.mounts.root and os.statvfs(self.mounts.root.path).f_flag & os.ST_NOEXEC:
            hint = NO_PROGRAMS
        elif complaint and "rlimit" in complaint and self.op.meta.ulimits:
            hint = TOO_HIGH
        elif self._disk_is_full():
            hint = disk_hint(errno.ENOSPC)
        return self._failed(status, detail, hint)

    def _failed(self, status: int, detail: Sequence[str], hint: str = "") -> ProcessError:
        process = quote(" ".join(self.op.meta.args))
        what = f"process {process} did not complete successfully: exit code: {status}"
        return ProcessError(what, status=status, hint=hint, detail=detail)


def _limits(resources: LinuxResources | None, context: ExecContext) -> tuple[dict[str, Any], list[str]]:
    """cgroup limits as the runtime spec has them, and the controllers of those that can not be set here."""
    if resources is None:
        return {}, []
    wanted: dict[str, dict[str, Any]] = {
        "memory": {"limit": resources.memory, "swap": resources.memory_swap},
        "cpu": {
            "shares": resources.cpu_shares,
            "period": resources.cpu_period,
            "quota": resources.cpu_quota,
            "cpus": resources.cpuset_cpus,
            "mems": resources.cpuset_mems,
        },
    }
    limits: dict[str, Any] = {}
    lost: dict[str, None] = {}
    for kind, values in wanted.items():
        for key, value in values.items():
            controller = LIMITS.get(key, kind)
            if value and context.runtime.cgroups and context.cgroups.can_limit(controller):
                limits.setdefault(kind, {})[key] = value
            elif value:
                lost[controller] = None
    return limits, list(lost)


def _kernel_kills() -> int:
    """How often the kernel has killed a process for lack of memory, on this machine and in any cgroup."""
    for line in Path("/proc/vmstat").read_text().splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


class _Tail:
    """Passes output on, and remembers the end of it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def add(self, stream: int, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        while self._size - len(self._chunks[0]) >= _TAIL_BYTES:
            self._size -= len(self._chunks.popleft())
        self._log(stream, data)

    def lines(self) -> list[str]:
        text = b"".join(self._chunks).decode(errors="replace")
        return text.splitlines()[-_TAIL_LINES:]
