"""Images resolved to pins: from registries, from layouts, once per run, and without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from bakepy.content.chain import chain_ids
from bakepy.content.database import Database
from bakepy.content.layout import reachable
from bakepy.content.store import ContentStore
from bakepy.errors import BuildError, RegistryError
from bakepy.model.digest import Digest
from bakepy.model.oci import OCI_INDEX, OCI_MANIFEST, Descriptor, ImageIndex, Manifest
from bakepy.model.platform import Platform
from bakepy.registry.registry import Registry
from bakepy.session.credentials import Credentials
from bakepy.snapshot.store import SnapshotStore
from bakepy.snapshot.table import Snapshot
from bakepy.source.image import ImageSource, layers_to_snapshot
from tests.support.base_image import publish, put_base_image, write_base_image
from tests.support.damage import damage_blobs
from tests.support.fake_registry import Answer, FakeRegistry, Instead

pytestmark = pytest.mark.anyio

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    """What the run has."""
    return ContentStore(tmp_path / "content")


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async def no_pause(seconds: float) -> None:
        pass

    async with Registry(Credentials({}), sleep=no_pause) as client:
        yield client


@pytest.fixture
def remote(tmp_path: Path) -> ContentStore:
    """What the registry has."""
    return ContentStore(tmp_path / "remote")


def index_of(remote: ContentStore, *manifests: Descriptor) -> Descriptor:
    data = ImageIndex(manifests).to_bytes()
    return Descriptor(OCI_INDEX, remote.put(data), len(data))


async def test_image_is_pinned_and_only_its_manifest_and_config_are_fetched(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    root = put_base_image(remote, [AMD64, ARM64])
    publish(fake, remote, root)
    arm64 = ImageIndex.from_bytes(remote.read(root.digest)).manifests[1]

    image = await ImageSource(registry, store).resolve(f"docker-image://{fake.host}/base:1", ARM64)

    manifest = Manifest.from_bytes(remote.read(arm64.digest))
    assert (image.digest, image.manifest_digest) == (root.digest, arm64.digest)
    assert (image.reference, image.origin) == (
        f"{fake.host}/base:1",
        f"docker-image://{fake.host}/base@{arm64.digest}",
    )
    assert (image.manifest, image.platform) == (manifest, ARM64)
    assert image.key() == image.config.diff_ids[0]
    assert fake.asked() == [
        "HEAD /v2/base/manifests/1",
        f"GET /v2/base/manifests/{root.digest}",
        f"GET /v2/base/manifests/{arm64.digest}",
        f"GET /v2/base/blobs/{manifest.config.digest}",
    ]


async def test_name_is_resolved_once_in_a_run_for_all_who_ask(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    publish(fake, remote, put_base_image(remote, [AMD64, ARM64]))
    source = ImageSource(registry, store)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            for platform in (AMD64, ARM64):
                group.start_soon(source.resolve, f"docker-image://{fake.host}/base:1", platform)

    assert len(fake.asked("HEAD")) == 1
    assert len(fake.asked("GET .*/manifests/")) == 3
    assert len(fake.asked("GET .*/blobs/")) == 2


async def test_who_waits_takes_over_from_who_was_cancelled(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    publish(fake, remote, put_base_image(remote, [AMD64]))
    source = ImageSource(registry, store)
    identifier = f"docker-image://{fake.host}/base:1"
    first = anyio.CancelScope()

    async def leave() -> None:
        with first:
            await source.resolve(identifier, AMD64)

    async with anyio.create_task_group() as group:
        group.start_soon(leave)
        await anyio.lowlevel.checkpoint()
        group.start_soon(source.resolve, identifier, AMD64)
        await anyio.lowlevel.checkpoint()
        first.cancel()

    assert (await source.resolve(identifier, AMD64)).platform == AMD64


async def test_pinned_image_that_was_resolved_before_needs_no_network(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    root = put_base_image(remote, [AMD64])
    publish(fake, remote, root)
    identifier = f"docker-image://{fake.host}/base:1@{root.digest}"
    before = await ImageSource(registry, store).resolve(identifier, AMD64)
    fake.requests.clear()

    assert await ImageSource(registry, store).resolve(identifier, AMD64) == before
    assert fake.asked() == []


async def test_documents_that_were_damaged_on_disk_are_read_again(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    root = put_base_image(remote, [AMD64, ARM64])
    publish(fake, remote, root)
    identifier = f"docker-image://{fake.host}/base:1"
    image = await ImageSource(registry, store).resolve(identifier, AMD64)
    fake.requests.clear()
    assert damage_blobs(store.root) == 3

    assert await ImageSource(registry, ContentStore(store.root)).resolve(identifier, AMD64) == image
    assert len(fake.asked("GET")) == 3


async def test_attestations_and_foreign_platforms_are_passed_over(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    image = put_base_image(remote, [Platform("linux", "arm", "v6")])
    other = Descriptor(OCI_MANIFEST, Digest.of(b"attestation"), 11, Platform("unknown", "unknown"))
    foreign = Descriptor(OCI_MANIFEST, Digest.of(b"other"), 5, Platform("linux", "s390x"))
    root = index_of(remote, other, foreign, image)
    for descriptor in (root, image):
        fake.put_manifest("base", remote.read(descriptor.digest), descriptor.media_type, "1")
    fake.put_manifest("base", remote.read(root.digest), OCI_INDEX, "1")
    for blob in reachable(remote, [image])[:-1]:
        fake.put_blob("base", remote.read(blob.digest))

    found = await ImageSource(registry, store).resolve(
        f"docker-image://{fake.host}/base:1", Platform("linux", "arm", "v7")
    )

    assert found.manifest_digest == image.digest


async def test_platform_that_is_not_there_is_an_error_that_lists_what_is(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    publish(fake, remote, put_base_image(remote, [AMD64, ARM64]))

    with pytest.raises(BuildError) as caught:
        await ImageSource(registry, store).resolve(f"docker-image://{fake.host}/base:1", Platform("linux", "s390x"))

    assert str(caught.value) == (
        f"{fake.host}/base:1: no match for platform in manifest: not found (linux/s390x)\n"
        "hint: it has linux/amd64, linux/arm64"
    )


async def test_single_manifest_serves_any_platform(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    publish(fake, remote, put_base_image(remote, [AMD64]))

    image = await ImageSource(registry, store).resolve(f"docker-image://{fake.host}/base:1", ARM64)

    assert image.platform == AMD64


async def test_expected_checksum_is_checked(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    root = put_base_image(remote, [AMD64])
    publish(fake, remote, root)
    wrong = Digest.of(b"wrong")

    with pytest.raises(BuildError) as caught:
        await ImageSource(registry, store).resolve(
            f"docker-image://{fake.host}/base:1", AMD64, {"image.checksum": wrong}
        )

    assert caught.value.what == f"{fake.host}/base:1: digest mismatch: it is {root.digest}, {wrong} was expected"


@pytest.mark.parametrize("document", [b"[]", b"{}", b"\xff", b'{"manifests": 1}', b'{"config": {"digest": "x"}}'])
async def test_nonsense_is_an_error_that_names_the_image(
    fake: FakeRegistry, store: ContentStore, registry: Registry, document: bytes
) -> None:
    fake.put_manifest("base", document, OCI_MANIFEST, "1")

    with pytest.raises(BuildError, match=rf"^{fake.host}/base:1: "):
        await ImageSource(registry, store).resolve(f"docker-image://{fake.host}/base:1", AMD64)


async def test_layout_gives_the_same_image_by_tag_by_digest_and_alone(
    store: ContentStore, registry: Registry, tmp_path: Path
) -> None:
    root = write_base_image(tmp_path / "layout", platforms=[AMD64, ARM64])
    write_base_image(tmp_path / "layout.tar", platforms=[AMD64, ARM64])
    source = ImageSource(registry, store, {"a": tmp_path / "layout", "b": tmp_path / "layout.tar"})

    images = [
        await source.resolve(f"oci-layout://{name}", ARM64, attrs)
        for name, attrs in (
            ("a", {}),
            ("a:latest", {}),
            (f"a@{root.digest}", {}),
            (f"host.test:80/any@{root.digest}", {"oci.store": "a"}),
            ("host.test:80/any:latest", {"oci.store": "a"}),
            ("b:latest", {}),
        )
    ]

    assert {image.manifest_digest for image in images} == {images[0].manifest_digest}
    assert images[0].platform == ARM64
    assert images[0].origin == f"oci-layout://{tmp_path}/layout"


async def test_layout_without_the_tag_is_an_error(store: ContentStore, registry: Registry, tmp_path: Path) -> None:
    write_base_image(tmp_path / "layout", platforms=[AMD64])

    with pytest.raises(BuildError) as caught:
        await ImageSource(registry, store, {"a": tmp_path / "layout"}).resolve("oci-layout://a:nope", AMD64)

    assert str(caught.value) == f"oci-layout://{tmp_path}/layout:nope: not found\nhint: it has latest"


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("oci-layout://b:latest", "oci-layout://b:latest: unknown OCI layout"),
        ("git://x", "git://x: not an image"),
    ],
)
async def test_identifier_that_leads_nowhere_is_an_error(
    store: ContentStore, registry: Registry, identifier: str, message: str
) -> None:
    with pytest.raises(BuildError) as caught:
        await ImageSource(registry, store, {"a": Path("/nonexistent")}).resolve(identifier, AMD64)

    assert caught.value.what == message


async def test_layers_become_lazy_snapshots_that_are_fetched_when_needed(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry, state_root: Path
) -> None:
    root = put_base_image(remote, [AMD64])
    publish(fake, remote, root)
    source = ImageSource(registry, store)
    image = await source.resolve(f"docker-image://{fake.host}/base:1", AMD64)

    async def fetch(snapshot: Snapshot, origin: str) -> None:
        assert snapshot.layer
        # as a later run would, which has not resolved the image
        await ImageSource(registry, store).fetch_layer(snapshot.layer.descriptor, origin)

    with (
        Database(state_root / "state.db") as database,
        SnapshotStore(state_root, database, store, fetch) as snapshots,
    ):
        top = await layers_to_snapshot(image, snapshots)
        assert top == chain_ids(image.config.diff_ids)[-1]
        found = snapshots.find(str(top))
        assert found and found.lazy and found.layer == image.layers[0]
        assert not store.has(image.layers[0].descriptor.digest)
        await snapshots.fetch(str(top))
        assert store.has(image.layers[0].descriptor.digest)


async def test_registry_that_serves_a_wrong_config_never_gives_an_image(
    fake: FakeRegistry, remote: ContentStore, store: ContentStore, registry: Registry
) -> None:
    root = put_base_image(remote, [AMD64])
    publish(fake, remote, root)
    config = remote.read(Manifest.from_bytes(remote.read(root.digest)).config.digest)
    fake.fail("GET .*/blobs/", Answer(502), *[Instead(config.replace(b"amd64", b"arm64"))] * 9)

    with pytest.raises(RegistryError, match="the content is wrong: blob has digest"):
        await ImageSource(registry, store).resolve(f"docker-image://{fake.host}/base:1", AMD64)
