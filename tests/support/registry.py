"""A real registry for tests: Debian's docker-registry on a loopback port, its data in a temporary folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = "docker-registry"
_START_SECONDS = 240.0
"""A machine may be very slow; that the program has ended is noticed at once."""
_CONFIG = """\
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {data}}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:0
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
        (root / "config.yml").write_text(_CONFIG.format(data=root / "data", auth=auth))
        with (root / "log").open("wb") as log:
            process = subprocess.Popen([PROGRAM, "serve", root / "config.yml"], stdout=log, stderr=log)
        try:
            yield RegistryServer(_wait_until_up(process, root / "log"), root / "data")
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


def _wait_until_up(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens: the kernel chose the port, so that nobody else can have taken it."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(r'msg="listening on ([^"]+)"', log.read_text()):
            return found[1]
        if process.poll() is not None:
            raise RuntimeError(f"{PROGRAM} ended with status {process.returncode}: {log.read_text()}")
        time.sleep(0.02)
    raise RuntimeError(f"{PROGRAM} did not start in {_START_SECONDS} s: {log.read_text()}")
