from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bakepy.content.store import ContentStore
from bakepy.registry.registry import Registry
from bakepy.registry.retry import Patience, RetryPolicy
from bakepy.session.credentials import Credentials
from tests.support.fake_registry import FakeRegistry


@dataclass
class Pauses:
    """Stands in for the clock: remembers the pauses that were asked for, and makes none."""

    seconds: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def anonymous(pauses: Pauses) -> Registry:
    """A client without credentials; to be entered by the test."""
    return Registry(Credentials({}), sleep=pauses.sleep)


@pytest.fixture
def hasty(pauses: Pauses) -> Registry:
    """One that soon gives up on peers that move nothing."""
    patience = Patience(silent=0.5, storing=0.5)
    return Registry(Credentials({}), policy=RetryPolicy(attempts=3), patience=patience, sleep=pauses.sleep)


@pytest.fixture
def steady(pauses: Pauses) -> Registry:
    """One that gives up on peers that move nothing, and waits for those that are slow."""
    patience = Patience(silent=3, storing=3)
    return Registry(Credentials({}), policy=RetryPolicy(attempts=3), patience=patience, sleep=pauses.sleep)
