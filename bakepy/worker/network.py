"""Networks of steps: the sandbox, which is a network namespace with a way out through slirp4netns or pasta.

A step in the sandbox reaches the world and none of this machine's loopback services; two steps that run at a time do
not see each other. A namespace costs some 4 ms and is handed from step to step, so a chain of steps needs one: what a
step does in it ends with its processes. Decided in docs/decisions/sandbox-network.md.
"""

from __future__ import annotations

import ipaddress
import os
import select
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import BinaryIO

from bakepy.errors import EngineError, UsageError, nearest
from bakepy.model.value import dataclass
from bakepy.snapshot import overlay, syscalls

AUTO, SANDBOX, HOST = CHOICES = ("auto", "sandbox", "host")
"""What BAKEPY_NETWORK may say of steps that ask for no network of their own: `auto` is the sandbox where it works."""

SLIRP, PASTA = PROGRAMS = ("slirp4netns", "pasta")
"""The first that is installed is used."""
NAME_SERVER = "10.0.2.3"
"""Where the way out answers what the machine's own name server would, wherever that is."""
_ADDRESS, _GATEWAY, _DEVICE, _MTU = "10.0.2.100", "10.0.2.2", "tap0", "65520"

_ELSEWHERE = ":/usr/sbin:/sbin"
_TUN = Path("/dev/net/tun")


def lacking(search: str, tun: Path = _TUN) -> str:
    """What keeps sandboxes from being made here; empty if nothing does."""
    if program(search) is None:
        return f"neither {' nor '.join(PROGRAMS)} is installed"
    if not os.access(tun, os.R_OK | os.W_OK):
        return f"{tun} can not be opened" if tun.exists() else f"there is no {tun}"
    return ""


def program(search: str) -> Path | None:
    """What makes the way out of sandboxes here."""
    found = (shutil.which(name, path=search + _ELSEWHERE) for name in PROGRAMS)
    return next((Path(path) for path in found if path), None)


def choice(environment: Mapping[str, str]) -> str:
    """What BAKEPY_NETWORK says. Raises UsageError for anything else than CHOICES."""
    wanted = environment.get("BAKEPY_NETWORK") or AUTO
    if wanted not in CHOICES:
        raise UsageError(
            f"unknown network '{wanted}' in BAKEPY_NETWORK, must be one of {', '.join(CHOICES)}",
            hint=nearest(wanted, CHOICES),
        )
    return wanted


class Sandboxes:
    """The sandboxes of one run. Methods block and may be called from any thread; close it when no step runs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        """Keeps what it needs in `folder`. With BAKEPY_NETWORK=sandbox, EngineError if there can be none."""
        wanted = choice(environment)
        search = environment.get("PATH", os.defpath)
        problem = lacking(search)
        if wanted == SANDBOX and problem:
            raise EngineError(f"steps can not have a sandbox network: {problem}", hint=f"apt-get install {SLIRP}")
        self.usable = wanted != HOST and not problem
        """Whether steps that ask for nothing else are to be in one; otherwise they have the machine's network."""
        self.complaint = ""
        """Why they turned out not to be usable."""
        self._forced = wanted == SANDBOX
        self._program = program(search) or Path(SLIRP)
        self._folder = folder
        self._lock = threading.Lock()
        self._free: list[_Sandbox] = []
        self._numbers = count(1)

    def begin(self) -> None:
        """Starts one, without waiting for it, because a step will want it soon."""
        if self.usable:
            with suppress(OSError), self._lock:  # the step that wants one tries again, and tells
                self._free.append(self._make())

    @contextmanager
    def lend(self, *, altered: bool) -> Iterator[Path | None]:
        """A network namespace for one step, None where the machine's network is to be used instead. What a step with
        the right to change it has `altered` is not used again."""
        sandbox = self._take()
        try:
            yield sandbox.namespace if sandbox else None
        except BaseException:
            altered = True  # processes of it may be about
            raise
        finally:
            if sandbox is not None:
                self._give_back(sandbox, altered)

    def close(self) -> None:
        with self._lock:
            free, self._free = self._free, []
        for sandbox in free:
            sandbox.close()

    def _take(self) -> _Sandbox | None:
        if not self.usable:
            return None
        with self._lock:
            sandbox = self._free.pop() if self._free else None
        try:
            sandbox = sandbox or self._make()
            complaint = sandbox.wait()
            if not complaint:
                return sandbox
            sandbox.close()
        except OSError as error:
            complaint = error.strerror or str(error)
        if self._forced:
            raise EngineError(f"no sandbox network: {complaint}", hint="BAKEPY_NETWORK=host does without")
        self.complaint, self.usable = complaint, False
        return None

    def _give_back(self, sandbox: _Sandbox, altered: bool) -> None:
        if altered:
            sandbox.close()
            return
        with self._lock:
            self._free.append(sandbox)

    def _make(self) -> _Sandbox:
        return _Sandbox.start(self._program, self._folder / str(next(self._numbers)))


