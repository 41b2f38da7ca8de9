"""What this machine can do: one function for each thing that a build needs, each with a verdict and a remedy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from enum import Enum
from pathlib import Path

from bakepy.model.platform import Platform, host_platform
from bakepy.model.value import dataclass


class Verdict(Enum):
    """`WARN`: builds are possible, but not all of them, or not as fast. `FAIL`: none is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """`what` was found; `mend` tells what to do about it (empty: nothing)."""

    name: str
    verdict: Verdict
    what: str
    mend: str = ""

    def to_json(self) -> dict[str, str]:
        value = {"name": self.name, "verdict": self.verdict.value, "what": self.what}
        return value | ({"mend": self.mend} if self.mend else {})


@dataclass(frozen=True, slots=True)
class Machine:
    """The places that are looked at; tests put others in."""

    state_root: Path
    environment: Mapping[str, str]
    user_id: int = field(default_factory=os.geteuid)
    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    etc: Path = Path("/etc")
    tun: Path = Path("/dev/net/tun")
    find_program: Callable[[str], str | None] = shutil.which

    @property
    def root(self) -> bool:
        return self.user_id == 0

    @property
    def user_name(self) -> str:
        import pwd

        try:
            return pwd.getpwuid(self.user_id).pw_name
        except KeyError:
            return self.environment.get("USER", "")


RUNTIMES = ("crun", "runc", "youki")
_LITTLE = 5 * 1000**3
_NOTHING = 200 * 1000**2

_EMULATED = {
    "qemu-aarch64": "linux/arm64",
    "qemu-arm": "linux/arm",
    "qemu-x86_64": "linux/amd64",
    "qemu-i386": "linux/386",
    "qemu-riscv64": "linux/riscv64",
    "qemu-ppc64le": "linux/ppc64le",
    "qemu-s390x": "linux/s390x",
    "qemu-mips64": "linux/mips64",
    "qemu-mips64el": "linux/mips64le",
    "qemu-loongarch64": "linux/loong64",
}


def all_checks(machine: Machine) -> Iterator[Check]:
    """Every check, those first without which nothing works."""
    yield check_privileges(machine)
    yield check_runtime(machine)
    yield check_state_root(machine)
    yield check_overlay(machine)
    yield check_disk(machine)
    yield check_user_namespaces(machine)
    yield check_cgroups(machine)
    yield check_network(machine)
    yield check_emulation(machine)
    yield check_credentials(machine)


def check_privileges(machine: Machine) -> Check:
    if machine.root:
        return Check("privileges", Verdict.OK, "running as root")
    from bakepy.snapshot.usernamespace import find_lent

    search = machine.environment.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    lent = find_lent(machine.user_id, machine.user_name, search, machine.etc, machine.find_program)
    if not lent.lacking:
        ids = min(sum(entry.count for entry in entries) for entries in (lent.users, lent.groups))
        return Check(
            "privileges", Verdict.OK, f"running as user {machine.user_id}: rootless, with {ids} ids lent to it"
        )
    return Check(
        "privileges",
        Verdict.WARN,
        f"running as user {machine.user_id}: rootless, with its own id only ({lent.lacking}); images with files of"
        " other owners can not be built on",
        lent.mend,
    )


def check_runtime(machine: Machine) -> Check:
    """The programs of the OCI runtime specification, best first; that of BAKEPY_RUNTIME alone if it names one."""
    chosen = machine.environment.get("BAKEPY_RUNTIME")
    for name in (chosen,) if chosen else RUNTIMES:
        if program := machine.find_program(name):
            done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
            version = (done.stdout.splitlines() or [""])[0].strip()
            if done.returncode != 0:
                problem = (done.stderr.splitlines() or ["no message"])[0]
                return Check("runtime", Verdict.FAIL, f"{program} does not start: {problem}", f"reinstall {name}")
            return Check("runtime", Verdict.OK, f"{program} ({version})" if version else program)
    if chosen:
        what = f"OCI runtime {chosen} (BAKEPY_RUNTIME) is not installed"
        return Check("runtime", Verdict.FAIL, what, "unset BAKEPY_RUNTIME, or name another one")
    return Check(
        "runtime",
        Verdict.FAIL,
        f"no OCI runtime found in PATH (looked for {', '.join(RUNTIMES)})",
        "apt-get install crun",
    )


