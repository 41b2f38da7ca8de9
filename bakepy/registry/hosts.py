"""From the domain of an image reference to where its registry listens."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

# Docker Hub's registry does not listen under the name that references have
_ALIASES = {"docker.io": "registry-1.docker.io"}


def base_url(domain: str, insecure: Collection[str] = ()) -> str:
    """`https://host`; plain http for loopback hosts and for those in `insecure` (with or without a port)."""
    host = _ALIASES.get(domain, domain)
    plain = is_loopback(host) or host in insecure or _without_port(host) in insecure
    return f"{'http' if plain else 'https'}://{host}"


def is_loopback(host: str) -> bool:
    """Whether `host[:port]` is this machine by its name or address."""
    name = _without_port(host)
    if name == "localhost" or name.endswith(".localhost"):
        return True
    import ipaddress  # late: only names that are asked for

    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what a permission is for. ValueError if `url` is no address for HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an address: {url!r}")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`; none for loopback hosts, as Go programs have it."""
    parts = urlsplit(url)
    if is_loopback(parts.netloc):
        return None
    import urllib.request  # late: it costs as much as the rest of this package

    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies_environment()
    return proxies.get(parts.scheme) or proxies.get("all")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
