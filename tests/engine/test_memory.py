"""What /proc and /sys say about memory: of the machine, and of cgroups of both versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakepy.engine.memory import Memory

MIB = 1 << 20
GIB = 1 << 30


class Machine:
    """Files as the kernel shows them, below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 0.0
        self.write("proc/meminfo", f"MemTotal: {8 * GIB >> 10} kB\nMemAvailable: {4 * GIB >> 10} kB\n")

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def memory(self) -> Memory:
        return Memory(self.root, lambda: self.now)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_machine_alone(machine: Machine) -> None:
    memory = machine.memory()
    assert (memory.total(), memory.is_short()) == (8 * GIB, False)


def test_nothing_tells(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert (memory.total(), memory.is_short()) == (0, False)


def test_little_is_left(machine: Machine) -> None:
    machine.write("proc/meminfo", f"MemTotal: {8 * GIB >> 10} kB\nMemAvailable: {200 * MIB >> 10} kB\n")
    assert machine.memory().is_short()


@pytest.mark.parametrize(("percent", "short"), [("9.99", False), ("10.00", True)])
def test_everything_waits_for_memory(machine: Machine, percent: str, short: bool) -> None:
    machine.write(
        "proc/pressure/memory",
        f"some avg10=80.00 avg60=0.00 avg300=0.00 total=1\nfull avg10={percent} avg60=0.00 avg300=0.00 total=1\n",
    )
    assert machine.memory().is_short() is short


def test_an_answer_holds_for_a_moment(machine: Machine) -> None:
    memory = machine.memory()
    assert not memory.is_short()
    machine.write("proc/pressure/memory", "full avg10=50.00\n")
    machine.now = 0.05
    assert not memory.is_short()
    machine.now = 0.11
    assert memory.is_short()


def _unified(machine: Machine, *, used: int, cache: int) -> None:
    machine.write("proc/self/cgroup", "0::/box/inner\n")
    machine.write("sys/fs/cgroup/box/memory.max", f"{GIB}\n")
    machine.write("sys/fs/cgroup/box/memory.current", f"{used}\n")
    machine.write("sys/fs/cgroup/box/memory.stat", f"anon 5\ninactive_file {cache}\n")
    machine.write("sys/fs/cgroup/box/inner/memory.max", "max\n")


@pytest.mark.parametrize(("used", "cache", "short"), [(980 * MIB, 0, False), (1010 * MIB, 0, True), (GIB, GIB, False)])
def test_a_cgroup_above_this_one_limits(machine: Machine, used: int, cache: int, short: bool) -> None:
    """What the kernel can drop, it does not count."""
    _unified(machine, used=used, cache=cache)
    memory = machine.memory()
    assert (memory.total(), memory.is_short()) == (GIB, short)


def test_pressure_in_the_cgroup(machine: Machine) -> None:
    _unified(machine, used=MIB, cache=0)
    machine.write("sys/fs/cgroup/box/memory.pressure", "full avg10=33.00 avg60=0.00 avg300=0.00 total=1\n")
    assert machine.memory().is_short()


def test_a_cgroup_of_version_one(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "5:cpu:/\n4:memory:/box\n")
    machine.write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", f"{GIB}\n")
    machine.write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", f"{GIB - MIB}\n")
    machine.write("sys/fs/cgroup/memory/box/memory.stat", "inactive_file 0\ntotal_inactive_file 1024\n")
    memory = machine.memory()
    assert (memory.total(), memory.is_short()) == (GIB, True)
