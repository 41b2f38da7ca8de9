"""The OCI runtime configuration of a step: what BuildKit gives its containers, written as the runtime spec 1.0 has it.

Values (capabilities, masked paths, mounts and their options) are containerd's defaults for Linux, which BuildKit uses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bakepy.llb.op import Ulimit
from bakepy.model.value import dataclass
from bakepy.snapshot.usernamespace import has_group
from bakepy.worker.seccomp import profile_json
from bakepy.worker.seccomp_bpf import ANNOTATION, compiled
from bakepy.worker.users import ProcessUser

if TYPE_CHECKING:
    from bakepy.worker.cdi import Edits

HOSTNAME = "buildkitsandbox"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)

# linux/capability.h, in the order of their numbers
_ALL = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
    "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
    "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
    "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
    "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
    "checkpoint_restore",
)  # fmt: skip
_CAPABILITY_BITS = {f"CAP_{name.upper()}": bit for bit, name in enumerate(_ALL)}

_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_TERMINALS = 5
"""The group `tty` of every distribution."""

_ULIMITS = (
    "as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
    "rtprio", "rttime", "sigpending", "stack",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContainerMount:
    """One mount of the runtime configuration."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "destination": self.destination,
            "type": self.type,
            "source": self.source,
            "options": list(self.options),
        }


