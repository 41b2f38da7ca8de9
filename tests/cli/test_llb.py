"""`bakepy llb`: the definition of one target, in three forms, and what it needs besides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bakepy.llb.op import FileOp, SourceOp
from bakepy.llb.unmarshal import unmarshal
from bakepy.model.digest import Digest
from tests.support.base_image import write_base_image

BAKE = """
[target.app]
contexts = { assets = "more files", base = "oci-layout://./base" }
[target.arch]
dockerfile-inline = "FROM scratch\\nCOPY a /\\n"
platforms = ["linux/amd64", "linux/arm64"]
[target.empty]
dockerfile-inline = "FROM scratch\\n"
[target.linked]
contexts = { other = "target:arch" }
dockerfile-inline = "FROM other\\nCOPY a /again\\n"
[group.default]
targets = ["app", "empty"]
"""
DOCKERFILE = "FROM base\nCOPY a /\nCOPY --from=assets b /\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "more files").mkdir(parents=True)
    for name, text in {"Dockerfile": DOCKERFILE, "bake.toml": BAKE, "a": "a\n", "more files/b": "b\n"}.items():
        (folder / name).write_text(text)
    write_base_image(folder / "base")
    return folder


def bakepy(project: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    """Runs `bakepy llb` with a state root beside the project."""
    done = subprocess.run(
        [sys.executable, "-m", "bakepy", "llb", *arguments],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": str(project.parent)},
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == status, done.stderr.decode()
    return done


def test_a_definition_is_written_as_protobuf(project: Path) -> None:
    definition = unmarshal(bakepy(project, "arch", "--platform", "linux/arm64").stdout)
    (context, copy) = definition.vertices
    assert definition.head is not None
    assert definition.head.vertex == copy.digest
    assert isinstance(context.op, SourceOp)
    assert context.op.identifier == "local://context"
    assert isinstance(copy.op, FileOp)
    assert copy.metadata.name == "[1/1] COPY a /"
    assert copy.locations[0][0].start.line == 2


def test_sources_that_a_daemon_asks_for_are_told_as_flags_of_buildctl(project: Path) -> None:
    told = bakepy(project, "app").stderr.decode().splitlines()
    store = next(line.split()[1].partition("=")[0] for line in told if line.startswith("--oci-layout "))
    assert sorted(told) == [
        f"--local 'assets={project}/more files'",
        f"--local context={project}",
        f"--oci-layout {store}={project}/base",
    ]
    used = [vertex.op for vertex in unmarshal(bakepy(project, "app").stdout).vertices]
    assert {op.identifier for op in used if isinstance(op, SourceOp) and op.scheme == "local"} == {
        "local://assets", "local://context",
    }  # fmt: skip
    assert [op.attrs["oci.store"] for op in used if isinstance(op, SourceOp) and op.scheme == "oci-layout"] == [store]


def test_json_is_one_op_a_line(project: Path) -> None:
    lines = [
        json.loads(line)
        for line in bakepy(project, "arch", "--platform=linux/amd64", "--format=json").stdout.splitlines()
    ]
    definition = unmarshal(bakepy(project, "arch", "--platform=linux/amd64").stdout)
    assert [line["Digest"] for line in lines] == [
        *(vertex.digest for vertex in definition.vertices), Digest.of(definition.closing()),
    ]  # fmt: skip
    assert lines[0]["Op"]["Op"]["source"]["identifier"] == "local://context"


def test_dot_has_every_op(project: Path) -> None:
    text = bakepy(project, "linked", "--platform=linux/amd64", "--format=dot").stdout.decode()
    assert text.startswith("digraph {\n")
    assert text.count('"copy /') == 2
    assert text.endswith("}\n")


def test_a_file_is_written_instead_of_stdout(project: Path) -> None:
    assert bakepy(project, "linked", "--platform=linux/amd64", "-o", "x.pb").stdout == b""
    assert (project / "x.pb").read_bytes() == bakepy(project, "linked", "--platform=linux/amd64").stdout


def test_the_empty_tree_has_an_empty_definition(project: Path) -> None:
    done = bakepy(project, "empty")
    assert done.stdout == b""
    assert done.stderr.decode() == "WARNING: the target is the empty tree: its definition has no ops\n"


def test_one_target_and_one_platform_must_be_named(project: Path) -> None:
    assert bakepy(project, status=2).stderr.decode() == (
        "ERROR: a definition is of one target; these were asked for: app, empty\nhint: name one of them\n"
    )
    assert bakepy(project, "arch", status=2).stderr.decode() == (
        "ERROR: a definition is for one platform; arch is built for linux/amd64, linux/arm64\n"
        "hint: choose one with --platform\n"
    )


def test_nothing_binary_goes_to_a_terminal(project: Path) -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bakepy", "llb", "empty"],
            cwd=project,
            env={"PATH": os.environ["PATH"], "HOME": str(project.parent)},
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert (done.returncode, done.stderr) == (
        2,
        "ERROR: a definition is binary, nothing for a terminal\n"
        "hint: pipe it into 'buildctl build', write it with -o FILE, or ask for --format json\n",
    )


def test_unknown_formats_are_refused(project: Path) -> None:
    assert bakepy(project, "app", "--format", "protbuf", status=2).stderr.decode() == (
        "ERROR: unknown value 'protbuf' of --format\nhint: did you mean 'protobuf'?\n"
    )


LINKED = "FROM scratch\nCOPY a /\nCOPY --link a /b\nADD --checksum=sha256:" + "a" * 64 + " https://h.test/x /c\n"


def ops(project: Path, *arguments: str) -> list[str]:
    """The kinds of the ops of the definition."""
    return [type(vertex.op).__name__ for vertex in unmarshal(bakepy(project, *arguments).stdout).vertices]


def test_an_older_buildkit_gets_what_it_knows(project: Path) -> None:
    (project / "bake.toml").write_text("[target.app]\n")
    (project / "Dockerfile").write_text(LINKED)
    assert ops(project, "app") == ["SourceOp", "FileOp", "FileOp", "MergeOp", "SourceOp", "FileOp"]
    older = ["SourceOp", "FileOp", "FileOp", "SourceOp", "FileOp"]
    assert ops(project, "app", "--without-cap=mergeop") == older
    (project / "caps").write_text("# of an old one\nfile.base\nsource.local # and more\nsource.http\n")
    assert ops(project, "app", "--caps=caps") == older
    told = bakepy(project, "app", "--caps=caps", "--without-cap", "source.http").stderr.decode().splitlines()
    assert told[-1] == (
        "WARNING: the definition needs what that BuildKit lacks: source.http, source.http.checksum, "
        "source.local.followpaths, source.local.sharedkeyhint, source.local.unique"
    )


def test_capabilities_are_known_ones_in_a_file_that_can_be_read(project: Path) -> None:
    assert bakepy(project, "app", "--without-cap=merge-op", status=2).stderr.decode() == (
        "ERROR: --without-cap: unknown capability 'merge-op'\nhint: did you mean 'mergeop'?\n"
    )
    assert bakepy(project, "app", "--caps=none", status=2).stderr.decode() == (
        "ERROR: --caps: none can not be read: No such file or directory\n"
    )
