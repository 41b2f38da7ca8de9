"""Overlay mounts: which directories, which options, and how they are taken away again.

Decided in docs/decisions/overlay-mounts.md: no redirects, no metacopy, no index (a layer must be complete in its upper
directory and reusable under any other), `volatile` (nothing is flushed to disk on fsync or unmount).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bakepy.errors import BuildError
from bakepy.snapshot import syscalls, usernamespace
from bakepy.snapshot.tree import remove_tree

MAX_LOWERS = 480
"""The kernel takes 500 lower directories."""

_OPTIONS = (("redirect_dir", "off"), ("metacopy", "off"), ("index", "off"), ("xino", "off"))
_USER_OPTIONS = (("userxattr", None), ("index", "off"), ("xino", "off"))
"""In a user namespace; `userxattr` turns redirects and metacopy off, and refuses to be told so."""
_PAGE = 4000
"""Bytes of options that mount(2) takes, less the page's slack."""


def mount_writable(lowers: Sequence[Path], upper: Path, work: Path, target: Path, *, devices: bool = True) -> None:
    """Mounts `upper` over `lowers` (topmost first) at `target`. Raises OSError, or BuildError above the limit."""
    _mount(lowers, target, upper, work, devices)


def mount_readonly(lowers: Sequence[Path], target: Path) -> None:
    """Mounts `lowers` (topmost first, at least two) read-only at `target`."""
    _mount(lowers, target)


def open_detached(lowers: Sequence[Path]) -> int:
    """A descriptor of the read-only tree of `lowers`, mounted nowhere: gone when it is closed. Raises OSError with
    ENOSYS or EINVAL where the kernel lacks this."""
    context = _configure(lowers, None, None)
    try:
        return syscalls.fsmount(context, syscalls.MOUNT_ATTR_RDONLY)
    finally:
        os.close(context)


def unmount(target: Path) -> None:
    """Takes away what is mounted at `target`, also with mounts below it or files in use; nothing there is fine."""
    try:
        syscalls.unmount(target)
    except OSError as error:
        if error.errno == errno.EBUSY:
            syscalls.unmount(target, syscalls.MNT_DETACH)
        elif error.errno not in (errno.EINVAL, errno.ENOENT):
            raise


def remove_work(work: Path) -> None:
    """Removes the work directory of an overlay that is not mounted any more; nothing there is fine."""
    try:
        # what is there as a rule, by name: looking for it takes several times as long
        (work / "work/incompat/volatile/dirty").unlink()
        (work / "work/incompat/volatile").rmdir()
        (work / "work/incompat").rmdir()
        (work / "work").rmdir()
        work.rmdir()
    except OSError:
        remove_tree(work)


def unmount_below(folder: Path) -> None:
    """Takes away every mount at or below `folder`, as a killed process may have left them."""
    prefix = os.fsencode(folder.resolve())
    points = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = _unescape(line.split(b" ")[4])
        if point == prefix or point.startswith(prefix + b"/"):
            points.append(point)
    for point in reversed(points):
        try:
            syscalls.unmount(os.fsdecode(point), syscalls.MNT_DETACH)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):
                raise


def bind_without_devices(folder: Path) -> None:
    """Binds a folder onto itself, so that device files in it can not be opened."""
    syscalls.mount(folder, folder, "", syscalls.MS_BIND)
    syscalls.remount_bind(folder, syscalls.MS_NODEV)


def problem_in(folder: Path) -> str:
    """Why overlays can not be used on the file system of the empty `folder`, found out by mounting one; empty if
    they can."""
    lower, upper, work, merged = (folder / name for name in ("lower", "upper", "work", "m"))
    for path in (lower, lower / "d", upper, work, merged):
        path.mkdir()
    try:
        mount_writable([lower], upper, work, merged)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM, errno.ENODEV, errno.ENOSYS, errno.EACCES):
            raise
        return f"mount: {error.strerror}"
    try:
        # whiteouts need device files, opaque folders attributes: file systems may lack either
        (merged / "d").rmdir()
        (merged / "d").mkdir()
        os.getxattr(upper / "d", opaque_xattr())
    except OSError as error:
        return f"deleted names can not be marked: {error.strerror}"
    finally:
        unmount(merged)
    return ""


