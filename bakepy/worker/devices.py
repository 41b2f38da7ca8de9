"""The folder /dev of a step, where the runtime would put something into it that runc, BuildKit's runtime, does not.

crun always makes the link `core`, runc only where the kernel offers /proc/kcore. crun leaves a /dev alone that is bound
to a folder; so it gets one with what runc makes (runtime spec, "Default Devices" and "Dev symbolic links").
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from bakepy.snapshot import syscalls
from bakepy.snapshot.tree import remove_tree

OPTIONS = "size=65536k,mode=755"
"""What a tmpfs at /dev is mounted with."""

_NODES = {
    "null": os.makedev(1, 3),
    "zero": os.makedev(1, 5),
    "full": os.makedev(1, 7),
    "random": os.makedev(1, 8),
    "urandom": os.makedev(1, 9),
    "tty": os.makedev(5, 0),
}
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_KERNEL_CORE = Path("/proc/kcore")


class DeviceFolders:
    """Makes a folder for each step, in a file system of their own at `folder`."""

    def __init__(self, folder: Path, *, restricted: bool) -> None:
        """`restricted`: device nodes can not be made, only places to bind the machine's to."""
        folder.mkdir()
        syscalls.mount("tmpfs", folder, "tmpfs", syscalls.MS_NOSUID, OPTIONS)
        self._folder = folder
        self._numbers = count()
        self._ready: list[Path] = []
        self.bound: tuple[str, ...] = tuple(_NODES) if restricted else ()
        """The devices that have to be bound into a folder."""

    @staticmethod
    def needed(runtime: str) -> bool:
        """Whether this runtime's own /dev would differ from runc's."""
        return runtime == "crun" and not _KERNEL_CORE.exists()

    def prepare(self) -> None:
        """Makes the folder of the next step, if it is not there."""
        if not self._ready:
            self._ready.append(self._make())

    @contextmanager
    def lend(self) -> Iterator[Path]:
        """A folder, for as long as the step runs."""
        try:
            path = self._ready.pop()
        except IndexError:
            path = self._make()
        try:
            yield path
        finally:
            remove_tree(path)

    def _make(self) -> Path:
        path = self._folder / str(next(self._numbers))
        path.mkdir()
        self._fill(path)
        return path

    def _fill(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name, target in _LINKS.items():
                os.symlink(target, name, dir_fd=fd)
            for name, number in _NODES.items():
                os.mknod(
                    name, stat.S_IFREG if self.bound else stat.S_IFCHR | 0o666, 0 if self.bound else number, dir_fd=fd
                )
                os.chmod(name, 0o666, dir_fd=fd)  # whatever the umask is
            os.fchmod(fd, 0o755)
        finally:
            os.close(fd)
