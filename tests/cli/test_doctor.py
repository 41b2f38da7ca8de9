"""Each check of `bakepy doctor`, on machines made of a few files."""

import json
import os
import resource
from pathlib import Path

import pytest

from bakepy.cli import checks
from bakepy.cli.checks import Check, Machine, Verdict
from bakepy.cli.doctor import table


def machine(
    tmp_path: Path, files: dict[str, str] | None = None, *, user_id: int = 0, programs: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
) -> Machine:  # fmt: skip
    for name, text in (files or {}).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = programs or {}
    return Machine(
        state_root=tmp_path / "state",
        environment={"HOME": str(tmp_path), **(environment or {})},
        user_id=user_id,
        proc=tmp_path / "proc",
        sys=tmp_path / "sys",
        etc=tmp_path / "etc",
        find_program=found.get,
    )


def program(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


NOBODY = 1_234_567
"""A user whom no machine knows."""


def test_users_need_lent_ids(tmp_path: Path) -> None:
    assert checks.check_privileges(Machine(Path("/s"), {}, user_id=0)).verdict is Verdict.OK
    alone = f"running as user {NOBODY}: rootless, with its own id only"
    rest = "images with files of other owners can not be built on"
    assert checks.check_privileges(machine(tmp_path / "1", user_id=NOBODY)) == Check(
        "privileges",
        Verdict.WARN,
        f"{alone} (newuidmap and newgidmap are not installed); {rest}",
        "apt-get install uidmap",
    )
    programs = {"newuidmap": "/x", "newgidmap": "/x"}
    bob = {"USER": "bob"}
    some = {"etc/subuid": "bob:1000:65536\neve:1:2\nbob:9:10\n"}
    lacking = machine(tmp_path / "2", some, user_id=NOBODY, programs=programs, environment=bob)
    assert checks.check_privileges(lacking) == Check(
        "privileges",
        Verdict.WARN,
        f"{alone} (no range of ids for bob in {tmp_path}/2/etc/subgid); {rest}",
        "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 bob",
    )
    both = {**some, "etc/subgid": f"bob:x:1\n{NOBODY}:1000:500\n"}
    lent = machine(tmp_path / "3", both, user_id=NOBODY, programs=programs, environment=bob)
    assert checks.check_privileges(lent) == Check(
        "privileges", Verdict.OK, f"running as user {NOBODY}: rootless, with 500 ids lent to it"
    )


def test_a_runtime_is_started_to_see_that_it_works(tmp_path: Path) -> None:
    good = program(tmp_path / "crun", "echo crun version 9.9; echo more")
    assert checks.check_runtime(machine(tmp_path, programs={"crun": good})) == Check(
        "runtime", Verdict.OK, f"{good} (crun version 9.9)"
    )
    bad = program(tmp_path / "runc", "echo no libseccomp >&2; exit 127")
    assert checks.check_runtime(machine(tmp_path, programs={"runc": bad})) == Check(
        "runtime", Verdict.FAIL, f"{bad} does not start: no libseccomp", "reinstall runc"
    )


def test_the_runtime_of_the_environment_counts_alone(tmp_path: Path) -> None:
    crun = program(tmp_path / "crun", "echo crun")
    there = machine(tmp_path, programs={"crun": crun}, environment={"BAKEPY_RUNTIME": "mine"})
    assert checks.check_runtime(there) == Check(
        "runtime",
        Verdict.FAIL,
        "OCI runtime mine (BAKEPY_RUNTIME) is not installed",
        "unset BAKEPY_RUNTIME, or name another one",
    )


def test_no_runtime_fails_with_the_package_to_install(tmp_path: Path) -> None:
    check = checks.check_runtime(machine(tmp_path))
    assert (check.verdict, check.mend) == (Verdict.FAIL, "apt-get install crun")
    assert check.what == "no OCI runtime found in PATH (looked for crun, runc, youki)"


def test_the_state_root_is_not_made_by_looking_at_it(tmp_path: Path) -> None:
    there = machine(tmp_path)
    assert checks.check_state_root(there).what == f"{tmp_path}/state (made by the first run)"
    assert checks.check_disk(there).what.endswith(f" GB free for {tmp_path}/state")
    assert not there.state_root.exists()


def test_a_state_root_below_a_file_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    check = checks.check_state_root(machine(tmp_path))
    assert (check.verdict, check.what) == (Verdict.FAIL, f"{tmp_path}/state can not be written")


def test_root_needs_no_user_namespaces_but_users_do(tmp_path: Path) -> None:
    files = {"proc/sys/user/max_user_namespaces": "0\n", "etc/subuid": "bob:1:2\n", "etc/subgid": "bob:1:2\n"}
    programs = {"newuidmap": "/x", "newgidmap": "/x"}
    root = checks.check_user_namespaces(machine(tmp_path, files, programs=programs))
    assert root.verdict is Verdict.OK
    user = checks.check_user_namespaces(machine(tmp_path, user_id=1000, programs=programs))
    assert (user.verdict, user.what) == (Verdict.WARN, "user.max_user_namespaces is 0")
    assert user.mend == "sysctl -w user.max_user_namespaces=15000"


def test_a_user_with_ranges_has_user_namespaces(tmp_path: Path) -> None:
    files = {"etc/subuid": "bob:100000:65536\n", "etc/subgid": "bob:100000:65536\n"}
    programs = {"newuidmap": "/x", "newgidmap": "/x"}
    check = checks.check_user_namespaces(
        machine(tmp_path, files, user_id=1000, programs=programs, environment={"USER": "bob"})
    )
    assert check == Check("user namespaces", Verdict.OK, "available")


def test_cgroups_of_both_versions_and_none(tmp_path: Path) -> None:
    two = {"sys/fs/cgroup/cgroup.controllers": "cpu memory\n", "sys/fs/cgroup/cgroup.procs": ""}
    assert checks.check_cgroups(machine(tmp_path / "2", two)).what == "version 2 (cpu memory)"
    assert checks.check_cgroups(machine(tmp_path / "1", {"sys/fs/cgroup/memory/tasks": ""})).what == "version 1"
    assert checks.check_cgroups(machine(tmp_path / "0")).verdict is Verdict.WARN


def test_cgroups_at_the_top_of_a_container_are_for_bakepy_alone(tmp_path: Path) -> None:
    """The machine's own top has no events; in a container the top passes on nothing while it has processes."""
    files = {
        "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        "sys/fs/cgroup/cgroup.events": "populated 1\n",
        "sys/fs/cgroup/cgroup.procs": f"{os.getpid()}\n",
    }
    assert checks.check_cgroups(machine(tmp_path / "1", files)) == Check(
        "cgroups", Verdict.OK, "version 2 (cpu memory)"
    )
    files |= {"sys/fs/cgroup/cgroup.procs": f"{os.getppid()}\n{os.getpid()}\n"}
    crowd = "with other processes than bakepy at this container's top"
    assert checks.check_cgroups(machine(tmp_path / "2", files)) == Check(
        "cgroups",
        Verdict.WARN,
        f"version 2 (cpu memory), {crowd}: no limits for steps",
        "docker run --privileged --cgroupns=host …",
    )


def test_cgroups_that_crun_may_not_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (4096, 4096))
    files = {
        "sys/fs/cgroup/cgroup.controllers": "cpu",
        "sys/fs/cgroup/cgroup.procs": "",
        "proc/self/status": "CapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n",
    }
    lacking = checks.check_cgroups(machine(tmp_path / "1", files, programs={"crun": "/x"}))
    assert (lacking.verdict, lacking.what) == (
        Verdict.WARN,
        "version 2 (cpu), but crun lacks CAP_SYS_RESOURCE to make any: no limits for steps",
    )
    assert checks.check_cgroups(machine(tmp_path / "2", files, programs={"runc": "/x"})).verdict is Verdict.OK
    files |= {"proc/self/status": "CapEff:\t000001ffffffffff\n"}
    assert checks.check_cgroups(machine(tmp_path / "3", files, programs={"crun": "/x"})).verdict is Verdict.OK


