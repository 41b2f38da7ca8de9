"""Pushing: what goes over the wire, what does not, and in which order."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from bakepy.content.store import ContentStore, DamagedBlob
from bakepy.errors import RegistryError
from bakepy.model.digest import Digest
from bakepy.model.oci import OCI_MANIFEST
from bakepy.registry.registry import MAX_MANIFEST, Registry
from bakepy.registry.transport import Refused
from bakepy.session.credentials import Credentials
from tests.registry.conftest import Pauses
from tests.registry.test_pull import BLOB, MANIFEST, layer, reference
from tests.support.damage import damage
from tests.support.fake_registry import Answer, FakeRegistry, Reset, Stall

pytestmark = pytest.mark.anyio

LAYER = layer(BLOB)


@pytest.fixture
def full(store: ContentStore) -> ContentStore:
    store.put(BLOB)
    return store


async def test_blob_goes_up_in_one_piece(fake: FakeRegistry, anonymous: Registry, full: ContentStore) -> None:
    seen: list[tuple[int, int]] = []

    async with anonymous as registry:
        await registry.push_blob(reference(fake), LAYER, full, progress=lambda done, total: seen.append((done, total)))

    assert fake.blobs["team/app", LAYER.digest] == BLOB
    assert fake.asked() == [
        f"HEAD /v2/team/app/blobs/{LAYER.digest}",
        "POST /v2/team/app/blobs/uploads/",
        "PUT /v2/team/app/blobs/uploads/1",
    ]
    assert fake.requests[2].headers["Content-Length"] == str(len(BLOB))
    assert seen == sorted(seen)
    assert seen[-1] == (len(BLOB), len(BLOB))


async def test_blob_that_is_there_is_not_sent(fake: FakeRegistry, anonymous: Registry, full: ContentStore) -> None:
    fake.put_blob("team/app", BLOB)

    async with anonymous as registry:
        await registry.push_blob(reference(fake), LAYER, full)
        await registry.push_blob(reference(fake), LAYER, full)

    assert fake.asked() == [f"HEAD /v2/team/app/blobs/{LAYER.digest}"]


async def test_blob_of_another_repository_is_mounted(
    fake: FakeRegistry, anonymous: Registry, store: ContentStore
) -> None:
    fake.put_blob("library/base", BLOB)

    async with anonymous as registry:
        await registry.push_blob(reference(fake), LAYER, store, mount_from=reference(fake, "library/base"))

    assert fake.blobs["team/app", LAYER.digest] == BLOB
    mount = fake.requests[1].query
    assert mount == {"mount": LAYER.digest, "from": "library/base"}
    assert fake.asked("PUT") == []


async def test_blob_is_mounted_from_where_this_run_pushed_it(
    fake: FakeRegistry, anonymous: Registry, full: ContentStore
) -> None:
    async with anonymous as registry:
        await registry.push_blob(reference(fake, "team/one"), LAYER, full)
        await registry.push_blob(reference(fake, "team/two"), LAYER, full)

    assert fake.asked("PUT") == ["PUT /v2/team/one/blobs/uploads/1"]
    assert fake.blobs["team/two", LAYER.digest] == BLOB


async def test_registry_that_will_not_mount_gets_the_bytes(
    fake: FakeRegistry, anonymous: Registry, full: ContentStore
) -> None:
    fake.fail("POST", Answer(403))

    async with anonymous as registry:
        await registry.push_blob(reference(fake), LAYER, full, mount_from=reference(fake, "private/base"))

    assert fake.blobs["team/app", LAYER.digest] == BLOB


async def test_broken_upload_starts_again(fake: FakeRegistry, anonymous: Registry, full: ContentStore) -> None:
    fake.fail("PUT", Reset(), Answer(502), Answer(404))

    async with anonymous as registry:
        await registry.push_blob(reference(fake), LAYER, full)

    assert fake.blobs["team/app", LAYER.digest] == BLOB
    assert [len(request.body) for request in fake.requests if request.method == "PUT"] == [len(BLOB)] * 4
    assert len(fake.asked("POST")) == 4


async def test_upload_whose_answer_was_lost_is_not_repeated(
    fake: FakeRegistry, anonymous: Registry, full: ContentStore
) -> None:
    fake.fail("PUT", Reset(0))

    async with anonymous as registry:
        await registry.push_blob(reference(fake), LAYER, full)

    assert fake.blobs["team/app", LAYER.digest] == BLOB
    assert len(fake.asked("PUT")) == 1


async def test_registry_that_takes_nothing_gets_the_blob_again(
    fake: FakeRegistry, steady: Registry, full: ContentStore
) -> None:
    fake.fail("PUT", Stall())

    async with steady as registry:
        await registry.push_blob(reference(fake), LAYER, full)

    assert fake.blobs["team/app", LAYER.digest] == BLOB
    assert len(fake.asked("PUT")) == 2


async def test_registry_that_never_takes_anything_is_given_up(
    fake: FakeRegistry, hasty: Registry, full: ContentStore
) -> None:
    fake.fail("PUT", *[Stall()] * 3)

    async with hasty as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.push_blob(reference(fake), LAYER, full)

    assert str(caught.value) == (
        f"{fake.host}: push blob {LAYER.digest} to team/app: nothing of what is sent was taken for 0.5 seconds\n"
        "    gave up after 3 attempts\n"
        "hint: is the registry up and reachable from here?"
    )


async def test_registry_that_takes_no_manifest_is_given_up(fake: FakeRegistry, hasty: Registry) -> None:
    """More than what the kernel takes off our hands."""
    fake.fail("PUT", *[Stall()] * 3)

    async with hasty as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.push_manifest(reference(fake), bytes(4 * MAX_MANIFEST), OCI_MANIFEST)

    assert caught.value.what.endswith("nothing of what is sent was taken for 0.5 seconds")


async def test_blob_that_was_damaged_on_disk_is_not_sent(
    fake: FakeRegistry, anonymous: Registry, full: ContentStore
) -> None:
    damage(full.path(LAYER.digest))
    later = ContentStore(full.root)

    async with anonymous as registry:
        with pytest.raises(DamagedBlob) as caught:
            await registry.push_blob(reference(fake), LAYER, later)

    assert caught.value.render() == (
        f"blob {LAYER.digest} in the content store was damaged\nhint: it has been removed; run again to make it anew"
    )
    assert fake.asked("PUT") == []
    assert not later.has(LAYER.digest)


async def test_upload_to_a_malformed_place_is_an_error(
    fake: FakeRegistry, anonymous: Registry, full: ContentStore
) -> None:
    fake.fail("POST", Answer(202, {"Location": "http://[::bad/?token=s3cret"}))

    async with anonymous as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.push_blob(reference(fake), LAYER, full)

    assert caught.value.what == (
        f"{fake.host}: push blob {LAYER.digest} to team/app: the registry leads to a malformed address"
    )


async def test_upload_to_another_host_gets_no_credentials(full: ContentStore) -> None:
    with FakeRegistry() as fake, FakeRegistry() as storage:
        fake.basic = ("ann", "s3cret")
        there = f"http://{storage.host}/v2/else/blobs/uploads/1?_state=a%2Bb%3D"
        fake.fail("POST", Answer(202, {"Location": there}))
        credentials = Credentials({"auths": {fake.host: {"username": "ann", "password": "s3cret"}}})

        async with Registry(credentials) as registry:
            await registry.push_blob(reference(fake), LAYER, full)

        assert storage.blobs["else", LAYER.digest] == BLOB
        assert "Authorization" not in storage.requests[0].headers
        assert "Authorization" in fake.requests[-1].headers


async def test_twenty_targets_push_a_shared_layer_once(
    fake: FakeRegistry, anonymous: Registry, full: ContentStore
) -> None:
    async with anonymous as registry, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(registry.push_blob, reference(fake), LAYER, full)

    assert len(fake.asked("PUT")) == 1


async def test_manifest_without_a_tag_is_published_by_its_digest(fake: FakeRegistry, anonymous: Registry) -> None:
    async with anonymous as registry:
        digest = await registry.push_manifest(reference(fake, "team/app"), MANIFEST, OCI_MANIFEST)
        assert fake.asked("PUT") == [f"PUT /v2/team/app/manifests/{digest}"]
        await registry.push_manifest(reference(fake), MANIFEST, OCI_MANIFEST)

    assert fake.asked("PUT")[1:] == ["PUT /v2/team/app/manifests/1"]
    assert fake.manifests["team/app", "1"] == (OCI_MANIFEST, MANIFEST)
    assert digest == Digest.of(MANIFEST)


async def test_manifest_that_the_registry_refuses_is_an_error_at_once(
    fake: FakeRegistry, anonymous: Registry, pauses: Pauses
) -> None:
    body = b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry"}]}'
    fake.fail("PUT", Answer(400, body=body))

    async with anonymous as registry:
        with pytest.raises(Refused) as caught:
            await registry.push_manifest(reference(fake), MANIFEST, OCI_MANIFEST)

    assert str(caught.value) == (
        f"{fake.host}: push team/app:1: 400 Bad Request: MANIFEST_BLOB_UNKNOWN: blob unknown to registry"
    )
    assert pauses.seconds == []


async def test_registry_that_stored_something_else_is_caught(fake: FakeRegistry, anonymous: Registry) -> None:
    other = Digest.of(b"other")
    fake.fail("PUT", Answer(201, {"Docker-Content-Digest": other}))

    async with anonymous as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.push_manifest(reference(fake), MANIFEST, OCI_MANIFEST)

    assert caught.value.what == f"{fake.host}: stored team/app as {other}, not as {Digest.of(MANIFEST)}"


def test_nothing_of_the_http_library_is_imported_without_a_connection() -> None:
    import subprocess
    import sys

    program = (
        "import sys, anyio\n"
        "from bakepy.registry.registry import Registry\n"
        "from bakepy.session.credentials import Credentials\n"
        "async def main():\n"
        "    async with Registry(Credentials({})): pass\n"
        "anyio.run(main)\n"
        "print(sorted({'aiohttp', 'httpcore', 'yarl'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path.cwd())
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_looking_up_an_image_needs_the_light_library_only(fake: FakeRegistry) -> None:
    import subprocess
    import sys

    fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST, "1")
    program = (
        "import sys, anyio\n"
        "from bakepy.model.reference import ImageReference\n"
        "from bakepy.registry.registry import Registry\n"
        "from bakepy.session.credentials import Credentials\n"
        "async def main():\n"
        "    async with Registry(Credentials({})) as registry:\n"
        "        await registry.resolve(ImageReference.parse(sys.argv[1]))\n"
        "anyio.run(main)\n"
        "print(sorted({'aiohttp', 'httpcore', 'yarl'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", program, f"{fake.host}/team/app:1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path.cwd())
    assert (done.stdout, done.stderr) == ("['httpcore']\n", "")


async def test_blob_that_is_offered_is_taken_if_it_is_there_or_can_be_mounted(
    fake: FakeRegistry, anonymous: Registry, store: ContentStore
) -> None:
    fake.put_blob("team/has", BLOB)

    async with anonymous as registry:
        assert await registry.offer_blob(reference(fake, "team/has"), LAYER, store)
        assert await registry.offer_blob(reference(fake, "team/mounts"), LAYER, store, reference(fake, "team/has"))
        assert not await registry.offer_blob(reference(fake, "team/not"), LAYER, store)

    assert fake.blobs["team/mounts", LAYER.digest] == BLOB
    assert ("team/not", LAYER.digest) not in fake.blobs
