"""Who we say we are, to whom, and in which form."""

from __future__ import annotations

import base64
import socket
import socketserver
import threading
from typing import Any

import pytest

from bakepy.content.store import ContentStore
from bakepy.errors import RegistryError
from bakepy.model.frozen import FrozenMap
from bakepy.model.oci import OCI_MANIFEST, Descriptor
from bakepy.model.reference import ImageReference
from bakepy.registry.auth import Challenge, is_downgrade, parse_challenges
from bakepy.registry.registry import Registry
from bakepy.registry.transport import Refused
from bakepy.session.credentials import Credentials
from tests.registry.test_pull import BLOB, MANIFEST, layer, reference
from tests.support.fake_registry import Answer, FakeRegistry

anyio = pytest.mark.anyio


def logged_in(fake: FakeRegistry, **entry: str) -> Registry:
    return Registry(Credentials({"auths": {fake.host: entry}}))


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@anyio
async def test_anonymous_token_is_fetched_once_for_a_repository(fake: FakeRegistry, store: ContentStore) -> None:
    fake.tokens = {"anonymous": "T"}
    fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST, "1")
    fake.put_blob("team/app", BLOB)

    async with Registry(Credentials({})) as registry:
        found = await registry.resolve(reference(fake))
        await registry.manifest(reference(fake), found.digest)
        await registry.fetch(reference(fake), layer(BLOB), store)

    token, *rest = [request for request in fake.requests if request.path == "/token"]
    assert (token.query, rest) == ({"service": "fake", "scope": "repository:team/app:pull"}, [])
    assert fake.asked() == [
        "HEAD /v2/team/app/manifests/1",
        "GET /token",
        "HEAD /v2/team/app/manifests/1",
        f"GET /v2/team/app/manifests/{found.digest}",
        f"GET /v2/team/app/blobs/{layer(BLOB).digest}",
    ]


@anyio
async def test_user_and_password_are_shown_to_the_token_service_only(fake: FakeRegistry) -> None:
    fake.tokens = {"ann:s3cret": "T"}
    fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST, "1")

    async with logged_in(fake, auth=encoded("ann", "s3cret")) as registry:
        await registry.resolve(reference(fake))

    sent = [(request.path, request.headers.get("Authorization")) for request in fake.requests]
    assert sent == [
        ("/v2/team/app/manifests/1", None),
        ("/token", f"Basic {encoded('ann', 's3cret')}"),
        ("/v2/team/app/manifests/1", "Bearer T"),
    ]


@anyio
async def test_identity_token_is_exchanged_by_post(fake: FakeRegistry) -> None:
    fake.tokens = {"IDENTITY": "T"}
    fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST, "1")

    async with logged_in(fake, identitytoken="IDENTITY") as registry:
        await registry.resolve(reference(fake))

    exchange = fake.requests[1]
    assert (str(exchange), exchange.query) == ("POST /token", {})
    assert exchange.body == (
        b"grant_type=refresh_token&refresh_token=IDENTITY&service=fake&client_id=bakepy&scope=repository%3Ateam%2Fapp%3Apull"
    )


@anyio
async def test_push_and_mount_ask_for_the_rights_they_need(fake: FakeRegistry, store: ContentStore) -> None:
    fake.tokens = {"ann:s3cret": "T"}
    fake.put_blob("library/base", BLOB)

    async with logged_in(fake, auth=encoded("ann", "s3cret")) as registry:
        await registry.push_blob(reference(fake), layer(BLOB), store, reference(fake, "library/base"))
        await registry.push_manifest(reference(fake), MANIFEST, OCI_MANIFEST)

    scopes = [request.queries["scope"] for request in fake.requests if request.path == "/token"]
    assert scopes == [
        ["repository:team/app:pull,push"],
        ["repository:team/app:pull,push", "repository:library/base:pull"],
    ]


@anyio
async def test_token_that_expired_is_fetched_anew(fake: FakeRegistry, store: ContentStore) -> None:
    fake.tokens = {"anonymous": "OLD"}
    fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST, "1")
    fake.put_blob("team/app", BLOB)

    async with Registry(Credentials({})) as registry:
        await registry.resolve(reference(fake))
        fake.valid_tokens.clear()
        fake.tokens = {"anonymous": "NEW"}
        await registry.fetch(reference(fake), layer(BLOB), store)

    assert [request.headers["Authorization"] for request in fake.requests if "/blobs/" in request.path] == [
        "Bearer OLD",
        "Bearer NEW",
    ]


@anyio
async def test_basic_authentication(fake: FakeRegistry) -> None:
    fake.basic = ("ann", "s3cret")
    fake.put_manifest("team/app", MANIFEST, OCI_MANIFEST, "1")

    async with logged_in(fake, username="ann", password="s3cret") as registry:
        await registry.resolve(reference(fake))
        await registry.resolve(reference(fake))

    assert len(fake.requests) == 3  # the challenge is learnt once


