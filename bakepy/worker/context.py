"""What running processes needs besides the step itself, opened once for a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

from bakepy.errors import EngineError
from bakepy.model.platform import Platform
from bakepy.model.value import dataclass
from bakepy.snapshot import syscalls, usernamespace
from bakepy.snapshot.store import SnapshotStore
from bakepy.worker.cachemounts import CacheMounts
from bakepy.worker.cgroups import Cgroups
from bakepy.worker.devices import DeviceFolders
from bakepy.worker.emulation import foreign_machines
from bakepy.worker.launcher import Launcher
from bakepy.worker.network import Sandboxes, sandbox_resolv
from bakepy.worker.oci import HOSTNAME, hosts_text
from bakepy.worker.runtime import Runtime, find_runtime

NETWORK_HOST = "network.host"
SECURITY_INSECURE = "security.insecure"


class Secrets(Protocol):
    """Values of secrets by id."""

    def get(self, id: str) -> bytes | None:
        """The value, None if there is no such secret. May block."""
        ...


class SshAgents(Protocol):
    """Sockets of SSH agents by id."""

    def socket(self, id: str) -> Path | None:
        """The socket of the agent that is lent as `id`, None if none is."""
        ...


class NoSecrets:
    """A caller that lends nothing."""

    def get(self, id: str) -> bytes | None:
        return None

    def socket(self, id: str) -> Path | None:
        return None


@dataclass(frozen=True, slots=True)
class ExecContext:
    """Everything `run_exec` uses. Made by `open_exec_context`.

    `volatile` is a folder in memory, for what must not reach a disk: bundles with secret values, secret files.
    `foreign` are the machines whose programs the kernel hands to an emulator. `devices`: makes /dev, where the runtime
    does not make what BuildKit's does. `device_folders`: where devices are registered, later ones win. `restricted`:
    the engine is root of a user namespace only.
    """

    snapshots: SnapshotStore
    runtime: Runtime
    root: Path
    volatile: Path
    cache_mounts: CacheMounts
    cgroups: Cgroups
    secrets: Secrets
    ssh: SshAgents
    resolv_conf: Path
    sandboxes: Sandboxes
    sandbox_resolv_conf: Path
    hosts: Path
    entitlements: frozenset[str]
    foreign: frozenset[str]
    host: Platform
    token: str
    numbers: Iterator[int]
    launcher: Launcher
    devices: DeviceFolders | None = None
    device_folders: tuple[Path, ...] = (Path("/etc/cdi"), Path("/var/run/cdi"))
    restricted: bool = False

    def new_id(self) -> str:
        """A container id that no other bakepy has."""
        return f"{self.token}-{next(self.numbers)}"


@contextmanager
def open_exec_context(
    root: Path,
    snapshots: SnapshotStore,
    *,
    host: Platform,
    secrets: Secrets | None = None,
    ssh: SshAgents | None = None,
    entitlements: frozenset[str] = frozenset(),
    environment: Mapping[str, str] | None = None,
    sandbox: bool = True,
) -> Iterator[ExecContext]:
    """Finds the runtime and prepares a folder in memory. Raises EngineError if containers can not be run here.

    `environment` is the caller's (PATH, BAKEPY_RUNTIME, BAKEPY_NETWORK). `sandbox`: a step that wants a network of its
    own comes first.
    """
    environment = os.environ if environment is None else environment
    cgroups = Cgroups.detect()
    runtime = find_runtime(cgroups, environment)
    cgroups.remove((*snapshots.scratch.swept, *cgroups.abandoned()))
    volatile = snapshots.scratch.new("run")
    try:
        syscalls.mount("tmpfs", volatile, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV)
    except PermissionError as error:
        # a container without the right, or AppArmor, which takes it from user namespaces of ordinary users
        raise EngineError(
            f"steps can not be run here: nothing may be mounted ({(error.strerror or '').lower()})",
            hint="bakepy doctor tells what forbids it; COPY and ADD alone need no mounts",
        ) from error
    volatile.chmod(0o711)  # a mode given to the mount is seen in containers, at each file that is bound there
    token = snapshots.scratch.token
    held = cgroups.hold(token)
    try:
        (volatile / "state").mkdir(mode=0o700)
        runtime = runtime.seal(volatile / "runtime")
        numbers = count(1)
        shared = cgroups.share(token) if runtime.waits and runtime.cgroups else None
        restricted = usernamespace.is_inside()
        devices = None
        if DeviceFolders.needed(runtime.name):
            devices = DeviceFolders(volatile / "devices", restricted=restricted)
        besides = devices.prepare if devices is not None else lambda: None
        with closing(Launcher(runtime, volatile, lambda: f"{token}-{next(numbers)}", shared, besides)) as launcher:
            launcher.prepare()  # the first move into a cgroup takes longest
            resolv_conf, hosts = volatile / "resolv.conf", volatile / "hosts"
            sandbox_resolv_conf = volatile / "resolv.sandbox.conf"
            resolv_conf.write_text(_host_resolv_conf())
            sandbox_resolv_conf.write_text(sandbox_resolv(_host_resolv_conf()))
            hosts.write_text(hosts_text(HOSTNAME))
            for path in (resolv_conf, sandbox_resolv_conf, hosts):
                path.chmod(0o644)  # whatever the user's umask is
            networks = volatile / "network"
            networks.mkdir(mode=0o700)
            with closing(Sandboxes(networks, environment)) as sandboxes:
                if sandbox:
                    sandboxes.begin()
                yield ExecContext(
                    snapshots=snapshots,
                    runtime=runtime,
                    root=root,
                    volatile=volatile,
                    cache_mounts=CacheMounts(root),
                    cgroups=cgroups,
                    secrets=secrets or NoSecrets(),
                    ssh=ssh or NoSecrets(),
                    resolv_conf=resolv_conf,
                    sandboxes=sandboxes,
                    sandbox_resolv_conf=sandbox_resolv_conf,
                    hosts=hosts,
                    entitlements=entitlements,
                    foreign=foreign_machines(),
                    host=host,
                    token=token,
                    numbers=numbers,
                    launcher=launcher,
                    devices=devices,
                    restricted=restricted,
                )
    finally:
        syscalls.unmount(volatile, syscalls.MNT_DETACH)
        volatile.rmdir()
        cgroups.remove((token,))
        if held is not None:
            os.close(held)


def _host_resolv_conf() -> str:
    try:
        return Path("/etc/resolv.conf").read_text()
    except OSError:
        return ""  # a machine without name servers; containers get the same
