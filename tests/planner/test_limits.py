"""Sizes, limits, hosts and networks as they are written."""

from collections.abc import Callable

import pytest

from bakepy.errors import DefinitionError
from bakepy.llb.op import HostIP, LinuxResources, NetMode, Ulimit
from bakepy.planner import limits


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1048576", 1 << 20), ("64m", 64 << 20), ("1.5GiB", 3 << 29), ("2 kb", 2048), ("1T", 1 << 40)],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert limits.parse_size(text) == size


def test_ulimits() -> None:
    assert limits.parse_ulimit("nofile=1024") == Ulimit("nofile", 1024, 1024)
    assert limits.parse_ulimit("core=0:-1") == Ulimit("core", 0, -1)


def test_hosts_may_have_several_addresses() -> None:
    assert limits.parse_host("Box", "10.0.0.1,[::1],::ffff:1.2.3.4") == (
        HostIP("box", "10.0.0.1"), HostIP("box", "::1"), HostIP("box", "1.2.3.4"),
    )  # fmt: skip


def test_networks() -> None:
    assert [limits.parse_network(text) for text in (None, "", "default", "host", "none")] == [
        NetMode.SANDBOX, NetMode.SANDBOX, NetMode.SANDBOX, NetMode.HOST, NetMode.NONE,
    ]  # fmt: skip


def test_resources() -> None:
    assert limits.parse_resources({}) is None
    assert limits.parse_resources(
        {"memory": "1g", "memory-swap": "-1", "cpu-shares": 5, "cpu-quota": "50000", "cpuset-cpus": "0-1"}
    ) == LinuxResources(memory=1 << 30, memory_swap=-1, cpu_shares=5, cpu_quota=50000, cpuset_cpus="0-1")


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: limits.parse_size("-1"), "invalid size: '-1'\nhint: a number of bytes, or as in 64m or 2g"),
        (lambda: limits.parse_ulimit("nofile"), "invalid ulimit argument: nofile\nhint: as in nofile=1024:2048"),
        (lambda: limits.parse_ulimit("nofile=-1:5"), "ulimit soft limit must be less than or equal to "
                                                     "hard limit: soft: -1 (unlimited), hard: 5"),
        (lambda: limits.parse_ulimit("nofil=1"), "invalid ulimit type: nofil\nhint: did you mean 'nofile'?"),
        (lambda: limits.parse_host("a", "b"), "invalid host 'a': 'b' is not an address"),
        (lambda: limits.parse_host("a", "host-gateway"), "host-gateway is not supported by the embedded engine\n"
                                                         "hint: give the address"),
        (
            lambda: limits.parse_network("brdge"),
            'network mode "brdge" is not supported\nhint: one of default, host, none',
        ),
        (lambda: limits.parse_resources({"memry": "1"}), "unknown resource 'memry'\nhint: did you mean 'memory'?"),
        (lambda: limits.parse_resources({"cpu-shares": "x"}), "invalid value 'x' of 'cpu-shares'\n"
                                                              "hint: a whole number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(read: Callable[[], object], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read()
    assert str(caught.value) == message
