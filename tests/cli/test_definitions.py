"""Definitions that are far away: what `--print` shows of them, and who is asked for what."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bakepy.cli import app
from tests.support.repositories import Repository
from tests.support.web import Page, Web

BAKE = """
target "app" {}
target "sub" { context = "sub/" }
target "above" { context = "../up" }
target "mine" {
  context = BAKE_CMD_CONTEXT
  dockerfile = "Dockerfile.mine"
}
target "linked" {
  contexts = { root = ".", sub = "sub", here = "cwd://x", other = "target:app", image = "docker-image://busybox" }
}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run in, a state root, and nothing of the caller's environment."""
    for name in tuple(os.environ):
        if name.startswith(("BUILDX_", "BAKEPY_", "DOCKER_", "SOURCE_DATE", "SSH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BAKEPY_ROOT", str(tmp_path / "state"))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    (tmp_path / "served").mkdir()
    with Web(tmp_path / "served") as server:
        yield server


@pytest.fixture
def repository(tmp_path: Path, web: Web) -> Repository:
    made = Repository.create(tmp_path / "served", "r.git")
    made.commit({"docker-bake.hcl": BAKE, "sub/docker-bake.hcl": 'target "inner" {\n  context = "in"\n}\n'})
    return made


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    status = app.run(["bake", "--print", *arguments])
    captured = capsys.readouterr()
    assert (status, captured.err) == (0, "")
    targets = json.loads(captured.out)["target"]
    assert isinstance(targets, dict)
    return targets


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert app.run(["bake", "--print", *arguments]) != 0
    return capsys.readouterr().err


def test_the_root_of_a_repository_is_the_context(
    web: Web, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{web.url}/git/r.git#main"
    assert printed(capsys, url, "app", "sub", "above", "mine", "linked") == {
        "app": {"context": url, "dockerfile": "Dockerfile"},
        "sub": {"context": "sub", "dockerfile": "Dockerfile"},
        "above": {"context": "../up", "dockerfile": "Dockerfile"},
        "mine": {"context": ".", "dockerfile": "Dockerfile.mine"},
        "linked": {
            "context": url,
            "contexts": {
                "here": "cwd://x",
                "image": "docker-image://busybox",
                "other": "target:app",
                "root": ".",
                "sub": "sub",
            },
            "dockerfile": "Dockerfile",
        },
    }


def test_files_are_looked_for_in_the_folder_of_the_address(
    web: Web, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = {"inner": {"context": "in", "dockerfile": "Dockerfile"}}
    assert printed(capsys, f"{web.url}/git/r.git#main:sub", "inner") == inner
    assert printed(capsys, f"{web.url}/git/r.git?ref=main&subdir=sub", "inner") == inner
    assert printed(capsys, f"{web.url}/git/r.git", "-f", "sub/docker-bake.hcl", "inner") == inner


def test_the_second_address_is_the_context_of_the_command(
    web: Web, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "https://example.com/other.git"
    assert printed(capsys, f"{web.url}/git/r.git", other, "mine")["mine"]["context"] == other


def test_files_that_are_here_come_on_top(
    web: Web, repository: Repository, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "more.hcl").write_text('target "app" {\n  tags = ["app"]\n}\n')
    url = f"{web.url}/git/r.git"
    app_here = {"app": {"context": url, "dockerfile": "Dockerfile", "tags": ["app"]}}
    assert printed(capsys, url, "-f", "cwd://more.hcl", "-f", "docker-bake.hcl", "app") == app_here


def test_a_repository_may_hold_toml_that_includes_files_there(
    web: Web, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit({
        "bake.toml": 'include = ["lib/bake.toml"]\n[target.one]\n',
        "lib/bake.toml": '[target.two]\ncontext = "in"\n',
    })  # fmt: skip
    url = f"{web.url}/git/r.git"
    assert printed(capsys, url, "one", "two") == {
        "one": {"context": url, "dockerfile": "Dockerfile"},
        "two": {"context": "lib/in", "dockerfile": "Dockerfile"},
    }


def test_a_file_alone_describes_what_is_here(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    web.pages["/a/bake.hcl"] = Page(BAKE.encode())
    web.pages["/a/bake.toml"] = Page(b'include = ["../b.toml"]\n[target.app]\n')
    web.pages["/b.toml"] = Page(b'[target.b]\ncontext = "sub"\n')
    assert printed(capsys, f"{web.url}/a/bake.hcl", "-f", "ignored.hcl", "app", "sub") == {
        "app": {"context": ".", "dockerfile": "Dockerfile"},
        "sub": {"context": "sub", "dockerfile": "Dockerfile"},
    }
    assert printed(capsys, f"{web.url}/a/bake.toml", "b") == {"b": {"context": "sub", "dockerfile": "Dockerfile"}}


def test_an_archive_is_like_a_repository(web: Web, capsys: pytest.CaptureFixture[str]) -> None:
    web.pages["/all.tar.gz"] = Page(packed({"docker-bake.hcl": BAKE}))
    url = f"{web.url}/all.tar.gz"
    assert printed(capsys, url, "app", "sub") == {
        "app": {"context": url, "dockerfile": "Dockerfile"},
        "sub": {"context": "sub", "dockerfile": "Dockerfile"},
    }


def packed(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def test_the_server_of_the_definition_gets_the_token_of_the_environment(
    web: Web, repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    web.authorization = "basic " + base64.b64encode(b"x-access-token:t0ken").decode()
    url = f"{web.url}/git/r.git"
    assert refused(capsys, url, "app").startswith(f"ERROR: failed to fetch remote {url}: ")
    monkeypatch.setenv("BUILDX_BAKE_GIT_AUTH_TOKEN", "t0ken")
    assert printed(capsys, url, "app") == {"app": {"context": url, "dockerfile": "Dockerfile"}}


def test_whose_dockerfile_is_meant_must_be_clear(
    web: Web, repository: Repository, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "Dockerfile.mine").write_text("FROM scratch\n")
    assert refused(capsys, f"{web.url}/git/r.git", "mine") == (
        "ERROR: docker-bake.hcl:7:16: target.mine.dockerfile: the definition is far away, but this context is here: "
        "whose Dockerfile is meant?\n"
        '      dockerfile = "Dockerfile.mine"\n'
        "                   ^^^^^^^^^^^^^^^^^\n"
        'hint: write "cwd://Dockerfile.mine" for the one that is here\n'
    )


def test_what_is_not_there_is_named(web: Web, repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"{web.url}/git/r.git"
    assert refused(capsys, f"{url}#nope") == f"ERROR: repository does not contain ref nope: {url}\n"
    assert refused(capsys, f"{url}#:nope") == f"ERROR: invalid subdir nope: {url} has no such folder\n"
    assert refused(capsys, url, "-f", "nope.hcl") == "ERROR: open nope.hcl: no such file or directory\n"
    assert refused(capsys, f"{web.url}/nope.hcl") == f"ERROR: {web.url}/nope.hcl: invalid response status 404\n"
    assert refused(capsys, url, "-f", "-") == (
        "ERROR: -f -: the definition is far away, so its files are, too\nhint: -f cwd://- is standard input\n"
    )
