"""What a build takes from beside its file: proxies of Docker's configuration, and what the repository is."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest

from bakepy.cli.surroundings import with_surroundings
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile, Target
from tests.cli.test_baking import bakepy
from tests.support.repositories import Repository

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "metadata.schema.json").read_bytes())
PROXIES = {
    "default": {
        "httpProxy": "http://d:1",
        "httpsProxy": "http://d:2",
        "noProxy": "localhost",
        "ftpProxy": "http://d:3",
        "allProxy": "http://d:4",
    },
    "tcp://engine:2375": {"noProxy": "engine"},
}


def surrounded(
    directory: Path, *, config: object = None, environment: Mapping[str, str] | None = None, **target: object
) -> tuple[Target, tuple[str, ...]]:
    """One target with what it gets in addition."""
    (directory / "docker").mkdir(exist_ok=True)
    (directory / "docker/config.json").write_text(json.dumps({"proxies": config} if config is not None else {}))
    given = BakeFile(FrozenMap({"t": Target("t", **target)}), FrozenMap())  # type: ignore[arg-type]
    variables = {"PATH": os.environ["PATH"], "HOME": str(directory), "DOCKER_CONFIG": str(directory / "docker")}
    found, warnings = with_surroundings(given, {**variables, **(environment or {})}, directory)
    return found.targets["t"], warnings


def test_default_proxies_become_arguments(tmp_path: Path) -> None:
    target, warnings = surrounded(tmp_path, config=PROXIES, args=FrozenMap({"A": "1"}))
    assert dict(target.args) == {
        "A": "1",
        "HTTP_PROXY": "http://d:1",
        "HTTPS_PROXY": "http://d:2",
        "NO_PROXY": "localhost",
        "FTP_PROXY": "http://d:3",
    }
    assert warnings == ()


def test_arguments_of_the_target_win_in_whatever_case(tmp_path: Path) -> None:
    args: FrozenMap[str, str | None] = FrozenMap({"http_proxy": "mine", "Https_Proxy": "", "NO_PROXY": None})
    target, _ = surrounded(tmp_path, config=PROXIES, args=args)
    assert dict(target.args) == {
        "http_proxy": "mine",
        "Https_Proxy": "",
        "NO_PROXY": "localhost",
        "FTP_PROXY": "http://d:3",
    }


def test_proxies_of_the_engine_in_use_stand_alone(tmp_path: Path) -> None:
    target, _ = surrounded(tmp_path, config=PROXIES, environment={"DOCKER_HOST": "tcp://engine:2375"})
    assert dict(target.args) == {"NO_PROXY": "engine"}
    named = {"unix:///var/run/docker.sock": {"httpProxy": "http://s"}}
    assert dict(surrounded(tmp_path, config=named)[0].args) == {"HTTP_PROXY": "http://s"}


@pytest.mark.parametrize("config", [["x"], "x", {"default": ["x"]}, {"default": {"httpProxy": 1}}])
def test_proxies_of_another_form_are_told_and_left_out(config: object, tmp_path: Path) -> None:
    target, warnings = surrounded(tmp_path, config=config)
    assert target.args == {}
    path = tmp_path / "docker/config.json"
    assert warnings == (f"{path}: proxies are not written as Docker writes them; no proxies are taken from there",)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository.create(tmp_path, "r.git")
    repository.commit({"app/Dockerfile": "FROM scratch\n", ".gitignore": "docker\nbuilt\n"})
    repository.git("remote", "set-url", "origin", "https://user:token@example.com/x/r.git")
    return repository


def test_labels_tell_commit_address_and_dockerfile(repository: Repository) -> None:
    labels: FrozenMap[str, str] = FrozenMap({"org.opencontainers.image.revision": "mine", "a": "b"})
    on = {"BUILDX_GIT_LABELS": "1", "BUILDX_GIT_INFO": "0"}
    target, warnings = surrounded(repository.work, environment=on, context="app", labels=labels)
    assert dict(target.labels) == {
        "org.opencontainers.image.revision": repository.git("rev-parse", "HEAD"),
        "a": "b",
        "org.opencontainers.image.source": "https://example.com/x/r.git",
        "com.docker.image.source.entrypoint": "app/Dockerfile",
    }
    assert warnings == ()


@pytest.mark.parametrize(("check", "mark"), [("1", "-dirty"), ("0", ""), ("perhaps", "")])
def test_uncommitted_and_ignored_files_are_told_on_request(check: str, mark: str, repository: Repository) -> None:
    (repository.work / "built").touch()
    environment = {"BUILDX_GIT_LABELS": "full", "BUILDX_GIT_CHECK_DIRTY": check}
    target, _ = surrounded(repository.work, environment=environment, dockerfile="cwd://app/Dockerfile")
    revision = repository.git("rev-parse", "HEAD")
    assert target.labels["org.opencontainers.image.revision"] == revision + mark
    assert target.labels["com.docker.image.source.entrypoint"] == "app/Dockerfile"


def test_the_remote_of_the_branch_comes_first(repository: Repository) -> None:
    repository.git("remote", "add", "fork", "git@example.com:me/r.git")
    repository.git("config", "branch.main.remote", "fork")
    repository.git("config", "branch.main.merge", "refs/heads/main")
    target, _ = surrounded(repository.work, environment={"BUILDX_GIT_LABELS": "1"})
    assert target.labels["org.opencontainers.image.source"] == "git@example.com:me/r.git"


@pytest.mark.parametrize(
    ("environment", "context"),
    [
        ({}, "app"),
        ({"BUILDX_GIT_LABELS": "0"}, "app"),
        ({"BUILDX_GIT_LABELS": "yes"}, "app"),
        ({"BUILDX_GIT_LABELS": "1"}, "https://example.com/x.git"),
        ({"BUILDX_GIT_LABELS": "1"}, "cwd://../.."),
    ],
)
def test_without_a_wish_or_a_work_tree_there_are_no_labels(
    environment: dict[str, str], context: str, repository: Repository
) -> None:
    target, warnings = surrounded(repository.work, environment=environment, context=context)
    assert target.labels == {}
    assert warnings == ()


def test_a_repository_without_a_commit_has_no_revision(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path, "r.git")
    target, warnings = surrounded(repository.work, environment={"BUILDX_GIT_LABELS": "1"})
    assert dict(target.labels) == {
        "org.opencontainers.image.source": str(repository.path),
        "com.docker.image.source.entrypoint": "Dockerfile",
    }
    assert warnings == ()


def test_a_repository_that_git_can_not_read_is_told(repository: Repository) -> None:
    environment = {"BUILDX_GIT_LABELS": "1", "PATH": str(repository.work)}
    target, warnings = surrounded(repository.work, environment=environment)
    assert target.labels == {}
    assert warnings == ("labels do not tell the commit: git can not be run: No such file or directory",)


@pytest.mark.runtime
def test_a_bake_has_proxies_labels_and_warnings_that_print_does_not_show(repository: Repository) -> None:
    work = repository.work
    (work / "app/Dockerfile").write_text('FROM scratch AS Base\nARG HTTP_PROXY\nLABEL proxy="${HTTP_PROXY}"\n')
    (work / "bake.toml").write_text(
        "[target.default]\ncontext = 'app'\noutput = ['type=oci,dest=out,tar=false']\nmetadata-file = 'own.json'\n"
    )
    (work / "docker").mkdir()
    (work / "docker/config.json").write_text(json.dumps({"proxies": PROXIES}))
    environment = {
        "DOCKER_CONFIG": str(work / "docker"),
        "BUILDX_GIT_LABELS": "1",
        "BUILDX_METADATA_WARNINGS": "true",
        "BAKEPY_ROOT": str(repository.path.parent / "state"),
    }
    printed = json.loads(bakepy(work, "bake", "--print", status=0, **environment).stdout)["target"]["default"]
    assert printed.keys() == {"context", "dockerfile", "output"}
    bakepy(work, "bake", "--metadata-file", "all.json", status=0, **environment)
    metadata, own = (json.loads((work / name).read_text()) for name in ("all.json", "own.json"))
    for value in (metadata, own):
        jsonschema.Draft202012Validator(SCHEMA).validate(value)
    config = work / "out/blobs" / metadata["default"]["containerimage.config.digest"].replace(":", "/")
    assert json.loads(config.read_text())["config"]["Labels"] == {
        "proxy": "http://d:1",
        "org.opencontainers.image.revision": repository.git("rev-parse", "HEAD"),
        "org.opencontainers.image.source": "https://example.com/x/r.git",
        "com.docker.image.source.entrypoint": "app/Dockerfile",
    }
    (warning,) = metadata["buildx.build.warnings"]
    assert own["buildx.build.warnings"] == [warning]
    assert base64.b64decode(warning["short"]).decode() == (
        "StageNameCasing: Stage name 'Base' should be lowercase (line 1)"
    )
    assert warning["range"] == [{"start": {"line": 1}, "end": {"line": 1}}]
    assert warning["sourceInfo"]["filename"] == "app/Dockerfile"


@pytest.mark.runtime
def test_two_targets_do_not_write_one_metadata_file(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "bake.toml").write_text(
        "[group.default]\ntargets = ['a', 'b']\n[target.a]\nmetadata-file = 'm.json'\n[target.b]\ninherits = ['a']\n"
    )
    (project / "Dockerfile").write_text("FROM scratch\n")
    told = bakepy(project, "run", status=2).stderr
    assert told == (
        "ERROR: bake.toml:4:18: target.b.metadata-file: target.a.metadata-file writes to m.json, too\n"
        "    metadata-file = 'm.json'\n"
        "                     ^^^^^^\n"
        "hint: give each target a file of its own; --metadata-file writes one with all targets\n"
    )
    assert "--metadata-file writes to m.json, too" in bakepy(
        project, "run", "a", "--metadata-file", "./m.json", status=2
    ).stderr  # fmt: skip
    assert not (project / "m.json").exists()
