"""Everything as an ordinary user who has ids lent in /etc/subuid: the same images as root makes, and nothing left."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakepy.snapshot.syscalls import MS_NODEV, MS_NOEXEC, MS_NOSUID
from tests.e2e.conftest import REPOSITORY, Bakepy, write
from tests.support.fake_registry import FakeRegistry
from tests.support.ordinary_user import FIRST_LENT, LENT, USER, command, delegated_cgroup, ordinary_home

pytestmark = pytest.mark.runtime

DOCKERFILE = """
FROM base AS first
RUN mkdir -p /srv/deep/er /srv/gone /run/keep && echo 1 > /srv/deep/a && echo x > /srv/gone/x && echo k > /run/keep/k
RUN chown 33:65534 /srv/deep/a && chmod 4755 /srv/deep/a && ln /srv/deep/a /srv/deep/b && ln -s a /srv/deep/l && \\
    mkfifo /srv/p && chmod 1777 /srv/deep/er && chown 1000 /srv/deep/er
RUN rm -r /srv/gone /srv/deep/b && rm -r /run/keep && mkdir /run/keep && echo new > /run/keep/new
COPY --chown=1000:1000 --chmod=640 sub /home/app/sub

FROM base
COPY --link --chown=1234:4321 sub /linked
COPY --from=first / /
ADD things.tar /things/
USER 1000
RUN --mount=type=cache,target=/cache,uid=1000,mode=700 --mount=type=tmpfs,target=/t \\
    --mount=type=secret,id=word,uid=1000,mode=0400 --mount=type=bind,source=sub,target=/b \\
    echo c > /cache/c && echo t > /t/t && cat /run/secrets/word /b/f > /tmp/read && id > /tmp/id && \\
    ls -ln /b /run/secrets | tail -n +2 | cut -c1-30 >> /tmp/id
RUN --mount=type=bind,from=first,source=/srv,target=/b,rw echo w > /tmp/w && cat /b/deep/a >> /tmp/w
RUN --network=none ls /sys/class/net > /tmp/net
USER 0
RUN --mount=type=cache,target=/cache,uid=1000,mode=700 cat /cache/c > /tmp/cached && chown 0:5 /tmp/cached
"""
BAKE = """
[group.default]
targets = ["one", "two"]

[target.one]
context = "context"
contexts = { base = "$BASE" }
secret = [{ id = "word", env = "WORD" }]
output = ["type=oci,dest=$OUT/one.tar,rewrite-timestamp=true"]

