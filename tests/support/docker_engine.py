"""A Docker Engine of the tests' own: private sockets and folders, stopped and removed at the end.

The environment variable BAKEPY_PEERS names the prefix under which its programs are unpacked (`usr/sbin/dockerd`, buildx
as a plugin of the command line); without it that is build/peers, where `make engine` unpacks them. It has no bridge, so
steps must ask for another network than the default.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "BAKEPY_PEERS"
_UNPACKED = Path(__file__).parent.parent.parent / "build" / "peers"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class DockerEngine:
    """A running dockerd. `socket` is where its API is."""

    socket: Path
    buildx: Path
    home: Path

    def buildx_run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """buildx with this engine, whatever its status."""
        return subprocess.run(
            [self.buildx, *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "DOCKER_HOST": f"unix://{self.socket}"},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def build(self, folder: Path, *arguments: str) -> list[dict[str, Any]]:
        """`docker buildx build`; returns what it told last of each vertex. Fails with its output."""
        done = self.buildx_run(folder, "build", "--progress=rawjson", *arguments, ".")
        if done.returncode:
            pytest.fail(f"buildx ended with {done.returncode}: {done.stdout}\n{done.stderr}")
        vertexes: dict[str, dict[str, Any]] = {}
        for line in done.stderr.splitlines():
            if line.startswith("{"):
                vertexes |= {vertex["digest"]: vertex for vertex in json.loads(line).get("vertexes") or ()}
        return list(vertexes.values())


def unavailable() -> str:
    """Why no engine can be started here; empty if one can."""
    if not (dockerd := _prefix() / "usr/sbin/dockerd").exists():
        return f"no {dockerd}: `make engine` unpacks one, or {VARIABLE} names where it is"
    return "" if os.geteuid() == 0 else "a Docker Engine needs root"


def _prefix() -> Path:
    return Path(os.environ.get(VARIABLE) or _UNPACKED).absolute()


@contextmanager
def running_engine(prefix: Path) -> Iterator[DockerEngine]:
    """Starts dockerd, which starts its containerd; ends both and removes all they wrote."""
    folder = Path(tempfile.mkdtemp(prefix="bakepy-docker-", dir="/tmp"))  # a path that is short enough for sockets
    api = folder / "docker.sock"
    log = folder / "log"
    arguments = [
        f"--data-root={folder / 'data'}", f"--exec-root={folder / 'exec'}", f"--pidfile={folder / 'pid'}",
        f"--host=unix://{api}", "--iptables=false", "--bridge=none", "--feature=containerd-snapshotter=true",
    ]  # fmt: skip
    path = f"{prefix}/usr/bin:{prefix}/usr/sbin:{os.environ['PATH']}"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [prefix / "usr/sbin/dockerd", *arguments],
            env={"PATH": path, "HOME": str(folder)},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        _wait_until_up(process, api, log)
        yield DockerEngine(api, prefix / "usr/libexec/docker/cli-plugins/docker-buildx", folder)
    finally:
        _stop(process, folder)


def _wait_until_up(process: subprocess.Popen[bytes], api: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"dockerd ended with status {process.returncode}: {log.read_text()}")
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(api))
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                if b" 200 " in connection.recv(64):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"dockerd did not start in {_START_SECONDS} s: {log.read_text()}")


def _stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its own session, which holds containerd as well
        process.wait()
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in reversed([mount for mount in mounts if mount.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[DockerEngine]:
    """One engine for the tests of a module, which has nothing cached at first."""
    if reason := unavailable():
        pytest.skip(reason)
    with running_engine(_prefix()) as engine:
        yield engine
