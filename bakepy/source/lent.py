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
