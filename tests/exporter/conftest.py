from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.registry import registry_server as registry_server
from tests.support.results import House, open_house


@pytest.fixture
async def house(state_root: Path, anyio_backend: str) -> AsyncIterator[House]:
    async with open_house(state_root) as opened:
        yield opened
