"""File trees for tests: written from a few words, and read back as a few words.

{"a": "text", "b/": "", "l": "-> a"}        written: a file, a folder, a symlink
{"a": "file 0644 0:0 text", "b": "dir 0755 0:0", "l": "link 0:0 a"}      read
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

OLD = 1_000_000_000
"""A time, in seconds, for files whose time does not matter: long ago."""


def make_tree(root: Path, entries: Mapping[str, str], modes: Mapping[str, int] | None = None) -> Path:
    """Writes `entries` below `root`, which is made; names that end in `/` are folders, texts that begin with `-> `
    symlinks. All get old times, and 0644 or 0755 unless `modes` says otherwise."""
    write_entries(root, entries)
    for name, mode in (modes or {}).items():
        (root / name).chmod(mode)
    set_times(root, OLD)
    return root


def write_entries(root: Path, entries: Mapping[str, str]) -> None:
    """Writes `entries` and touches nothing else."""
    root.mkdir(parents=True, exist_ok=True)
    for name, text in entries.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        elif text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
            path.chmod(0o644)


def set_times(root: Path, seconds: int) -> None:
    """Gives all below `root` one time."""
    for folder, folders, files in os.walk(root, topdown=False):
        for name in (*folders, *files):
            os.utime(Path(folder) / name, (seconds, seconds), follow_symlinks=False)


def read_tree(root: Path, *, owners: bool = True) -> dict[str, str]:
    """All that is below `root`, in order of paths."""
    found: dict[str, str] = {}
    first: dict[int, str] = {}
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        name = str(path.relative_to(root))
        mode = f"{stat.S_IMODE(facts.st_mode):04o} "
        owner = f"{facts.st_uid}:{facts.st_gid} " if owners else ""
        if stat.S_ISDIR(facts.st_mode):
            said = f"dir {mode}{owner}"
        elif stat.S_ISLNK(facts.st_mode):
            said = f"link {owner}{path.readlink()}"
        elif stat.S_ISREG(facts.st_mode):
            same = first.setdefault(facts.st_ino, name)
            if same != name:
                said = f"hardlink {same}"
            else:
                said = f"file {mode}{owner}{path.read_bytes().decode('utf-8', 'backslashreplace')}"
        elif stat.S_ISFIFO(facts.st_mode):
            said = f"fifo {mode}{owner}"
        else:
            device = f"{os.major(facts.st_rdev)},{os.minor(facts.st_rdev)}"
            said = f"{'char' if stat.S_ISCHR(facts.st_mode) else 'block'} {mode}{owner}{device}"
        found[name] = said.rstrip()
    return found
