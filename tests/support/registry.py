"""A real registry for tests: Debian's docker-registry on a free loopback port, its data in a temporary folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = "docker-registry"
_START_SECONDS = 30.0
_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {data}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
  secret: for-tests
{auth}"""


@dataclass(frozen=True)
class RegistryServer:
    """`host` is `127.0.0.1:PORT`; `data` is where it keeps what it has."""

    host: str
    data: Path

    def tags(self, repository: str) -> list[str]:
        """The tags that exist in `repository`, sorted; read from the files, not by the code under test."""
        folder = self.data / "docker/registry/v2/repositories" / repository / "_manifests/tags"
        return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


@contextmanager
def running_registry(htpasswd: str = "") -> Iterator[RegistryServer]:
    """Starts the program and stops it at the end. With `htpasswd` (bcrypt lines) it asks for Basic authentication."""
    with tempfile.TemporaryDirectory(prefix="bakepy-registry-") as folder:
        root = Path(folder)
        auth = ""
        if htpasswd:
            (root / "htpasswd").write_text(htpasswd)
            auth = f"auth: {{htpasswd: {{realm: tests, path: {root / 'htpasswd'}}}}}\n"
        port = _free_port()
        (root / "config.yml").write_text(_CONFIG.format(data=root / "data", port=port, auth=auth))
        with (root / "log").open("wb") as log:
            process = subprocess.Popen([PROGRAM, "serve", root / "config.yml"], stdout=log, stderr=log)
        try:
            _wait_until_up(process, port, root / "log")
            yield RegistryServer(f"127.0.0.1:{port}", root / "data")
        finally:
            process.terminate()
            process.wait()


@pytest.fixture
def registry_server() -> Iterator[RegistryServer]:
    """A registry of this test's own. Mark such tests `registry`."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    with running_registry() as server:
        yield server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_up(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{PROGRAM} ended with status {process.returncode}: {log.read_text()}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"{PROGRAM} did not start in {_START_SECONDS} s: {log.read_text()}")
