"""Files from the web: what they become, when they are asked for again, what is told when they do not come."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bakepy.content.store import ContentStore
from bakepy.errors import BuildError, RegistryError
from bakepy.llb.op import SourceOp
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.url import redacted
from bakepy.source.http import HttpFile, HttpRequest, HttpSource
from tests.support.damage import damage
from tests.support.snapshots import Snapshots
from tests.support.web import Page, Web

pytestmark = pytest.mark.anyio

OLD = "Sun, 09 Sep 2001 01:46:40 GMT"
OLD_SECONDS = 1_000_000_000
DATA = b"remote\n"
DIGEST = Digest.of(DATA)


@pytest.fixture
async def source(machine: Snapshots) -> AsyncIterator[HttpSource]:
    found = new_run(machine)
    yield found
    await found.aclose()


def new_run(machine: Snapshots, pauses: list[float] | None = None) -> HttpSource:
    async def sleep(seconds: float) -> None:
        if pauses is not None:
            pauses.append(seconds)

    return HttpSource(machine.content, machine.database, sleep=sleep, chance=lambda: 1.0)


def request(url: str, **attrs: str) -> HttpRequest:
    return HttpRequest.of(SourceOp(url, FrozenMap({f"http.{name}": value for name, value in attrs.items()})))


@pytest.mark.runtime
async def test_a_file_is_private_to_root_and_has_the_time_that_the_server_tells(
    web: Web, machine: Snapshots, source: HttpSource
) -> None:
    web.pages["/a/tool.txt"] = Page(DATA, headers={"Last-Modified": OLD})
    await source.place(request(f"{web.url}/a/tool.txt", filename="tool"), "http", machine.store)
    async with machine.store.view("http") as tree:
        (file,) = tree.iterdir()
        facts = file.stat()
        assert (file.name, file.read_bytes()) == ("tool", DATA)
        assert (facts.st_mode & 0o7777, facts.st_uid, facts.st_gid) == (0o600, 0, 0)
        assert facts.st_mtime == OLD_SECONDS


@pytest.mark.runtime
async def test_without_a_time_of_the_server_it_is_zero(web: Web, machine: Snapshots, source: HttpSource) -> None:
    web.pages["/f"] = Page(DATA)
    await source.place(request(f"{web.url}/f", perm="0644", uid="3", gid="4"), "http", machine.store)
    async with machine.store.view("http") as tree:
        facts = (tree / "f").stat()
        assert (facts.st_mode & 0o7777, facts.st_uid, facts.st_gid, facts.st_mtime) == (0o644, 3, 4, 0)


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/b.txt?x=1", "b.txt"), ("/a%20b", "a b"), ("/dir/", "dir"), ("/", "download"), ("", "download")],
)
def test_the_name_comes_from_the_address(path: str, name: str) -> None:
    assert request(f"http://example.com{path}").filename == name


async def test_one_run_asks_once(web: Web, source: HttpSource) -> None:
    web.pages["/f"] = Page(DATA)
    for _ in range(2):
        assert await source.fetch(request(f"{web.url}/f")) == HttpFile(DIGEST)
    assert web.statuses == [200]


@pytest.mark.parametrize("headers", [{"ETag": '"1"'}, {"ETag": 'W/"1"'}, {"Last-Modified": OLD}])
async def test_the_next_run_transfers_only_what_has_changed(
    web: Web, machine: Snapshots, source: HttpSource, headers: dict[str, str]
) -> None:
    web.pages["/f"] = Page(DATA, headers=headers)
    first = await source.fetch(request(f"{web.url}/f"))
    again = new_run(machine)
    assert await again.fetch(request(f"{web.url}/f")) == first
    await again.aclose()
    web.pages["/f"] = Page(b"new", headers={"ETag": '"2"'})
    changed = new_run(machine)
    assert (await changed.fetch(request(f"{web.url}/f"))).digest == Digest.of(b"new")
    await changed.aclose()
    assert web.statuses == [200, 304, 200]


async def test_a_server_that_ignores_conditions_is_still_understood_by_its_etag(
    web: Web, machine: Snapshots, source: HttpSource
) -> None:
    web.pages["/f"] = Page(DATA, headers={"ETag": '"1"', "Last-Modified": OLD}, validates=False)
    first = await source.fetch(request(f"{web.url}/f"))
    web.pages["/f"] = Page(b"must not be read", headers={"ETag": '"1"'}, validates=False)
    again = new_run(machine)
    assert await again.fetch(request(f"{web.url}/f")) == first == HttpFile(DIGEST, OLD_SECONDS)
    await again.aclose()


async def test_a_blob_that_is_gone_is_fetched_anew(web: Web, machine: Snapshots, source: HttpSource) -> None:
    web.pages["/f"] = Page(DATA, headers={"ETag": '"1"'})
    await source.fetch(request(f"{web.url}/f"))
    machine.content.delete(DIGEST)
    assert (await source.fetch(request(f"{web.url}/f"))).digest == DIGEST
    assert web.statuses == [200, 200]


@pytest.mark.runtime
@pytest.mark.parametrize("checksum", ["", str(DIGEST)], ids=["no checksum", "checksum"])
async def test_a_blob_that_was_damaged_on_disk_is_fetched_anew(web: Web, machine: Snapshots, checksum: str) -> None:
    web.pages["/f"] = Page(DATA, headers={"ETag": '"1"'})
    asked = request(f"{web.url}/f", **({"checksum": checksum} if checksum else {}))
    first = new_run(machine)
    await first.fetch(asked)
    await first.aclose()
    damage(machine.content.path(DIGEST))
    second = HttpSource(ContentStore(machine.root), machine.database)
    await second.place(asked, "http", machine.store)
    await second.aclose()
    async with machine.store.view("http") as tree:
        assert (tree / "f").read_bytes() == DATA


async def test_what_is_packed_for_the_way_is_unpacked(web: Web, source: HttpSource) -> None:
    web.pages["/f"] = Page(gzip.compress(DATA), headers={"Content-Encoding": "gzip"})
    assert (await source.fetch(request(f"{web.url}/f"))).digest == DIGEST


class TestChecksum:
    async def test_a_key_needs_no_server(self, source: HttpSource) -> None:
        pinned = request("http://example.invalid/f", checksum=str(DIGEST))
        assert str(DIGEST) in await source.key(pinned)

    async def test_a_file_of_unknown_time_has_another_key(self, web: Web, source: HttpSource) -> None:
        web.pages["/f"] = Page(DATA)
        free, pinned = request(f"{web.url}/f"), request(f"{web.url}/f", checksum=str(DIGEST))
        assert await source.key(free) != await source.key(pinned)

    @pytest.mark.runtime
    async def test_another_content_is_refused(self, web: Web, machine: Snapshots, source: HttpSource) -> None:
        web.pages["/f"] = Page(DATA)
        wrong = Digest.of(b"other")
        with pytest.raises(BuildError) as raised:
            await source.place(request(f"{web.url}/f", checksum=str(wrong)), "http", machine.store)
        assert raised.value.what == f"digest mismatch for {web.url}/f: {DIGEST} (expected: {wrong})"
        assert machine.store.find("http") is None

    @pytest.mark.runtime
    async def test_other_algorithms_are_known(self, web: Web, machine: Snapshots, source: HttpSource) -> None:
        web.pages["/f"] = Page(DATA)
        checksum = f"sha512:{hashlib.sha512(DATA).hexdigest()}"
        await source.place(request(f"{web.url}/f", checksum=checksum), "http", machine.store)
        assert machine.store.find("http") is not None

    async def test_what_is_here_needs_no_network(self, web: Web, machine: Snapshots, source: HttpSource) -> None:
        web.pages["/f"] = Page(DATA, headers={"Last-Modified": OLD})
        await source.fetch(request(f"{web.url}/f"))
        offline = new_run(machine)
        web.pages.clear()
        assert await offline.fetch(request(f"{web.url}/f", checksum=str(DIGEST))) == HttpFile(DIGEST, OLD_SECONDS)
        assert web.statuses == [200]


class TestFailures:
    async def test_what_is_not_there_is_told_at_once(self, web: Web, source: HttpSource) -> None:
        with pytest.raises(BuildError) as raised:
            await source.fetch(request(f"{web.url}/gone"))
        assert raised.value.what == f"{web.url}/gone: invalid response status 404"
        assert web.statuses == [404]

    async def test_dots_in_the_path_are_the_server_s(self, web: Web, source: HttpSource) -> None:
        web.pages["/b"] = Page(DATA)
        for path in ("/./b", "/x/../b"):
            with pytest.raises(BuildError, match="invalid response status 404"):
                await source.fetch(request(f"{web.url}{path}"))
        assert [asked.path for asked in web.requests] == ["/./b", "/x/../b"]

    async def test_what_an_address_escapes_stays_escaped(self, web: Web, source: HttpSource) -> None:
        path = "/%2e%2e/%41%2fb?x=%41"
        with pytest.raises(BuildError, match="invalid response status 404"):
            await source.fetch(request(f"{web.url}{path}"))
        assert [asked.path for asked in web.requests] == [path]

    async def test_addresses_that_lead_in_a_circle(self, web: Web, source: HttpSource) -> None:
        web.pages["/loop"] = Page(b"", 302, {"Location": "/loop"})
        with pytest.raises(BuildError) as raised:
            await source.fetch(request(f"{web.url}/loop"))
        assert raised.value.what == f"{web.url}/loop: stopped after 10 redirects"

    async def test_a_server_in_trouble_is_asked_again(self, web: Web, machine: Snapshots) -> None:
        web.pages["/f"] = [Page(status=503), Page(status=503, headers={"Retry-After": "7"}), Page(DATA)]
        pauses: list[float] = []
        source = new_run(machine, pauses)
        assert (await source.fetch(request(f"{web.url}/f"))).digest == DIGEST
        await source.aclose()
        assert (web.statuses, pauses) == ([503, 503, 200], [0.4, 7.0])

    async def test_and_given_up_in_the_end(self, web: Web, source: HttpSource) -> None:
        web.pages["/f"] = Page(status=500)
        with pytest.raises(RegistryError) as raised:
            await source.fetch(request(f"{web.url}/f"))
        assert raised.value.render() == (
            f"{web.url}/f: invalid response status 500\n    gave up after 6 attempts\n"
            "hint: is the server up and reachable from here?"
        )

    async def test_a_password_in_the_address_is_not_shown(self, web: Web, source: HttpSource) -> None:
        address = web.url.replace("http://", "http://me:hidden@")
        with pytest.raises(BuildError) as raised:
            await source.fetch(request(f"{address}/gone"))
        assert "hidden" not in raised.value.render()


class TestLent:
    class Secrets:
        def __init__(self, **secrets: str) -> None:
            self.secrets = secrets

        def get(self, id: str) -> bytes | None:
            value = self.secrets.get(id.replace(".", "_"))
            return None if value is None else value.encode()

        def socket(self, id: str) -> Path | None:
            return None

    @pytest.mark.parametrize(
        ("secret", "sent"),
        [
            ("HTTP_AUTH_TOKEN_127_0_0_1", "Bearer x"),
            ("HTTP_AUTH_HEADER_127_0_0_1", "x"),
            ("HTTP_AUTH_TOKEN_other", None),
        ],
    )
    async def test_the_token_of_the_host_is_sent(
        self, web: Web, machine: Snapshots, source: HttpSource, secret: str, sent: str | None
    ) -> None:
        web.pages["/f"] = Page(DATA)
        await source.fetch(request(f"{web.url}/f"), self.Secrets(**{secret: "x"}))
        assert web.requests[0].headers["Authorization"] == sent

    async def test_nothing_lent_is_kept(self, web: Web, machine: Snapshots, source: HttpSource) -> None:
        web.pages["/f"] = Page(DATA)
        address = web.url.replace("http://", "http://me:in-address@")
        await source.fetch(request(f"{address}/f"))
        await source.fetch(request(f"{web.url}/f"), self.Secrets(HTTP_AUTH_TOKEN_127_0_0_1="in-secret"))
        kept = b"".join(path.read_bytes() for path in machine.root.rglob("*") if path.is_file())
        assert b"in-address" not in kept
        assert b"in-secret" not in kept


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/a", "https://example.com/a"),
        ("https://me:word@example.com/a@b", "https://me:xxxxx@example.com/a@b"),
        ("https://token@example.com/a", "https://xxxxx@example.com/a"),
        ("ssh://git@example.com/a", "ssh://git@example.com/a"),
        ("git@example.com:a", "git@example.com:a"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert redacted(url) == shown
