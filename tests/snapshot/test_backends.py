"""Overlays, overlays of an ordinary user, and copies: the same changes make the same layers, and the same layers the
same trees."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from bakepy.errors import EngineError
from bakepy.snapshot import tree
from tests.support import backend_trees
from tests.support.backend_trees import DEEP
from tests.support.ordinary_user import command, ordinary_home
from tests.support.snapshots import Snapshots, open_snapshots

pytestmark = pytest.mark.runtime

SEEDS = 8
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def as_root(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("overlay")
    return backend_trees.observe(root, "overlay", SEEDS)


def as_user(snapshotter: str) -> dict[str, Any]:
    with ordinary_home() as home:
        words = (sys.executable, "-m", backend_trees.__name__, home / "root", snapshotter, str(SEEDS))
        (home / "root").mkdir()
        (home / "root").chmod(0o777)
        done = subprocess.run(command(home, *words), cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def test_overlays_unpack_what_they_packed(as_root: dict[str, Any]) -> None:
    assert as_root["overlays"] is True
    for seed in range(SEEDS):
        found = as_root[f"random {seed}"]
        assert found["unpacked"] == found["tree"], f"random {seed}"


def test_changes_are_of_all_kinds(as_root: dict[str, Any]) -> None:
    """Lest the others compare nothing with nothing."""
    lines = [line for seed in range(SEEDS) for layer in as_root[f"random {seed}"]["layers"] for line in layer]
    words = [line.split(" ") for line in lines]
    assert {word[1] for word in words} == {"file", "dir", "symlink", "hardlink", "fifo"}
    assert sum("/.wh." in f"/{word[0]}" for word in words) > 20
    assert any("security.capability" in line for line in lines)


def test_deep_chain(as_root: dict[str, Any]) -> None:
    deep = as_root["deep"]
    assert [line.split(" ")[0] for line in deep["tree"]] == sorted(f"f{number}" for number in range(1, DEEP, 2))
    assert deep["unpacked"] == deep["tree"]
    assert [line.split(" ")[0] for line in deep["layers"][-1]] == [f".wh.f{DEEP - 2}", f"f{DEEP - 1}"]


@pytest.mark.parametrize("way", ["root copy", "user overlay", "user copy"])
def test_the_same_everywhere(as_root: dict[str, Any], tmp_path: Path, way: str) -> None:
    who, snapshotter = way.split(" ")
    found = backend_trees.observe(tmp_path, snapshotter, SEEDS) if who == "root" else as_user(snapshotter)
    assert found.pop("overlays") is (snapshotter == "overlay")
    for name, observed in found.items():
        assert observed == as_root[name], name


@pytest.mark.anyio
async def test_copies_go_on_where_overlays_left_off(tmp_path: Path) -> None:
    def first(tree: Path) -> None:
        (tree / "d").mkdir()
        for name in ("a", "d/b", "d/c"):
            (tree / name).write_text(name)

    def second(tree: Path) -> None:
        (tree / "a").unlink()
        shutil.rmtree(tree / "d")
        (tree / "d").mkdir()
        (tree / "d/new").write_text("new")

    with open_snapshots(tmp_path, "overlay") as overlays:
        await overlays.commit("first", None, first)
        await overlays.commit("second", "first", second)
        layer = overlays.changes("second")
    with open_snapshots(tmp_path, "copy") as copies:
        assert copies.changes("second") == layer
        async with copies.store.view("second") as tree:
            assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["d", "d/new"]
        await copies.commit("third", "second", lambda tree: (tree / "d/new").unlink())
        assert copies.changes("third") == ["dir d 755 0:0", "file d/.wh.new 0 0:0"]
    with open_snapshots(tmp_path, "overlay") as overlays:
        await overlays.commit("fourth", "third", lambda tree: (tree / "e").mkdir())
        assert overlays.changes("fourth") == ["dir e 755 0:0"]
        async with overlays.store.view("fourth") as tree:
            assert sorted(str(path.relative_to(tree)) for path in tree.rglob("*")) == ["d", "e"]
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.anyio
async def test_a_copy_ends_when_nobody_waits_for_it(copying: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of many files takes seconds, which an interrupt must not."""

    def fill(folder: Path) -> None:
        for number in range(500):
            (folder / str(number)).touch()

    await copying.commit("many", None, fill)
    original, copied = tree.copy_node, list[bytes]()

    def copy_node(source: bytes, target: bytes, facts: os.stat_result) -> None:
        if not copied:
            anyio.from_thread.run_sync(scope.cancel)
        copied.append(target)
        original(source, target, facts)

    monkeypatch.setattr(tree, "copy_node", copy_node)
    with anyio.CancelScope() as scope:
        async with copying.store.prepare("many"):
            pass
    assert scope.cancelled_caught
    assert 0 < len(copied) < 500
    assert not any(path.name.startswith("active") for path in copying.store.scratch.path.iterdir())


def test_overlays_that_are_wanted_and_can_not_be(copying_root: Path) -> None:
    with open_snapshots(copying_root, "overlay") as snapshots, pytest.raises(EngineError) as caught:
        snapshots.store.open_active(None)
    assert caught.value.what.startswith("overlays can not be mounted on this state root: mount: ")
