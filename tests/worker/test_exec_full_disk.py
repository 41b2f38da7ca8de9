"""A step that fills the disk of the state root."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakepy.errors import ProcessError
from bakepy.snapshot import syscalls
from tests.support.steps import open_steps

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]


async def test_a_full_disk_is_told_beside_the_programs_words(private_mounts: None, state_root: Path) -> None:
    syscalls.mount("tmpfs", state_root, "tmpfs", 0, "size=24m")
    try:
        with open_steps(state_root) as steps:
            with pytest.raises(ProcessError) as caught:
                await steps.run("dd if=/dev/zero of=/big bs=64k")
            assert caught.value.hint == (
                "the disk of the state root is full: free some space,"
                " `bakepy prune --all` removes what can be made again"
            )
            assert any("No space left on device" in line for line in caught.value.detail)
            with pytest.raises(ProcessError) as caught:
                await steps.run("false")  # the room is there again
            assert caught.value.hint == ""
    finally:
        syscalls.unmount(state_root, syscalls.MNT_DETACH)