def test_cgroups_of_a_user_are_those_delegated_to_it(tmp_path: Path) -> None:
    alone = machine(tmp_path / "1", {"proc/self/cgroup": "0::/user.slice\n"}, user_id=NOBODY)
    assert checks.check_cgroups(alone) == Check(
        "cgroups",
        Verdict.WARN,
        "none delegated to this user: no limits for steps",
        "systemd-run --user --scope --property=Delegate=yes bakepy …",
    )
    files = {
        "proc/self/cgroup": "1:cpu:/\n0::/mine\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory",
        "sys/fs/cgroup/mine/cgroup.procs": f"{os.getpid()}\n",
        "sys/fs/cgroup/mine/cgroup.controllers": "memory cpu\n",
        "sys/fs/cgroup/mine/cgroup.subtree_control": "",
    }
    delegated = machine(tmp_path / "2", files, user_id=NOBODY)
    assert checks.check_cgroups(delegated) == Check(
        "cgroups", Verdict.OK, "version 2, delegated to this user (cpu, memory)"
    )
    files |= {"sys/fs/cgroup/mine/cgroup.procs": f"{os.getpid()}\n{os.getppid()}\n"}
    crowded = machine(tmp_path / "3", files, user_id=NOBODY)
    assert checks.check_cgroups(crowded) == Check(
        "cgroups",
        Verdict.WARN,
        "version 2, delegated to this user, but not to bakepy alone: no limits for steps",
        "systemd-run --user --scope --property=Delegate=yes bakepy …",
    )


