"""Many tasks that want the same thing at once."""

from __future__ import annotations

import anyio
import pytest

from bakepy.content.store import ContentStore
from bakepy.model.oci import Descriptor
from bakepy.registry.registry import Registry
from tests.registry.test_pull import BLOB, layer, reference
from tests.support.fake_registry import FakeRegistry

pytestmark = pytest.mark.anyio


async def test_blob_that_many_want_is_fetched_once(
    fake: FakeRegistry, anonymous: Registry, store: ContentStore
) -> None:
    fake.put_blob("team/app", BLOB)

    async with anonymous as registry, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(registry.fetch, reference(fake), layer(BLOB), store)

    assert fake.asked("blobs") == [f"GET /v2/team/app/blobs/{layer(BLOB).digest}"]


async def test_cancelled_pull_leaves_nothing_and_can_be_repeated(
    fake: FakeRegistry, anonymous: Registry, store: ContentStore
) -> None:
    fake.put_blob("team/app", BLOB)

    async with anonymous as registry:
        with anyio.CancelScope() as scope:
            await registry.fetch(reference(fake), layer(BLOB), store, lambda done, total: scope.cancel())
        assert scope.cancelled_caught
        assert not any((store.root / "ingest").iterdir())
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert store.read(layer(BLOB).digest) == BLOB


async def test_different_blobs_come_side_by_side(fake: FakeRegistry, anonymous: Registry, store: ContentStore) -> None:
    blobs = [bytes([number]) * 300_000 for number in range(12)]
    for data in blobs:
        fake.put_blob("team/app", data)

    async def fetch(registry: Registry, descriptor: Descriptor) -> None:
        await registry.fetch(reference(fake), descriptor, store)

    async with anonymous as registry, anyio.create_task_group() as group:
        for data in blobs:
            group.start_soon(fetch, registry, layer(data))

    assert [store.read(layer(data).digest) for data in blobs] == blobs
