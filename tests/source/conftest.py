from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.snapshots import Snapshots, open_snapshots
from tests.support.web import Web


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture
def machine(state_root: Path) -> Iterator[Snapshots]:
    with open_snapshots(state_root) as snapshots:
        yield snapshots
