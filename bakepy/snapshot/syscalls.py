"""The Linux system calls that Python does not offer, through ctypes: mounts, openat2, namespaces.

Every function raises OSError with the kernel's errno. All of them let other threads run while the kernel works.
Numbers and flags: `linux/mount.h`, `linux/openat2.h`, `asm-generic/unistd.h`; the numbers used here are the same on
every architecture.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000

MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NODEV = 0x4

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2 = 429, 430, 431, 432, 437
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CREATE = 0, 1, 6
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_AT_FDCWD = -100
_PR_SET_PDEATHSIG = 1


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _check(result: int, what: str | bytes | Path | None = None) -> int:
    if result < 0:
        code = ctypes.get_errno()
        if what is None:
            raise OSError(code, os.strerror(code))
        raise OSError(code, os.strerror(code), os.fspath(what))
    return result


def mount(source: str | Path, target: str | Path, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    _check(
        _libc.mount(
            os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode() or None
        ),
        target,
    )


def remount_bind(target: str | Path, flags: int) -> None:
    """Gives a bind mount these flags. In a user namespace it keeps those of the machine's mount that it shows, which
    nobody there may take away (mount_namespaces(7): locked)."""
    try:
        mount("none", target, "", MS_BIND | MS_REMOUNT | flags)
    except PermissionError:
        kept = os.statvfs(target).f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)  # numbers are ST_*'s too
        mount("none", target, "", MS_BIND | MS_REMOUNT | flags | kept)


def unmount(target: str | Path, flags: int = 0) -> None:
    """umount2(2); never follows a symlink at the end of `target`."""
    _check(_libc.umount2(os.fsencode(target), flags | UMOUNT_NOFOLLOW), target)


def unshare(flags: int) -> None:
    """unshare(2): moves the calling thread (its later children, for CLONE_NEWPID) into new namespaces."""
    _check(_libc.unshare(flags))


def die_with_parent(signal_number: int) -> None:
    """Has this process sent `signal_number` when the thread that forked it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0))


def fsopen(kind: str) -> int:
    """A new file system context: a descriptor to configure, then to mount."""
    return _check(_libc.syscall(_FSOPEN, kind.encode(), 1))


def fsconfig(context: int, key: str, value: str | bytes | Path | None = None) -> None:
    """Sets one option; without a value it is a flag."""
    if value is None:
        result = _libc.syscall(_FSCONFIG, context, _FSCONFIG_SET_FLAG, key.encode(), None, 0)
    else:
        result = _libc.syscall(_FSCONFIG, context, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)
    _check(result, value)


def fscreate(context: int) -> None:
    """Makes the superblock from the options set so far."""
    _check(_libc.syscall(_FSCONFIG, context, _FSCONFIG_CREATE, None, None, 0))


def fsmount(context: int, attributes: int = 0) -> int:
    """A mount that is attached nowhere; it is gone when its descriptor is closed, unless it was moved."""
    return _check(_libc.syscall(_FSMOUNT, context, 1, attributes))


def open_filesystem(kind: str) -> int:
    """A descriptor of a whole file system without options, mounted nowhere."""
    context = fsopen(kind)
    try:
        fscreate(context)
        return fsmount(context)
    finally:
        os.close(context)


def move_mount(mount_fd: int, target: str | Path) -> None:
    """Attaches a detached mount at `target`."""
    _check(_libc.syscall(_MOVE_MOUNT, mount_fd, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH), target)


def openat2(root: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: int = RESOLVE_IN_ROOT) -> int:
    """Opens `path` below the directory `root`; what `resolve` forbids fails with ELOOP, EXDEV or EAGAIN."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    name = os.fsencode(path) or b"."
    return _check(_libc.syscall(_OPENAT2, root, name, ctypes.byref(how), ctypes.sizeof(how)), path)


def kernel() -> tuple[int, int]:
    """The version of the running kernel."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(itertools.takewhile(str.isdigit, minor)) or 0)
