"""What users get wrong: the place, what is wrong, what to do; the right exit code; nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Bakepy, write

GOOD = {"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a\n"}

CASES: dict[str, tuple[dict[str, str], list[str], list[str]]] = {
    "unknown key": (
        {"bake.toml": '[target.default]\nplatfroms = ["linux/amd64"]\n'},
        [],
        ["bake.toml:2:1", "platfroms", "^^^^^^^^^", "did you mean 'platforms'?"],
    ),
    "wrong type": (
        {"bake.toml": '[target.default]\ntags = "a:b"\n'},
        [],
        ["bake.toml:2:", "tags", '    tags = "a:b"', "^"],
    ),
    "unknown architecture": (
        {"bake.toml": '[target.default]\nplatforms = ["linux/amd64", "linux/adm64"]\n'},
        [],
        ["bake.toml:2:30", "adm64", "^^^^^^^^^^^", "linux/amd64"],
    ),
    "undefined variable": (
        {"bake.toml": '[variable.VERSION]\ndefault = "1"\n[target.default]\ntags = ["a:${VERSOIN}"]\n'},
        [],
        ["bake.toml:4:", "VERSOIN", "did you mean 'VERSION'?"],
    ),
    "cycle in contexts": (
        {"bake.toml": '[target.a]\ncontexts = { b = "target:b" }\n[target.b]\ncontexts = { a = "target:a" }\n'},
        ["a"],
        ["bake.toml:", "a -> b -> a"],
    ),
    "cycle in inherits": (
        {"bake.toml": '[target.a]\ninherits = ["b"]\n[target.b]\ninherits = ["a"]\n'},
        ["a"],
        ["bake.toml:4:14", "a -> b -> a", "^"],
    ),
    "cycle in groups": (
        {"bake.toml": '[group.a]\ntargets = ["b"]\n[group.b]\ntargets = ["a"]\n'},
        ["a"],
        ["a -> b -> a"],
    ),
    "cycle in variables": (
        {"bake.toml": '[variable.A]\ndefault = "${B}"\n[variable.B]\ndefault = "${A}"\n[target.default]\n'},
        [],
        ["bake.toml:4:14", "A -> B -> A"],
    ),
    "unknown target": (
        {"bake.toml": "[target.server]\n[target.client]\n"},
        ["sever"],
        ["sever", "did you mean 'server'?"],
    ),
    "missing Dockerfile": (
        {"bake.toml": '[target.default]\ndockerfile = "Dockerfil"\n'},
        [],
        ["bake.toml:2:", "Dockerfil", "did you mean 'Dockerfile'?"],
    ),
    "unknown instruction": (
        {"bake.toml": "[target.default]\n", "Dockerfile": "FROM scratch\nCPOY a /a\n"},
        [],
        ["Dockerfile:2:1", "CPOY", "^^^^", "did you mean 'COPY'?"],
    ),
    "unknown stage": (
        {"bake.toml": '[target.default]\ntarget = "biuld"\n', "Dockerfile": "FROM scratch AS build\nCOPY a /a\n"},
        [],
        ["bake.toml:2:", "biuld", "build"],
    ),
    "syntax": ({"bake.toml": "[target.default\n"}, [], ["bake.toml:1:"]),
    "bad override": (
        {"bake.toml": "[target.default]\n"},
        ["--set", "default.tgas=x"],
        ["tgas", "did you mean 'tags'?"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_shown_where_it_is(name: str, bakepy: Bakepy, tmp_path: Path) -> None:
    files, arguments, expected = CASES[name]
    folder = write(tmp_path / "project", {**GOOD, **files})
    before = sorted(path.name for path in folder.iterdir())
    done = bakepy.run("run", *arguments, cwd=folder, status=2)
    for text in expected:
        assert text in done.stderr, done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in folder.iterdir()) == before


def test_several_mistakes_are_told_at_once(bakepy: Bakepy, tmp_path: Path) -> None:
    text = '[target.default]\ntgas = ["a"]\n[target.other]\ncontex = "b"\n'
    done = bakepy.run("run", cwd=write(tmp_path / "project", {**GOOD, "bake.toml": text}), status=2)
    assert "bake.toml:2:1" in done.stderr
    assert "bake.toml:4:1" in done.stderr


@pytest.mark.runtime
def test_a_missing_copy_source_is_shown_in_the_dockerfile(bakepy: Bakepy, tmp_path: Path) -> None:
    files = {"bake.toml": "[target.default]\n", "Dockerfile": "FROM scratch\nCOPY missing /a\n", "mising": ""}
    done = bakepy.run("run", cwd=write(tmp_path / "project", files), status=1)
    assert "Dockerfile:2" in done.stderr
    assert '"/missing": not found' in done.stderr
    assert "did you mean 'mising'?" in done.stderr


FAILING = {
    "bake.toml": """
[group.default]
targets = ["bad", "good"]
[target._]
contexts = { busybox = "${BASE}" }
[variable.BASE]
[target.bad]
inherits = ["_"]
output = ["type=local,dest=bad"]
[target.good]
inherits = ["_"]
dockerfile = "good.Dockerfile"
output = ["type=local,dest=good"]
""",
    "Dockerfile": "FROM busybox\nRUN true\nRUN echo the last words; exit 7\n",
    "good.Dockerfile": "FROM busybox AS made\nRUN echo done > /done\nFROM scratch\nCOPY --from=made /done /\n",
}


@pytest.mark.runtime
def test_a_failing_step_shows_its_last_words_line_and_code(bakepy: Bakepy, tmp_path: Path, busybox: Path) -> None:
    folder = write(tmp_path / "project", FAILING)
    base = {"BASE": f"oci-layout://{busybox}:latest"}
    done = bakepy.run("run", "bad", cwd=folder, env=base, status=1)
    assert "the last words" in done.stderr
    assert "Dockerfile:3" in done.stderr
    assert "exit code: 7" in done.stderr
    assert not (folder / "bad").exists()


@pytest.mark.runtime
def test_keep_going_finishes_the_others(bakepy: Bakepy, tmp_path: Path, busybox: Path) -> None:
    folder = write(tmp_path / "project", FAILING)
    base = {"BASE": f"oci-layout://{busybox}:latest"}
    done = bakepy.run("run", "--keep-going", cwd=folder, env=base, status=3)
    assert (folder / "good/done").read_text() == "done\n"
    assert "exit code: 7" in done.stderr
