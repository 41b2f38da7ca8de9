"""The process of a step: who it is, what it sees, how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from bakepy.errors import BuildError, EngineError, ProcessError
from bakepy.llb.op import CDIDevice, HostIP, LinuxResources, NetMode, ProxyEnv, SecretEnv, SecurityMode, Ulimit
from bakepy.model.platform import Platform
from bakepy.snapshot.tree import remove_tree
from bakepy.worker.cgroups import Cgroups
from bakepy.worker.launcher import Launcher
from bakepy.worker.network import PROGRAMS
from bakepy.worker.ref import TreeRef
from tests.support.steps import Steps
from tests.support.trees import mount_points_below

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

KERNEL = ["dir dev 755 0:0", "dir proc 755 0:0", "dir sys 755 0:0"]
"""What the first RUN adds to an image without them."""


def own_bounding_set() -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("CapBnd"))


def null_changed() -> int:
    """When the machine's /dev/null got its owner and mode."""
    return Path("/dev/null").stat().st_ctime_ns


KERNEL_CORE = "core " if Path("/proc/kcore").exists() else ""
"""Made in /dev by runc, and by crun as it is used."""

IN_MEMORY = {"devices", "hosts", "network", "resolv.conf", "resolv.sandbox.conf", "runtime", "state"}
"""What there is between steps."""


def children() -> list[str]:
    """Of this process, zombies included; without the sandbox's, which outlives a step."""
    found = [pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]
    return [pid for pid in found if Path(f"/proc/{pid}/comm").read_text().strip() not in PROGRAMS]


def mounted(steps: Steps) -> list[str]:
    """What is mounted below the state root, without what outlives a step: the sandbox, the file system of devices."""
    outlives = steps.context.volatile / "network", steps.context.volatile
    return [point for point in mount_points_below(steps.machine.root) if Path(point).parent not in outlives]


def in_memory(steps: Steps) -> list[str]:
    """What there is in memory, without what is there between steps."""
    assert len(list((steps.context.volatile / "devices").glob("*"))) <= 1  # that of the next step
    return sorted({path.name for path in steps.context.volatile.iterdir()} - IN_MEMORY)


def bare_root(root: Path) -> None:
    """A shell and nothing else."""
    (root / "bin").mkdir()
    shutil.copy("/bin/busybox", root / "bin/sh")


async def test_output_and_layer_of_a_step(steps: Steps) -> None:
    ran = await steps.run("echo out; echo err >&2; echo hi > /o", id="the result")
    assert (ran.out, ran.err) == ("out\n", "err\n")
    assert ran.refs == [TreeRef("the result", "the result")]
    assert ran.layer == [KERNEL[0], "file o 644 0:0 'hi\\n'", *KERNEL[1:]]


async def test_later_steps_see_earlier_ones(steps: Steps) -> None:
    first = await steps.run("echo 1 > /f")
    second = await steps.run("cat /f; echo 2 > /f", on=first.refs[0])
    assert (second.out, second.layer) == ("1\n", ["file f 644 0:0 '2\\n'"])


async def test_failure_tells_status_and_last_lines(steps: Steps) -> None:
    with pytest.raises(ProcessError) as caught:
        await steps.run("seq 1 30; exit 5")
    assert caught.value.status == 5
    assert caught.value.render().splitlines() == [
        'process "/bin/sh -c seq 1 30; exit 5" did not complete successfully: exit code: 5',
        *(f"    {number}" for number in range(21, 31)),
    ]


@pytest.mark.parametrize(
    ("args", "meta", "secret", "reason"),
    [
        (["sh", "-c", "a\0b"], {}, "TOKEN", "invalid argument or environment variable: it has a NUL byte"),
        (["sh"], {"env": ("A=\0",)}, "TOKEN", "invalid argument or environment variable: it has a NUL byte"),
        (["sh"], {}, "", "invalid environment variable: name cannot be empty"),
    ],
)
async def test_what_runc_does_not_start_fails_with_every_runtime(
    steps: Steps, args: list[str], meta: dict[str, Any], secret: str, reason: str
) -> None:
    with pytest.raises(ProcessError, match="did not complete successfully: exit code: 1") as caught:
        await steps.run(args, meta=meta, secret_env=(SecretEnv("token", secret, optional=True),))
    assert caught.value.detail == (reason,)


