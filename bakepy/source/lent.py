"""What the caller lends to a source: secrets for its server, agents for its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Lent(Protocol):
    """Secrets and SSH agents, by id."""

    def get(self, id: str) -> bytes | None:
        """The value of a secret, None if there is no such secret. May block."""
        ...

    def socket(self, id: str) -> Path | None:
        """The socket of the agent that is lent as `id`, None if none is."""
        ...


class NothingLent:
    """A caller that lends nothing."""

    def get(self, id: str) -> bytes | None:
        return None

    def socket(self, id: str) -> Path | None:
        return None


NOTHING: Lent = NothingLent()


def redacted(url: str) -> str:
    """A URL fit to be shown or kept: a password, or a token in its place, is masked."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if not separator or not at or (scheme == "ssh" and ":" not in user):
        return url
    name, colon, _ = user.partition(":")
    return f"{scheme}://{name}:xxxxx@{host}{slash}{path}" if colon else f"{scheme}://xxxxx@{host}{slash}{path}"
