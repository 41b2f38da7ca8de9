"""The engine's own mount and PID namespace, so that a kill leaves no mount and no process behind.

Three processes: the one that the user started only passes signals on and returns the status; the first process of
the new PID namespace only reaps; the engine is its child. Whichever is killed, the kernel ends the other two and, with
the last process, every mount. Decided in docs/decisions/engine-isolation.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bakepy.errors import EngineError
from bakepy.snapshot import syscalls, usernamespace

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH, signal.SIGUSR1)
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_CRASHES = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)

_EMULATORS = Path("/proc/sys/fs/binfmt_misc")


def enter() -> bool:
    """Goes on in a private mount and PID namespace: returns True in the engine's process only.

    Call it early, with one thread and little memory. Returns False, having changed nothing, where the kernel forbids
    it (no root, a locked-down container).
    """
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS, errno.EINVAL):
            return False
        raise
    alive, hold = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child:
        os.close(alive)
        wait_outside(child)
    os.close(hold)
    syscalls.die_with_parent(signal.SIGKILL)
    os.setpgid(0, 0)
    os.set_blocking(alive, False)
    try:
        if os.read(alive, 1) == b"":
            os._exit(128 + signal.SIGKILL)  # the outer process died before it could be noticed
    except BlockingIOError:
        pass
    os.close(alive)
    private_mounts()
    _mount_proc()
    engine = os.fork()
    if engine:
        _reap(engine)
    return True


def private_mounts() -> None:
    """Gives this process a mount namespace of its own: what is mounted from now on is seen by it and its children
    only; what the machine mounts later still arrives. With other threads running it would move only one of them."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    try:
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise EngineError(
            "the root folder is not a mount point, as in a plain chroot: mounts could not be kept private",
            hint="bind the root onto itself before the chroot: mount --bind DIR DIR",
        ) from error
    _hide_hybrid_cgroup()


def _mount_proc() -> None:
    emulators = _open_emulators()
    try:
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        # mount_too_revealing() in the kernel: a namespace may not see more of /proc than the one above it
        raise EngineError(
            "/proc can not be mounted for the engine: parts of the machine's own are hidden, as containers do it",
            hint="show all of /proc to the container: --security-opt systempaths=unconfined, or --privileged",
        ) from error
    if emulators is not None:
        try:
            syscalls.mount(f"/proc/self/fd/{emulators}", _EMULATORS, "", syscalls.MS_BIND)
        finally:
            os.close(emulators)


def _open_emulators() -> int | None:
    """The folder where the kernel tells for which machines it has emulators: a new /proc comes without it."""
    if not (_EMULATORS / "status").exists():
        return None
    return os.open(_EMULATORS, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _hide_hybrid_cgroup() -> None:
    """crun refuses machines with both versions of cgroups as long as it sees the second: hide it from it."""
    unified = Path("/sys/fs/cgroup/unified")
    if not (unified / "cgroup.controllers").exists():
        return
    if usernamespace.is_inside():
        # what came along from outside is locked in place: only covering it is possible
        syscalls.mount("tmpfs", unified, "tmpfs", syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_NODEV)
    else:
        syscalls.unmount(unified, syscalls.MNT_DETACH)


def wait_outside(child: int, *, stopped_by: signal.Signals = signal.SIGUSR2) -> NoReturn:
    """The process that the user sees: forwards signals, stops and continues with the child, ends as it ended."""
    forward_signals(child, stopped_by=stopped_by)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, status = _wait(child)
    os._exit(_exit_code(status))


def end_with(child: int) -> None:
    """From now on this process ends as soon as the child has ended, and as it did, whatever it is doing."""

    def ended(_: int, __: FrameType | None) -> None:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            os._exit(_exit_code(status))

    signal.signal(signal.SIGCHLD, ended)


def forward_signals(child: int, *, stopped_by: signal.Signals = signal.SIGUSR2) -> None:
    """What is meant for the child reaches it from now on; this process stops and continues with it.

    `stopped_by` tells the child to stop: an init can not be stopped itself, so it takes another signal for that.
    """

    def forward(number: int, _: FrameType | None) -> None:
        _send(child, number)

    def stop(_: int, __: FrameType | None) -> None:
        _send(child, stopped_by)
        os.kill(os.getpid(), signal.SIGSTOP)
        _send(child, signal.SIGCONT)

    for number in _FORWARDED:
        signal.signal(number, forward)
    signal.signal(signal.SIGTSTP, stop)


def _reap(engine: int) -> NoReturn:
    """PID 1 of the namespace: an init without handlers would lose every signal, so it has one for each."""

    asked_to_end = False

    def forward(number: int, _: FrameType | None) -> None:
        nonlocal asked_to_end
        if asked_to_end and number in _ENDING:
            # the second time means now: the engine may be waiting for who does not read what it writes
            os._exit(128 + number)
        asked_to_end = asked_to_end or number in _ENDING
        _send(engine, number)

    def stop(_: int, __: FrameType | None) -> None:
        _send(engine, signal.SIGSTOP)

    for number in (*_FORWARDED, signal.SIGCONT):
        signal.signal(number, forward)
    signal.signal(signal.SIGUSR2, stop)
    while True:
        pid, status = _wait(-1)
        if pid == engine:
            _tell_of_crash(status)
            os._exit(_exit_code(status))


def _tell_of_crash(status: int) -> None:
    """An engine that was killed, or has crashed, could not say so itself."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number not in _CRASHES:
        return
    hint = "hint: the kernel does that when memory is short\n" if number == signal.SIGKILL else ""
    with contextlib.suppress(OSError):
        os.write(2, f"ERROR: the engine was ended by {signal.Signals(number).name}\n{hint}".encode())


def _wait(pid: int) -> tuple[int, int]:
    return os.waitpid(pid, 0)  # signal handlers run meanwhile; Python waits on after each


def _send(pid: int, number: int) -> None:
    # it may have ended a moment ago; its status is about to be read
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