@dataclass(slots=True)
class _Sandbox:
    """One namespace with its way out. slirp4netns ends when `hold` is closed, and both end with the engine's process
    namespace. `ready` can be read from when there is a way out."""

    namespace: Path
    process: subprocess.Popen[bytes]
    ready: int
    hold: int
    log: BinaryIO
    system: int
    complaint: str | None = None

    @classmethod
    def start(cls, way_out: Path, namespace: Path) -> _Sandbox:
        namespace.touch()
        system = _new_namespace(namespace)
        told = namespace.with_suffix(".ready")
        os.mkfifo(told)
        # open for writing as well, so that reading waits until somebody has written
        ready = os.open(told, os.O_RDWR | os.O_CLOEXEC)
        tell = os.open(told, os.O_WRONLY | os.O_CLOEXEC)
        watched, hold = os.pipe2(os.O_CLOEXEC)
        words = _pasta(namespace, told) if way_out.name == PASTA else _slirp(namespace, tell, watched)
        log = namespace.with_suffix(".log").open("w+b")
        try:
            process = subprocess.Popen(
                [str(way_out), *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(tell, watched),
                start_new_session=True,
            )
        except OSError:
            for descriptor in (ready, hold, system):
                os.close(descriptor)
            log.close()
            told.unlink()
            syscalls.unmount(namespace, syscalls.MNT_DETACH)
            raise
        finally:
            os.close(tell)
            os.close(watched)
        return cls(namespace, process, ready, hold, log, system)

    def wait(self) -> str:
        """Waits until it works; returns what is wrong if it does not."""
        if self.complaint is None:
            ended = os.pidfd_open(self.process.pid)
            try:
                found, _, _ = select.select([self.ready, ended], [], [])
            finally:
                os.close(ended)
            if self.ready in found:
                self.complaint = ""
            else:
                self.process.wait()
                self.log.seek(0)
                said = self.log.read().decode(errors="replace").strip().splitlines()
                self.complaint = said[-1] if said else f"it ended with status {self.process.returncode}"
        return self.complaint

    def close(self) -> None:
        for descriptor in (self.hold, self.ready, self.system):
            os.close(descriptor)
        self.process.kill()
        self.process.wait()
        self.log.close()
        for suffix in (".log", ".ready"):
            self.namespace.with_suffix(suffix).unlink()
        syscalls.unmount(self.namespace, syscalls.MNT_DETACH)
        self.namespace.unlink()


def _slirp(namespace: Path, tell: int, watched: int) -> list[str]:
    return [
        "--configure",
        f"--mtu={_MTU}",
        "--disable-host-loopback",
        f"--ready-fd={tell}",
        f"--exit-fd={watched}",
        "--netns-type=path",
        str(namespace),
        _DEVICE,
    ]


def _pasta(namespace: Path, told: Path) -> list[str]:
    """The same network, whatever addresses the machine has; no ports are passed on in either direction. It writes its
    number into a file when it is ready."""
    forwards = [word for option in ("-t", "-u", "-T", "-U") for word in (option, "none")]
    return [
        *("--foreground", "--quiet", "--ipv4-only", "--config-net", "--no-map-gw", "--no-dhcp", "--runas", "0"),
        *("--address", _ADDRESS, "--netmask", "24", "--gateway", _GATEWAY, "--dns-forward", NAME_SERVER),
        *("--ns-ifname", _DEVICE, "--mtu", _MTU, *forwards, "--pid", str(told), "--netns", str(namespace)),
    ]


def _new_namespace(goal: Path) -> int:
    """Makes a network namespace that lasts as long as it is bound to the file `goal`.

    Returns a descriptor of its sysfs, mounted nowhere. While that is open the file system stays, and each step that
    mounts it is spared the making and unmaking of one (about 1 ms).
    """
    failures: list[OSError] = []
    kept: list[int] = []

    def work() -> None:
        # a thread of its own: it is in the new namespace until it ends
        try:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            syscalls.mount("/proc/thread-self/ns/net", goal, "", syscalls.MS_BIND)
            kept.append(syscalls.open_filesystem("sysfs"))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    for error in failures:
        overlay.unmount(goal)
        raise error
    return kept[0]


def sandbox_resolv(text: str) -> str:
    """The machine's resolv.conf for a sandbox: name servers on the machine's loopback are not reachable there."""
    kept, servers = [], 0
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            if _is_loopback(words[1]):
                continue
            servers += 1
        kept.append(line)
    if not servers:
        kept.insert(0, f"nameserver {NAME_SERVER}")
    return "".join(f"{line}\n" for line in kept)


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