async def test_failure_names_the_process_in_one_line(steps: Steps) -> None:
    with pytest.raises(ProcessError) as caught:
        await steps.run('echo "a" >/dev/null\nexit 3')
    assert caught.value.what == (
        r'process "/bin/sh -c echo \"a\" >/dev/null\nexit 3" did not complete successfully: exit code: 3'
    )


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("/nothing/here", 'exec: "/nothing/here": stat /nothing/here: no such file or directory'),
        ("nothing", 'exec: "nothing": executable file not found in $PATH'),
        ("/etc/passwd", 'exec: "/etc/passwd": permission denied'),
    ],
)
async def test_program_that_can_not_be_executed(steps: Steps, program: str, reason: str) -> None:
    with pytest.raises(ProcessError) as caught:
        await steps.run([program])
    assert caught.value.what == f'process "{program}" did not complete successfully: exit code: 1'
    assert caught.value.detail[-1].endswith(f": unable to start container process: {reason}")


async def test_killed_process_has_its_signal_in_the_status(steps: Steps) -> None:
    with pytest.raises(ProcessError, match="exit code: 143") as caught:
        await steps.run("sh -c 'kill -15 $$'; exit $?")
    assert caught.value.status == 128 + signal.SIGTERM


async def test_allowed_exit_codes(steps: Steps) -> None:
    assert (await steps.run("exit 3", meta={"valid_exit_codes": (3, 4)})).layer == KERNEL
    with pytest.raises(ProcessError, match="exit code: 0"):
        await steps.run("exit 0", meta={"valid_exit_codes": (3,)})


async def test_environment(steps: Steps) -> None:
    ran = await steps.run("env | sort", meta={"env": ("B=2", "A=ä")})
    assert ran.out == (
        "A=ä\nB=2\nHOME=/root\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\nSHLVL=1\n"
    )
    proxy = ProxyEnv(http_proxy="http://p", no_proxy="x")
    ran = await steps.run(["/bin/env"], meta={"env": ("PATH=/bin", "HOME=/h"), "proxy_env": proxy})
    assert ran.out.split() == [
        "PATH=/bin",
        "HOME=/h",
        "HTTP_PROXY=http://p",
        "http_proxy=http://p",
        "NO_PROXY=x",
        "no_proxy=x",
    ]


@pytest.mark.parametrize(
    ("user", "identity", "home"),
    [
        ("", "uid=0(root) gid=0(root) groups=0(root)", "/root"),
        ("app", "uid=1000(app) gid=1000(app) groups=1000(app),3000(extra),3001(more)", "/home/app"),
        ("1001", "uid=1001(svc) gid=2000(svc) groups=2000(svc),3001(more)", "/srv"),
        ("app:more", "uid=1000(app) gid=3001(more) groups=3001(more)", "/home/app"),
        ("4242", "uid=4242 gid=0(root) groups=0(root)", "/"),
        ("4242:77", "uid=4242 gid=77 groups=77", "/"),
    ],
)
async def test_user(steps: Steps, user: str, identity: str, home: str) -> None:
    ran = await steps.run("id; echo $HOME; umask", meta={"user": user})
    assert ran.out.splitlines() == [identity, home, "0022"]


async def test_unknown_user_fails_when_it_runs(steps: Steps) -> None:
    with pytest.raises(BuildError, match=r"^unable to find user ghost: no matching entries in passwd file$"):
        await steps.run("id", meta={"user": "ghost"})


