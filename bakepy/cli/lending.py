"""What the caller lends to servers of far sources: secrets and agents, together."""

from __future__ import annotations

from pathlib import Path

from bakepy.model.value import dataclass
from bakepy.session.secrets import SecretProvider
from bakepy.session.ssh import AgentProvider


@dataclass(frozen=True, slots=True)
class Lending:
    """Implements the sources' `Lent`."""

    secrets: SecretProvider
    agents: AgentProvider

    def get(self, id: str) -> bytes | None:
        return self.secrets.get(id)

    def socket(self, id: str) -> Path | None:
        return self.agents.socket(id)
