"""`bakepy run` up to where the engine begins: reading, printing, listing, refusing."""

import errno
import json
import os
from pathlib import Path

import pytest

from bakepy.cli import app
from tests.cli.test_app import imported

BAKE = """
[variable.TAG]
default = "dev"
description = "what to call it"

[target.web]
description = "draws pages"
tags = ["web:${TAG}"]

[target.api]
pull = true
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty environment, and a folder with a bake file as the directory of the command."""
    for name in tuple(os.environ):
        if name.startswith(("BUILDX_", "BAKEPY_", "DOCKER_", "TAG")):
            monkeypatch.delenv(name)
    (tmp_path / "bake.toml").write_text(BAKE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    assert app.run(["run", "--print", *arguments]) == 0
    value = json.loads(capsys.readouterr().out)["target"]
    assert isinstance(value, dict)
    return value


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert app.run(["run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def test_print_shows_the_targets_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "web") == {"web": {
        "description": "draws pages", "context": ".", "dockerfile": "Dockerfile", "tags": ["web:dev"],
    }}  # fmt: skip


def test_bake_is_the_same_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["bake", "--print", "web"]) == 0
    text = capsys.readouterr().out
    assert app.run(["run", "--print", "web"]) == 0
    assert capsys.readouterr().out == text


def test_variables_come_from_flag_before_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAG", "env")
    assert printed(capsys, "web")["web"]["tags"] == ["web:env"]
    assert printed(capsys, "web", "--var", "TAG=flag")["web"]["tags"] == ["web:flag"]


def test_switches_take_a_value_as_in_buildx(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "api")["api"]["pull"] is True
    assert printed(capsys, "api", "--pull=false", "--no-cache=1")["api"] == {
        "context": ".", "dockerfile": "Dockerfile", "pull": False, "no-cache": True,
    }  # fmt: skip


def test_set_changes_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "web", "--set", "*.args.A=1")["web"]["args"] == {"A": "1"}


@pytest.mark.parametrize("named", [True, False], ids=["-f -", "BUILDX_BAKE_FILE"])
def test_the_file_may_come_on_standard_input(
    named: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not named:
        monkeypatch.setenv("BUILDX_BAKE_FILE", "-")
    reader, writer = os.pipe()
    os.write(writer, b'{"target": {"x": {}}}')
    os.close(writer)
    with os.fdopen(reader) as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert list(printed(capsys, *(("-f", "-") if named else ()), "x")) == ["x"]


def test_the_format_of_lists_and_calls(capsys: pytest.CaptureFixture[str]) -> None:
    for what in ("targets", "type=targets"):
        assert app.run(["run", "--list", what, "--format", "json"]) == 0
        assert "web" in [each["name"] for each in json.loads(capsys.readouterr().out)]
    assert "--list type=targets,format=xml: expected" in failed(capsys, "--list", "targets", "--format", "xml")
    assert "--call check,format=xml" in failed(capsys, "web", "--check", "--format", "xml")
    assert "it belongs to --list, --call and --check" in failed(capsys, "--format", "json")


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["run", "--list", "targets"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["TARGET", "DESCRIPTION"], ["api"], ["web", "draws", "pages"],
    ]  # fmt: skip
    assert app.run(["run", "--list-variables"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["TAG", "dev", "what", "to", "call", "it"]
    assert "it can not be given together with --print" in failed(capsys, "--list", "targets", "--print")


def test_printing_imports_only_what_it_needs(project: Path) -> None:
    modules = imported("run", "--print", "web", cwd=project)
    assert not modules & {"anyio", "asyncio", "rich", "jsonschema", "sqlite3", "aiohttp", "google.protobuf"}
    rooms = {name.split(".")[1] for name in modules if name.startswith("bakepy.")}
    assert rooms <= {"_version", "bakefile", "cli", "errors", "model", "progress"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--builder", "x"], "ERROR: --builder: the embedded engine has no builders\nhint: leave it out\n"),
        (["--engine", "buildkit"], "ERROR: there is no engine 'buildkit'\nhint: one of embedded\n"),
        (["--progress", "tyt"], "ERROR: unknown value 'tyt' of --progress\nhint: did you mean 'tty'?\n"),
        (["--allow", "x"], "ERROR: --allow x: there is no entitlement 'x'\n"),
        (["--allow", "x", "--print"], "ERROR: --allow x: there is no entitlement 'x'\n"),
        (["-f", "none.toml"], "ERROR: open none.toml: no such file or directory\n"),
    ],
)
def test_flags_that_make_no_sense_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failed(capsys, "web", *arguments) == message


def test_attestations_are_refused_and_may_be_turned_off(capsys: pytest.CaptureFixture[str]) -> None:
    assert "attestations (provenance) are not supported yet" in failed(capsys, "web", "--provenance=mode=max")
    assert "attestations (sbom) are not supported yet" in failed(capsys, "web", "--sbom=true")


def test_an_ordinary_user_without_user_namespaces_gets_status_5(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    def refuse(flags: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr("bakepy.snapshot.syscalls.unshare", refuse)
    assert app.run(["run", "web", "--provenance=false"]) == 5
    assert capsys.readouterr().err == (
        "ERROR: an ordinary user needs a user namespace, and the kernel refuses it: Operation not permitted\n"
        "hint: bakepy doctor tells which setting forbids it; or run bakepy as root\n"
    )
