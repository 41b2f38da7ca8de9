"""Pulling from a registry that misbehaves: what is retried, what is resumed, and what the user is told."""

from __future__ import annotations

import pytest

from bakepy.content.store import ContentStore
from bakepy.errors import RegistryError
from bakepy.model.digest import Digest
from bakepy.model.oci import OCI_MANIFEST, Descriptor
from bakepy.model.reference import ImageReference
from bakepy.registry.registry import Registry
from bakepy.registry.transport import Refused
from tests.registry.conftest import Pauses
from tests.support.fake_registry import Answer, FakeRegistry, IgnoreRange, Instead, Request, Reset, Stall, Truncated

pytestmark = pytest.mark.anyio

BLOB = bytes(range(256)) * 40_000
MANIFEST = b'{"schemaVersion": 2, "config": {}, "layers": []}'


def reference(fake: FakeRegistry, text: str = "team/app:1") -> ImageReference:
    return ImageReference.parse(f"{fake.host}/{text}")


def layer(data: bytes) -> Descriptor:
    return Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", Digest.of(data), len(data))


def start_of(request: Request) -> int:
    """Where the part begins that was asked for."""
    return int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


async def test_tag_resolves_to_digest_with_one_request(fake: FakeRegistry, anonymous: Registry) -> None:
    digest = fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST, "1")

    async with anonymous as registry:
        found = await registry.resolve(reference(fake))

    assert found == Descriptor(OCI_MANIFEST, digest, len(MANIFEST))
    assert fake.asked() == ["HEAD /v2/team/app/manifests/1"]


async def test_registry_without_digest_header_is_asked_for_the_manifest(
    fake: FakeRegistry, anonymous: Registry
) -> None:
    digest = fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST, "1")
    fake.fail("HEAD", Answer(200, {"Content-Type": OCI_MANIFEST}))

    async with anonymous as registry:
        found = await registry.resolve(reference(fake))

    assert found == Descriptor(OCI_MANIFEST, digest, len(MANIFEST))


async def test_missing_tag_is_not_found_and_not_retried(fake: FakeRegistry, anonymous: Registry) -> None:
    async with anonymous as registry:
        with pytest.raises(Refused) as caught:
            await registry.resolve(reference(fake, "team/app:nope"))

    assert str(caught.value) == f"{fake.host}/team/app:nope: not found (404 Not Found)"
    assert caught.value.status == 404
    assert len(fake.requests) == 1


async def test_server_errors_are_retried_with_growing_pauses(
    fake: FakeRegistry, anonymous: Registry, pauses: Pauses, store: ContentStore
) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", Answer(503), Answer(500), Reset(0))

    async with anonymous as registry:
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert store.read(Digest.of(BLOB)) == BLOB
    first, second, third = pauses.seconds
    assert 0.2 <= first <= 0.4 <= second <= 0.8 <= third <= 1.6


async def test_retry_after_is_obeyed(
    fake: FakeRegistry, anonymous: Registry, pauses: Pauses, store: ContentStore
) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", Answer(429, {"Retry-After": "17"}))

    async with anonymous as registry:
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert pauses.seconds == [17.0]


async def test_registry_that_stays_down_is_named_with_its_last_answer(
    fake: FakeRegistry, anonymous: Registry, pauses: Pauses, store: ContentStore
) -> None:
    busy = b'{"errors": [{"code": "TOOMANYREQUESTS", "message": "come\\u001b back"}]}'
    fake.fail("GET", *[Answer(500)] * 5, Answer(429, body=busy))

    async with anonymous as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.fetch(reference(fake), layer(BLOB), store)

    assert str(caught.value) == (
        f"{fake.host}: pull blob {Digest.of(BLOB)} of team/app: "
        "429 Too Many Requests: TOOMANYREQUESTS: come  back\n"
        "    gave up after 6 attempts\n"
        "hint: is the registry up and reachable from here?"
    )
    assert caught.value.exit_code == 4
    assert len(pauses.seconds) == 5
    assert not store.has(Digest.of(BLOB))


async def test_registry_that_is_not_there_is_an_error_after_retries(anonymous: Registry, pauses: Pauses) -> None:
    with FakeRegistry() as gone:
        ref = reference(gone)

    async with anonymous as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.resolve(ref)

    assert caught.value.what == f"look up {ref}: connection failed: connection refused"
    assert caught.value.exit_code == 4
    assert len(pauses.seconds) == 5


