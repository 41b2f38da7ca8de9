"""`bakepy check` and `--call`: what is found, how it is written, and the status."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from bakepy.cli import app
from bakepy.dockerfile.parsed import parse

DOCKERFILE = """\
# app draws the pages
FROM scratch AS app
# version the one to draw
ARG version=1
COPY a /
FROM app AS debug
ARG level
WORKDIR there
RUN --mount=type=secret,id=key,required --mount=type=ssh ["/a"]
"""
BAKE = """
[target.app]
target = "app"
[target.debug]
target = "debug"
description = "for looking inside"
[target.all]
args = { NOTHING = "it uses" }
[group.default]
targets = ["app", "debug", "all"]
"""
RELATIVE = 'Relative workdir "there" can have unexpected results if the base image changes'
FINDING = f"""\
Check complete, 1 warning has been found!

WARNING: WorkdirRelativePath - https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/
{RELATIVE}
Dockerfile:8
--------------------
   6 |     FROM app AS debug
   7 |     ARG level
   8 | >>> WORKDIR there
   9 |     RUN --mount=type=secret,id=key,required --mount=type=ssh ["/a"]
  10 | {"    "}
--------------------
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty environment, and a folder with a bake file as the directory of the command."""
    for name in tuple(os.environ):
        if name.startswith(("BUILDX_", "BAKEPY_", "DOCKER_")):
            monkeypatch.delenv(name)
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in {"Dockerfile": DOCKERFILE, "bake.toml": BAKE, "a": "a\n"}.items():
        (folder / name).write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BAKEPY_ROOT", str(tmp_path / "state"))
    return folder


def wrong(dockerfile: str) -> str:
    """What the parser says of a Dockerfile with one mistake."""
    (error,) = parse(dockerfile, "Dockerfile").errors
    return error.what


class Command:
    """Runs command lines and keeps what they said."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str, status: int = 0) -> str:
        found = app.run(arguments)
        said = self._capsys.readouterr()
        assert found == status, said.err
        self.err = said.err
        return said.out

    def json(self, *arguments: str, status: int = 0) -> Any:
        return json.loads(self(*arguments, status=status))


