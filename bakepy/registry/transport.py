"""HTTP with registries: connections, authentication, retries, and errors that people can act on.

The HTTP library is imported when the first connection is made.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin
from weakref import WeakSet

import anyio
import anyio.lowlevel

from bakepy._version import __version__
from bakepy.errors import RegistryError
from bakepy.model.value import dataclass
from bakepy.registry.auth import (
    Challenge,
    Token,
    basic,
    choose_challenge,
    is_downgrade,
    parse_challenges,
    token_request,
)
from bakepy.registry.hosts import base_url, proxy_for
from bakepy.registry.retry import RETRIED_STATUSES, Patience, RetryPolicy, Temporary, parse_retry_after
from bakepy.session.credentials import Credential, Credentials

if TYPE_CHECKING:
    import aiohttp
    from yarl import URL

T = TypeVar("T")

_READ_BUFFER = 1 << 20
_TURNS = 20
_TAKEN_AT_ONCE = 1 << 16
"""Bytes of a body that the peer has to take within its time."""
_MAX_ANSWER = 1 << 20
_MAX_COMPLAINT = 1 << 16
_LONGEST_SAID = 300
_CONNECTIONS_PER_HOST = 16


class Refused(RegistryError):
    """The registry answered that it will not; asking again would not help. `status` is the HTTP status."""

    def __init__(self, what: str, *, status: int, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.status = status


@dataclass
class _Host:
    """What we learned about one registry."""

    credential: Credential
    challenge: Challenge | None = None
    tokens: dict[tuple[str, ...], Token] = field(default_factory=dict)
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class Transport:
    """Requests to any number of registries; an async context manager. Runs on asyncio."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        insecure: Collection[str] = (),
        policy: RetryPolicy | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.patience = patience or Patience()
        self._credentials = credentials
        self._insecure = frozenset(insecure)
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._chance = chance
        self._hosts: dict[str, _Host] = {}
        self._finding = anyio.Lock()
        self._client: aiohttp.ClientSession | None = None
        self._sockets: WeakSet[socket.socket] = WeakSet()

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client:
            client, self._client = self._client, None
            with anyio.CancelScope(shield=True):
                await client.close()
                await self._hang_up()

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

    def url(self, domain: str, path: str) -> str:
        """The URL of `path` (or of a Location that the registry gave) at the registry `domain`."""
        return urljoin(base_url(domain, self._insecure), path)

    async def retrying(
        self, what: str, domain: str, attempt: Callable[[], Awaitable[T]], progress: Callable[[], int] = lambda: 0
    ) -> T:
        """Calls `attempt` until it does not raise Temporary. RegistryError names `what` and the last answer.

        Failures are counted anew whenever `progress` has become larger than ever.
        """
        failures = total = 0
        furthest = progress()
        while True:
            try:
                return await attempt()
            except Temporary as failure:
                total += 1
                failures += 1
                if progress() > furthest:
                    furthest, failures = progress(), 1
                if failures >= self._policy.attempts:
                    raise RegistryError(
                        f"{_at(domain, what)}: {failure}",
                        hint="is the registry up and reachable from here?",
                        detail=(f"gave up after {total} attempts",),
                    ) from failure
                pause = self._policy.delay(failures, failure.retry_after, self._chance())
            await self._sleep(pause)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        domain: str,
        path: str,
        *,
        scopes: tuple[str, ...],
        what: str,
        expect: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], bytes | AsyncIterator[bytes]] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, authenticated as the registry asks. `body` makes the request's body, once for each sending.

        Yields the answer if its status is in `expect`; raises Temporary where asking again may help, Refused where
        not. Errors of the connection are Temporary inside the block as well.
        """
        from yarl import URL  # late, as the library that it comes with

        host = await self._host(domain)
        try:
            # as the registry wrote it: upload locations hold state that must not be quoted anew
            url = URL(self.url(domain, path), encoded=True)
            url.origin()
        except ValueError as error:
            raise RegistryError(f"{_at(domain, what)}: the registry leads to a malformed address") from error
        # a place on another host has its permission in its address; ours is not for it
        ours = url.origin() == URL(self.url(domain, "/")).origin()
        with _connection_errors(domain):
            for last in (False, True):
                authorization = await self._authorization(domain, host, scopes) if ours else ""
                sent = {**(headers or {}), **({"Authorization": authorization} if authorization else {})}
                async with await self._send(method, url, sent, body() if body else None) as response:
                    if response.status in expect:
                        yield response
                        return
                    if response.status == 401 and not last and self._learn(domain, host, response, authorization):
                        continue
                    raise await _refusal(response, domain, what)

    async def _send(
        self, method: str, url: URL, headers: Mapping[str, str], content: bytes | AsyncIterator[bytes] | None
    ) -> aiohttp.ClientResponse:
        """Sends a request and waits for the begin of its answer, which the caller closes. Temporary if the peer takes
        nothing of `content` for too long: the library itself would wait for ever."""
        with anyio.CancelScope() as scope:

            async def pieces(content: AsyncIterator[bytes]) -> AsyncIterator[memoryview]:
                async for piece in content:
                    view = memoryview(piece)
                    for at in range(0, len(view), _TAKEN_AT_ONCE):
                        scope.deadline = anyio.current_time() + self.patience.silent
                        yield view[at : at + _TAKEN_AT_ONCE]
                scope.deadline = math.inf

            body: Any = content
            if isinstance(content, bytes) and len(content) > _TAKEN_AT_ONCE:
                headers = {**headers, "Content-Length": str(len(content))}
                body = pieces(_once(content))
            elif content is not None and not isinstance(content, bytes):
                body = pieces(content)
            return await self._session().request(
                method,
                url,
                headers=headers,
                data=body,
                proxy=proxy_for(str(url)),
                timeout=self._timeout(self.patience.storing if method == "PUT" else self.patience.silent),
            )
        raise Temporary(f"nothing of what is sent was taken for {self.patience.silent:g} seconds")

    async def _host(self, domain: str) -> _Host:
        if domain not in self._hosts:
            async with self._finding:  # one helper program at a time, and once for each registry
                if domain not in self._hosts:
                    self._hosts[domain] = _Host(await anyio.to_thread.run_sync(self._credentials.find, domain))
        return self._hosts[domain]

    def _learn(self, domain: str, host: _Host, response: aiohttp.ClientResponse, sent: str) -> bool:
        """Takes up a challenge; False if there is none that we could answer better than we did."""
        challenge = choose_challenge(parse_challenges(response.headers.getall("WWW-Authenticate", ())), host.credential)
        if challenge is None or (challenge.scheme == "basic" and sent):
            return False
        if is_downgrade(challenge, self.url(domain, "/")):
            realm = _printable(challenge.parameters.get("realm", ""))
            raise RegistryError(f"{domain}: sends credentials to an insecure place: {realm}")
        host.challenge = challenge
        # a token that was refused is of no use any more
        host.tokens = {scopes: token for scopes, token in host.tokens.items() if f"Bearer {token.value}" != sent}
        return True

    async def _authorization(self, domain: str, host: _Host, scopes: tuple[str, ...]) -> str:
        """The Authorization header for `scopes`; empty as long as the registry has not asked for one."""
        if host.credential.registry_token:
            return f"Bearer {host.credential.registry_token}"
        if host.challenge is None:
            return ""
        if host.challenge.scheme == "basic":
            return basic(host.credential)
        async with host.lock:  # one token for all who wait
            token = host.tokens.get(scopes)
            if token is None or token.expires <= time.monotonic():
                token = host.tokens[scopes] = await self._fetch_token(domain, host, host.challenge, scopes)
        return f"Bearer {token.value}"

    async def _fetch_token(self, domain: str, host: _Host, challenge: Challenge, scopes: tuple[str, ...]) -> Token:
        wanted = token_request(challenge, scopes, host.credential)
        headers = {"Authorization": wanted.authorization} if wanted.authorization else {}
        proxy = proxy_for(wanted.url)
        if wanted.form:
            sending = self._session().post(wanted.url, data=dict(wanted.form), headers=headers, proxy=proxy)
        else:
            sending = self._session().get(wanted.url, params=wanted.query, headers=headers, proxy=proxy)
        async with sending as response:
            if response.status != 200:
                raise await _refusal(response, domain, "get a token")
            try:
                token = Token.from_json(json.loads(await read_bounded(response)), time.monotonic())
            except (ValueError, AttributeError) as error:
                raise Temporary(f"the token service gave no JSON: {error}") from error
        if token is None:
            raise Temporary("the token service gave no token")
        return token

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            import aiohttp  # late: most runs of the program never connect

            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, limit_per_host=_CONNECTIONS_PER_HOST, socket_factory=self._socket
                ),
                timeout=self._timeout(self.patience.silent),
                # blobs are stored as they are named: never decoded on the way
                auto_decompress=False,
                headers={"User-Agent": f"bakepy/{__version__}", "Accept-Encoding": "identity"},
                read_bufsize=_READ_BUFFER,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._client

    def _timeout(self, silence: float) -> aiohttp.ClientTimeout:
        """The library watches what comes in; what goes out is for those to watch who send much (`Upload`)."""
        import aiohttp

        return aiohttp.ClientTimeout(total=None, sock_connect=self.patience.connect, sock_read=silence)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def read_bounded(response: aiohttp.ClientResponse, limit: int = _MAX_ANSWER) -> bytes:
    """The body. Temporary if it is longer than `limit` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise Temporary(f"the answer is longer than {limit} bytes")
    return bytes(body)