def check_state_root(machine: Machine) -> Check:
    """Tries to write where state goes; leaves nothing there that was not there before."""
    root = machine.state_root
    existing = root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Check(
            "state", Verdict.FAIL, f"{root} can not be written", "choose another place with --root or BAKEPY_ROOT"
        )
    return Check("state", Verdict.OK, f"{root}" + ("" if existing == root else " (made by the first run)"))


def check_overlay(machine: Machine) -> Check:
    """Mounts one for real, with the state root's file system below, in a process and namespace of its own."""
    from bakepy.cli.overlay_trial import try_overlay

    problem, possible = try_overlay(machine.state_root)
    if problem:
        return Check(
            "overlayfs",
            Verdict.WARN if possible else Verdict.FAIL,
            f"{problem}; trees are copied instead, which is slow" if possible else problem,
            "modprobe overlay; in a container: run it privileged, and put the state root on a volume (--root)",
        )
    return Check("overlayfs", Verdict.OK, "mounted one below the state root")


def check_disk(machine: Machine) -> Check:
    place = machine.state_root
    while not place.exists() and place != place.parent:
        place = place.parent
    free = shutil.disk_usage(place).free
    what = f"{free / 1000**3:.1f} GB free for {machine.state_root}"
    mend = "free some space, or choose another place with --root or BAKEPY_ROOT"
    if free < _NOTHING:
        return Check("disk", Verdict.FAIL, what, mend)
    return Check("disk", Verdict.WARN, what, mend) if free < _LITTLE else Check("disk", Verdict.OK, what)


