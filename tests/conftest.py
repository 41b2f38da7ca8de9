"""What all tests share: anyio on asyncio, a state root of their own, and a look at what they leave behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run, however slow the machine is; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("same")

_OF_THE_CALLER = (
    "BAKEPY_", "BUILDKIT_", "BUILDX_", "CLICOLOR", "COLUMNS", "COMPOSE_", "DOCKER_", "FORCE_COLOR", "GIT_", "LINES",
    "NO_COLOR", "SOURCE_DATE_EPOCH", "SSH_", "XDG_",
)  # fmt: skip


def _forget_the_caller() -> None:
    """Takes away what bakepy, and programs that it runs, would find in the environment of whoever runs the tests."""
    os.umask(0o022)
    for name in tuple(os.environ):
        if name.lower().endswith("_proxy") or (name.startswith(_OF_THE_CALLER) and name != "BAKEPY_PEERS"):
            del os.environ[name]


_forget_the_caller()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def state_root(tmp_path: Path) -> Path:
    """An empty state root, as `--root` takes it."""
    root = tmp_path / "state"
    root.mkdir()
    return root


def _mounts(folder: str) -> set[str]:
    """Mounts on, of, or with something in `folder`, in this process's mount namespace and in the machine's: the lines
    of the kernel's lists, which name mount points, the roots of bind mounts, and the layers of overlays."""
    found = set()
    for process in ("self", "1"):
        try:
            lines = Path("/proc", process, "mountinfo").read_text().splitlines()
        except OSError:  # other people's processes are not ours to look at
            continue
        found |= {line for line in lines if folder in line}
    return found


@pytest.fixture(autouse=True)
def nothing_left_mounted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails a test that leaves a mount behind, wherever, that has to do with this run's folder. Other mounts may be
    another program's, and other folders those of tests that run at the same time."""
    folder = str(tmp_path_factory.getbasetemp())
    before = _mounts(folder)
    yield
    left = _mounts(folder) - before
    assert not left, f"mounts left behind: {sorted(left)}"


@pytest.fixture(scope="session", autouse=True)
def nothing_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails the run if a process is left behind that works in this run's folder, or was started on it."""
    folder = str(tmp_path_factory.getbasetemp())
    yield
    left = {line for number, line in _processes(folder) if number != os.getpid()}
    assert not left, f"processes left behind: {sorted(left)}"


def _processes(folder: str) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                places = [os.readlink(entry / name) for name in ("cwd", "root")]  # noqa: PTH115
            except OSError:  # it has ended, or is not ours to look at
                continue
            if folder in line or any(place.startswith(folder) for place in places):
                yield int(entry.name), line


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root, a runtime or a registry fail where these are missing on a machine that was set up by
    `make test`; elsewhere they are skipped with the reason."""
    lacking = {
        "runtime": "" if os.geteuid() == 0 and (shutil.which("crun") or shutil.which("runc")) else "root and crun",
        "registry": "" if shutil.which("docker-registry") else "docker-registry",
    }
    for item in items:
        for marker, what in lacking.items():
            if what and item.get_closest_marker(marker) and not os.environ.get("CI"):
                item.add_marker(pytest.mark.skip(reason=f"needs {what}"))
