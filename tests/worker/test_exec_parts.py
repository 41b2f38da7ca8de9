"""The parts of running a step that need no container: users, emulators, runtimes, the filter."""

from __future__ import annotations

import base64
import hashlib
import json
import resource
import struct
from pathlib import Path

import pytest

from bakepy.errors import BuildError, EngineError
from bakepy.model.platform import Platform
from bakepy.worker.cgroups import Cgroups
from bakepy.worker.emulation import check_runnable, foreign_machines
from bakepy.worker.oci import DEFAULT_CAPABILITIES, hosts_text
from bakepy.worker.oomcount import OomCount
from bakepy.worker.runtime import explain, find_runtime, lacks_rights
from bakepy.worker.seccomp import profile_json
from bakepy.worker.seccomp_bpf import compiled
from bakepy.worker.users import ProcessUser, find_user
from tests.support.trees import GROUP, PASSWD

AMD64 = Platform("linux", "amd64")
ARM64_HANDLER = """enabled
interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: {flags}
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ("", ProcessUser(0, 0, (0,), "/root")),
        ("app", ProcessUser(1000, 1000, (1000, 3000, 3001), "/home/app")),
        ("1000", ProcessUser(1000, 1000, (1000, 3000, 3001), "/home/app")),
        ("app:svc", ProcessUser(1000, 2000, (2000,), "/home/app")),
        ("app:", ProcessUser(1000, 1000, (1000, 3000, 3001), "/home/app")),
        ("7:8", ProcessUser(7, 8, (8,), "/")),
        ("+7:+8", ProcessUser(7, 8, (8,), "/")),
        ("7:8:x", ProcessUser(7, 8, (8,), "/")),
    ],
)
def test_user(user: str, found: ProcessUser) -> None:
    assert find_user(user, PASSWD, GROUP) == found


def test_root_needs_no_files() -> None:
    assert find_user("", "", "") == ProcessUser(0, 0, (0,), "/")


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("ghost", "unable to find user ghost: no matching entries in passwd file"),
        ("app:ghosts", "unable to find group ghosts: no matching entries in group file"),
        ("2147483648", "uids and gids must be in range 0-2147483647, not 2147483648"),
        ("-1", "uids and gids must be in range 0-2147483647, not -1"),
    ],
)
def test_unknown_user(user: str, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        find_user(user, PASSWD, GROUP)
    assert str(caught.value) == message


def test_lines_of_passwd_with_missing_fields_count() -> None:
    passwd = "a\n\n:x\n b:x:5:6 \n"
    assert find_user("b", passwd, "") == ProcessUser(5, 6, (6,), "")
    assert find_user("a", passwd, "") == ProcessUser(0, 0, (0,), "")
    with pytest.raises(BuildError, match=r"^unable to find user c: "):
        find_user("c", passwd, "")


def test_emulators_that_work_in_containers(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "qemu-aarch64").write_text(ARM64_HANDLER.format(flags="POCF"))
    (tmp_path / "python3.11").write_text(
        "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n"
    )
    assert foreign_machines(tmp_path) == {"arm64"}
    (tmp_path / "qemu-aarch64").write_text(ARM64_HANDLER.format(flags="OC"))
    assert foreign_machines(tmp_path) == frozenset()


def test_foreign_platform_needs_an_emulator() -> None:
    arm64 = Platform("linux", "arm64")
    check_runnable(arm64, AMD64, frozenset({"arm64"}))
    check_runnable(Platform("linux", "386"), AMD64, frozenset())
    with pytest.raises(EngineError) as caught:
        check_runnable(arm64, AMD64, frozenset())
    assert str(caught.value) == (
        "programs for linux/arm64 can not be run on linux/amd64: no emulator is registered\n"
        "hint: install one: `apt-get install qemu-user-static binfmt-support` (or register QEMU in binfmt_misc, flag F)"
    )


def install(folder: Path, *names: str) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


@pytest.mark.parametrize(
    ("kind", "installed", "name", "cgroups"),
    [
        ("unified", ("runc", "crun"), "crun", True),
        ("legacy", ("crun",), "crun", True),
        ("hybrid", ("runc", "crun"), "runc", True),
        ("none", ("crun",), "crun", False),
        ("unified", ("youki",), "youki", True),
    ],
)
def test_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, installed: tuple[str, ...], name: str, cgroups: bool
) -> None:
    monkeypatch.setattr("bakepy.worker.runtime._ELSEWHERE", "")
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY,) * 2)
    runtime = find_runtime(Cgroups(kind, ()), install(tmp_path / "bin", *installed))
    assert (runtime.name, runtime.cgroups) == (name, cgroups)


def test_crun_that_may_not_lock_memory_makes_no_cgroups_of_version_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (4096, 4096))
    status = tmp_path / "status"
    status.write_text("CapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n")
    kinds = ("unified", "legacy", "none")
    assert [lacks_rights("crun", Cgroups(kind, ()), status) for kind in kinds] == [True, False, False]
    assert not lacks_rights("runc", Cgroups("unified", ()), status)
    status.write_text("CapEff:\t000001ffffffffff\n")
    assert not lacks_rights("crun", Cgroups("unified", ()), status)


def test_no_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakepy.worker.runtime._ELSEWHERE", "")
    with pytest.raises(EngineError) as caught:
        find_runtime(Cgroups("unified", ()), install(tmp_path / "bin"))
    assert caught.value.what == "no OCI runtime is installed"
    with pytest.raises(EngineError, match=r"^OCI runtime mine \(BAKEPY_RUNTIME\) is not installed$"):
        find_runtime(Cgroups("unified", ()), {**install(tmp_path / "bin"), "BAKEPY_RUNTIME": "mine"})


def test_words_about_a_program_that_can_not_be_executed() -> None:
    assert explain("something else", "x") == "something else"
    assert explain("executable file `x` not found in $PATH: No such file or directory", "x") == (
        'exec: "x": executable file not found in $PATH'
    )


def test_hosts() -> None:
    assert hosts_text("box", [("six", "2001:db8::1")]) == (
        "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback\n2001:db8::1\tsix\n"
    )


def test_calls_follow_the_capabilities() -> None:
    default = json.loads(profile_json(frozenset(DEFAULT_CAPABILITIES), "x86_64"))
    allowed = set(default["syscalls"][0]["names"])
    assert {"openat2", "chroot", "arch_prctl", "ptrace"} <= allowed
    assert not {"mount", "unshare", "clone", "clone3", "bpf", "reboot", "socket", "personality"} & allowed
    assert {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38} in default["syscalls"]
    admin = json.loads(profile_json(frozenset({"CAP_SYS_ADMIN"}), "aarch64"))
    allowed = set(admin["syscalls"][0]["names"])
    assert {"mount", "unshare", "clone", "clone3", "sync_file_range2"} <= allowed
    assert not {"chroot", "arch_prctl"} & allowed


@pytest.mark.runtime
def test_compiled_filter_is_a_program_for_the_kernel(tmp_path: Path) -> None:
    text = compiled(profile_json(frozenset(DEFAULT_CAPABILITIES)), tmp_path)
    assert text is not None
    program = base64.b64decode(text)
    code, _, _, offset = struct.unpack("<HBBI", program[:8])
    assert len(program) % 8 == 0 and (code, offset) == (0x20, 4)  # the first step loads the architecture
    assert struct.pack("<HBBI", 0x06, 0, 0, 0x00050001) in program  # EPERM
    assert struct.pack("<HBBI", 0x06, 0, 0, 0x00050026) in program  # ENOSYS


@pytest.mark.runtime
def test_compiled_filter_is_kept_for_the_next_run_and_made_anew_if_it_is_damaged(tmp_path: Path) -> None:
    profile = profile_json(frozenset(DEFAULT_CAPABILITIES))
    text = compiled(profile, tmp_path)
    (kept,) = tmp_path.iterdir()
    digest = hashlib.sha256(b"another").hexdigest()
    kept.write_text(f"{digest} another")
    compiled.cache_clear()
    assert compiled(profile, tmp_path) == "another"  # it was read
    kept.write_text(kept.read_text() + "x")
    compiled.cache_clear()
    assert compiled(profile, tmp_path) == text
    assert [path.name for path in tmp_path.iterdir()] == [kept.name]
    compiled.cache_clear()


def test_kills_below_a_cgroup_of_version_2(tmp_path: Path) -> None:
    count = OomCount.begin(Cgroups("unified", (tmp_path,)), "token", "id", {"limit": 4096})
    assert count is not None
    folder = tmp_path / "bakepy/token/id"
    assert count.inner({"limit": 4096}) == {"limit": 4096}
    assert not count.killed()  # no memory controller
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\noom_group_kill 0\n")
    assert not count.killed()
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 0\n")
    assert count.killed()
    (folder / "memory.events").unlink()  # the kernel's files are no obstacle to rmdir(2)
    (folder / "step").mkdir()
    count.close()
    assert list((tmp_path / "bakepy/token").iterdir()) == []


def test_without_cgroups_of_ones_own_no_kills_are_counted(tmp_path: Path) -> None:
    assert OomCount.begin(Cgroups("none", ()), "token", "id", {"limit": 4096}) is None
    assert OomCount.begin(Cgroups("hybrid", (tmp_path,)), "token", "id", {"limit": 4096}) is None
