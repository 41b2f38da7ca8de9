"""ADD from repositories and the web in a whole run: what is run again, and what is lent to whom."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bakepy.engine.protocol import SolveOptions
from bakepy.model.target import SecretEntry
from bakepy.session.secrets import SecretProvider
from tests.support.baking import Kitchen, kitchen, target
from tests.support.repositories import Repository
from tests.support.web import Page, Web

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    folder = tmp_path / "served"
    folder.mkdir()
    with Web(folder) as server:
        yield server


@pytest.fixture
async def bench(state_root: Path, tmp_path: Path) -> AsyncIterator[Kitchen]:
    async with kitchen(state_root, tmp_path) as made:
        yield made


async def later(bench: Kitchen, dockerfile: str) -> list[str]:
    """The instructions that ran in a new run on the same state."""
    async with kitchen(bench.engine.root, bench.folder) as run:
        outcomes = await run.bake(target("t", dockerfile))
        assert outcomes["t"].outcome == "succeeded"
        return [name.partition("ADD ")[2] for name in run.ran if "] ADD" in name]


async def test_a_page_is_added_again_when_it_has_changed(web: Web, bench: Kitchen) -> None:
    web.pages["/f"] = Page(b"one", headers={"ETag": '"1"'})
    dockerfile = f"FROM scratch\nADD {web.url}/f /f\n"
    assert (await bench.bake(target("t", dockerfile)))["t"].outcome == "succeeded"
    assert await later(bench, dockerfile) == []
    web.pages["/f"] = Page(b"two", headers={"ETag": '"2"'})
    assert f"{web.url}/f /f" in await later(bench, dockerfile)
    assert web.statuses == [200, 304, 200]


async def test_a_branch_counts_by_its_commit(web: Web, bench: Kitchen, tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "served", "r.git")
    repository.commit({"f": "one"})
    dockerfile = f"FROM scratch\nADD {web.url}/git/r.git#main /r\n"
    assert (await bench.bake(target("t", dockerfile)))["t"].outcome == "succeeded"
    assert await later(bench, dockerfile) == []
    repository.commit({"f": "two"})
    assert f"{web.url}/git/r.git#main /r" in await later(bench, dockerfile)


async def test_a_server_gets_the_token_that_the_target_lends(web: Web, bench: Kitchen, tmp_path: Path) -> None:
    Repository.create(tmp_path / "served", "r.git").commit({"f": "one"})
    web.authorization = "basic " + base64.b64encode(b"x-access-token:t0ken").decode()
    dockerfile = f"FROM scratch\nADD {web.url}/git/r.git /r\n"
    lender = SecretProvider([SecretEntry("GIT_AUTH_TOKEN")], {"GIT_AUTH_TOKEN": "t0ken"}, tmp_path)
    refused = await bench.bake(target("t", dockerfile))
    assert refused["t"].error is not None
    assert refused["t"].error.what.startswith(f"failed to fetch remote {web.url}/git/r.git: ")
    granted = await bench.bake(target("t", dockerfile), options=SolveOptions(secrets={"t": lender}))
    assert granted["t"].outcome == "succeeded"
