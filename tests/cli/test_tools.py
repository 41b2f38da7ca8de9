"""The commands for people: ls, fmt, convert, schema, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bakepy.cli import app

ROOT = Path(__file__).parents[2]

HCL = """\
variable "TAG" { default = "dev" }
group "default" {
  description = "what is shipped"
  targets     = ["app", "tool"]
}
target "_base" { platforms = ["linux/amd64", "linux/arm64"] }
target "app" {
  description = "the server"
  inherits    = ["_base"]
  tags        = ["app:${TAG}"]
}
target "tool" {}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"]})
    (tmp_path / "docker-bake.hcl").write_text(HCL)
    return tmp_path


# -- ls


def test_ls_shows_groups_and_what_targets_come_to(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["ls"]) == 0
    assert capsys.readouterr().out == (
        "GROUP    TARGETS    DESCRIPTION\n"
        "default  app, tool  what is shipped\n"
        "\n"
        "TARGET  INHERITS  DESCRIPTION  PLATFORMS                 TAGS\n"
        "app     _base     the server   linux/amd64, linux/arm64  app:dev\n"
        "tool\n"
    )


def test_ls_counts_what_would_make_the_table_too_wide(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "docker-bake.hcl").write_text('target "a" { tags = ["a:1", "a:2", "a:3", "a:4"] }\n')
    assert app.run(["ls"]) == 0
    assert capsys.readouterr().out == "TARGET  TAGS\na       a:1, a:2, and 2 more\n"
    assert app.run(["ls", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["tags"] == ["a:1", "a:2", "a:3", "a:4"]


def test_ls_as_json_with_private_names_and_a_variable(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["ls", "--format", "json", "--all", "--var", "TAG=v1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["groups"] == [{"name": "default", "targets": ["app", "tool"], "description": "what is shipped"}]
    assert [each["name"] for each in found["targets"]] == ["_base", "app", "tool"]
    assert found["targets"][1] == {
        "name": "app",
        "description": "the server",
        "inherits": ["_base"],
        "platforms": ["linux/amd64", "linux/arm64"],
        "tags": ["app:v1"],
    }


def test_ls_lists_the_others_when_one_target_is_broken(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "docker-bake.hcl").write_text('target "a" { inherits = ["b"] }\ntarget "c" { tags = ["c:1"] }\n')
    assert app.run(["ls"]) == 0
    out, err = capsys.readouterr()
    assert out == "TARGET  INHERITS  TAGS\na       b\nc                 c:1\n"
    assert err.startswith("WARNING: a can not be baked\n    docker-bake.hcl:1:26: target.a.inherits[0]: there is no")


def test_ls_refuses_an_unknown_format(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["ls", "--format", "jso"]) == 2
    assert capsys.readouterr().err == "ERROR: unknown value 'jso' of --format\nhint: did you mean 'json'?\n"


# -- fmt

UNTIDY = 'target "a"{\ncontext="."\n}\n'
TIDY = 'target "a" {\n  context = "."\n}\n'


def test_fmt_lays_out_the_files_it_finds_and_names_those_it_changed(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "docker-bake.hcl").write_text(UNTIDY)
    (project / "docker-bake.hcl").chmod(0o640)
    (project / "bake.toml").write_text("[target.a]\n")
    assert app.run(["fmt"]) == 0
    assert capsys.readouterr() == ("", "docker-bake.hcl\n")
    assert (project / "docker-bake.hcl").read_text() == TIDY
    assert (project / "docker-bake.hcl").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in project.iterdir()) == ["bake.toml", "docker-bake.hcl"]


def test_fmt_writes_through_a_link(project: Path) -> None:
    (project / "real.hcl").write_text(UNTIDY)
    (project / "link.hcl").symlink_to("real.hcl")
    assert app.run(["fmt", "link.hcl"]) == 0
    assert (project / "link.hcl").is_symlink()
    assert (project / "real.hcl").read_text() == TIDY


def test_fmt_check_changes_nothing_and_tells(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "docker-bake.hcl").write_text(UNTIDY)
    assert app.run(["fmt", "--check"]) == 1
    assert capsys.readouterr() == ("", "docker-bake.hcl is not laid out as bakepy fmt does it\n")
    assert (project / "docker-bake.hcl").read_text() == UNTIDY
    (project / "docker-bake.hcl").write_text(TIDY)
    assert app.run(["fmt", "--check"]) == 0


def test_fmt_diff_shows_what_would_change(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "docker-bake.hcl").write_text('target "a" {}\nx=1')
    assert app.run(["fmt", "--diff", "docker-bake.hcl"]) == 0
    assert capsys.readouterr().out == (
        "--- docker-bake.hcl\n+++ docker-bake.hcl.fmt\n@@ -1,2 +1,2 @@\n"
        ' target "a" {}\n-x=1\n\\ No newline at end of file\n+x = 1\n'
    )


def test_fmt_goes_on_after_a_broken_file_and_leaves_it_alone(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "bad.hcl").write_text("target {\n")
    (project / "docker-bake.hcl").write_text(UNTIDY)
    assert app.run(["fmt", "bad.hcl", "docker-bake.hcl"]) == 2
    assert capsys.readouterr().err.startswith("ERROR: bad.hcl:")
    assert (project / "bad.hcl").read_text() == "target {\n"
    assert (project / "docker-bake.hcl").read_text() == TIDY


def test_fmt_of_standard_input(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bakepy", "fmt", "-"],
        input=UNTIDY,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == (TIDY, "")


def test_fmt_without_files(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "docker-bake.hcl").unlink()
    assert app.run(["fmt"]) == 2
    assert capsys.readouterr().err == (
        "ERROR: there is no bake.toml and no docker-bake.hcl here\nhint: name the files: bakepy fmt FILE\n"
    )


# -- convert


def test_convert_writes_the_other_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["convert", "docker-bake.hcl", "bake.toml"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (project / "bake.toml").read_text() == (
        '[variable.TAG]\ndefault = "dev"\n\n'
        '[group.default]\ndescription = "what is shipped"\ntargets = ["app", "tool"]\n\n'
        '[target._base]\nplatforms = ["linux/amd64", "linux/arm64"]\n\n'
        '[target.app]\ndescription = "the server"\ninherits = ["_base"]\ntags = ["app:${TAG}"]\n\n'
        "[target.tool]\n"
    )
    assert app.run(["bake", "--print", "-f", "docker-bake.hcl"]) == 0
    expected = capsys.readouterr().out
    assert app.run(["bake", "--print", "-f", "bake.toml"]) == 0
    assert capsys.readouterr().out == expected


def test_convert_replaces_nothing_unless_forced(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "bake.toml").write_text("mine\n")
    assert app.run(["convert", "docker-bake.hcl", "bake.toml"]) == 2
    assert capsys.readouterr().err == "ERROR: bake.toml is there already\nhint: --force replaces it\n"
    assert (project / "bake.toml").read_text() == "mine\n"
    assert app.run(["convert", "docker-bake.hcl", "bake.toml", "--force"]) == 0
    assert (project / "bake.toml").read_text().startswith("[variable.TAG]")


def test_convert_to_standard_output(project: Path) -> None:
    for arguments, first in ((["-"], "[variable.TAG]"), (["-", "--to", "json"], "{")):
        done = subprocess.run(
            [sys.executable, "-m", "bakepy", "convert", "docker-bake.hcl", *arguments],
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert (done.stdout.splitlines()[0], done.stderr) == (first, "")


def test_convert_refuses_what_would_mean_something_else(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "sub").mkdir()
    (project / "sub" / "a.hcl").write_text('target "a" { context = "." }\n')
    assert app.run(["convert", "sub/a.hcl", "sub/bake.toml"]) == 2
    assert capsys.readouterr().err == (
        "ERROR: target.a would not stay what it is; nothing was written\n"
        "hint: paths in bake.toml are meant from its folder: go there, and convert the file there\n"
    )
    assert not (project / "sub" / "bake.toml").exists()


def test_convert_of_a_file_with_an_error_says_that_nothing_is_proved(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "a.hcl").write_text('target "a" { tags = [missing] }\n')
    assert app.run(["convert", "a.hcl", "bake.toml"]) == 0
    assert capsys.readouterr().err.startswith(
        "WARNING: whether both files mean the same can not be checked: there is an error in the first\n    a.hcl:1:22: "
    )
    assert (project / "bake.toml").read_text() == '[target.a]\ntags = ["${missing}"]\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["docker-bake.hcl", "x.hcl"], "docker-bake.hcl is hcl already\nhint: bakepy fmt lays a file out"),
        (["docker-bake.hcl", "compose.yaml"], "compose.yaml: only .toml, .hcl and .json files can be written"),
        (["docker-bake.hcl", "a.toml", "--to", "json"], "a.toml: its ending says toml, --to says json"),
        (["docker-bake.hcl", "-", "--to", "yaml"], "there is no syntax 'yaml' to write\nhint: toml, hcl, json"),
    ],
)
def test_convert_refuses(arguments: list[str], message: str, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["convert", *arguments]) == 2
    assert capsys.readouterr().err == f"ERROR: {message}\n"


# -- schema


@pytest.mark.parametrize("kind", ["bake", "metadata"])
def test_schema_prints_the_published_file(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["schema", kind]) == 0
    assert capsys.readouterr().out == (ROOT / "schemas" / f"{kind}.schema.json").read_text("utf-8")


def test_files_are_checked_against_a_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text('[target.app]\ntags = ["a:b"]\n')
    bad.write_text('[target.app]\nno-cache = 3\ntags = [1.5, ["x"]]\n')
    assert app.run(["schema", "bake", "--check", str(good), "--check", str(ROOT / "bake.toml.example")]) == 0
    assert capsys.readouterr() == ("", "")
    assert app.run(["schema", "--check", str(good), "--check", str(bad)]) == 2
    told = capsys.readouterr().err
    assert f"{bad}: target.app.no-cache: 3 " in told
    assert f"{bad}: target.app.tags" in told
    assert str(good) not in told


def test_a_file_that_can_not_be_read_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert app.run(["schema", "metadata", "--check", str(broken)]) == 2
    assert f"{broken}: Expecting property name" in capsys.readouterr().err


def test_schema_of_something_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["schema", "metdata"]) == 2
    assert capsys.readouterr().err == "ERROR: there is no schema 'metdata'\nhint: did you mean 'metadata'?\n"


# -- completion


def completions(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    words = line.split(" ")
    monkeypatch.setitem(os.environ, "_BAKEPY_COMPLETE", "complete_bash")
    monkeypatch.setitem(os.environ, "COMP_WORDS", line)
    monkeypatch.setitem(os.environ, "COMP_CWORD", str(len(words) - 1))
    assert app.run([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.split()


def test_targets_and_groups_are_completed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completions("bakepy run ", monkeypatch, capsys) == ["app", "default", "tool"]
    assert completions("bakepy bake app t", monkeypatch, capsys) == ["tool"]
    assert completions("bakepy pl", monkeypatch, capsys) == ["plan"]


def test_targets_of_the_named_file_are_completed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "other.hcl").write_text("target other {}\n")
    assert completions("bakepy run -f other.hcl ", monkeypatch, capsys) == ["other"]


@pytest.mark.parametrize("text", ["target {", 'target "a" { tags = [missing] }', ""])
def test_broken_files_complete_nothing(
    text: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "docker-bake.hcl").write_text(text)
    assert completions("bakepy run ", monkeypatch, capsys) == []
    assert completions("bakepy run -f nowhere.hcl ", monkeypatch, capsys) == []
    assert completions("bakepy run -f - ", monkeypatch, capsys) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert "_BAKEPY_COMPLETE" in out
    assert "bakepy" in out


def test_no_script_for_other_shells(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["completion", "tcsh"]) == 2
    assert capsys.readouterr().err == "ERROR: no completion for 'tcsh'\nhint: bash, zsh or fish\n"