async def test_capabilities_and_filter(steps: Steps) -> None:
    status = "grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status | tr '\\t' ' '"
    root = await steps.run(status)
    assert root.out.splitlines() == [
        "CapInh: 0000000000000000",
        "CapPrm: 00000000a80425fb",
        "CapEff: 00000000a80425fb",
        "CapBnd: 00000000a80425fb",
        "CapAmb: 0000000000000000",
        "NoNewPrivs: 0",
        "Seccomp: 2",
    ]
    user = await steps.run(status, meta={"user": "app"})
    assert user.out.splitlines()[1:4] == [
        "CapPrm: 0000000000000000",
        "CapEff: 0000000000000000",
        "CapBnd: 00000000a80425fb",
    ]


async def test_what_a_container_may_not_do(steps: Steps) -> None:
    ran = await steps.run(
        "mknod /disk b 8 0; dd if=/disk of=/dev/null count=1; mount -t tmpfs x /tmp; unshare -n true;"
        " echo x > /sys/x; echo x > /proc/sys/kernel/hostname; mknod /white c 0 0; umount /proc; true"
    )
    assert ran.err.splitlines() == [
        "dd: can't open '/disk': Operation not permitted",
        "mount: permission denied (are you root?)",
        "unshare: unshare(0x40000000): Operation not permitted",
        "/bin/sh: can't create /sys/x: Read-only file system",
        "/bin/sh: can't create /proc/sys/kernel/hostname: Read-only file system",
        "mknod: /white: Operation not permitted",
        "umount: can't unmount /proc: Operation not permitted",
    ]


async def test_standard_streams_and_devices(steps: Steps) -> None:
    ran = await steps.run("cat; echo $$; ls /dev | tr '\\n' ' '; df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2")
    assert ran.out.splitlines() == [
        "1",
        f"{KERNEL_CORE}fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero 65536",
    ]


async def test_names_of_the_host(steps: Steps) -> None:
    ran = await steps.run("hostname; cat /etc/hosts; echo x >> /etc/hosts || ls -A /etc")
    assert ran.out == (
        "buildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        "group\nhosts\npasswd\nresolv.conf\n"
    )
    assert ran.layer == KERNEL
    extra = (HostIP("one.example", "192.0.2.1"),)
    ran = await steps.run("hostname; cat /etc/hosts", meta={"hostname": "mybox", "extra_hosts": extra})
    assert ran.out == (
        "mybox\n127.0.0.1\tlocalhost mybox\n::1\tlocalhost ip6-localhost ip6-loopback\n192.0.2.1\tone.example\n"
    )


async def test_empty_image_gets_kernel_folders_but_no_etc(steps: Steps) -> None:
    await steps.machine.commit("bare", None, bare_root)
    ran = await steps.run("true", on=TreeRef("bare", "bare"))
    assert ran.layer == KERNEL
    ran = await steps.run("echo x > /etc/mine; echo y > /dev/mine", on=TreeRef("bare", "bare"))
    assert ran.layer == [KERNEL[0], "dir etc 755 0:0", "file etc/mine 644 0:0 'x\\n'", *KERNEL[1:]]


async def test_work_directory_is_made_for_the_user(steps: Steps) -> None:
    ran = await steps.run("pwd; echo x > f", meta={"cwd": "/srv/new/dir", "user": "app"})
    assert ran.out == "/srv/new/dir\n"
    assert ran.layer == [
        *KERNEL[:2],
        "dir srv 755 1000:1000",
        "dir srv/new 755 1000:1000",
        "dir srv/new/dir 755 1000:1000",
        "file srv/new/dir/f 644 1000:1000 'x\\n'",
        KERNEL[2],
    ]


async def test_work_directory_that_the_user_may_not_enter_is_used(steps: Steps) -> None:
    first = await steps.run("mkdir -m 700 /closed")
    ran = await steps.run("pwd; ls . || true", on=first.refs[0], meta={"cwd": "/closed", "user": "app"})
    assert (ran.out, ran.err) == ("/closed\n", "ls: .: Permission denied\n")


async def test_background_processes_end_with_the_first(steps: Steps) -> None:
    ran = await steps.run("(sleep 60; echo late) & echo now")
    assert ran.out == "now\n"


