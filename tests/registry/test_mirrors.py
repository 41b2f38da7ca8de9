"""Mirrors: where they are named, and that what they do not give comes from the registry itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bakepy.content.store import ContentStore
from bakepy.errors import UsageError
from bakepy.model.digest import Digest
from bakepy.model.oci import OCI_MANIFEST, Descriptor
from bakepy.model.reference import ImageReference
from bakepy.registry.mirrors import Mirror, Mirrors
from bakepy.registry.registry import Registry
from bakepy.session.credentials import Credentials
from tests.registry.conftest import Pauses
from tests.support.fake_registry import Answer, FakeRegistry, Reset

pytestmark = pytest.mark.anyio

BLOB = bytes(range(256)) * 1024
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI_MANIFEST}).encode()
ORIGIN = "registry.example:5000"


def hosts(folder: Path, domain: str, text: str) -> Path:
    (folder / domain).mkdir(parents=True)
    (folder / domain / "hosts.toml").write_text(text)
    return folder


@pytest.fixture
def origin() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def mirrored(fake: FakeRegistry, origin: FakeRegistry, pauses: Pauses, tmp_path: Path) -> Registry:
    """A client for which `fake` is a mirror of `origin`, in a folder of its own."""
    text = f'[host."http://{fake.host}/v2/cache"]\noverride_path = true\n'
    mirrors = Mirrors((hosts(tmp_path / "hosts", origin.host, text),))
    return Registry(Credentials({}), sleep=pauses.sleep, mirrors=mirrors)


def layer(data: bytes) -> Descriptor:
    return Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", Digest.of(data), len(data))


async def test_a_mirror_gives_all_that_it_has(
    fake: FakeRegistry, origin: FakeRegistry, mirrored: Registry, store: ContentStore
) -> None:
    digest = fake.put_manifest("cache/team/app", MANIFEST, OCI_MANIFEST, "1")
    fake.put_blob("cache/team/app", BLOB)
    ref = ImageReference.parse(f"{origin.host}/team/app:1")

    async with mirrored as registry:
        assert (await registry.resolve(ref)).digest == digest
        assert await registry.manifest(ref, digest) == MANIFEST
        await registry.fetch(ref, layer(BLOB), store)

    assert store.read(Digest.of(BLOB)) == BLOB
    assert origin.requests == []
    # it is told whose content is meant
    assert [dict(request.query) for request in fake.requests] == [{"ns": origin.host}] * 3


async def test_what_a_mirror_lacks_comes_from_the_registry(
    fake: FakeRegistry, origin: FakeRegistry, mirrored: Registry, store: ContentStore
) -> None:
    origin.put_blob("team/app", BLOB)

    async with mirrored as registry:
        await registry.fetch(ImageReference.parse(f"{origin.host}/team/app:1"), layer(BLOB), store)

    assert store.read(Digest.of(BLOB)) == BLOB
    assert len(fake.requests) == 1
    assert [dict(request.query) for request in origin.requests] == [{}]


async def test_a_transfer_that_a_mirror_breaks_off_goes_on_at_the_registry(
    fake: FakeRegistry, origin: FakeRegistry, mirrored: Registry, pauses: Pauses, store: ContentStore
) -> None:
    fake.put_blob("cache/team/app", BLOB)
    fake.fail("GET .*/blobs/", Reset(100_000))
    origin.put_blob("team/app", BLOB)
    other = b"another blob"
    origin.put_blob("team/app", other)
    ref = ImageReference.parse(f"{origin.host}/team/app:1")

    async with mirrored as registry:
        await registry.fetch(ref, layer(BLOB), store)
        await registry.fetch(ref, layer(other), store)

    assert store.read(Digest.of(BLOB)) == BLOB
    assert (len(fake.requests), pauses.seconds) == (1, [])  # it is not asked again, and nobody waited


async def test_a_mirror_that_refuses_is_passed_over_for_one_content(
    fake: FakeRegistry, origin: FakeRegistry, mirrored: Registry, store: ContentStore
) -> None:
    fake.fail("GET .*/blobs/", Answer(403))
    fake.put_blob("cache/team/app", b"second")
    origin.put_blob("team/app", BLOB)
    ref = ImageReference.parse(f"{origin.host}/team/app:1")

    async with mirrored as registry:
        await registry.fetch(ref, layer(BLOB), store)
        await registry.fetch(ref, layer(b"second"), store)

    assert store.read(Digest.of(b"second")) == b"second"


def test_hosts_are_asked_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = """
    server = "https://upstream.example"
    [host."https://one.example"]
    capabilities = ["pull"]
    [host."http://two.example:81/v2/proxy/hub"]
    override_path = true
    [host."https://registry.example:5000"]
    [host."https://own-certificate.example"]
    ca = "ca.crt"
    [host."https://three.example/some/where"]
    [host."four.example"]
    capabilities = ["resolve", "push"]
    """
    assert Mirrors((hosts(tmp_path, ORIGIN, text),)).of(ORIGIN) == (
        Mirror("one.example", resolves=False),
        Mirror("two.example:81", plain=True, prefix="proxy/hub/"),
        Mirror("four.example", pulls=False),
        Mirror("upstream.example"),
    )


def test_the_first_folder_that_knows_a_registry_counts(tmp_path: Path) -> None:
    one = hosts(tmp_path / "one", "_default", '[host."https://default.example"]')
    two = hosts(tmp_path / "two", "registry.example_5000_", '[host."https://named.example"]')
    assert Mirrors((tmp_path / "none", two, one)).of(ORIGIN) == (Mirror("named.example"),)
    assert Mirrors((two, one)).of("other.example") == (Mirror("default.example"),)
    assert Mirrors((tmp_path / "none",)).of(ORIGIN) == ()


def test_mirrors_of_docker_hub_are_those_of_the_docker_daemon(tmp_path: Path) -> None:
    daemon = tmp_path / "daemon.json"
    daemon.write_text(json.dumps({"registry-mirrors": ["https://mirror.example/", "http://10.0.0.1:5000"]}))
    mirrors = Mirrors((), daemon)
    assert mirrors.of("docker.io") == (Mirror("mirror.example"), Mirror("10.0.0.1:5000", plain=True))
    assert mirrors.of(ORIGIN) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host = 1", 'host: expected tables [host."https://…"]'),
        ("[host", "Expected ']' at the end of a table declaration (at end of document)"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Mirrors((hosts(tmp_path, ORIGIN, text),)).of(ORIGIN)
    assert caught.value.what == f"{tmp_path}/{ORIGIN}/hosts.toml: {message}"


def test_the_folder_of_hosts_can_be_named(tmp_path: Path) -> None:
    hosts(tmp_path / "named", ORIGIN, '[host."https://one.example"]')
    hosts(tmp_path / "containerd" / "certs.d", ORIGIN, '[host."https://two.example"]')
    named = {"BAKEPY_HOSTS_DIR": str(tmp_path / "named"), "XDG_CONFIG_HOME": str(tmp_path)}
    assert Mirrors.of_machine(named).of(ORIGIN) == (Mirror("one.example"),)
    assert Mirrors.of_machine({"XDG_CONFIG_HOME": str(tmp_path)}).of(ORIGIN) == (Mirror("two.example"),)