@pytest.fixture
def bakepy(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_a_clean_stage_has_no_warnings(bakepy: Command) -> None:
    assert bakepy("check", "app") == "Check complete, no warnings found.\n"
    assert bakepy.err == ""


def test_a_finding_is_shown_with_its_rule_place_and_lines_and_is_status_1(bakepy: Command) -> None:
    assert bakepy("check", "debug", status=1) == FINDING


def test_a_finding_on_several_lines_is_shown_with_one_line_round_it(bakepy: Command, project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nENV\\\n  A b\nCOPY a /\n# end\n")
    assert bakepy("check", "all", status=1).splitlines()[4:] == [
        "Dockerfile:2",
        "--------------------",
        "   1 |     FROM scratch",
        "   2 | >>> ENV\\",
        "   3 | >>>   A b",
        "   4 |     COPY a /",
        "--------------------",
    ]


def test_all_stages_are_checked_if_no_stage_is_named(bakepy: Command, project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch AS odd\nWORKDIR there\nFROM scratch AS last\nCOPY a /\n")
    (warning,) = bakepy.json("check", "all", "--format=json", status=1)["warnings"]
    assert (warning["ruleName"], warning["location"]["ranges"][0]["start"]) == ("WorkdirRelativePath", {"line": 2})
    assert bakepy("check", "all", "--set", "all.target=last") == "Check complete, no warnings found.\n"


def test_targets_that_ask_the_same_share_one_answer(bakepy: Command, project: Path) -> None:
    (project / "bake.toml").write_text(
        '[target.t]\nname = "t${v}"\nmatrix = { v = ["1", "2"] }\n'
        'labels = { v = "${v}" }\nargs = { version = "${v}" }\n'
        '[target.other]\ndockerfile-inline = "FROM scratch\\n"\n[group.default]\ntargets = ["t", "other"]\n'
    )
    lines = bakepy("check", status=1).splitlines()
    assert lines[:7] == [
        "other (target.other.dockerfile-inline)", "", "Check complete, no warnings found.", "",
        "t1, t2 (Dockerfile)", "", "Check complete, 1 warning has been found!",
    ]  # fmt: skip


def test_rules_are_skipped_where_the_file_says_so(bakepy: Command, project: Path) -> None:
    (project / "Dockerfile").write_text("# check=skip=FromAsCasing,WorkdirRelativePath\n" + DOCKERFILE)
    assert bakepy("check", "debug") == "Check complete, no warnings found.\n"
    (project / "Dockerfile").write_text("# check=skip=all\n" + DOCKERFILE)
    assert bakepy("check", "debug") == "Check complete, no warnings found.\n"


def test_findings_that_fail_the_build_are_status_1_as_well(bakepy: Command, project: Path) -> None:
    (project / "Dockerfile").write_text("# check=error=true\n" + DOCKERFILE)
    assert "1 warning has been found" in bakepy("check", "debug", status=1)
    assert bakepy.err.endswith(": WorkdirRelativePath\nhint: '# check=error=true' asks for that\n")


def test_a_dockerfile_that_is_wrong_is_status_2_and_others_are_still_checked(bakepy: Command, project: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPPY a /\n")
    (project / "bake.toml").write_text('[target.a]\n[target.b]\ndockerfile-inline = "FROM scratch AS B\\n"\n')
    out = bakepy("check", "a", "b", status=2)
    assert out.startswith("b (target.b.dockerfile-inline)\n\nCheck complete, 1 warning has been found!\n")
    said = wrong("FROM scratch\nCOPPY a /\n")
    assert bakepy.err == (f"ERROR: Dockerfile:2:1: {said}\n    COPPY a /\n    ^^^^^\nhint: did you mean 'COPY'?\n")


def test_a_bake_file_that_is_wrong_is_status_2(bakepy: Command) -> None:
    assert bakepy("check", "all", "--set", "all.context=nowhere", status=2) == ""
    assert "the folder 'nowhere' can not be used" in bakepy.err


def test_linked_targets_are_checked_and_built_upon(bakepy: Command, project: Path) -> None:
    (project / "bake.toml").write_text(
        '[target.app]\ncontexts = { base = "target:base" }\ndockerfile-inline = "FROM base\\nCOPY a /\\n"\n'
        '[target.base]\ndockerfile-inline = "FROM scratch\\nCOPY a /b\\n"\n'
    )
    assert bakepy("check", "app").count("no warnings found") == 2
    bakepy("check", "app", "--set", "base.dockerfile-inline=FROM none AS", status=2)
    assert bakepy.err.count("ERROR:") == 1


def test_json_is_what_buildkit_gives(bakepy: Command) -> None:
    found = bakepy.json("build", ".", "--target=debug", "--call=check,format=json", status=1)
    assert found == {
        "warnings": [
            {
                "ruleName": "WorkdirRelativePath",
                "description": "the first WORKDIR of a stage is absolute",
                "url": "https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/",
                "detail": RELATIVE,
                "location": {"ranges": [{"start": {"line": 8}, "end": {"line": 8}}]},
            }
        ],
        "sources": [
            {
                "filename": "Dockerfile",
                "data": base64.b64encode(DOCKERFILE.encode()).decode(),
                "language": "Dockerfile",
            }
        ],
    }


def test_json_of_several_dockerfiles_names_their_sources(bakepy: Command, project: Path) -> None:
    (project / "bake.toml").write_text('[target.a]\n[target.b]\ndockerfile-inline = "FROM scratch AS B\\nFOO\\n"\n')
    found = bakepy.json("check", "a", "b", "--format", "json", status=2)
    assert [source["filename"] for source in found["sources"]] == ["Dockerfile", "target.b.dockerfile-inline"]
    assert found["buildError"] == {
        "message": wrong("FROM scratch AS B\nFOO\n"),
        "location": {"sourceIndex": 1, "ranges": [{"start": {"line": 2}, "end": {"line": 2}}]},
    }


def test_json_of_bake_has_the_answers_below_the_targets(bakepy: Command) -> None:
    found = bakepy.json("bake", "app", "debug", "--call=check,format=json", status=1)
    assert found["target"]["app"]["check"]["warnings"] is None
    assert len(found["target"]["debug"]["check"]["warnings"]) == 1
    assert found["target"]["debug"]["build"]["description"] == "for looking inside"
    assert found["group"] == {"default": {"targets": ["app", "debug"]}}


def test_github_gets_annotations(bakepy: Command, project: Path) -> None:
    assert bakepy("check", "debug", "--format", "github", status=1) == (
        f"::warning file=Dockerfile,line=8,endLine=8,title=WorkdirRelativePath::{RELATIVE}\n"
    )
    text = DOCKERFILE + "COPY --form=x a /\n"
    (project / "D,1").write_text(text)
    assert bakepy("check", "debug", "--set=debug.dockerfile=D,1", "--format", "github", status=2) == (
        f"::error file=D%2C1,line=10,endLine=10,title=Dockerfile::{wrong(text)}%0Ahint: did you mean '--from'?\n"
    )


def test_annotations_of_an_inline_dockerfile_have_no_file(bakepy: Command, project: Path) -> None:
    (project / "bake.toml").write_text('[target.b]\ndockerfile-inline = "FROM scratch AS B\\n"\n')
    assert bakepy("check", "b", "--format", "github", status=1) == (
        "::warning title=StageNameCasing::target.b.dockerfile-inline:1: Stage name 'B' should be lowercase\n"
    )


def test_call_check_of_run_and_build_is_the_same(bakepy: Command) -> None:
    checked = bakepy("check", "debug", status=1)
    assert bakepy("run", "debug", "--check", status=1) == checked
    assert bakepy("bake", "debug", "--call", "lint", status=1) == checked
    assert bakepy("build", ".", "--target", "debug", "--check", status=1) == checked
    assert bakepy("build", ".", "--target", "debug", "--call=check,ignorestatus=true") == checked
    assert bakepy("run", "--call=check,ignorestatus=true").startswith("all, debug (Dockerfile)\n\n")


def test_what_can_not_be_built_yet_can_be_checked(bakepy: Command) -> None:
    arguments = ["app", "--check", "--sbom=true", "--set", "app.entitlements=network.host"]
    assert bakepy("run", *arguments) == "Check complete, no warnings found.\n"


def test_outline_tells_what_can_be_set(bakepy: Command) -> None:
    assert bakepy("build", ".", "--call=outline", "--target=debug") == (
        "TARGET: debug\n"
        "\n"
        "BUILD ARG   VALUE   DESCRIPTION\n"
        "version     1       the one to draw\n"
        "level               \n"
        "\n"
        "SECRET   REQUIRED\n"
        "key      true\n"
        "\n"
        "SSH       REQUIRED\n"
        "default   \n"
        "\n"
    )
    assert bakepy.json("build", ".", "--call=outline,format=json", "--target=app") == {
        "name": "app",
        "description": "draws the pages",
        "args": [
            {
                "name": "version",
                "description": "the one to draw",
                "value": "1",
                "location": {"ranges": [{"start": {"line": 4}, "end": {"line": 4}}]},
            }
        ],
        "sources": [base64.b64encode(DOCKERFILE.encode()).decode()],
    }


def test_outline_of_a_dockerfile_that_is_wrong_is_an_error(bakepy: Command) -> None:
    assert bakepy("build", ".", "--call=outline,format=json", "--target=dbug", status=2) == ""
    assert "did you mean 'debug'?" in bakepy.err


def test_targets_are_the_stages(bakepy: Command) -> None:
    assert bakepy("run", "app", "--call=targets") == (
        "TARGET          DESCRIPTION\napp             draws the pages\ndebug (default) \n"
    )
    found = bakepy.json("build", ".", "--call=targets,format=json")
    assert found["targets"][1] == {
        "name": "debug",
        "default": True,
        "base": "app",
        "location": {"ranges": [{"start": {"line": 6}, "end": {"line": 6}}]},
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "--format", "jsno"], "ERROR: unknown value 'jsno' of --format\nhint: did you mean 'json'?\n"),
        (
            ["run", "--call=check,format=xml"],
            "ERROR: --call check,format=xml: unknown format 'xml'\nhint: one of text, json, github\n",
        ),
    ],
)
def test_unknown_formats_are_refused(arguments: list[str], message: str, bakepy: Command) -> None:
    assert bakepy(*arguments, status=2) == ""
    assert bakepy.err == message
