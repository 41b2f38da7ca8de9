"""Downloads whose connection breaks: what is asked for again, and what is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bakepy.errors import RegistryError
from bakepy.llb.op import SourceOp
from bakepy.model.digest import Digest
from bakepy.source.http import HttpFile, HttpRequest, HttpSource
from tests.support.snapshots import Snapshots
from tests.support.web import Page, Web

pytestmark = pytest.mark.anyio

OLD = "Sun, 09 Sep 2001 01:46:40 GMT"
OLD_SECONDS = 1_000_000_000
DATA = b"0123456789"
ETAG = {"ETag": '"a"', "Last-Modified": OLD}


@pytest.fixture
async def source(machine: Snapshots) -> AsyncIterator[HttpSource]:
    async def sleep(seconds: float) -> None:
        pass

    found = HttpSource(machine.content, machine.database, sleep=sleep, chance=lambda: 1.0)
    yield found
    await found.aclose()


def asked(web: Web) -> list[tuple[int, str | None, str | None]]:
    """Status, Range and If-Range of each request."""
    return [(request.status, request.headers["Range"], request.headers["If-Range"]) for request in web.requests]


async def test_the_rest_is_asked_for(web: Web, source: HttpSource) -> None:
    web.pages["/f"] = [Page(DATA, headers=ETAG, cut=4), Page(DATA, headers=ETAG, cut=3), Page(DATA, headers=ETAG)]
    seen: list[tuple[int, int]] = []
    found = await source.fetch(HttpRequest.of(SourceOp(f"{web.url}/f")), progress=lambda *step: seen.append(step))
    assert found == HttpFile(Digest.of(DATA), OLD_SECONDS)
    assert asked(web) == [(200, None, None), (206, "bytes=4-", '"a"'), (206, "bytes=7-", '"a"')]
    assert seen == [(4, 10), (7, 10), (10, 10)]


async def test_a_transfer_that_gets_further_is_not_given_up(web: Web, source: HttpSource) -> None:
    web.pages["/f"] = Page(DATA, headers=ETAG, cut=1)
    found = await source.fetch(HttpRequest.of(SourceOp(f"{web.url}/f")))
    assert found.digest == Digest.of(DATA)
    assert len(web.requests) == len(DATA)


async def test_another_file_is_fetched_whole(web: Web, source: HttpSource) -> None:
    changed = {"ETag": '"b"'}
    web.pages["/f"] = [Page(DATA, headers=ETAG, cut=4), Page(b"new", headers=changed)]
    found = await source.fetch(HttpRequest.of(SourceOp(f"{web.url}/f")))
    assert found == HttpFile(Digest.of(b"new"))
    assert asked(web) == [(200, None, None), (200, "bytes=4-", '"a"')]


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"a"'}], ids=["no tag", "weak tag"])
async def test_without_a_strong_tag_it_begins_anew(web: Web, source: HttpSource, headers: dict[str, str]) -> None:
    web.pages["/f"] = [Page(DATA, headers=headers, cut=4), Page(DATA, headers=headers)]
    found = await source.fetch(HttpRequest.of(SourceOp(f"{web.url}/f")))
    assert found.digest == Digest.of(DATA)
    assert asked(web) == [(200, None, None), (200, None, None)]


async def test_a_rest_that_is_refused_or_another_one_begins_anew(web: Web, source: HttpSource) -> None:
    other = Page(b"89", 206, {"Content-Range": "bytes 8-9/10"}, validates=False)
    cut = Page(DATA, headers=ETAG, cut=4)
    web.pages["/f"] = [cut, Page(b"", 416, validates=False), cut, other, Page(DATA, headers=ETAG)]
    found = await source.fetch(HttpRequest.of(SourceOp(f"{web.url}/f")))
    assert found.digest == Digest.of(DATA)
    first, rest = (None, None), ("bytes=4-", '"a"')
    assert asked(web) == [(200, *first), (416, *rest), (200, *first), (206, *rest), (200, *first)]


async def test_a_server_that_only_breaks_off_is_given_up(web: Web, source: HttpSource) -> None:
    web.pages["/f"] = Page(DATA, cut=4)
    with pytest.raises(RegistryError) as caught:
        await source.fetch(HttpRequest.of(SourceOp(f"{web.url}/f")))
    assert caught.value.what == f"{web.url}/f: connection failed: ClientPayloadError"
    assert caught.value.detail == ("gave up after 6 attempts",)
