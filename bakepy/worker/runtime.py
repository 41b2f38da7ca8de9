"""The OCI runtime: which one this machine has, and one process in a container from start to end."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.to_thread

from bakepy.errors import EngineError
from bakepy.model.value import dataclass
from bakepy.snapshot import syscalls, usernamespace
from bakepy.worker.cgroups import Cgroups
from bakepy.worker.family import end_children, end_first, end_holders

_CANDIDATES = ("crun", "runc", "youki")
_ELSEWHERE = ":/usr/sbin:/sbin"
"""Where Debian has runc; not on every PATH."""
_READ = 65536
_KILL_SECONDS = 5.0

_SEALED = "_LIBCONTAINER_CLONED_BINARY"

_SYS_RESOURCE = 24
"""The number of CAP_SYS_RESOURCE in linux/capability.h."""

_NO_CONFIG = b'{"ociVersion": "1.0.2"}'

Log = Callable[[int, bytes], None]


@dataclass(frozen=True, slots=True)
class Runtime:
    """An OCI runtime program. `cgroups`: whether it makes a cgroup for each container. `sealed`: where it is mounted so
    that nobody can write to it."""

    path: Path
    cgroups: bool
    sealed: Path | None = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def waits(self) -> bool:
        """Whether it reads a configuration that comes after it was started."""
        return self.name == "crun"

    def command(self, state: Path, bundle: Path, id: str, *, inherits_cgroup: bool = False) -> list[str]:
        """Runs a bundle in the foreground; its own messages go to `bundle`/log, the process's id to `bundle`/pid.
        `inherits_cgroup`: the container is to be in the cgroup that the program is in."""
        command = [str(self.sealed or self.path), f"--root={state}", "--log=log", "--log-format=json"]
        if self.name == "crun":
            makes = self.cgroups and not inherits_cgroup
            command.append(f"--cgroup-manager={'cgroupfs' if makes else 'disabled'}")
        return [*command, "run", f"--bundle={bundle}", f"--pid-file={bundle / 'pid'}", id]

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, **({_SEALED: "1"} if self.sealed is not None else {})}

    def seal(self, place: Path) -> Runtime:
        """This runtime, by way of a mount at `place` that is read-only.

        A container may reach the program that started it, so crun begins each time with mounting itself read-only and
        starting anew from there, which is half of its start. It leaves that out if it is there already and the variable
        says that this is meant (libcontainer's `cloned_binary.c`, which crun has as well).
        """
        if self.name != "crun":
            return self
        place.touch()
        try:
            syscalls.mount(self.path, place, "", syscalls.MS_BIND)
            syscalls.remount_bind(place, syscalls.MS_RDONLY)
        except OSError:
            return self  # it does so itself then
        return replace(self, sealed=place)

    def delete_command(self, state: Path, id: str) -> list[str]:
        """Kills and removes whatever there is of a container."""
        return [str(self.sealed or self.path), f"--root={state}", "delete", "--force", id]


def find_runtime(cgroups: Cgroups, environment: Mapping[str, str]) -> Runtime:
    """The runtime named by BAKEPY_RUNTIME, else the first of crun, runc and youki that is installed and works here.

    Raises EngineError if there is none.
    """
    search = environment.get("PATH", os.defpath) + _ELSEWHERE
    usable = cgroups.kind in ("unified", "legacy")
    if wanted := environment.get("BAKEPY_RUNTIME"):
        path = shutil.which(wanted, path=search)
        if path is None:
            raise EngineError(f"OCI runtime {wanted} (BAKEPY_RUNTIME) is not installed")
        return Runtime(Path(path), usable and not lacks_rights(Path(path).name, cgroups))
    for name in _CANDIDATES:
        path = shutil.which(name, path=search)
        if path is None:
            continue
        if name == "crun" and cgroups.kind == "hybrid":
            continue  # it refuses to work while controllers are in both hierarchies
        usable = usable or (cgroups.kind == "hybrid" and name != "crun")
        return Runtime(Path(path), usable and not lacks_rights(name, cgroups))
    raise EngineError(
        "no OCI runtime is installed",
        hint="install one: `apt-get install crun` (or runc, or youki); or name one in BAKEPY_RUNTIME",
    )


def lacks_rights(name: str, cgroups: Cgroups, status: Path = Path("/proc/self/status")) -> bool:
    """Whether a runtime would fail in making cgroups of version 2. For root crun raises the limit of locked memory
    before it loads the program that keeps devices away; containers often lack CAP_SYS_RESOURCE, which allows that."""
    if name != "crun" or cgroups.kind != "unified" or usernamespace.is_inside():
        return False
    if resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] == resource.RLIM_INFINITY:
        return False
    rights = next(line for line in status.read_text().splitlines() if line.startswith("CapEff:"))
    return not int(rights.split()[1], 16) & 1 << _SYS_RESOURCE


class ContainerProcess:
    """One container. Give it its configuration by `start` and wait for it, or `abandon` it."""

    def __init__(self, runtime: Runtime, state: Path, bundle: Path, id: str, *, inherits_cgroup: bool = False) -> None:
        """`bundle` is a folder without a configuration. A runtime that waits for one is started, which blocks for
        about a millisecond. Raises EngineError if it can not start."""
        self.bundle = bundle
        self.id = id
        self._runtime = runtime
        self._state = state
        self._command = runtime.command(state, bundle, id, inherits_cgroup=inherits_cgroup)
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._streams: dict[int, int] = {}
        self._config = -1
        self._ended = False
        if runtime.waits:
            given, self._config = os.pipe2(os.O_CLOEXEC)
            try:
                # opened anew by its name: what is not written yet is waited for
                (bundle / "config.json").symlink_to(f"/proc/self/fd/{given}")
                self._spawn(given)
            except BaseException:
                os.close(self._config)
                raise
            finally:
                os.close(given)

    @property
    def pid(self) -> int:
        """The runtime's process."""
        return self._running.pid

    def start(self, config: bytes) -> None:
        """Runs the container of this configuration. Raises EngineError if the runtime can not start."""
        if self._config < 0:
            (self.bundle / "config.json").write_bytes(config)
            self._spawn()
            return
        pipe, self._config = self._config, -1
        # a runtime that has ended already has said why
        with contextlib.suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as stream:  # noqa: PTH123
            rest = memoryview(config)
            while rest:
                rest = rest[stream.write(rest) :]

    def abandon(self) -> None:
        """Ends what runs and is not waited for; else does nothing. Blocks."""
        if self._ended:
            return
        self._ended = True
        if self._process is not None:
            self._end()
            self._close()
        if self._config >= 0:
            os.close(self._config)
            self._config = -1

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ValueError("the container was not started")
        return self._process

    def _spawn(self, *passed: int) -> None:
        # the runtime gives the streams to the container's user: as /dev/null that would be the machine's own
        in_read, in_write = os.pipe2(os.O_CLOEXEC)
        os.close(in_write)
        out_read, out_write = os.pipe2(os.O_CLOEXEC)
        err_read, err_write = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=in_read,
                stdout=out_write,
                stderr=err_write,
                cwd=self.bundle,
                env=self._runtime.environment,
                start_new_session=True,
                pass_fds=passed,
            )
        except OSError as error:
            os.close(out_read)
            os.close(err_read)
            raise EngineError(f"can not start {self._runtime.path}: {error.strerror}") from error
        finally:
            os.close(in_read)
            os.close(out_write)
            os.close(err_write)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._streams = {1: out_read, 2: err_read}

    async def wait(self, log: Log) -> int:
        """Passes output on as it comes; returns the exit status when the process has ended and all is read.

        When cancelled, the container is killed and gone before this returns. It is as well when the runtime itself was
        killed; the status is then the signal's number below zero.
        """
        try:
            async with anyio.create_task_group() as group:
                for number, fd in self._streams.items():
                    group.start_soon(_pump, fd, number, log)
                await anyio.wait_readable(self._pidfd)
                if self._running.wait() < 0:
                    # nobody is left to wait for the container, which still has the streams
                    await anyio.to_thread.run_sync(self._end_orphan)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._kill()
            raise
        finally:
            self._ended = True
            self._close()
        return self._running.wait()

    async def _kill(self) -> None:
        """Kills the first process of the container: the kernel then ends all others, the runtime cleans up. A runtime
        that has not noted that process yet, or does not end, is killed with what it has made."""
        if await anyio.to_thread.run_sync(self._end_first):
            with anyio.move_on_after(_KILL_SECONDS):
                await anyio.wait_readable(self._pidfd)
        await anyio.to_thread.run_sync(self._end)

    def _end(self) -> None:
        """Ends the runtime, if it has not, with all that it has made, and removes what it would have removed."""
        if self._running.poll() is None:
            waits = self._config >= 0  # and has made nothing
            if not waits:
                end_children(self._running.pid)
            self._running.kill()
            self._running.wait()
            if not waits:
                self._delete()
        elif self._running.returncode < 0:
            self._end_orphan()

    def _end_orphan(self) -> None:
        """Ends the container of a runtime that was killed, and removes what that one would have."""
        self._end_first()
        end_holders(self._streams.values())
        self._delete()

    def _end_first(self) -> bool:
        """Ends the container if it has a first process that was noted."""
        try:
            return end_first(int((self.bundle / "pid").read_text()))
        except (OSError, ValueError):  # not noted yet, or not all of it
            return False

    def _delete(self) -> None:
        """Has the runtime kill and remove whatever there is of the container."""
        if self._runtime.waits:
            # its copy of what came through the pipe is empty, and it insists on one
            with contextlib.suppress(FileNotFoundError), (self._state / self.id / "config.json").open("r+b") as copy:
                copy.write(_NO_CONFIG)
        subprocess.run(
            self._runtime.delete_command(self._state, self.id),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )

    def _close(self) -> None:
        os.close(self._pidfd)
        for fd in self._streams.values():
            os.close(fd)

    def complaint(self) -> str:
        """What the runtime itself had to say about a container that did not run; empty if nothing."""
        try:
            lines = (self.bundle / "log").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        messages = []
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                messages.append(line)
                continue
            if record.get("level", "error") in ("error", "fatal"):
                messages.append(str(record.get("msg", "")).strip())
        return "; ".join(messages)


def explain(complaint: str, program: str) -> str:
    """A runtime's words about a program that it could not execute, as runc has them; others as they are."""
    if "executable file" in complaint and "not found in $PATH" in complaint:
        if "/" in program:
            return f'exec: "{program}": stat {program}: no such file or directory'
        return f'exec: "{program}": executable file not found in $PATH'
    if complaint.startswith("open executable: "):
        return f'exec: "{program}": permission denied'
    return complaint.removeprefix("runc run failed: ").removeprefix("unable to start container process: ")


async def _pump(fd: int, number: int, log: Log) -> None:
    os.set_blocking(fd, False)
    while True:
        await anyio.wait_readable(fd)
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            continue
        if not data:
            return
        log(number, data)
