"""What a target says about its RUN steps' surroundings, read: sizes, limits, hosts, network.

Forms: docker/go-units for sizes and ulimits, buildx `build/utils.go` for hosts and resources. All functions raise
DefinitionError without a place; the caller knows it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from bakepy.errors import DefinitionError, nearest
from bakepy.llb.op import HostIP, LinuxResources, NetMode, Ulimit
from bakepy.model import size

ULIMITS = ("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
           "rtprio", "rttime", "sigpending", "stack")  # fmt: skip

RESOURCES = ("memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus", "cpuset-mems")

NETWORKS = {"": NetMode.SANDBOX, "default": NetMode.SANDBOX, "host": NetMode.HOST, "none": NetMode.NONE}


def parse_size(text: str) -> int:
    """Bytes from `64m`, `1.5g`, `1048576`: powers of 1024."""
    try:
        return size.parse_size(text)
    except ValueError as error:
        raise DefinitionError(str(error), hint="a number of bytes, or as in 64m or 2g") from None


def parse_ulimit(text: str) -> Ulimit:
    """`nofile=1024:2048`; without the second number the hard limit is the soft one; -1 is no limit."""
    name, equals, numbers = text.partition("=")
    if not equals:
        raise DefinitionError(f"invalid ulimit argument: {text}", hint="as in nofile=1024:2048")
    if name not in ULIMITS:
        raise DefinitionError(f"invalid ulimit type: {name}", hint=nearest(name, ULIMITS))
    soft_text, colon, hard_text = numbers.partition(":")
    try:
        soft = int(soft_text)
        hard = int(hard_text) if colon else soft
    except ValueError as error:
        raise DefinitionError(f"invalid ulimit argument: {text}", hint="as in nofile=1024:2048") from error
    if hard != -1 and (soft > hard or soft == -1):
        shown = "soft: -1 (unlimited), hard: " if soft == -1 else f"{soft} > "
        raise DefinitionError(f"ulimit soft limit must be less than or equal to hard limit: {shown}{hard}")
    return Ulimit(name, soft, hard)


def parse_host(name: str, addresses: str) -> tuple[HostIP, ...]:
    """One line of /etc/hosts for each of the comma-separated addresses; brackets round an address are dropped."""
    hosts = []
    for text in addresses.split(","):
        address = text[1:-1] if len(text) > 2 and text[0] == "[" and text[-1] == "]" else text
        if address == "host-gateway":
            raise DefinitionError("host-gateway is not supported by the embedded engine", hint="give the address")
        try:
            ip = ipaddress.ip_address(address)
        except ValueError as error:
            raise DefinitionError(f"invalid host '{name}': '{address}' is not an address") from error
        mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
        hosts.append(HostIP(name.lower(), str(mapped or ip)))
    if not name:
        raise DefinitionError(f"invalid host: no name for '{addresses}'")
    return tuple(hosts)


def parse_network(text: str | None) -> NetMode:
    """The network of all RUN steps that do not ask for one themselves."""
    if (mode := NETWORKS.get(text or "")) is None:
        raise DefinitionError(
            f'network mode "{text}" is not supported',
            hint=nearest(text or "", NETWORKS) or "one of default, host, none",
        )
    return mode


def parse_resources(values: Mapping[str, str | int] | None) -> LinuxResources | None:
    """cgroup limits; None if there are none."""
    if not values:
        return None
    numbers: dict[str, int] = {}
    texts: dict[str, str] = {}
    for key, value in values.items():
        field = key.replace("-", "_")
        if key in ("memory", "memory-swap"):
            numbers[field] = -1 if str(value) == "-1" and key == "memory-swap" else parse_size(str(value))
        elif key in ("cpuset-cpus", "cpuset-mems"):
            texts[field] = str(value)
        elif key in RESOURCES:
            try:
                numbers[field] = int(value)
            except ValueError as error:
                raise DefinitionError(f"invalid value '{value}' of '{key}'", hint="a whole number") from error
        else:
            raise DefinitionError(f"unknown resource '{key}'", hint=nearest(key, RESOURCES))
    return LinuxResources(**numbers, **texts)  # type: ignore[arg-type]
