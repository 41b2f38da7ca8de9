"""Two engines at work on one state root at the same time: what both need is done once."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from bakepy.cache.locks import KeyLocks
from bakepy.content.database import Database
from bakepy.content.store import ContentStore
from bakepy.events import VertexStatus
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot
from tests.support.baking import Kitchen, kitchen, target
from tests.support.trees import file_member, tar_bytes, tar_layer

pytestmark = [pytest.mark.runtime, pytest.mark.anyio]

BUSYBOX = {"busybox": "oci-layout://busybox:latest"}


async def test_the_layers_of_an_image_are_fetched_and_unpacked_once(bench: Kitchen) -> None:
    """The steps differ, so that each engine runs its own on the same image."""
    async with kitchen(bench.engine.root, bench.folder) as other:
        async with anyio.create_task_group() as group:
            for number, one in enumerate((bench, other)):
                step = target("t", f"FROM busybox\nRUN echo {number} > /number\n", contexts=BUSYBOX)
                group.start_soon(one.bake, step)
        told = [event for one in (bench, other) for event in one.events if isinstance(event, VertexStatus)]
        assert [event.action for event in told if event.done] == ["downloading"]
        assert bench.processes + other.processes == ["echo 0 > /number", "echo 1 > /number"]


async def test_who_waits_for_a_layer_takes_over_when_the_other_gives_up(state_root: Path) -> None:
    members = [file_member("f", b"text")]
    layer, data = tar_layer(None, members), tar_bytes(members)
    content = ContentStore(state_root)
    asked: list[str] = []
    hanging = anyio.Event()

    async def hang(snapshot: Snapshot, origin: str) -> None:
        asked.append("one")
        hanging.set()
        await anyio.sleep_forever()

    async def fetch(snapshot: Snapshot, origin: str) -> None:
        asked.append("two")
        content.put(data)

    with (
        Database(state_root / "state.db") as database,
        KeyLocks(state_root / "keys.lock") as mine,
        KeyLocks(state_root / "keys.lock") as theirs,
        SnapshotStore(state_root, database, content, hang, mine.alone) as one,
        SnapshotStore(state_root, database, content, fetch, theirs.alone) as two,
    ):
        one.add_lazy("base", None, layer, "origin")
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as giving_up:
                    giving_up.start_soon(one.materialize, "base")
                    await hanging.wait()
                    group.start_soon(two.materialize, "base")
                    for _ in range(10):
                        await anyio.lowlevel.checkpoint()
                    assert asked == ["one"]
                    scope.cancel()
        assert asked == ["one", "two"]
        async with two.view("base") as tree:
            assert (tree / "f").read_text() == "text"