async def test_no_network_has_only_loopback(steps: Steps) -> None:
    ran = await steps.run(
        "ls /sys/class/net; ping -c1 -W1 127.0.0.1 > /dev/null && echo up; tail -n +2 /proc/net/route",
        network=NetMode.NONE,
    )
    assert ran.out == "lo\nup\n"


async def test_host_network_and_insecure_need_an_entitlement(steps: Steps) -> None:
    with pytest.raises(BuildError, match=r"^network.host is not allowed\n"):
        await steps.run("true", network=NetMode.HOST)
    with pytest.raises(BuildError, match=r"^security.insecure is not allowed\n"):
        await steps.run("true", security=SecurityMode.INSECURE)
    ran = await steps.run("true", network=NetMode.HOST, entitlements=frozenset({"network.host"}))
    assert ran.layer == KERNEL


async def test_insecure_step_has_all_that_the_machine_lets_it(steps: Steps) -> None:
    ran = await steps.run(
        "grep -E '^(CapEff|Seccomp):' /proc/self/status | cut -f2; mount -t tmpfs x /tmp && echo mounted",
        security=SecurityMode.INSECURE,
        entitlements=frozenset({"security.insecure"}),
    )
    assert ran.out.splitlines() == [own_bounding_set(), "0", "mounted"]


async def test_ulimits(steps: Steps) -> None:
    ran = await steps.run("ulimit -n; ulimit -Hn", meta={"ulimits": (Ulimit("nofile", 100, 200),)})
    assert ran.out == "100\n200\n"
    with pytest.raises(BuildError, match=r"^invalid ulimit type: bogus$"):
        await steps.run("true", meta={"ulimits": (Ulimit("bogus", 1, 1),)})


async def test_memory_limit_ends_a_step_with_a_hint(steps: Steps) -> None:
    if not steps.context.runtime.cgroups:
        pytest.skip("no cgroups here")
    with pytest.raises(ProcessError) as caught:
        await steps.run(
            "tail -c 200000000 /dev/zero > /dev/null",
            resources=LinuxResources(memory=20_000_000, memory_swap=20_000_000),
        )
    assert caught.value.status == 137
    assert caught.value.hint == "the kernel killed a process of this step at the step's memory limit"
    folders = [hierarchy / "bakepy" / steps.context.token for hierarchy in steps.context.cgroups.hierarchies]
    left = {path.name for folder in folders if folder.exists() for path in folder.iterdir() if path.is_dir()}
    assert left <= {"shared"}


async def test_a_limited_step_is_not_blamed_for_a_lack_of_memory_elsewhere(steps: Steps) -> None:
    if not steps.context.runtime.cgroups:
        pytest.skip("no cgroups here")
    limits = LinuxResources(memory=20_000_000, memory_swap=20_000_000)
    failures: list[ProcessError] = []
    log: list[tuple[int, bytes]] = []

    async def modest() -> None:
        try:
            await steps.run("echo ready; sleep 600", resources=limits, log=log)
        except ProcessError as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(modest)
        first = ""
        while not (log and first):  # runtimes write the number down when the process may already run
            await anyio.lowlevel.checkpoint()
            first = "".join(path.read_text() for path in steps.context.volatile.glob("*/pid"))
        with pytest.raises(ProcessError):
            await steps.run("tail -c 200000000 /dev/zero > /dev/null", resources=limits)
        os.kill(int(first), signal.SIGKILL)
    assert [(error.status, error.hint) for error in failures] == [(137, "")]


async def test_cgroups_are_seen_and_can_not_be_written(steps: Steps) -> None:
    if not steps.context.runtime.cgroups:
        pytest.skip("no cgroups here")
    ran = await steps.run(
        "find /sys/fs/cgroup -name cgroup.procs | head -1 | wc -l; "
        "for folder in $(find /sys/fs/cgroup -maxdepth 1 -type d); do mkdir $folder/x 2>&1; done"
        " | grep -vc 'Read-only file system' || true"
    )
    assert ran.out.splitlines() == ["1", "0"]


