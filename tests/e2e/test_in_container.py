"""Bakes by root in a container with cgroups of version 2: its cgroup is the top that it sees, as it is for
`docker run --privileged`."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Bakepy, write
from tests.support.ordinary_user import delegated_cgroup

ENTER = """
echo $$ > "$1/cgroup.procs"
exec unshare --cgroup --mount --propagation private sh -ec '
    umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; eval "$1"' sh "$2"
"""


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with delegated_cgroup() as folder:
        if folder is None:
            pytest.skip("no cgroup of version 2 can be made here")
        yield folder


@pytest.fixture
def words(tmp_path: Path, bakepy: Bakepy, busybox: Path) -> str:
    """The command line of a bake into `tmp_path`/out, with a step that tells its cgroup."""
    text = "FROM base\nRUN grep ^0:: /proc/self/cgroup > /cgroup; mknod /node c 1 3 || echo denied > /denied\n"
    folder = write(tmp_path / "project", {"Dockerfile": text})
    base = f"--build-context=base=oci-layout://{busybox}:latest"
    return shlex.join([bakepy.program, "build", base, f"--output=type=local,dest={tmp_path}/out", str(folder)])


def in_container(cgroup: Path, line: str, bakepy: Bakepy) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-ec", ENTER, "sh", str(cgroup), line]
    return subprocess.run(command, env=bakepy.environment(), capture_output=True, text=True, check=False)


def test_beside_other_processes_steps_have_no_cgroups(tmp_path: Path, cgroup: Path, words: str, bakepy: Bakepy) -> None:
    """crun would wait for controllers that the kernel does not give to a cgroup beside processes."""
    done = in_container(cgroup, f"{words} && {bakepy.program} doctor; exit $?", bakepy)
    assert done.returncode == 0, done.stderr
    assert "with other processes than bakepy at this container's top: no limits for steps" in done.stdout
    assert (tmp_path / "out/cgroup").read_text() == "0::/\n"
    assert (tmp_path / "out/denied").exists()  # no cgroup keeps steps from devices
    assert [path.name for path in cgroup.iterdir() if path.is_dir()] == []


@pytest.mark.skipif(shutil.which("runc", path="/usr/sbin:/usr/bin:/sbin:/bin") is None, reason="no runc")
def test_alone_bakepy_makes_room_for_the_cgroups_of_steps(
    tmp_path: Path, cgroup: Path, words: str, bakepy: Bakepy
) -> None:
    """runc, as crun needs CAP_SYS_RESOURCE for this, too."""
    done = in_container(cgroup, f"BAKEPY_RUNTIME=runc exec {words}", bakepy)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/cgroup").read_text() == "0::/\n"  # that of the step, which sees nothing above it
    assert not (tmp_path / "out/denied").exists()
    offered = (cgroup / "cgroup.controllers").read_text().split()
    assert sorted((cgroup / "cgroup.subtree_control").read_text().split()) == sorted(offered)
    assert sorted(path.name for path in cgroup.iterdir() if path.is_dir()) == ["bakepy", "bakepy-self"]