def test_network_of_steps(tmp_path: Path) -> None:
    tun, slirp = tmp_path / "tun", tmp_path / "slirp4netns"
    tun.touch()
    program(slirp, "")

    def check(environment: dict[str, str], tun: Path = tun) -> Check:
        return checks.check_network(Machine(Path("/s"), environment, tun=tun))

    here = {"PATH": str(tmp_path)}
    assert check(here) == Check("network", Verdict.OK, "steps have a sandbox of their own (slirp4netns)")
    shared = Check("network", Verdict.OK, "steps have the machine's network (BAKEPY_NETWORK=host)")
    assert check({**here, "BAKEPY_NETWORK": "host"}) == shared
    gone = tmp_path / "gone"
    what, mend = f"there is no {gone}", f"modprobe tun; chmod 666 {gone}"
    assert check(here, gone) == Check("network", Verdict.WARN, f"steps have the machine's own network: {what}", mend)
    wanted = {**here, "BAKEPY_NETWORK": "sandbox"}
    refused = Check("network", Verdict.FAIL, f"no sandbox, which BAKEPY_NETWORK asks for: {what}", mend)
    assert check(wanted, gone) == refused


def test_emulation_needs_handlers_that_are_opened_early(tmp_path: Path) -> None:
    handler = "proc/sys/fs/binfmt_misc/qemu-riscv64"
    early = machine(tmp_path / "early", {handler: "enabled\ninterpreter /usr/bin/qemu\nflags: POCF\n"})
    assert checks.check_emulation(early).what.endswith("and, emulated, linux/riscv64")
    late = machine(tmp_path / "late", {handler: "enabled\ninterpreter /usr/bin/qemu\nflags: OC\n"})
    assert checks.check_emulation(late) == Check(
        "emulation",
        Verdict.WARN,
        "linux/riscv64: registered without the flag F, so containers can not use it",
        "apt-get install qemu-user-static binfmt-support",
    )
    assert checks.check_emulation(machine(tmp_path / "none", {handler: "disabled\n"})).verdict is Verdict.WARN


def test_credentials_name_registries_but_tell_no_secret(tmp_path: Path) -> None:
    config = {"auths": {"r.example.com": {"auth": "c2VjcmV0"}}, "credsStore": "pass"}
    there = machine(tmp_path, {".docker/config.json": json.dumps(config)}, programs={"docker-credential-pass": "/x"})
    assert (
        checks.check_credentials(there).what == f"{tmp_path}/.docker/config.json: r.example.com, and pass for the rest"
    )


def test_a_credential_helper_that_is_missing_is_named(tmp_path: Path) -> None:
    there = machine(tmp_path, {"d/config.json": '{"credHelpers": {"gcr.io": "gcloud"}}'},
                    environment={"DOCKER_CONFIG": str(tmp_path / "d")})  # fmt: skip
    check = checks.check_credentials(there)
    assert (check.verdict, check.mend) == (Verdict.WARN, "install docker-credential-gcloud")


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_docker_config_is_told(tmp_path: Path, text: str) -> None:
    check = checks.check_credentials(machine(tmp_path, {".docker/config.json": text}))
    assert (check.verdict, check.mend) == (Verdict.WARN, "mend or remove the file")


def test_the_table_puts_remedies_below() -> None:
    checked = (Check("runtime", Verdict.FAIL, "none", "apt-get install crun"), Check("disk", Verdict.OK, "1 GB"))
    assert table(checked, colour=False) == (
        "fail  runtime  none\n"
        "               → apt-get install crun\n"
        "ok    disk     1 GB"
    )  # fmt: skip


@pytest.mark.runtime
def test_an_overlay_is_mounted_for_real_and_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()
    check = checks.check_overlay(Machine(root, {}))
    assert check.verdict is Verdict.OK, check.what
    assert list(root.iterdir()) == []
    assert str(root) not in Path("/proc/self/mountinfo").read_text()
