"""README, the examples and bake.toml.example say what is true: they are read, planned or run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import REPOSITORY, Bakepy, write

README = (REPOSITORY / "README.md").read_text()


MIGRATING = (REPOSITORY / "docs" / "migrating-from-buildx.md").read_text()


def commands(page: str) -> list[list[str]]:
    """The `bakepy …` lines of a page, without their comments and what their output goes into."""
    lines = re.findall(r"^    (?:\.venv/bin/)?bakepy (.*)$", page, re.MULTILINE)
    return [re.sub(r"\s+[#|].*", "", line).replace("'", "").split() for line in lines]


def readme_commands() -> list[list[str]]:
    return commands(README)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The project that README's example describes, on a base of nothing."""
    (example,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    files = {
        "bake.toml": example,
        "docker/service.Dockerfile": "FROM scratch\nARG SERVICE\nARG DEBUG\nCOPY ${SERVICE} /\n",
        "api": "api\n",
        "web": "web\n",
        "docs/Dockerfile": "FROM scratch\nCOPY page /\n",
        "docs/page": "page\n",
    }
    return write(tmp_path / "shop", files)


def test_the_example_in_readme_prints(bakepy: Bakepy, shop: Path) -> None:
    printed = json.loads(bakepy.run("run", "--print", cwd=shop, env={"TAG": "1.2"}).stdout)
    assert sorted(printed["target"]) == ["docs", "service-api", "service-web"]
    assert printed["target"]["service-api"]["tags"] == ["registry.example.com/shop/api:1.2"]


def test_readme_names_commands() -> None:
    assert len(readme_commands()) >= 6
    assert commands(MIGRATING) == [["doctor"], ["bake", "--print"], ["bake"]]


@pytest.mark.runtime
@pytest.mark.parametrize("arguments", [*readme_commands(), *commands(MIGRATING)], ids=" ".join)
def test_the_commands_in_documents_run(arguments: list[str], bakepy: Bakepy, shop: Path) -> None:
    if "--push" in arguments:
        arguments = [argument for argument in arguments if argument != "--push"]  # to a registry that does not exist
    bakepy.run(*arguments, cwd=shop)


@pytest.mark.parametrize("path", sorted(REPOSITORY.glob("examples/*/bake.toml")), ids=lambda path: path.parent.name)
def test_examples_print(path: Path, bakepy: Bakepy, tmp_path: Path) -> None:
    folder = tmp_path / "example"
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("out"))
    assert json.loads(bakepy.run("run", "--print", cwd=folder).stdout)["target"]


def test_the_example_file_prints_every_target(bakepy: Bakepy, tmp_path: Path) -> None:
    folder = write(tmp_path / "all", {"bake.toml": (REPOSITORY / "bake.toml.example").read_text()})
    listed = bakepy.run("run", "--list", "targets", cwd=folder).stdout.splitlines()[1:]
    names = [line.split()[0] for line in listed if line.split()]
    assert names
    for name in names:
        assert json.loads(bakepy.run("run", name, "--print", cwd=folder).stdout)["target"]


def test_links_in_documents_lead_somewhere() -> None:
    for page in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