@anyio
@pytest.mark.parametrize("password", ["", "wrong"])
async def test_refusal_says_how_to_log_in_and_no_secret(fake: FakeRegistry, password: str) -> None:
    fake.basic = ("ann", "s3cret")
    entry: dict[str, Any] = {"username": "ann", "password": password} if password else {}

    async with logged_in(fake, **entry) as registry:
        with pytest.raises(Refused) as caught:
            await registry.resolve(reference(fake))

    assert str(caught.value) == (
        f"{fake.host}/team/app:1: access denied (401 Unauthorized)\n"
        f"hint: it does not exist, or needs 'docker login {fake.host}'"
    )


@anyio
async def test_token_service_that_refuses_is_an_error(fake: FakeRegistry) -> None:
    fake.tokens = {}

    async with logged_in(fake, auth=encoded("ann", "s3cret")) as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.resolve(reference(fake))

    assert caught.value.what == (
        f"{fake.host}: get a token: access denied (401 Unauthorized: UNAUTHORIZED: incorrect credentials)"
    )


@anyio
async def test_redirect_to_another_host_gets_no_credentials(fake: FakeRegistry, store: ContentStore) -> None:
    fake.basic = ("ann", "s3cret")
    with FakeRegistry() as storage:
        storage.put_blob("elsewhere", BLOB)
        there = f"http://localhost:{storage.host.rpartition(':')[2]}/v2/elsewhere/blobs/{layer(BLOB).digest}"
        fake.fail("GET", Answer(401, {"WWW-Authenticate": "Basic"}), Answer(307, {"Location": there}))

        async with logged_in(fake, username="ann", password="s3cret") as registry:
            await registry.fetch(reference(fake), layer(BLOB), store)

    assert fake.requests[1].headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in storage.requests[0].headers


@anyio
async def test_lookup_that_is_sent_to_another_host_takes_no_credentials_along(fake: FakeRegistry) -> None:
    fake.basic = ("ann", "s3cret")
    with FakeRegistry() as other:
        digest = other.put_manifest("team/app", b"{}", OCI_MANIFEST, "1")
        there = f"http://localhost:{other.host.rpartition(':')[2]}/v2/team/app/manifests/1"
        fake.fail("HEAD", Answer(401, {"WWW-Authenticate": "Basic"}), Answer(307, {"Location": there}))

        async with logged_in(fake, username="ann", password="s3cret") as registry:
            found = await registry.resolve(reference(fake))

    assert found == Descriptor(OCI_MANIFEST, digest, 2)
    assert fake.requests[1].headers["Authorization"].startswith("Basic ")
    assert [(one.method, "Authorization" in one.headers) for one in other.requests] == [("HEAD", False)]


@anyio
async def test_lookup_that_is_sent_round_in_circles_ends(fake: FakeRegistry) -> None:
    here = f"http://{fake.host}/v2/team/app/manifests/1"
    fake.fail("HEAD", *[Answer(307, {"Location": here})] * 11)

    async with logged_in(fake) as registry:
        with pytest.raises(RegistryError) as caught:
            await registry.resolve(reference(fake))

    assert caught.value.what == f"{fake.host}: leads from one address to the next, more than 10 times"


@anyio
async def test_registry_whose_certificate_nobody_knows_is_refused_at_once(fake: FakeRegistry) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.2", 0), _NoCertificate) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            host = f"registry.test:{server.server_address[1]}"
            async with Registry(Credentials({})) as registry:
                with pytest.MonkeyPatch.context() as patched, pytest.raises(RegistryError) as caught:
                    known = socket.getaddrinfo
                    patched.setattr(socket, "getaddrinfo", lambda _, *rest, **more: known("127.0.0.2", *rest, **more))
                    await registry.resolve(ImageReference.parse(f"{host}/team/app:1"))
        finally:
            server.shutdown()
            serving.join()

    assert caught.value.what.startswith(f"{host}: no secure connection: ")
    assert caught.value.hint == "is its certificate known here?"


class _NoCertificate(socketserver.BaseRequestHandler):
    """Answers a TLS greeting with the alert that it can not go on (RFC 8446: handshake_failure)."""

    def handle(self) -> None:
        self.request.recv(4096)
        self.request.sendall(bytes([21, 3, 3, 0, 2, 2, 40]))


def test_challenges_are_read_with_quotes_and_in_one_or_several_headers() -> None:
    headers = ['Bearer realm="https://a.test/t",service="x,\\"y\\"",scope="a b", Basic realm=z', "Negotiate"]

    assert parse_challenges(headers) == (
        Challenge("bearer", FrozenMap(realm="https://a.test/t", service='x,"y"', scope="a b")),
        Challenge("basic", FrozenMap(realm="z")),
        Challenge("negotiate"),
    )


@pytest.mark.parametrize("header", ["", ",", "=", "Bearer realm=", '"', "Bearer ,,,", "a b c=d"])
def test_broken_challenges_are_survived(header: str) -> None:
    assert isinstance(parse_challenges([header]), tuple)


@pytest.mark.parametrize(
    ("registry", "realm", "refused"),
    [
        ("https://a.test", "http://a.test/token", True),
        ("https://a.test", "https://b.test/token", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", False),
    ],
)
def test_secure_registry_may_not_send_us_to_an_insecure_token_service(registry: str, realm: str, refused: bool) -> None:
    assert is_downgrade(Challenge("bearer", FrozenMap(realm=realm)), registry) == refused
