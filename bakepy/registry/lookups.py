"""Small requests: manifests, tokens, and whether a blob is there.

A run that finds everything in place asks nothing else of a registry, so this client is one that is quick to import;
for blobs there is `streams`. Measured in docs/decisions/http-client.md.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import anyio

from bakepy._version import __version__
from bakepy.errors import RegistryError
from bakepy.model.value import dataclass
from bakepy.registry.answer import broken, insecure, malformed
from bakepy.registry.hosts import origin, proxy_for
from bakepy.registry.retry import Patience, Temporary

if TYPE_CHECKING:
    import httpcore

_CONNECTIONS = 16
_KEPT_SECONDS = 30
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 10


@dataclass(frozen=True, slots=True)
class _Headers:
    fields: tuple[tuple[str, str], ...]

    def get(self, name: str, default: str, /) -> str:
        return next(iter(self.getall(name, (default,))))

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]:
        return [value for found, value in self.fields if found == name.lower()] or default


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    headers: _Headers
    response: httpcore.Response

    def pieces(self) -> AsyncIterator[bytes]:
        return self.response.aiter_stream()


def prepare() -> None:
    """Imports the library now, for somebody who has nothing else to do."""
    import httpcore  # noqa: F401


class Lookups:
    """Keeps connections for the next request; the library is imported for the first, or by `prepare`."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._pools: dict[tuple[str | None, bool], httpcore.AsyncConnectionPool] = {}
        """By the proxy, None without, and whether there is TLS in it."""

    async def aclose(self) -> None:
        pools, self._pools = self._pools, {}
        with anyio.CancelScope(shield=True):
            for pool in pools.values():
                await pool.aclose()

    @asynccontextmanager
    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, domain: str
    ) -> AsyncIterator[_Answer]:
        """One request to `domain`; goes where it is sent on, without credentials if that is another host.

        Raises Temporary for what fails on the way, RegistryError where asking again would not help.
        """
        with _failures(domain, self._patience):
            for _ in range(_MOST_REDIRECTS + 1):
                _check(url, domain)
                async with self._send(method, url, headers, body) as answer:
                    location = answer.headers.get("Location", "") if answer.status in _REDIRECTS else ""
                    if not location:
                        yield answer
                        return
                there = urljoin(url, location)
                if origin(there) != origin(url):
                    headers = {name: value for name, value in headers.items() if name != "Authorization"}
                if answer.status < 307 and method not in ("GET", "HEAD"):
                    method, body = "GET", None
                url = there
        raise RegistryError(f"{domain}: leads from one address to the next, more than {_MOST_REDIRECTS} times")

    @asynccontextmanager
    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> AsyncIterator[_Answer]:
        silent = self._patience.storing if method == "PUT" else self._patience.silent
        limits = {"connect": self._patience.connect, "read": silent, "write": self._patience.silent}
        fields = {
            "User-Agent": f"bakepy/{__version__}",
            "Accept-Encoding": "identity",
            **headers,
        }
        proxy = proxy_for(url)
        pool = self._pool(proxy, secure=url.startswith("https:") or (proxy or "").startswith("https:"))
        async with pool.stream(
            method, url, headers=[*fields.items()], content=body, extensions={"timeout": limits}
        ) as response:
            found = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers)
            reason: bytes = response.extensions.get("reason_phrase", b"")
            yield _Answer(response.status, reason.decode("latin-1"), _Headers(found), response)

    def _pool(self, proxy: str | None, *, secure: bool) -> httpcore.AsyncConnectionPool:
        if (proxy, secure) not in self._pools:
            import httpcore

            self._pools[proxy, secure] = httpcore.AsyncConnectionPool(
                # reading all authorities takes longer than everything else that a lookup does
                ssl_context=ssl.create_default_context() if secure else None,
                proxy=httpcore.Proxy(proxy) if proxy else None,
                max_connections=None,
                max_keepalive_connections=_CONNECTIONS,
                keepalive_expiry=_KEPT_SECONDS,
            )
        return self._pools[proxy, secure]


def _check(url: str, domain: str) -> None:
    try:
        origin(url)
        url.encode("ascii")
    except ValueError as error:
        raise malformed(domain) from error


@contextmanager
def _failures(domain: str, patience: Patience) -> Iterator[None]:
    import httpcore

    try:
        yield
    except httpcore.WriteTimeout as error:
        raise Temporary(f"nothing of what is sent was taken for {patience.silent:g} seconds") from error
    except httpcore.TimeoutException as error:
        raise Temporary("no answer in time") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ssl.SSLError):
            raise insecure(domain, cause) from error
        raise broken(error) from error
