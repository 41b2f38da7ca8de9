"""HTTP with registries: authentication, retries, and errors that people can act on.

Small requests are sent by `lookups`, blobs by `streams`.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import field
from typing import TypeVar
from urllib.parse import urlencode, urljoin

import anyio

from bakepy.errors import RegistryError
from bakepy.model.value import dataclass
from bakepy.registry.answer import Answer, malformed, printable, read_bounded, read_complaint
from bakepy.registry.auth import (
    Challenge,
    Token,
    basic,
    choose_challenge,
    is_downgrade,
    parse_challenges,
    token_request,
)
from bakepy.registry.hosts import base_url, origin
from bakepy.registry.lookups import Lookups
from bakepy.registry.retry import RETRIED_STATUSES, Patience, RetryPolicy, Temporary, parse_retry_after
from bakepy.registry.streams import Streams
from bakepy.session.credentials import Credential, Credentials

T = TypeVar("T")


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


def _chance() -> float:
    import random  # late: only what failed is tried again

    return random.random()


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
        chance: Callable[[], float] = _chance,
    ) -> None:
        self.patience = patience or Patience()
        self._credentials = credentials
        self._insecure = frozenset(insecure)
        self._policy = policy or RetryPolicy()
        self._sleep = sleep
        self._chance = chance
        self._hosts: dict[str, _Host] = {}
        self._finding = anyio.Lock()
        self._lookups = Lookups(self.patience)
        self._streams = Streams(self.patience)

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lookups.aclose()
        await self._streams.aclose()

    def allow_plain(self, host: str) -> None:
        """Speaks plain http with `host` from now on."""
        self._insecure |= {host}

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
        body: bytes | Callable[[], AsyncIterator[bytes]] | None = None,
        large: bool = False,
    ) -> AsyncIterator[Answer]:
        """One request, authenticated as the registry asks. `body` may be a function that makes one for each sending;
        `large`: the answer is a blob.

        Yields the answer if its status is in `expect`; raises Temporary where asking again may help, Refused where
        not. Errors of the connection are Temporary inside the block as well.
        """
        host = await self._host(domain)
        try:
            url = self.url(domain, path)
            # a place on another host has its permission in its address; ours is not for it
            ours = origin(url) == origin(self.url(domain, "/"))
        except ValueError as error:
            raise malformed(_at(domain, what)) from error
        for last in (False, True):
            authorization = await self._authorization(domain, host, scopes) if ours else ""
            sent = {**(headers or {}), **({"Authorization": authorization} if authorization else {})}
            sending: AbstractAsyncContextManager[Answer]
            if large or callable(body):
                sending = self._streams.request(method, url, sent, body() if callable(body) else None, domain)
            else:
                sending = self._lookups.request(method, url, sent, body, domain)
            async with sending as answer:
                if answer.status in expect:
                    yield answer
                    return
                if answer.status == 401 and not last and self._learn(domain, host, answer, authorization):
                    continue
                raise await _refusal(answer, domain, what)

    async def _host(self, domain: str) -> _Host:
        if domain not in self._hosts:
            async with self._finding:  # one helper program at a time, and once for each registry
                if domain not in self._hosts:
                    self._hosts[domain] = _Host(await anyio.to_thread.run_sync(self._credentials.find, domain))
        return self._hosts[domain]

    def _learn(self, domain: str, host: _Host, response: Answer, sent: str) -> bool:
        """Takes up a challenge; False if there is none that we could answer better than we did."""
        challenge = choose_challenge(parse_challenges(response.headers.getall("WWW-Authenticate", ())), host.credential)
        if challenge is None or (challenge.scheme == "basic" and sent):
            return False
        if is_downgrade(challenge, self.url(domain, "/")):
            realm = printable(challenge.parameters.get("realm", ""))
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
        method, url, body = "GET", wanted.url, None
        if wanted.form:
            method, body = "POST", urlencode(wanted.form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif wanted.query:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(wanted.query)}"
        async with self._lookups.request(method, url, headers, body, domain) as response:
            if response.status != 200:
                raise await _refusal(response, domain, "get a token")
            try:
                token = Token.from_json(json.loads(await read_bounded(response)), time.monotonic())
            except (ValueError, AttributeError) as error:
                raise Temporary(f"the token service gave no JSON: {error}") from error
        if token is None:
            raise Temporary("the token service gave no token")
        return token


async def _refusal(response: Answer, domain: str, what: str) -> Temporary | Refused:
    """What an unexpected answer means."""
    said = printable(f"{response.status} {response.reason}".strip())
    if text := _error_text(await read_complaint(response)):
        said = f"{said}: {text}"
    if response.status in RETRIED_STATUSES:
        return Temporary(said, parse_retry_after(response.headers.get("Retry-After", ""), time.time()))
    if response.status == 404:
        return Refused(f"{_at(domain, what)}: not found ({said})", status=404)
    hint = ""
    if response.status in (401, 403):
        hint = f"it does not exist, or needs 'docker login {domain}'"
        said = f"access denied ({said})"
    return Refused(f"{_at(domain, what)}: {said}", status=response.status, hint=hint)


def _error_text(body: bytes) -> str:
    """The messages of an error answer (distribution specification, "Error Codes")."""
    try:
        errors = json.loads(body)["errors"]
        texts = [": ".join(str(error[key]) for key in ("code", "message") if error.get(key)) for error in errors]
    except (ValueError, TypeError, KeyError, AttributeError):
        return ""
    return printable("; ".join(texts))


def _at(domain: str, what: str) -> str:
    return what if domain in what else f"{domain}: {what}"
