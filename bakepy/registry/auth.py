"""How a registry wants to be asked: challenges, Basic and Bearer, and the tokens we hold.

Rules: RFC 7235 (challenges), distribution's token specification (GET), and its OAuth 2 form (POST) for identity
tokens.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any

from bakepy.model.frozen import FrozenMap
from bakepy.model.value import dataclass
from bakepy.session.credentials import Credential

CLIENT_ID = "bakepy"
_DEFAULT_LIFETIME = 60.0
# a token is renewed this long before its end, so that it does not expire on the way
_MARGIN = 10.0
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)(?:\s+|\Z)")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate. `scheme` and the names of the parameters are in lower case."""

    scheme: str
    parameters: FrozenMap[str, str] = field(default_factory=FrozenMap)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What to ask a token service: a GET with `query` and perhaps Basic, or a POST of `form`."""

    url: str
    query: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """What a token service gave; `expires` on the clock that the caller reads."""

    value: str = field(repr=False)
    expires: float

    @classmethod
    def from_json(cls, answer: Mapping[str, Any], now: float) -> Token | None:
        """None if there is no token in it."""
        value = answer.get("token") or answer.get("access_token")
        lifetime = answer.get("expires_in")
        if not isinstance(value, str):
            return None
        seconds = float(lifetime) if isinstance(lifetime, int | float) and lifetime > 0 else _DEFAULT_LIFETIME
        return cls(value, now + max(seconds - _MARGIN, seconds / 2))


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of WWW-Authenticate headers; what can not be read is left out."""
    challenges = []
    for header in headers:
        at = 0
        while at < len(header) and (scheme := _SCHEME.match(header, at)):
            at = scheme.end()
            parameters: dict[str, str] = {}
            while found := _PARAMETER.match(header, at):
                quoted = re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]
                parameters[found[1].lower()] = quoted
                at = found.end()
            challenges.append(Challenge(scheme[1].lower(), FrozenMap(parameters)))
    return tuple(challenges)


def choose_challenge(challenges: Iterable[Challenge], credential: Credential) -> Challenge | None:
    """Bearer with a realm, else Basic if there is a user to name; None if there is nothing we can answer."""
    offered = {challenge.scheme: challenge for challenge in reversed(tuple(challenges))}
    bearer, basic = offered.get("bearer"), offered.get("basic")
    if bearer and bearer.parameters.get("realm", "").startswith(("https://", "http://")):
        return bearer
    return basic if basic and credential.username else None


def is_downgrade(challenge: Challenge, registry_url: str) -> bool:
    """Whether a registry that is asked over TLS wants credentials to go somewhere without it."""
    return registry_url.startswith("https:") and challenge.parameters.get("realm", "").startswith("http:")


def basic(credential: Credential) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def token_request(challenge: Challenge, scopes: Iterable[str], credential: Credential) -> TokenRequest:
    """How to get a token for `scopes` from the realm that `challenge` names."""
    realm, service = challenge.parameters["realm"], challenge.parameters.get("service", "")
    wanted = tuple(scopes) or tuple(challenge.parameters.get("scope", "").split())
    if credential.identity_token:
        form = (
            ("grant_type", "refresh_token"),
            ("refresh_token", credential.identity_token),
            ("service", service),
            ("client_id", CLIENT_ID),
            ("scope", " ".join(wanted)),
        )
        return TokenRequest(realm, form=form)
    query = tuple(("scope", scope) for scope in wanted)
    if service:
        query = (("service", service), *query)
    if not credential.username:
        return TokenRequest(realm, query)
    return TokenRequest(realm, (*query, ("account", credential.username)), authorization=basic(credential))


def scope(repository: str, *, push: bool = False) -> str:
    """`repository:library/alpine:pull`, or `pull,push`."""
    return f"repository:{repository}:{'pull,push' if push else 'pull'}"
