"""A kitchen for each test: an embedded engine on a fresh state root, mounts in a namespace of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.baking import Kitchen, kitchen
from tests.support.base_image import write_base_image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the command, with the base image as an OCI layout `busybox`."""
    folder = tmp_path / "work"
    folder.mkdir()
    write_base_image(folder / "busybox")
    return folder


@pytest.fixture
async def bench(state_root: Path, folder: Path) -> AsyncIterator[Kitchen]:
    async with kitchen(state_root, folder) as open_kitchen:
        yield open_kitchen
