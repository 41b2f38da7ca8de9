"""The words of EXPOSE: `[ADDRESS:][HOST:]PORT[-PORT][/PROTOCOL]`. Only port and protocol have a meaning."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.text import parse_int, quote
from bakepy.errors import nearest

_PROTOCOLS = ("tcp", "udp", "sctp")
_MOST = 65536 * len(_PROTOCOLS)


def parse_ports(words: Iterable[str], location: Location, checker: Checker) -> list[str]:
    """`80/tcp`, ranges unfolded. Raises DockerfileError."""
    out: list[str] = []
    for word in words:
        try:
            out += _port(word, location, checker)
        except DockerfileError as error:
            raise error.about(word) from error.__cause__
        if len(out) > _MOST:
            raise DockerfileError(f"EXPOSE names more than {_MOST} ports")
    return out


def _port(word: str, location: Location, checker: Checker) -> list[str]:
    rest, _, container = word.rpartition(":")
    address, _, host = rest.rpartition(":")
    ports, _, protocol = container.partition("/")
    if not ports:
        what = f"invalid port: {quote(word)}: no port specified"
        raise DockerfileError(what, hint="as in EXPOSE 80 or EXPOSE 53/udp")
    if (protocol or "tcp").lower() not in _PROTOCOLS:
        raise DockerfileError(f"invalid port: {quote(word)}: invalid proto: {protocol}",
                              hint=nearest(protocol.lower(), _PROTOCOLS) or "it is tcp, udp or sctp")  # fmt: skip
    if protocol != protocol.lower():
        message = f"Defined protocol '{word}' in EXPOSE instruction should be lowercase"
        checker.warn("ExposeProtoCasing", message, location)
    if address or host:
        message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
        checker.warn("ExposeInvalidFormat", message, location)
    if address:
        _check_address(address)
    first, last = _range("containerPort", ports)
    if host:
        low, high = _range("hostPort", host)
        if high - low != last - first and first != last:
            raise DockerfileError(f"invalid ranges specified for container and host Ports: {ports} and {host}",
                                  hint="they differ in length")  # fmt: skip
    return [f"{port}/{(protocol or 'tcp').lower()}" for port in range(first, last + 1)]


def _check_address(address: str) -> None:
    try:
        ip_address(address[1:-1] if address.startswith("[") and address.endswith("]") else address)
    except ValueError as error:
        raise DockerfileError(f"invalid IP address: {address}") from error


def _range(kind: str, text: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    first = parse_int(start)
    last = parse_int(end) if dash else first
    if first is None or last is None or not (0 <= first <= 65535 and 0 <= last <= 65535):
        raise DockerfileError(f"invalid {kind}: {text}", hint="a port is a number from 0 to 65535")
    if last < first:
        raise DockerfileError(f"invalid {kind}: {text}", hint="the range goes backwards")
    return first, last
