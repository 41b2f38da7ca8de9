"""Blobs on the wire: requests whose body, there or back, may be gigabytes.

The client parses in C; it is slow to import, so only who moves a blob pays for it. Decided in
docs/decisions/http-client.md.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import anyio
import anyio.lowlevel

from bakepy._version import __version__
from bakepy.model.value import dataclass
from bakepy.registry.answer import Headers, broken, insecure, malformed
from bakepy.registry.hosts import proxy_for
from bakepy.registry.retry import Patience, Temporary

if TYPE_CHECKING:
    import aiohttp

_READ_BUFFER = 1 << 20
_TURNS = 20
_TAKEN_AT_ONCE = 1 << 16
"""Bytes of a body that the peer has to take within its time."""
_CONNECTIONS_PER_HOST = 16


@dataclass(frozen=True, slots=True)
class _Answer:
    response: aiohttp.ClientResponse

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def reason(self) -> str:
        return self.response.reason or ""

    @property
    def headers(self) -> Headers:
        return self.response.headers

    def pieces(self) -> AsyncIterator[bytes]:
        return self.response.content.iter_any()


class Streams:
    """Keeps connections for the next request; the library is imported for the first. Runs on asyncio."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._client: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def aclose(self) -> None:
        if self._client:
            client, self._client = self._client, None
            with anyio.CancelScope(shield=True):
                await client.close()
                await self._hang_up()

    @asynccontextmanager
    async def request(
        self, method: str, url: str, headers: Mapping[str, str], body: AsyncIterator[bytes] | None, domain: str
    ) -> AsyncIterator[_Answer]:
        """One request to `domain`; goes where it is sent on, without credentials if that is another host.

        Raises Temporary for what fails on the way, RegistryError where asking again would not help.
        """
        with _failures(domain):
            async with await self._send(method, url, headers, body) as response:
                yield _Answer(response)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        """Sends a request and waits for the begin of its answer, which the caller closes. Temporary if the peer takes
        nothing of `body` for too long: the library itself would wait for ever."""
        from yarl import URL

        silent = self._patience.silent
        with anyio.CancelScope() as scope:

            async def pieces(body: AsyncIterator[bytes]) -> AsyncIterator[memoryview]:
                async for piece in body:
                    view = memoryview(piece)
                    for at in range(0, len(view), _TAKEN_AT_ONCE):
                        scope.deadline = anyio.current_time() + silent
                        yield view[at : at + _TAKEN_AT_ONCE]
                scope.deadline = math.inf

            return await self._session().request(
                method,
                # as the registry wrote it: upload locations hold state that must not be quoted anew
                URL(url, encoded=True),
                headers=headers,
                data=None if body is None else pieces(body),
                proxy=proxy_for(url),
                timeout=self._timeout(self._patience.storing if method == "PUT" else silent),
            )
        raise Temporary(f"nothing of what is sent was taken for {silent:g} seconds")

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            import aiohttp

            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, limit_per_host=_CONNECTIONS_PER_HOST, socket_factory=self._socket
                ),
                # blobs are stored as they are named: never decoded on the way
                auto_decompress=False,
                headers={"User-Agent": f"bakepy/{__version__}", "Accept-Encoding": "identity"},
                read_bufsize=_READ_BUFFER,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._client

    def _timeout(self, silence: float) -> aiohttp.ClientTimeout:
        """The library watches what comes in; what goes out is watched by `_send`."""
        import aiohttp

        return aiohttp.ClientTimeout(total=None, sock_connect=self._patience.connect, sock_read=silence)

    async def _hang_up(self) -> None:
        """Ends connections whose peer does not take what it was sent: to close them waits for that, without limit."""
        for _ in range(_TURNS):
            hanging = [one for one in self._sockets if one.fileno() >= 0]
            for one in hanging:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            if not hanging:
                return
            await anyio.lowlevel.checkpoint()  # their transports notice, and let go of them

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made


@contextmanager
def _failures(domain: str) -> Iterator[None]:
    import aiohttp

    try:
        yield
    except aiohttp.ClientSSLError as error:
        raise insecure(domain, error) from error
    except aiohttp.InvalidURL as error:
        raise malformed(domain) from error
    except TimeoutError as error:
        raise Temporary("no answer in time") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise broken(getattr(error, "os_error", error)) from error