async def test_limits_that_can_not_be_set_are_told(steps: Steps) -> None:
    nowhere = replace(steps.context, cgroups=Cgroups("none", ()), runtime=replace(steps.context.runtime, cgroups=False))
    limits = LinuxResources(memory=1_000_000_000, cpu_quota=50_000, cpuset_cpus="0")
    if steps.context.runtime.name == "crun":  # runc does not do without cgroups
        ran = await Steps(steps.machine, nowhere, steps.lent).run("true", resources=limits)
        assert (
            ran.err == "bakepy: no limit of memory and cpu and cpuset: cgroups do not allow it here (bakepy doctor)\n"
        )


async def test_devices_that_are_not_registered_are_told_or_refused(steps: Steps, tmp_path: Path) -> None:
    nowhere = replace(steps, context=replace(steps.context, device_folders=(tmp_path / "nowhere",)))
    ran = await nowhere.run("true", cdi_devices=(CDIDevice("a.com/x=1", optional=True),))
    assert ran.err == "bakepy: no device a.com/x=1: it is not registered, and not required\n"
    with pytest.raises(BuildError, match=r'^required device "a.com/x=1" is not registered\n'):
        await nowhere.run("true", cdi_devices=(CDIDevice("a.com/x=1"),))


async def test_a_registered_device_brings_nodes_mounts_and_variables(steps: Steps, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/driver").write_text("driver")
    spec = {
        "cdiVersion": "0.8.0",
        "kind": "a.com/x",
        "containerEdits": {"env": ["COMMON=1", "OWN=common"]},
        "devices": [
            {
                "name": "one",
                "containerEdits": {
                    "env": ["OWN=one"],
                    "deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/full"}],
                    "mounts": [
                        {"hostPath": str(tmp_path / "lib"), "containerPath": "/lib", "options": ["ro", "rbind"]}
                    ],
                    "additionalGids": [77],
                },
            },
        ],
    }
    (tmp_path / "x.json").write_text(json.dumps(spec))
    here = replace(steps, context=replace(steps.context, device_folders=(tmp_path,)))
    script = (
        "echo $COMMON $OWN; cat /lib/driver; echo x > /lib/y; echo x > /dev/mine; stat -c ' %a %t:%T' /dev/mine;"
        " id -G; mknod /other c 1 11; cat /other; ls /dev | tr '\\n' ' '"
    )
    ran = await here.run(script, cdi_devices=(CDIDevice("a.com/x"),), entitlements=frozenset({"device"}))
    assert ran.out.splitlines()[:3] == ["1 one", "driver 666 1:7", "0 77"]
    assert "mine" in ran.out.splitlines()[3].split()
    assert ran.err.splitlines() == [
        "/bin/sh: can't create /lib/y: Read-only file system",
        "sh: write error: No space left on device",
        "cat: can't open '/other': Operation not permitted",
    ]


async def test_secret_variable_is_in_no_file_on_disk(steps: Steps) -> None:
    steps.lent.secrets["token"] = b"s3cr3t-value"
    env = (SecretEnv("token", "TOKEN"), SecretEnv("none", "NONE", optional=True))
    ran = await steps.run("echo ${#TOKEN} [$NONE] ${NONE+set}; sleep 0", secret_env=env)
    assert ran.out == "12 [] set\n"
    disk = os.stat(steps.machine.root).st_dev  # noqa: PTH116
    assert disk != os.stat(steps.context.volatile).st_dev  # noqa: PTH116
    for path in steps.machine.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_dev == disk:
            assert b"s3cr3t-value" not in path.read_bytes()
    with pytest.raises(BuildError, match=r"^secret gone: not found\n"):
        await steps.run("true", secret_env=(SecretEnv("gone", "GONE"),))


async def test_foreign_platform_without_emulator(steps: Steps) -> None:
    with pytest.raises(EngineError) as caught:
        await steps.run("true", platform=Platform("linux", "sparc64"))
    assert caught.value.what.startswith("programs for linux/sparc64 can not be run on linux/")
    assert "qemu-user-static" in caught.value.hint


