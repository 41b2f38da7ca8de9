"""A bake that is killed somewhere, and everything that it might leave behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STEPS = 3
BAKE = """
[variable.BASE]
[group.default]
targets = ["image", "files"]
[target._all]
contexts = { busybox = "${BASE}" }
[target.image]
inherits = ["_all"]
target = "made"
output = ["type=oci,dest=image.tar"]
[target.files]
inherits = ["_all"]
target = "files"
output = ["type=local,dest=files"]
"""
DOCKERFILE = (
    "FROM busybox AS made\n"
    "COPY context /context\n"
    + "".join(f"RUN --mount=type=cache,target=/cache echo {n} >> /log && cp /log /log{n}\n" for n in range(STEPS))
    + "FROM scratch AS files\nCOPY --from=made /log /context/0 /\n"
)
PATIENCE_SECONDS = 120.0
"""Until what the kernel takes down with a killed process must be gone."""


@dataclass(frozen=True)
class Project:
    """A folder to bake in, with state roots that come and go. `program` runs bakepy."""

    folder: Path
    program: Sequence[str]
    base: str

    @classmethod
    def make(cls, folder: Path, program: Sequence[str], layout: Path) -> Project:
        """A small project: an image of three steps, with a cache mount, and a folder of files."""
        (folder / "context").mkdir(parents=True)
        for number in range(20):
            (folder / "context" / str(number)).write_text(f"{number}\n" * 1000)
        (folder / "bake.toml").write_text(BAKE)
        (folder / "Dockerfile").write_text(DOCKERFILE)
        return cls(folder, tuple(program), f"oci-layout://{layout}:latest")

    def start(self, root: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self.program, "run", "--progress", "plain"],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "BASE": self.base, "BAKEPY_ROOT": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def clean(self) -> None:
        """Takes the outputs away."""
        for name in ("image.tar", "files/log", "files/0"):
            (self.folder / name).unlink(missing_ok=True)

    def contents(self) -> dict[str, object]:
        """What the image and the folder have: names, kinds, modes and contents, times aside. Every blob is compared
        with its name."""
        found: dict[str, object] = {
            f"files/{path.name}": path.read_bytes() for path in sorted((self.folder / "files").iterdir())
        }
        with tarfile.open(self.folder / "image.tar") as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive if member.isreg()}  # type: ignore[union-attr]
        for name, data in files.items():
            if name.startswith("blobs/") and hashlib.sha256(data).hexdigest() != name.rpartition("/")[2]:
                raise AssertionError(f"{name} is damaged")
        blob: Callable[[Mapping[str, str]], bytes] = lambda entry: files["blobs/" + entry["digest"].replace(":", "/")]  # noqa: E731
        manifest: dict[str, Any] = json.loads(blob(json.loads(files["index.json"])["manifests"][0]))
        found["config"] = json.loads(blob(manifest["config"]))["config"]
        for number, layer in enumerate(manifest["layers"]):
            with tarfile.open(fileobj=io.BytesIO(blob(layer)), mode="r:*") as tar:
                for member in tar:
                    data = tar.extractfile(member).read() if member.isreg() else member.linkname  # type: ignore[union-attr]
                    found[f"layer {number}: {member.name}"] = (member.type, member.mode, member.uid, data)
        return found


@dataclass(frozen=True)
class Blow:
    """When and what was killed, for the report of a failure."""

    after: float
    whom: str

    def __str__(self) -> str:
        return f"{self.whom} killed after {self.after:.3f} s"


def family(pid: int) -> list[int]:
    """A process and all below it, as seen from outside of all namespaces; itself first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def strike(process: subprocess.Popen[bytes], after: float, chance: random.Random) -> Blow | None:
    """Kills the bake, or one of the processes below it, after so many seconds. None if it had ended before."""
    deadline = time.monotonic() + after
    while (left := deadline - time.monotonic()) > 0 and process.poll() is None:
        time.sleep(min(left, 0.01))
    if process.poll() is not None:
        return None
    pids = family(process.pid)
    # the engine is killed as often as all others together: it is where the state is
    victim = pids[0] if len(pids) == 1 else chance.choice([pids[0], *[pids[min(2, len(pids) - 1)]] * len(pids), *pids])
    try:
        name = Path(f"/proc/{victim}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:60].strip()
        os.kill(victim, signal.SIGKILL)
    except (OSError, ProcessLookupError):
        return None
    return Blow(after, f"process {pids.index(victim)} of {len(pids)} ({name})")


@dataclass
class Traces:
    """What a bake on `root` may leave on this machine."""

    root: Path
    tokens: set[str] = field(default_factory=set)
    """Names of the bakes that were seen: of their temporary folders and of their cgroups."""

    def left(self) -> list[str]:
        """What there is after a kill and must not be, once the kernel has cleaned up: processes, mounts, locks."""
        self.tokens |= set(_names(self.root / "tmp"))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := self._running()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return [*found, *(f"mount {line}" for line in self._mounts()), *(f"lock on {name}" for name in self._locks())]

    def left_at_rest(self) -> list[str]:
        """As `left`, after a bake that was let to its end: now nothing temporary is there either, of any bake."""
        found = self.left()
        found += [f"folder {place}/{name}" for place in ("tmp", "ingest") for name in _names(self.root / place)]
        # os.walk passes over what goes while it looks: other bakes are at work here, too
        for folder, names, _ in os.walk("/sys/fs/cgroup"):
            found += [f"cgroup {folder}/{name}" for name in sorted(self.tokens.intersection(names))]
        numbers = {str(number) for number in self._numbers()}
        found += [f"tree {name}" for name in _names(self.root / "snapshots") if name not in numbers]
        return found

    def _running(self) -> list[str]:
        return [f"process {line}" for line in _processes(str(self.root))]

    def _mounts(self) -> list[str]:
        found: set[str] = set()
        for entry in Path("/proc").glob("[0-9]*/mountinfo"):
            try:
                found.update(line for line in entry.read_text().splitlines() if str(self.root) in line)
            except OSError:
                continue
        return sorted(found)

    def _locks(self) -> list[str]:
        """Locks that the kernel knows of on files of the state root."""
        inodes = {}
        for path in self.root.rglob("*.lock"):
            facts = path.stat()
            inodes[f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}"] = path.name
        lines = Path("/proc/locks").read_text().splitlines()
        return [name for line in lines for inode, name in inodes.items() if inode in line.split()]

    def _numbers(self) -> list[int]:
        database = sqlite3.connect(self.root / "state.db")
        try:
            return [number for (number,) in database.execute("SELECT number FROM snapshot WHERE lazy = 0")]
        finally:
            database.close()


def _processes(text: str) -> Iterator[str]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                root = os.readlink(entry / "root")  # noqa: PTH115
                variables = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if text in line or root.startswith(text) or f"BAKEPY_ROOT={text}" in variables:
                yield f"{entry.name}: {line}"


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
