"""Whole runs on the embedded engine, from the command line: what is written, told and returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.runtime

DOCKERFILE = """FROM scratch AS base
COPY a /a
FROM base AS more
COPY b /b
FROM base AS broken
COPY missing /x
"""

BAKE = """
[group.default]
targets = ["one", "two"]
[target.one]
target = "base"
output = ["type=oci,dest=out/one.tar"]
tags = ["one:1"]
metadata-file = "out/one.json"
[target.two]
target = "more"
output = ["type=local,dest=out/two"]
[target.bad]
target = "broken"
[target.app]
contexts = { broken = "target:bad" }
dockerfile-inline = "FROM broken\\nCOPY a /c\\n"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in {"Dockerfile": DOCKERFILE, "bake.toml": BAKE, "a": "a\n", "b": "b\n"}.items():
        (folder / name).write_text(text)
    return folder


def bakepy(project: Path, *arguments: str, status: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command with a state root beside the project."""
    done = subprocess.run(
        [sys.executable, "-m", "bakepy", *arguments],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(project.parent), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done


def test_a_run_writes_outputs_and_metadata_and_tells_it_all(project: Path) -> None:
    done = bakepy(project, "run", "--metadata-file", "out/all.json")
    assert done.stdout == ""
    assert (project / "out/two/b").read_text() == "b\n"
    one = json.loads((project / "out/one.json").read_text())
    both = json.loads((project / "out/all.json").read_text())
    assert one["bakepy.outcome"] == "succeeded"
    assert list(both) == ["one", "two"]
    assert both["one"]["containerimage.digest"] == one["containerimage.digest"]
    heading, row, _ = table(done.stderr)
    assert heading == ["target", "digest", "size", "time", "run", "shared", "cached"]
    assert row[:2] == ["one", one["containerimage.digest"][:19]]
    assert "one  OCI archive out/one.tar" in done.stderr
    assert "two  directory out/two" in done.stderr


def table(text: str) -> list[list[str]]:
    """The words of the table's lines."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("target "))
    return [line.split() for line in lines[first : lines.index("", first)]]


def test_a_second_run_finds_everything(project: Path) -> None:
    bakepy(project, "run")
    _, one, two = table(bakepy(project, "run").stderr)
    assert one[-3:] == ["0", "0", "2"]
    assert two[-3:] == ["0", "0", "3"]


def test_keep_going_finishes_the_rest_and_tells_the_failure_once(project: Path) -> None:
    done = bakepy(project, "run", "--keep-going", "one", "bad", "app", "--metadata-file", "out/all.json", status=3)
    assert (project / "out/one.tar").exists()
    assert done.stderr.count("ERROR: Dockerfile:6:1") == 1
    assert '"/missing": not found' in done.stderr
    assert "    COPY missing /x\n    ^^^^^^^^^^^^^^^\n" in done.stderr
    assert "blocked by bad" in done.stderr
    outcomes = {
        name: facts["bakepy.outcome"] for name, facts in json.loads((project / "out/all.json").read_text()).items()
    }
    assert outcomes == {"one": "succeeded", "bad": "failed", "app": "blocked"}


def test_a_failed_build_is_status_1(project: Path) -> None:
    assert "✗ bad" in bakepy(project, "run", "bad", status=1).stderr


def test_rawjson_is_nothing_but_json_and_quiet_is_nothing(project: Path) -> None:
    lines = bakepy(project, "run", "--progress", "rawjson").stderr.splitlines()
    assert lines
    assert all(set(json.loads(line)) <= {"vertexes", "statuses", "logs", "warnings"} for line in lines)
    assert bakepy(project, "run", "--progress", "quiet").stderr == ""


def test_build_writes_image_id_and_metadata_and_prints_the_id(project: Path) -> None:
    done = bakepy(
        project, "build", ".", "-q", "--target", "more", "-t", "x:1", "-o", "type=oci,dest=x.tar",
        "--iidfile", "id", "--metadata-file", "meta.json",
    )  # fmt: skip
    metadata = json.loads((project / "meta.json").read_text())
    assert done.stderr == ""
    assert done.stdout == metadata["containerimage.config.digest"] + "\n"
    assert (project / "id").read_text() + "\n" == done.stdout
    assert not any(name.startswith("bakepy.") for name in metadata)


def test_build_takes_what_buildx_takes_without_listing_it(project: Path) -> None:
    done = bakepy(
        project, "build", ".", "--compress", "--rm=false", "--force-rm", "-D", "--squash", "--isolation=default",
        "--security-opt", "x", "-q", "--target", "more",
    )  # fmt: skip
    assert done.stderr == "".join(
        f"WARNING: --{name} is left out: BuildKit has nothing like it, and bakepy neither\n"
        for name in ("isolation", "security-opt", "squash")
    )
    done = bakepy(project, "build", ".", "-m", "lots", status=2)
    assert done.stderr == (
        "ERROR: target.default.resources: invalid size: 'lots'\nhint: a number of bytes, or as in 64m or 2g\n"
    )
    done = bakepy(project, "build", ".", "-c", "many", status=2)
    assert done.stderr == ("ERROR: --resource cpu-shares=many: 'cpu-shares' must be a whole number, not 'many'\n")


def test_build_reads_the_dockerfile_from_standard_input(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bakepy", "build", ".", "-f", "-", "-o", "tree"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(project.parent)},
        input="FROM scratch\nCOPY a /other\n",
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (project / "tree/other").read_text() == "a\n"


def test_nothing_is_written_when_a_definition_is_wrong(project: Path) -> None:
    before = sorted(project.rglob("*"))
    done = bakepy(project, "run", "one", "two", "--set", "two.target=mroe", status=2)
    assert "did you mean 'more'?" in done.stderr
    assert sorted(project.rglob("*")) == before


def test_plan_tells_what_is_shared_and_cached(project: Path) -> None:
    assert "2 targets" in bakepy(project, "plan").stdout
    bakepy(project, "run")
    lines = bakepy(project, "plan").stdout.splitlines()
    assert [line.split()[:2] for line in lines if "COPY" in line] == [
        ["cached", "one"],
        ["cached", "two"],
        ["cached", "two"],
    ]
    assert json.loads(bakepy(project, "plan", "--format", "json").stdout)["vertices"][-1]["cached"] is True
    assert bakepy(project, "plan", "--format", "dto", status=2).stderr == (
        "ERROR: unknown value 'dto' of --format\nhint: did you mean 'dot'?\n"
    )