[target.two]
context = "context"
contexts = { base = "$BASE" }
secret = [{ id = "word", env = "WORD" }]
target = "first"
output = ["type=oci,dest=$OUT/two.tar,rewrite-timestamp=true", "type=local,dest=$OUT/tree"]
"""
ENVIRONMENT = {"SOURCE_DATE_EPOCH": "1700000000", "WORD": "secret", "BAKEPY_PROGRESS": "plain"}


@pytest.fixture
def home() -> Iterator[Path]:
    with ordinary_home() as folder:
        yield folder


def project(folder: Path, busybox: Path) -> Path:
    """The files of the bake, with the base image beside them where everybody can read it."""
    shutil.copytree(busybox, folder / "base")
    text = BAKE.replace("$BASE", f"oci-layout://{folder / 'base'}:latest").replace("$OUT", str(folder))
    write(folder, {"bake.toml": text, "context/Dockerfile": DOCKERFILE, "context/sub/f": "f\n", "context/sub/d/g": "g"})
    with tarfile.open(folder / "context/things.tar", "w") as tar:
        for name, owner in (("mine", 0), ("theirs", 1234)):
            info = tarfile.TarInfo(name)
            info.uid, info.gid, info.mode = owner, owner + 1, 0o2755
            tar.addfile(info)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return folder


def as_user(
    home: Path,
    *words: str | Path,
    folder: Path,
    lent: int = LENT,
    flags: int = 0,
    cgroup: Path | None = None,
    **environ: str,
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "BAKEPY_ROOT": str(home / "state"), **ENVIRONMENT} | environ
    program = Path(sys.executable).parent / "bakepy"
    return subprocess.run(
        command(home, program, *words, lent=lent, folder=folder, flags=flags, cgroup=cgroup),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def manifest(archive: Path) -> Any:
    """The manifest of an OCI archive, with the digests of its layers and its config."""
    with tarfile.open(archive) as tar:
        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        digest = index["manifests"][0]["digest"]
        return json.load(tar.extractfile("blobs/" + digest.replace(":", "/")))  # type: ignore[arg-type]


def test_images_are_those_that_root_makes(home: Path, busybox: Path, bakepy: Bakepy) -> None:
    folder = project(home / "project", busybox)
    done = as_user(home, "run", folder=folder)
    assert done.returncode == 0, done.stderr
    theirs = [manifest(folder / name) for name in ("one.tar", "two.tar")]
    # another owner has what the user keeps than what the user gives away
    tree = {str(path.relative_to(folder / "tree")): path.lstat() for path in (folder / "tree").rglob("*")}
    assert {facts.st_uid for facts in tree.values()} == {USER}
    assert "run/keep/new" in tree and "srv/gone" not in tree
    kept = {path.lstat().st_uid for path in (home / "state/snapshots").rglob("*")}
    assert {USER, FIRST_LENT + 1000 - 1, FIRST_LENT + 33 - 1} <= kept and 0 not in kept

    for name in ("one.tar", "two.tar"):
        (folder / name).unlink()
    shutil.rmtree(folder / "tree")
    bakepy.run("run", cwd=folder, env=ENVIRONMENT)
    assert [manifest(folder / name) for name in ("one.tar", "two.tar")] == theirs

    shutil.rmtree(folder / "tree")
    for name in ("one.tar", "two.tar"):
        (folder / name).unlink()

    # found again by a second run, and nothing lies about
    again = as_user(home, "run", "--progress=plain", folder=folder)
    assert again.returncode == 0 and "CACHED" in again.stderr
    assert list((home / "state/tmp").iterdir()) == []


def test_copies_make_the_same_image(home: Path, busybox: Path) -> None:
    folder = project(home / "project", busybox)
    found = []
    for snapshotter in ("overlay", "copy"):
        root = home / f"state-{snapshotter}"
        done = as_user(home, "run", f"--snapshotter={snapshotter}", f"--root={root}", folder=folder)
        assert done.returncode == 0, done.stderr
        found.append([manifest(folder / name) for name in ("one.tar", "two.tar")])
        (folder / "tree").rename(folder / f"tree-{snapshotter}")
    assert found[0] == found[1]


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_home_that_is_mounted_without_setuid_programs_and_devices(home: Path, busybox: Path, runtime: str) -> None:
    """A user namespace can not take such flags away: whoever mounts something of there anew has to keep them."""
    folder = project(home / "project", busybox)
    flags = MS_NOSUID | MS_NODEV
    done = as_user(home, "run", "--snapshotter=copy", folder=folder, flags=flags, BAKEPY_RUNTIME=runtime)
    assert done.returncode == 0, done.stderr
    assert list((home / "state/tmp").iterdir()) == []


def test_a_home_that_is_mounted_without_programs(home: Path, busybox: Path) -> None:
    folder = project(home / "project", busybox)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    done = as_user(home, "run", "two", "--snapshotter=copy", folder=folder, flags=flags)
    assert done.returncode == 1
    told = (
        "hint: the state root is on a file system that is mounted noexec, and trees are copies there: no step can run"
    )
    assert told in done.stderr
    done = as_user(home, "run", "two", f"--root={home}/other", folder=folder, flags=flags)
    assert done.returncode == 0, done.stderr  # an overlay has no such flag


class TestDelegatedCgroup:
    """As `systemd-run --user --scope --property=Delegate=yes` makes one."""

    @pytest.fixture
    def cgroup(self) -> Iterator[Path]:
        with delegated_cgroup() as folder:
            if folder is None:
                pytest.skip("no cgroup of version 2 can be made here")
            yield folder

    @pytest.fixture
    def words(self, home: Path, busybox: Path) -> tuple[str, ...]:
        """The end of a command that builds into `home`/out."""
        shutil.copytree(busybox, home / "base")
        text = "RUN cd /sys/fs/cgroup; cat memory.max > /limit; cat cgroup.procs > /processes; true\n"
        folder = write(home / "project", {"Dockerfile": "FROM base\n" + text})
        for path in (home / "base", *(home / "base").rglob("*"), folder):
            os.chown(path, USER, USER)
        base = f"--build-context=base=oci-layout://{home}/base:latest"
        return ("build", base, f"--output=type=local,dest={home}/out", "--resource=memory=64m", str(folder))

    def test_steps_have_their_own_below_with_its_controllers(
        self, home: Path, cgroup: Path, words: tuple[str, ...]
    ) -> None:
        offered = (cgroup / "cgroup.controllers").read_text().split()
        done = as_user(home, *words, folder=home, cgroup=cgroup)
        assert done.returncode == 0, done.stderr
        assert (home / "out/processes").read_text().startswith("1\n")
        assert sorted((cgroup / "cgroup.subtree_control").read_text().split()) == sorted(offered)
        limited = "memory" in offered
        assert (home / "out/limit").read_text() == ("67108864\n" if limited else "")
        assert ("no limit of memory: cgroups do not allow it here" in done.stderr) != limited
        assert sorted(path.name for path in cgroup.iterdir() if path.is_dir()) == ["bakepy", "bakepy-self"]
        assert list((cgroup / "bakepy").glob("*/")) == []

    def test_with_others_in_it_nothing_is_moved(self, home: Path, cgroup: Path, words: tuple[str, ...]) -> None:
        program = Path(sys.executable).parent / "bakepy"
        line = shlex.join([str(program), *words])
        environment = {"PATH": os.environ["PATH"], "BAKEPY_ROOT": str(home / "state"), **ENVIRONMENT}
        done = subprocess.run(
            command(home, "sh", "-c", f"{line} && {program} doctor; exit $?", cgroup=cgroup),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "no limit of memory: cgroups do not allow it here" in done.stderr
        assert "version 2, delegated to this user, but not to bakepy alone: no limits for steps" in done.stdout
        assert (home / "out/processes").read_text() == ""
        assert [path.name for path in cgroup.iterdir() if path.is_dir()] == []


def test_without_lent_ids(home: Path) -> None:
    files = {
        "Dockerfile": "FROM scratch\nCOPY f /a/f\n",
        "other/Dockerfile": "FROM scratch\nCOPY --chown=12:34 f /f\n",
        "f": "f",
        "other/f": "f",
    }
    folder = write(home / "project", files)
    done = as_user(home, "build", "--output", "type=local,dest=" + str(home / "out"), ".", folder=folder, lent=0)
    assert done.returncode == 0, done.stderr
    assert (home / "out/a/f").read_text() == "f"
    assert (home / "out/a/f").stat().st_uid == USER
    done = as_user(home, "build", "other", folder=folder, lent=0)
    assert done.returncode == 1
    assert "owner 12:34 is not among the ids that this user may give away" in done.stderr
    assert "hint: bakepy doctor tells how to lend the user more ids" in done.stderr


def test_devices_of_images_are_left_out_and_that_is_told(home: Path, bakepy: Bakepy) -> None:
    folder = write(home / "project", {"base/Dockerfile": "FROM scratch\nADD devices.tar /\n"})
    with tarfile.open(folder / "base/devices.tar", "w") as tar:
        for name in ("dev/null", "dev/zero", "file"):
            info = tarfile.TarInfo(name)
            info.type, info.devmajor, info.devminor = tarfile.REGTYPE if name == "file" else tarfile.CHRTYPE, 1, 3
            tar.addfile(info)
    bakepy.run("build", "--output", f"type=oci,dest={folder}/base-image,tar=false", "base", cwd=folder)
    write(folder, {"Dockerfile": "FROM base\nCOPY Dockerfile /\n"})
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER)
    words = (
        "build",
        f"--build-context=base=oci-layout://{folder}/base-image",
        "--output",
        f"type=local,dest={home}/out",
    )
    told = []
    for _ in range(2):
        done = as_user(home, *words, ".", folder=folder)
        assert done.returncode == 0, done.stderr
        told.append([line for line in done.stderr.splitlines() if line.startswith("WARNING")])
    assert [len(lines) for lines in told] == [1, 0]
    what = "WARNING: device files of images were left out, an ordinary user can not make them: /dev/null and 1 more ("
    assert told[0][0].startswith(what)
    assert (home / "out/file").exists() and not (home / "out/dev/null").exists()


def test_what_an_ordinary_user_can_not_do(home: Path) -> None:
    files = {
        "device/Dockerfile": "FROM scratch\nADD a.tar /\n",
        "owner/Dockerfile": "FROM scratch\nCOPY --chown=70000 Dockerfile /\n",
        "insecure/Dockerfile": '# syntax=docker/dockerfile:1-labs\nFROM scratch\nRUN --security=insecure ["x"]\n',
    }
    folder = write(home / "project", files)
    with tarfile.open(folder / "device/a.tar", "w") as tar:
        info = tarfile.TarInfo("null")
        info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(info)
    told = {
        "device": "can not unpack /null: an ordinary user can not make devices",
        "owner": "owner 70000:70000 is not among the ids that this user may give away",
        "insecure": "security.insecure needs bakepy to run as root: an ordinary user has no rights to pass on",
    }
    for name, message in told.items():
        done = as_user(home, "build", "--allow=security.insecure", name, folder=folder)
        assert (done.returncode != 0, message in done.stderr) == (True, True), done.stderr


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_limit_above_the_machines_is_told(home: Path, busybox: Path, runtime: str) -> None:
    folder = project(home / "project", busybox)
    (folder / "context/Dockerfile").write_text("FROM base\nRUN true\n")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    base = f"--build-context=base=oci-layout://{folder}/base:latest"
    words = ("build", base, f"--ulimit=nofile={hard + 1}:{hard + 1}", "context")
    done = as_user(home, *words, folder=folder, BAKEPY_RUNTIME=runtime)
    assert done.returncode == 1
    assert "hint: only root can raise limits above the machine's own (ulimit -H): --ulimit" in done.stderr


def test_owners_go_as_far_as_ids_are_lent(home: Path) -> None:
    folder = write(home / "project", {"Dockerfile": "FROM scratch\nCOPY --chown=2000000000:2100000000 Dockerfile /\n"})
    out = f"--output=type=tar,dest={home}/out.tar"
    done = as_user(home, "build", out, ".", folder=folder, lent=2_200_000_000)
    assert done.returncode == 0, done.stderr
    with tarfile.open(home / "out.tar") as tar:
        assert [(entry.uid, entry.gid) for entry in tar] == [(2_000_000_000, 2_100_000_000)]


def test_credential_helpers_find_the_user_and_not_root(home: Path) -> None:
    """They look by their id for what the user has running: D-Bus, the agent of gpg. This one tells what it found."""
    script = '#!/bin/sh\necho "{\\"Username\\": \\"$(id -u)/$(id -g)\\", \\"Secret\\": \\"$(stat -c %u $HOME)\\"}"\n'
    write(home, {"bin/docker-credential-note": script, ".docker/config.json": '{"credsStore": "note"}'})
    (home / "bin/docker-credential-note").chmod(0o755)
    with FakeRegistry() as registry:
        registry.basic = (f"{USER}/{USER}", str(USER))
        folder = write(home / "project", {"Dockerfile": f"FROM {registry.host}/x\n"})
        done = as_user(home, "build", ".", folder=folder, PATH=f"{home}/bin:{os.environ['PATH']}")
        assert f"{registry.host}/x:latest: not found (404 Not Found)" in done.stderr
        registry.basic = ("root", "secret")
        done = as_user(home, "build", ".", folder=folder, PATH=f"{home}/bin:{os.environ['PATH']}")
        assert f"{registry.host}/x:latest: access denied (401 Unauthorized)" in done.stderr


def test_doctor(home: Path) -> None:
    done = as_user(home, "doctor", "--format=json", folder=home)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, checks["privileges"], checks["overlayfs"]) == (
        0,
        {
            "name": "privileges",
            "verdict": "ok",
            "what": f"running as user {USER}: rootless, with {LENT} ids lent to it",
        },
        {"name": "overlayfs", "verdict": "ok", "what": "mounted one below the state root"},
    )
    done = as_user(home, "doctor", "--format=json", folder=home, lent=0)
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, checks["privileges"]) == (
        0,
        {
            "name": "privileges",
            "verdict": "warn",
            "what": f"running as user {USER}: rootless, with its own id only (no range of ids for bakepy-test in"
            " /etc/subuid); images with files of other owners can not be built on",
            "mend": "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 bakepy-test",
        },
    )


@pytest.mark.parametrize("victim", ["user", "engine"])
def test_kill_leaves_no_process_and_no_mount(home: Path, busybox: Path, victim: str) -> None:
    folder = project(home / "project", busybox)
    (folder / "context/Dockerfile").write_text("FROM base\nRUN echo begun; sleep 1000\n")
    environment = {"PATH": os.environ["PATH"], "BAKEPY_ROOT": str(home / "state"), **ENVIRONMENT}
    program = Path(sys.executable).parent / "bakepy"
    words = (program, "run", "--progress=plain", "one")
    with subprocess.Popen(
        command(home, *words, folder=folder), env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while not process.stderr.readline().rstrip().endswith("begun"):
            assert process.poll() is None
        family = _family(process.pid)
        waiting = [os.pidfd_open(pid) for pid in family if pid != process.pid]
        os.kill(process.pid if victim == "user" else _engine(family), signal.SIGKILL)
        process.wait()
        assert len(waiting) > 2
        for descriptor in waiting:
            _wait(descriptor)
    # planning needs no namespace: what lies there is for those who have one
    planned = as_user(home, "plan", "one", folder=folder)
    assert (planned.returncode, "RUN echo begun" in planned.stdout) == (0, True), planned.stderr
    assert len(list((home / "state/tmp").iterdir())) == 1
    pruned = as_user(home, "prune", "--all", folder=folder)
    assert (pruned.returncode, list((home / "state/tmp").iterdir())) == (0, []), pruned.stderr
    write(folder, {"context/Dockerfile": "FROM scratch\nCOPY sub /\n"})
    assert as_user(home, "build", "context", folder=folder).returncode == 0
    assert list((home / "state/tmp").iterdir()) == []


def _family(first: int) -> list[int]:
    """A process and all that came from it."""
    found, waiting = [], [first]
    while waiting:
        here = waiting.pop()
        found.append(here)
        for task in Path(f"/proc/{here}/task").iterdir():
            waiting += [int(child) for child in (task / "children").read_text().split()]
    return found


def _engine(family: list[int]) -> int:
    """The bakepy that has started another program, the runtime. What it is about to start looks like itself."""
    above = {
        int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in family if not _bakes(pid)
    }
    [engine] = filter(_bakes, above.intersection(family))
    return engine


def _bakes(pid: int) -> bool:
    return b"/bin/bakepy\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def _wait(descriptor: int) -> None:
    import select

    ended, _, _ = select.select([descriptor], [], [], 120)
    os.close(descriptor)
    assert ended, "a process lives on"


def test_the_monorepo(home: Path, busybox: Path) -> None:
    folder = home / "monorepo"
    shutil.copytree(REPOSITORY / "examples/monorepo", folder, ignore=shutil.ignore_patterns("out"))
    shutil.copytree(busybox, home / "base")
    for path in (home, *home.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
    environment = {
        "PATH": os.environ["PATH"],
        "BAKEPY_ROOT": str(home / "state"),
        "BASE": f"oci-layout://{home / 'base'}:latest",
    }
    program = Path(sys.executable).parent / "bakepy"
    done = subprocess.run(
        command(home, program, "run", folder=folder), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