async def test_the_program_that_starts_containers_can_not_be_written_to(steps: Steps) -> None:
    runtime = steps.context.runtime
    if runtime.name != "crun":
        assert runtime.sealed is None
        return
    assert runtime.sealed is not None
    assert runtime.sealed.read_bytes() == runtime.path.read_bytes()
    assert os.statvfs(runtime.sealed).f_flag & os.ST_RDONLY
    assert runtime.command(Path("state"), Path("bundle"), "1")[0] == str(runtime.sealed)


async def test_cancelled_step_is_gone_at_once(steps: Steps) -> None:
    log: list[tuple[int, bytes]] = []
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: steps.run("echo started; sleep 600", log=log))
            while not log:
                await anyio.lowlevel.checkpoint()
            scope.cancel()
    assert scope.cancelled_caught
    steps.context.launcher.drop()
    below = mounted(steps)
    volatile = steps.context.volatile
    assert below == [str(volatile)]
    assert in_memory(steps) == []
    assert list((steps.context.volatile / "state").rglob("*/config.json")) == []
    assert children() == []


async def test_step_cancelled_while_it_starts_leaves_nothing(steps: Steps) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(steps.run, "sleep 600")
            await anyio.sleep(0.002)
            scope.cancel()
    steps.context.launcher.drop()
    assert mounted(steps) == [str(steps.context.volatile)]
    assert in_memory(steps) == []


async def test_steps_side_by_side(steps: Steps) -> None:
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(steps.run, f"echo {number} > /f")
    texts = []
    for number in range(8):
        async with steps.machine.store.view(f"step {number}") as tree:
            texts.append((tree / "f").read_text())
    assert sorted(texts) == [f"{number}\n" for number in range(8)]


async def test_state_root_that_can_not_be_used(steps: Steps) -> None:
    state = steps.context.volatile / "state"
    state.rename(steps.context.volatile / "elsewhere")
    nowhere = steps.context.volatile / "gone"
    with closing(Launcher(steps.context.runtime, nowhere, steps.context.new_id, None)) as launcher:
        await _fails_there(replace(steps, context=replace(steps.context, volatile=nowhere, launcher=launcher)))
    assert mounted(steps) == [str(steps.context.volatile)]


async def _fails_there(gone: Steps) -> None:
    with pytest.raises(EngineError, match=r"^the step can not be run here: No such file or directory \(.*/gone/.*\)$"):
        await gone.run("true")


async def test_a_step_is_started_before_it_is_known(steps: Steps) -> None:
    launcher = steps.context.launcher
    await steps.run("true")
    waiting = launcher.claim(own_cgroup=False).result()
    again = launcher.claim(own_cgroup=False).result()
    assert waiting.bundle != again.bundle
    started = [process.pid for process in (waiting, again) if steps.context.runtime.waits]
    assert sorted(map(int, children())) == sorted(started)
    for process in (waiting, again):
        process.abandon()
        process.abandon()
        remove_tree(process.bundle)
    assert children() == []
    assert in_memory(steps) == []


async def test_nothing_of_the_engine_is_open_in_a_step(steps: Steps) -> None:
    ran = await steps.run("ls /proc/self/fd")
    assert ran.out.split() == ["0", "1", "2", "3"]  # 3 is the folder that ls looks at


async def test_much_output_comes_whole(steps: Steps) -> None:
    ran = await steps.run("yes 0123456789 | head -c 3000000")
    assert len(ran.out) == 3_000_000


async def test_stdin_is_empty_and_none_of_the_machines_devices_is_given_away(steps: Steps) -> None:
    before = null_changed()
    ran = await steps.run("cat; readlink /proc/self/fd/0 | cut -d: -f1", meta={"user": "5:6"})
    assert ran.out == "pipe\n"
    # the runtime gives what it is handed to the user of the step
    assert null_changed() == before
