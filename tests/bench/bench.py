"""What all speed cases share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Command, Result, compare
from tests.bench.memory import peak
from tests.bench.peer import Peer

ENGINE = "buildx + Docker Engine"
MEMORY = 300e6
"""Bytes that all processes of bakepy may take."""

Before = Callable[[int], None] | None


@dataclass(frozen=True, slots=True)
class Bench:
    """What all cases share: a folder, the peers, a base image in their registry."""

    folder: Path
    peer: Peer
    repository: Path
    corpus: Path
    pairs: int
    bakepy: str
    environment: dict[str, str]

    @classmethod
    def prepare(cls, folder: Path, peers: Peer, repository: Path, corpus: Path, pairs: int) -> Bench:
        """Bakes the busybox base image and puts it into the registry."""
        bakepy = str(Path(sys.executable).parent / "bakepy")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "BAKEPY_ROOT": str(folder / "root"),
            "DOCKER_CONFIG": peers.environment["DOCKER_CONFIG"],
        }
        examples = folder / "examples"
        shutil.copytree(repository / "examples", examples, ignore=shutil.ignore_patterns("out"))
        out = examples / "busybox/out"
        out.mkdir()
        shutil.copy("/bin/busybox", out / "busybox")
        subprocess.run([bakepy, "run", "--progress", "quiet"], cwd=out.parent, env=environment, check=True)
        source, goal = f"oci:{out}/image:latest", f"docker://{peers.registry}/busybox:latest"
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", source, goal], check=True)
        return cls(folder, peers, repository, corpus, pairs, bakepy, environment)

    @property
    def base(self) -> str:
        return f"{self.peer.registry}/busybox:latest"

    def place(self, name: str, files: dict[str, str]) -> Path:
        """A folder of its own with these files."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return folder

    def image(self, name: str, context: Path) -> str:
        """Bakes the Dockerfile in `context` and puts the image into the registry."""
        layout = self.folder / "layouts" / name
        ours = [self.bakepy, "build", "--progress", "quiet", "--output", f"type=oci,tar=false,dest={layout}", "."]
        subprocess.run(ours, cwd=context, env=self.environment, check=True, stdout=subprocess.DEVNULL)
        goal = f"{self.peer.registry}/{name}:latest"
        subprocess.run(
            ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}", f"docker://{goal}"], check=True
        )
        shutil.rmtree(layout)
        return goal

    def bakes(
        self, folder: Path, *, cold: bool, before: tuple[Before, Before] = (None, None), root: Path | None = None
    ) -> tuple[Command, Command]:
        """`bake` of docker-bake.json in `folder`, by bakepy (with the state root `root`) and by the peer. Cold: the
        argument STAMP is another one each time."""

        def arguments(head: list[str], who: str) -> Callable[[int], list[str]]:
            return lambda pair: [*head, *(["--set", f"*.args.STAMP={who}{pair}"] if cold else [])]

        ours = [self.bakepy, "bake", "-f", "docker-bake.json", "--progress", "plain", "--allow", "network.host"]
        theirs = self.peer.bake("-f", "docker-bake.json", "--progress", "plain")
        theirs += ["--allow", "network.host", "--provenance=false"]
        environment = {**self.environment, "BAKEPY_ROOT": str(root)} if root else self.environment
        return (
            Command(arguments(ours, "a"), folder, environment, before[0]),
            Command(arguments(theirs, "b"), folder, self.peer.environment, before[1]),
        )

    def both(self, name: str, folder: Path, *, goal: float, cold: bool, pairs: int | None = None) -> Result:
        """Times `bakes`."""
        ours, theirs = self.bakes(folder, cold=cold)
        return compare(name, ours, theirs, goal=goal, versus=ENGINE, pairs=pairs or self.pairs)

    def memory(self, ours: Command, pair: int = 1000) -> Result:
        """The peak of one more run of `ours`, which no pair had before, beside what is allowed."""
        return Result("its memory at the peak", peak(ours, pair), MEMORY, 1, 1, "what is allowed", unit="B")
