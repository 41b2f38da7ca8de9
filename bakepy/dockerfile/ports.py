"""The words of EXPOSE: `[ADDRESS:][HOST:]PORT[-PORT][/PROTOCOL]`. Only port and protocol have a meaning."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import DockerfileError, Location
from bakepy.dockerfile.text import parse_int

_PROTOCOLS = ("tcp", "udp", "sctp")
_MOST = 65536 * len(_PROTOCOLS)


def parse_ports(words: Iterable[str], location: Location, checker: Checker) -> list[str]:
    """`80/tcp`, ranges unfolded. Raises DockerfileError."""
    out: list[str] = []
    for word in words:
        out += _port(word, location, checker)
        if len(out) > _MOST:
            raise DockerfileError(f"EXPOSE names more than {_MOST} ports")
    return out


def _port(word: str, location: Location, checker: Checker) -> list[str]:
    rest, _, container = word.rpartition(":")
    address, _, host = rest.rpartition(":")
    ports, _, protocol = container.partition("/")
    if not ports:
        raise DockerfileError(f"'{word}' names no port", hint="as in EXPOSE 80 or EXPOSE 53/udp")
    if (protocol or "tcp").lower() not in _PROTOCOLS:
        raise DockerfileError(f"'{word}': there is no protocol '{protocol}'", hint="it is tcp, udp or sctp")
    if protocol != protocol.lower():
        message = f"Defined protocol '{word}' in EXPOSE instruction should be lowercase"
        checker.warn("ExposeProtoCasing", message, location)
    if address or host:
        message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{word}'"
        checker.warn("ExposeInvalidFormat", message, location)
    if address:
        _check_address(word, address)
    first, last = _range(word, ports)
    if host:
        low, high = _range(word, host)
        if high - low != last - first and first != last:
            raise DockerfileError(f"'{word}': the two port ranges differ in length")
    return [f"{port}/{(protocol or 'tcp').lower()}" for port in range(first, last + 1)]


def _check_address(word: str, address: str) -> None:
    try:
        ip_address(address[1:-1] if address.startswith("[") and address.endswith("]") else address)
    except ValueError as error:
        raise DockerfileError(f"'{word}': '{address}' is no IP address") from error


def _range(word: str, text: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    first, last = _number(word, start), _number(word, end) if dash else 0
    if not dash:
        last = first
    if last < first:
        raise DockerfileError(f"'{word}': the range {text} goes backwards")
    return first, last


def _number(word: str, text: str) -> int:
    value = parse_int(text)
    if value is None or not 0 <= value <= 65535:
        raise DockerfileError(f"'{word}': '{text}' is no port", hint="a port is a number from 0 to 65535")
    return value
