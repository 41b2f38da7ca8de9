"""The peers, started for one benchmark run: a registry, a Docker Engine and buildx (`tools/peers.sh`)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Peer:
    """Where the started peers are, and the environment that makes buildx use them."""

    registry: str
    buildx: Path
    environment: dict[str, str]

    def bake(self, *arguments: str) -> list[str]:
        return [str(self.buildx), "bake", *arguments]


@contextlib.contextmanager
def started(script: Path, prefix: Path) -> Iterator[Peer]:
    """Installs the peers under `prefix` if they are not there, starts them, and stops them in the end."""
    if not (prefix / "usr/sbin/dockerd").exists():
        subprocess.run([str(script), "install", str(prefix)], check=True)
    with tempfile.TemporaryDirectory(prefix="bakepy-peers-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        try:
            lines = subprocess.run(
                [str(script), "up", str(folder), str(prefix)], check=True, capture_output=True, text=True
            ).stdout
            facts = dict(line.split("=", 1) for line in lines.splitlines() if "=" in line)
            config = folder / "config"
            config.mkdir()
            yield Peer(
                registry=facts["REGISTRY"],
                buildx=Path(facts["BUILDX"]),
                environment={
                    "PATH": os.environ["PATH"],
                    "HOME": str(config),
                    "DOCKER_HOST": facts["DOCKER_HOST"],
                    "DOCKER_CONFIG": str(config),
                    "BUILDX_CONFIG": str(config),
                },
            )
        finally:
            subprocess.run([str(script), "down", str(folder)], check=False)