async def _refusal(response: aiohttp.ClientResponse, domain: str, what: str) -> Temporary | Refused:
    """What an unexpected answer means."""
    said = _printable(f"{response.status} {response.reason or ''}".strip())
    if text := _error_text(await _read_head(response)):
        said = f"{said}: {text}"
    if response.status in RETRIED_STATUSES:
        return Temporary(said, parse_retry_after(response.headers.get("Retry-After"), time.time()))
    if response.status == 404:
        return Refused(f"{_at(domain, what)}: not found ({said})", status=404)
    hint = ""
    if response.status in (401, 403):
        hint = f"it does not exist, or needs 'docker login {domain}'"
        said = f"access denied ({said})"
    return Refused(f"{_at(domain, what)}: {said}", status=response.status, hint=hint)


async def _read_head(response: aiohttp.ClientResponse) -> bytes:
    """The begin of the body of an error answer; more than that is not worth waiting for."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > _MAX_COMPLAINT:
            break
    return bytes(body)


def _error_text(body: bytes) -> str:
    """The messages of an error answer (distribution specification, "Error Codes")."""
    try:
        errors = json.loads(body)["errors"]
        texts = [": ".join(str(error[key]) for key in ("code", "message") if error.get(key)) for error in errors]
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    return _printable("; ".join(texts))


@contextmanager
def _connection_errors(domain: str) -> Iterator[None]:
    """Turns the HTTP library's errors inside the block into Temporary, or RegistryError where waiting can not help."""
    import aiohttp

    try:
        yield
    except aiohttp.ClientSSLError as error:
        raise RegistryError(
            f"{domain}: no secure connection: {error}", hint="is its certificate known here?"
        ) from error
    except aiohttp.InvalidURL as error:
        raise RegistryError(f"{domain}: the registry leads to a malformed address") from error
    except TimeoutError as error:
        raise Temporary("no answer in time") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise Temporary(f"connection failed: {_reason(error)}") from error


def _printable(text: str) -> str:
    """What a registry said, made fit for a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_SAID]


def _at(domain: str, what: str) -> str:
    return what if domain in what else f"{domain}: {what}"


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno:
        # asyncio's own text for a refused connection tells the address twice
        return os.strerror(cause.errno).lower() if cause.errno > 0 else str(cause.strerror)
    return str(error) or type(error).__name__
