"""What dead bakes left outside of the state root goes when the next one opens it, whether it runs a step or not."""

from __future__ import annotations

import os
import secrets
import time
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


def test_cgroups_of_the_dead_are_known_whatever_their_state_root_was() -> None:
    cgroups = Cgroups.detect()
    if cgroups.kind == "none":
        pytest.skip("no cgroups can be made here")
    dead, living = secrets.token_hex(6), secrets.token_hex(6)
    held = cgroups.hold(living)
    assert held is not None
    try:
        for hierarchy in cgroups.hierarchies:
            for token in (dead, living):
                (hierarchy / "bakepy" / token / f"{token}-1").mkdir(parents=True, exist_ok=True)
        mine = {dead, living}
        assert cgroups.abandoned() & mine == set()  # they are young
        found = cgroups.abandoned(lambda: time.time() + 3601) & mine
        assert found == {dead}
        cgroups.remove(found)
        left = {path.name for hierarchy in cgroups.hierarchies for path in (hierarchy / "bakepy").iterdir()}
        assert left & mine == {living}
    finally:
        os.close(held)
        cgroups.remove((dead, living))
