"""IP networks in CIDR notation."""

from __future__ import annotations

import ipaddress
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.functions.declare import FunctionError, declare, texts, whole
from bakepy.bakefile.node import Function
from bakepy.bakefile.values import Value

_MAPPED: Final = 0xFFFF
"""The high bits of an IPv4 address that is written as one of IPv6: `::ffff:10.0.0.1`."""
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _network(value: Value) -> _Network:
    text: str = value.raw
    address, slash, length = text.partition("/")
    try:
        if not slash or not length.isascii() or not length.isdigit() or len(length) > 100:
            raise ValueError
        if "%" in address:
            raise ValueError
        return ipaddress.ip_network(f"{address}/{int(length)}", strict=False)
    except ValueError:
        raise FunctionError(f"{text!r} is no network in CIDR notation", 0) from None


def _address(network: _Network, number: int) -> str:
    """An IPv4 address in the clothes of IPv6 is written as what it is."""
    if network.version == 4 or number >> 32 == _MAPPED:
        return str(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    return str(ipaddress.IPv6Address(number))


def _prefix(network: _Network, number: int, length: int) -> str:
    address = _address(network, number)
    return f"{address}/{length - 96 if network.version == 6 and '.' in address else length}"


def _host(prefix: Value, number: Value) -> Value:
    network, host = _network(prefix), whole(number, 1)
    largest = (1 << (network.max_prefixlen - network.prefixlen)) - 1
    if (host if host >= 0 else -host - 1) > largest:
        raise FunctionError(f"{network} has no host {host}", 1)
    base, place = int(network.network_address), host if host >= 0 else largest + 1 + host
    if network.version == 6 and base >> 32 == _MAPPED:
        place <<= 96  # where buildx puts it
    return v.string(_address(network, base | place))


def _netmask(prefix: Value) -> Value:
    return v.string(str(_network(prefix).netmask))


def _subnet(prefix: Value, bits: Value, number: Value) -> Value:
    network, more, position = _network(prefix), whole(bits, 1), whole(number, 2)
    if more > 32:
        raise FunctionError("a prefix can be extended by 32 bits at most", 1)
    length = network.prefixlen + more
    if not 0 <= length <= network.max_prefixlen:
        raise FunctionError(f"{network} can not be extended by {more} bits", 1)
    if more >= 0 and not 0 <= position < 1 << more:
        raise FunctionError(f"{more} bits more have no subnet {position}", 2)
    address = int(network.network_address) | (position << (network.max_prefixlen - length))
    return v.string(_prefix(network, address, length))


def _subnets(prefix: Value, *bits: Value) -> Value:
    network = _network(prefix)
    found: list[str] = []
    position = int(network.network_address)
    end = position + network.num_addresses
    for argument, each in enumerate(bits, 1):
        more = whole(each, argument)
        if more < 1:
            raise FunctionError("a prefix must be extended by one bit at least", argument)
        if more > 32:
            raise FunctionError("a prefix can be extended by 32 bits at most", argument)
        length = network.prefixlen + more
        if length > network.max_prefixlen:
            raise FunctionError(f"{network} can not be extended by {more} bits", argument)
        size = 1 << (network.max_prefixlen - length)
        position = -(-position // size) * size
        if position + size > end:
            raise FunctionError(f"there is no room left for a subnet of {length} bits", argument)
        found.append(_prefix(network, position, length))
        position += size
    return texts(found)


FUNCTIONS: Final[dict[str, Function]] = {
    "cidrhost": declare("cidrhost", _host, v.STRING, v.NUMBER),
    "cidrnetmask": declare("cidrnetmask", _netmask, v.STRING),
    "cidrsubnet": declare("cidrsubnet", _subnet, v.STRING, v.NUMBER, v.NUMBER),
    "cidrsubnets": declare("cidrsubnets", _subnets, v.STRING, rest=v.NUMBER),
}
