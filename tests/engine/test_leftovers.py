"""What dead bakes left outside of the state root goes when the next one opens it, whether it runs a step or not."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from bakepy.worker.cgroups import Cgroups
from tests.support.baking import kitchen

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]


async def test_cgroups_of_the_dead_go_though_no_step_is_run(state_root: Path, tmp_path: Path) -> None:
    cgroups = Cgroups.detect()
    if cgroups.kind == "none":
        pytest.skip("no cgroups can be made here")
    token = secrets.token_hex(6)
    (state_root / "tmp" / token).mkdir(parents=True)
    folders = [hierarchy / "bakepy" / token for hierarchy in cgroups.hierarchies]
    for folder in folders:
        (folder / f"{token}-1").mkdir(parents=True)
    async with kitchen(state_root, tmp_path):
        assert [folder for folder in folders if folder.exists()] == []
    assert list((state_root / "tmp").iterdir()) == []