@dataclass(frozen=True, slots=True)
class Container:
    """All that is said about one container. `cgroup` None: no cgroup of its own. `cgroup_mount`: show the container
    its cgroups at /sys/fs/cgroup; `cgroup_namespace`: only from its own down; `cgroup_bind`:
    as the machine has them mounted."""

    rootfs: Path
    args: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: ProcessUser
    hostname: str
    hosts: Path
    resolv_conf: Path
    mounts: tuple[ContainerMount, ...] = ()
    own_network: bool = False
    network_namespace: Path | None = None
    insecure: bool = False
    compiled_seccomp: Path | None = None
    """Hand the filter over compiled, as crun takes it; the folder keeps it for the next run."""
    readonly_root: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    devices: Path | None = None
    """A folder that is to be /dev, if the runtime shall not make one."""
    bound_devices: tuple[str, ...] = ()
    """Those of the machine's devices that are missing there."""
    edits: Edits | None = None
    """What registered devices change in the configuration."""
    cgroup: str | None = None
    cgroup_namespace: bool = False
    cgroup_bind: bool = False
    resources: dict[str, Any] = field(default_factory=dict)
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    restricted: bool = False
    """The runtime is root of a user namespace only."""

    def config(self) -> bytes:
        """The bytes of config.json."""
        linux = self._linux()
        # The filter is nine tenths of the text and nearly always the same: it is kept as text.
        seccomp, annotations = "", {}
        if not self.insecure:
            profile = profile_json(frozenset(self.capabilities))
            program = compiled(profile, self.compiled_seccomp) if self.compiled_seccomp else None
            if program is not None:
                annotations[ANNOTATION] = program
            else:
                seccomp = ',"seccomp":' + profile
        config: dict[str, Any] = {
            "ociVersion": "1.0.2",
            "process": self._process(),
            "root": {"path": str(self.rootfs), "readonly": self.readonly_root},
            "hostname": self.hostname,
            "mounts": [mount.to_json() for mount in self._mounts()],
            "annotations": annotations,
            "linux": linux,
        }
        if self.edits is not None:
            self.edits.apply(config)
            config["linux"] = config.pop("linux")  # the last again: the filter is added to it
        if self.restricted:
            _keep_locked(config["mounts"])
        text = json.dumps(config, ensure_ascii=False, separators=(",", ":"))
        return (text[:-2] + seccomp + "}}").encode("utf-8", "surrogateescape")

    def _process(self) -> dict[str, Any]:
        capabilities = list(self.capabilities)
        process: dict[str, Any] = {
            "terminal": False,
            "user": {
                "uid": self.user.uid,
                "gid": self.user.gid,
                "umask": 0o022,
                "additionalGids": list(self.user.groups),
            },
            "args": list(self.args),
            "env": list(self.env),
            "cwd": self.cwd,
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
                "inheritable": [],
                "ambient": [],
            },
            "noNewPrivileges": False,
        }
        if self.ulimits:
            process["rlimits"] = [
                {"type": f"RLIMIT_{limit.name.upper()}", "soft": limit.soft, "hard": limit.hard}
                for limit in self.ulimits
            ]
        return process

    def _mounts(self) -> Sequence[ContainerMount]:
        quiet = ("nosuid", "noexec", "nodev")
        sys_mode = () if self.insecure else ("ro",)
        terminals = () if self.restricted and not has_group(_TERMINALS) else (f"gid={_TERMINALS}",)
        system = ContainerMount("/sys", "sysfs", "sysfs", (*quiet, *sys_mode))
        if self.restricted and not self.own_network and self.network_namespace is None:
            # sysfs shows the devices of a network, so only the user namespace that has the network may mount it
            system = ContainerMount("/sys", "bind", "/sys", ("rbind", *quiet, *sys_mode))
        mounts = [
            ContainerMount("/proc", "proc", "proc", quiet),
            *self._device_mounts(),
            ContainerMount(
                "/dev/pts",
                "devpts",
                "devpts",
                ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *terminals),
            ),
            ContainerMount("/dev/shm", "tmpfs", "shm", (*quiet, "mode=1777", "size=65536k")),
            ContainerMount("/dev/mqueue", "mqueue", "mqueue", quiet),
            system,
            ContainerMount("/etc/resolv.conf", "bind", str(self.resolv_conf), (*quiet, "rbind", "ro")),
            ContainerMount("/etc/hosts", "bind", str(self.hosts), (*quiet, "rbind", "ro")),
        ]
        if self.cgroup_bind:
            # a mount for each version 1 hierarchy would take longer than all else that the runtime does
            shown = () if self.insecure else ("rro",)
            mounts.append(ContainerMount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", ("rbind", *shown, *quiet)))
        elif self.cgroup is not None:
            mounts.append(ContainerMount("/sys/fs/cgroup", "cgroup", "cgroup", (*sys_mode, *quiet)))
        # one destination, one mount: what a step asks for replaces what every container has
        asked = {mount.destination for mount in self.mounts}
        return [*(mount for mount in mounts if mount.destination not in asked), *self.mounts]

    def _device_mounts(self) -> tuple[ContainerMount, ...]:
        options = ("nosuid", "strictatime")
        if self.devices is None:
            return (ContainerMount("/dev", "tmpfs", "tmpfs", (*options, "mode=755", "size=65536k")),)
        bound = (ContainerMount(f"/dev/{name}", "bind", f"/dev/{name}", ("rbind",)) for name in self.bound_devices)
        return (ContainerMount("/dev", "bind", str(self.devices), ("rbind", *options)), *bound)

    def _linux(self) -> dict[str, Any]:
        namespaces: list[dict[str, str]] = [{"type": name} for name in ("pid", "ipc", "uts", "mount")]
        if self.network_namespace is not None:
            namespaces.append({"type": "network", "path": str(self.network_namespace)})
        elif self.own_network:
            namespaces.append({"type": "network"})
        if self.cgroup_namespace:
            namespaces.append({"type": "cgroup"})
        linux: dict[str, Any] = {"namespaces": namespaces}
        if self.cgroup is not None:
            linux["cgroupsPath"] = self.cgroup
            linux["resources"] = {"devices": [{"allow": self.insecure, "access": "rwm"}], **self.resources}
        if not self.insecure:
            linux["maskedPaths"] = list(_MASKED)
            linux["readonlyPaths"] = list(_READONLY)
        return linux


def _keep_locked(mounts: list[dict[str, Any]]) -> None:
    """Writes down which flags a read-only bind has from the mount that it shows: in a user namespace they can not be
    taken away, and runc takes away what is not written."""
    for mount in mounts:
        if mount["type"] == "bind" and "ro" in mount["options"]:
            try:
                flags = os.statvfs(mount["source"]).f_flag
            except OSError:
                continue  # the runtime says what is wrong with it
            named = (("nosuid", os.ST_NOSUID), ("nodev", os.ST_NODEV), ("noexec", os.ST_NOEXEC))
            mount["options"] += [name for name, flag in named if flags & flag and name not in mount["options"]]


def all_capabilities() -> tuple[str, ...]:
    """Every capability that this process may pass on."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            bound = int(line.split()[1], 16)
            return tuple(name for name, bit in _CAPABILITY_BITS.items() if bound >> bit & 1)
    return DEFAULT_CAPABILITIES


def is_ulimit(name: str) -> bool:
    """Whether there is a resource limit of this name."""
    return name.lower() in _ULIMITS


def hosts_text(hostname: str, extra: Sequence[tuple[str, str]] = ()) -> str:
    """/etc/hosts of a container; `extra` are (host, address)."""
    lines = [f"127.0.0.1\tlocalhost {hostname}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    return "".join(f"{line}\n" for line in (*lines, *(f"{address}\t{host}" for host, address in extra)))
