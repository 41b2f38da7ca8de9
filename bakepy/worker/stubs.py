"""What has to be in the root file system to mount on: made before a step, removed after it.

Removed is, as BuildKit does it, only what was missing before and is still empty, and the folder that it was in gets
its time back, so that mounting leaves no trace in the layer. Runtimes would make these names themselves, but crun
makes folders sticky.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from bakepy.model.value import dataclass
from bakepy.snapshot.rootpath import make_directories, resolve
from bakepy.worker.oci import ContainerMount

KERNEL_FOLDERS = ("/dev", "/proc", "/sys")
"""Made if they are missing, and they stay: an image without them gets them by its first RUN."""

_BELOW = tuple(f"{folder}/" for folder in KERNEL_FOLDERS)
_ALWAYS = ("/etc/resolv.conf", "/etc/hosts")


@dataclass(frozen=True, slots=True)
class Stubs:
    """Names below `root` that did not exist and may have to go, deepest first for each mount."""

    root: Path
    paths: tuple[str, ...]

    @classmethod
    def make(cls, root: Path, mounts: Iterable[ContainerMount], *, parents: bool) -> Stubs:
        """Makes what is missing. `parents`: missing parents are removed afterwards as well."""
        wanted = dict.fromkeys(_ALWAYS, 0)
        for mount in mounts:
            # below the kernel's folders the runtime mounts first, and makes in what it mounted
            if not mount.destination.startswith(_BELOW):
                wanted.setdefault(mount.destination, _folder_mode(mount))
        paths: list[str] = []
        lacking: list[str] = []
        for destination in wanted:
            found = resolve(root, destination)
            if not found.missing:
                continue
            lacking.append(destination)
            parts = found.path.split("/")
            for depth in range(found.missing if parents else 1):
                paths.append("/".join(parts[: len(parts) - depth]))
        for folder in KERNEL_FOLDERS:
            make_directories(root, folder)
        for destination in lacking:
            _make(root, destination, wanted[destination])
        return cls(root, tuple(paths))

    def remove(self) -> None:
        """To be called after the process has ended and before the tree is unmounted."""
        for path in self.paths:
            found = resolve(self.root, path)
            if found.missing or found.path != path:
                continue  # gone, or the step made a symlink of a folder above it
            here = self.root / path
            facts = here.lstat()
            above = here.parent.lstat()
            if stat.S_ISDIR(facts.st_mode):
                try:
                    here.rmdir()
                except OSError:
                    continue  # not empty: the step put something there
            elif facts.st_size == 0:
                here.unlink()
            else:
                continue
            os.utime(here.parent, ns=(above.st_atime_ns, above.st_mtime_ns))


def _folder_mode(mount: ContainerMount) -> int:
    """The mode of the folder to mount on; 0 if it has to be a file. runc gives it to a tmpfs on it."""
    if mount.type == "tmpfs":
        return 0o1777
    return 0o755 if mount.type != "bind" or Path(mount.source).is_dir() else 0


def _make(root: Path, destination: str, mode: int) -> None:
    found = resolve(root, destination)
    if not found.missing:
        return
    parent, _, name = found.path.rpartition("/")
    folder = make_directories(root, parent)
    if mode:
        (folder / name).mkdir()
    else:
        (folder / name).touch()
    (folder / name).chmod(mode or 0o755)