async def test_broken_transfer_goes_on_where_it_stopped(
    fake: FakeRegistry, anonymous: Registry, store: ContentStore
) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", Truncated(3_000_000), Reset(4_000_000))
    seen: list[tuple[int, int]] = []

    async with anonymous as registry:
        await registry.fetch(reference(fake), layer(BLOB), store, lambda done, total: seen.append((done, total)))

    assert store.read(Digest.of(BLOB)) == BLOB
    first, second, third = (start_of(request) for request in fake.requests)
    assert (first, second) == (0, 3_000_000)
    # how much of what came before a reset can still be read is for the kernels to say, down to nothing; the rest is
    # asked for from exactly where the writing stands
    assert third in [done for done, _ in seen if 3_000_000 <= done <= 7_000_000]
    assert seen == sorted(set(seen))
    assert seen[-1] == (len(BLOB), len(BLOB))


async def test_failures_that_get_further_are_not_counted_together(
    fake: FakeRegistry, anonymous: Registry, store: ContentStore
) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", *[Truncated(1_000_000)] * 10)

    async with anonymous as registry:
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert store.read(Digest.of(BLOB)) == BLOB
    assert len(fake.requests) == 11


@pytest.mark.parametrize("after", [3_000_000, None], ids=["in the middle", "before the answer"])
async def test_registry_that_falls_silent_is_asked_for_the_rest(
    fake: FakeRegistry, steady: Registry, store: ContentStore, after: int | None
) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", Stall(after))

    async with steady as registry:
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert store.read(Digest.of(BLOB)) == BLOB
    first, second = (start_of(request) for request in fake.requests)
    assert first == 0
    assert 0 <= second <= (after or 0)


async def test_registry_that_stays_silent_is_given_up(fake: FakeRegistry, hasty: Registry, store: ContentStore) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", *[Stall()] * 3)

    async with hasty as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.fetch(reference(fake), layer(BLOB), store)

    assert str(caught.value) == (
        f"{fake.host}: pull blob {Digest.of(BLOB)} of team/app: no answer in time\n"
        "    gave up after 3 attempts\n"
        "hint: is the registry up and reachable from here?"
    )


async def test_registry_without_ranges_is_read_from_the_start(
    fake: FakeRegistry, anonymous: Registry, store: ContentStore
) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", Truncated(3_000_000), IgnoreRange())

    async with anonymous as registry:
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert store.read(Digest.of(BLOB)) == BLOB
    assert len(fake.requests) == 2


async def test_wrong_content_is_fetched_anew(fake: FakeRegistry, anonymous: Registry, store: ContentStore) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", Instead(BLOB[::-1]))

    async with anonymous as registry:
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert store.read(Digest.of(BLOB)) == BLOB


@pytest.mark.parametrize(
    ("served", "complaint"),
    [
        (BLOB[::-1], f"the content is wrong: blob has digest {Digest.of(BLOB[::-1])}, {Digest.of(BLOB)} was expected"),
        (BLOB + b"x", f"the registry sends more than the {len(BLOB)} bytes of the blob"),
    ],
    ids=["other content", "too long"],
)
async def test_wrong_content_never_gets_into_the_store(
    fake: FakeRegistry, anonymous: Registry, store: ContentStore, served: bytes, complaint: str
) -> None:
    fake.put_blob("team/app", BLOB)
    fake.fail("GET .*/blobs/", *[Instead(served)] * 20)

    async with anonymous as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.fetch(reference(fake), layer(BLOB), store)

    assert caught.value.what == f"{fake.host}: pull blob {Digest.of(BLOB)} of team/app: {complaint}"
    assert not any((store.root / "ingest").iterdir())
    assert not (store.root / "blobs").exists()


async def test_wrong_manifest_is_an_error(fake: FakeRegistry, anonymous: Registry) -> None:
    digest = fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST)
    fake.fail("GET .*/manifests/", *[Instead(b"{}")] * 6)

    async with anonymous as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.manifest(reference(fake), digest)

    assert caught.value.what == (
        f"{fake.host}: read manifest {digest} of team/app: the content is another one: {Digest.of(b'{}')}"
    )


async def test_empty_blob_is_pulled(fake: FakeRegistry, anonymous: Registry, store: ContentStore) -> None:
    fake.put_blob("team/app", b"")

    async with anonymous as registry:
        await registry.fetch(reference(fake), layer(b""), store)

    assert store.read(Digest.of(b"")) == b""


async def test_blob_that_is_here_is_not_asked_for(fake: FakeRegistry, anonymous: Registry, store: ContentStore) -> None:
    store.put(BLOB)

    async with anonymous as registry:
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert fake.asked() == []