def _unescape(text: bytes) -> bytes:
    """proc_pid_mountinfo(5): space, tab, newline and backslash are written in octal."""
    for code, char in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        text = text.replace(code, char)
    return text


def _mount(
    lowers: Sequence[Path], target: Path, upper: Path | None = None, work: Path | None = None, devices: bool = True
) -> None:
    if len(lowers) > MAX_LOWERS:
        raise BuildError(
            f"image has {len(lowers)} layers, overlayfs takes {MAX_LOWERS}",
            hint="join RUN lines, or start a stage FROM an image that was squashed",
        )
    try:
        context = _configure(lowers, upper, work)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
            raise
        _mount_classic(lowers, target, upper, work, devices)
        return
    try:
        attributes = (0 if upper else syscalls.MOUNT_ATTR_RDONLY) | (0 if devices else syscalls.MOUNT_ATTR_NODEV)
        tree = syscalls.fsmount(context, attributes)
    finally:
        os.close(context)
    try:
        syscalls.move_mount(tree, target)
    finally:
        os.close(tree)


def _options() -> Iterable[tuple[str, str | None]]:
    return _USER_OPTIONS if usernamespace.is_inside() else _OPTIONS


def opaque_xattr() -> str:
    """The attribute by which overlayfs marks a folder that hides those below it. A user namespace may not set
    `trusted.` ones."""
    return "user.overlay.opaque" if usernamespace.is_inside() else "trusted.overlay.opaque"


def _configure(lowers: Sequence[Path], upper: Path | None, work: Path | None) -> int:
    context = syscalls.fsopen("overlay")
    with ExitStack() as failed, ExitStack() as opened:
        failed.callback(os.close, context)
        syscalls.fsconfig(context, "source", "overlay")
        for lower in lowers:
            syscalls.fsconfig(context, "lowerdir+", lower)
        if upper is not None and work is not None:
            syscalls.fsconfig(context, "upperdir", _without_backslash(upper, opened))
            syscalls.fsconfig(context, "workdir", _without_backslash(work, opened))
            syscalls.fsconfig(context, "volatile")
        for key, value in _options():
            syscalls.fsconfig(context, key, value)
        syscalls.fscreate(context)
        failed.pop_all()
    return context


def _without_backslash(folder: Path, opened: ExitStack) -> Path | str:
    """The folder by a name without backslashes: the kernel takes them for escapes here (ovl_unescape), but not in
    `lowerdir+`."""
    if "\\" not in str(folder):
        return folder
    descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    return f"/proc/self/fd/{descriptor}"


def _mount_classic(lowers: Sequence[Path], target: Path, upper: Path | None, work: Path | None, devices: bool) -> None:
    """mount(2) for kernels before 6.7. Its options must fit a page, so directories go by descriptor."""
    descriptors: list[int] = []

    def short(folder: Path) -> str:
        descriptors.append(os.open(folder, os.O_PATH | os.O_CLOEXEC))
        return f"/proc/self/fd/{descriptors[-1]}"

    try:
        options = ["lowerdir=" + ":".join(short(lower) for lower in lowers)]
        if upper is not None and work is not None:
            options += [f"upperdir={short(upper)}", f"workdir={short(work)}", "volatile"]
        options += [key if value is None else f"{key}={value}" for key, value in _options()]
        data = ",".join(options)
        if len(data) > _PAGE:
            raise BuildError(
                f"image has {len(lowers)} layers, more than this kernel mounts at once",
                hint="Linux 6.7 and newer take up to 480",
            )
        flags = (0 if upper else syscalls.MS_RDONLY) | (0 if devices else syscalls.MS_NODEV)
        syscalls.mount("overlay", target, "overlay", flags, data)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