def check_user_namespaces(machine: Machine) -> Check:
    """What an ordinary user would need; root can do without."""
    lacking: list[str] = []
    mend: list[str] = []
    for setting, bad in (
        ("sys/user/max_user_namespaces", "0"),
        ("sys/kernel/unprivileged_userns_clone", "0"),
        ("sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ):
        if _read(machine.proc / setting) == bad:
            lacking.append(f"{setting.removeprefix('sys/').replace('/', '.')} is {bad}")
            mend.append(f"sysctl -w {setting.removeprefix('sys/').replace('/', '.')}={'15000' if bad == '0' else '0'}")
    for program in ("newuidmap", "newgidmap"):
        if not machine.find_program(program):
            lacking.append(f"{program} is not installed")
            mend.append("apt-get install uidmap")
    if not lacking:
        return Check("user namespaces", Verdict.OK, "available")
    if machine.root:
        return Check("user namespaces", Verdict.OK, f"not for ordinary users ({', '.join(lacking)}); root needs none")
    return Check("user namespaces", Verdict.WARN, ", ".join(lacking), "; ".join(dict.fromkeys(mend)))


def check_cgroups(machine: Machine) -> Check:
    place = machine.sys / "fs/cgroup"
    if not machine.root:
        from bakepy.worker.delegation import Delegated

        mend = "systemd-run --user --scope --property=Delegate=yes bakepy …"
        found = Delegated.find(place, machine.proc / "self/cgroup")
        if found is None:
            return Check("cgroups", Verdict.WARN, "none delegated to this user: no limits for steps", mend)
        if found.has_others(os.getpid()):
            what = "version 2, delegated to this user, but not to bakepy alone: no limits for steps"
            return Check("cgroups", Verdict.WARN, what, mend)
        offered = ", ".join(sorted(found.offered())) or "no controllers: no limits for steps"
        return Check("cgroups", Verdict.OK, f"version 2, delegated to this user ({offered})")
    controllers = _read(place / "cgroup.controllers")
    if controllers is not None:
        from bakepy.worker.cgroups import READ_ONLY, Cgroups, obstacle
        from bakepy.worker.runtime import lacks_rights

        what = f"version 2 ({controllers or 'no controllers'})"
        mend = "docker run --privileged --cgroupns=host …"
        if problem := obstacle(place, alone=True):
            mend = "mount /sys/fs/cgroup writable" if problem == READ_ONLY else mend
            return Check("cgroups", Verdict.WARN, f"{what}, {problem}: no limits for steps", mend)
        name = machine.environment.get("BAKEPY_RUNTIME") or next(filter(machine.find_program, RUNTIMES), "")
        if lacks_rights(Path(name).name, Cgroups("unified", (place,)), machine.proc / "self/status"):
            problem = f"but {name} lacks CAP_SYS_RESOURCE to make any"
            return Check("cgroups", Verdict.WARN, f"{what}, {problem}: no limits for steps", mend)
        return Check("cgroups", Verdict.OK, what)
    if (place / "memory").is_dir():
        return Check("cgroups", Verdict.OK, "version 1")
    return Check(
        "cgroups", Verdict.WARN, f"none mounted at {place}: no limits for steps", f"mount -t cgroup2 none {place}"
    )


def check_network(machine: Machine) -> Check:
    from bakepy.worker.network import HOST, SANDBOX, SLIRP, choice, lacking, program

    wanted = choice(machine.environment)
    search = machine.environment.get("PATH", os.defpath)
    problem = lacking(search, machine.tun)
    if wanted == HOST:
        return Check("network", Verdict.OK, "steps have the machine's network (BAKEPY_NETWORK=host)")
    if not problem and (found := program(search)):
        return Check("network", Verdict.OK, f"steps have a sandbox of their own ({found.name})")
    mend = f"apt-get install {SLIRP}" if "installed" in problem else f"modprobe tun; chmod 666 {machine.tun}"
    if wanted == SANDBOX:
        return Check("network", Verdict.FAIL, f"no sandbox, which BAKEPY_NETWORK asks for: {problem}", mend)
    return Check("network", Verdict.WARN, f"steps have the machine's own network: {problem}", mend)


def check_emulation(machine: Machine) -> Check:
    """Handlers must be registered with the flag F: the interpreter is opened at registration, outside containers."""
    host = host_platform()
    registry = machine.proc / "sys/fs/binfmt_misc"
    found: list[str] = []
    late: list[str] = []
    for handler, platform in _EMULATED.items():
        lines = (_read(registry / handler) or "").splitlines()
        if not lines or lines[0] != "enabled" or Platform.parse(platform).architecture == host.architecture:
            continue
        flags = next((line.partition(":")[2].strip() for line in lines if line.startswith("flags:")), "")
        (found if "F" in flags else late).append(platform)
    mend = "apt-get install qemu-user-static binfmt-support"
    if late:
        what = f"{', '.join(late)}: registered without the flag F, so containers can not use it"
        return Check("emulation", Verdict.WARN, what, mend)
    if found:
        return Check("emulation", Verdict.OK, f"{host} and, emulated, {', '.join(found)}")
    return Check("emulation", Verdict.WARN, f"none: RUN works for {host} only", mend)


def check_credentials(machine: Machine) -> Check:
    """Docker's config: readable, JSON, and every credential helper that it names is installed."""
    folder = machine.environment.get("DOCKER_CONFIG") or str(Path(machine.environment.get("HOME", "/root"), ".docker"))
    path = Path(folder, "config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Check("credentials", Verdict.OK, f"none ({path} does not exist): registries are used anonymously")
    except (OSError, ValueError) as error:
        return Check("credentials", Verdict.WARN, f"{path} can not be read: {error}", "mend or remove the file")
    if not isinstance(config, dict):
        return Check("credentials", Verdict.WARN, f"{path} is not a JSON object", "mend or remove the file")
    helpers = {str(helper) for helper in (config.get("credHelpers") or {}).values()}
    if store := config.get("credsStore"):
        helpers.add(str(store))
    missing = sorted(helper for helper in helpers if not machine.find_program(f"docker-credential-{helper}"))
    if missing:
        programs = ", ".join(f"docker-credential-{helper}" for helper in missing)
        return Check("credentials", Verdict.WARN, f"{path} names helpers that are not installed", f"install {programs}")
    names = sorted({*(config.get("auths") or {}), *(config.get("credHelpers") or {})})
    what = f"{path}: {', '.join(names) if names else 'no registries'}"
    return Check("credentials", Verdict.OK, what + (f", and {store} for the rest" if store else ""))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
