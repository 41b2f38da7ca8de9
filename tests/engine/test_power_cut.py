"""What is trusted of a state root after the machine was started anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bakepy.engine.root import distrust_unflushed, forget_about
from bakepy.snapshot.census import Census
from tests.support.snapshots import Snapshots, open_snapshots
from tests.support.trees import file_member, tar_bytes, tar_layer

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

DAY = 86400


@dataclass
class Machine:
    """A machine with a state root that can be started anew. `flushes`: what its kernel says of dirty pages."""

    snapshots: Snapshots
    proc: Path
    gone: list[str]

    def boot(self, id: str) -> int:
        """The first look at the root after the machine was started as `id`: how many trees are given up."""
        (self.proc / "boot_id").write_text(f"{id}\n")
        database, root = self.snapshots.database, self.snapshots.root
        return distrust_unflushed(
            root,
            database,
            Census(root, database, self.gone.extend),
            lambda: self.snapshots.store.scratch.name("gone"),
            boot_id=self.proc / "boot_id",
            writeback=self.proc,
        )


@pytest.fixture
def machine(state_root: Path, tmp_path: Path) -> Iterator[Machine]:
    for name, value in (("expire", 3000), ("writeback", 500)):
        (tmp_path / f"dirty_{name}_centisecs").write_text(f"{value}\n")
    with open_snapshots(state_root) as snapshots:
        yield Machine(snapshots, tmp_path, [])


async def make(machine: Machine, *ids: str) -> None:
    for id in ids:
        await machine.snapshots.commit(id, None, lambda root: (root / "f").write_text("x"))


def trees(machine: Machine) -> list[str]:
    return [id for (id,) in machine.snapshots.database.query("SELECT id FROM snapshot ORDER BY number")]


async def test_what_was_made_shortly_before_a_crash_is_given_up(machine: Machine) -> None:
    assert machine.boot("first") == 0
    await make(machine, "one", "two")
    assert machine.boot("first") == 0
    assert trees(machine) == ["one", "two"]
    assert machine.boot("second") == 2
    assert (trees(machine), machine.gone) == ([], ["one", "two"])
    assert list((machine.snapshots.root / "snapshots").iterdir()) == []
    assert machine.boot("second") == 0


async def test_what_is_on_top_of_it_goes_too_and_old_trees_stay(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.boot("first")
    await make(machine, "old", "young")
    await machine.snapshots.commit("child", "young", lambda root: None)
    old = machine.snapshots.root / "snapshots/1"
    stat = Path.stat

    def aged(path: Path, **options: bool) -> os.stat_result:
        """Nobody can set the time of a change; the kernel flushes within 35 s, which counts twice, and a minute."""
        facts = stat(path, **options)
        if path != old:
            return facts
        return os.stat_result((*tuple(facts)[:9], facts.st_ctime - 131))

    monkeypatch.setattr(Path, "stat", aged)
    assert machine.boot("second") == 2
    assert trees(machine) == ["old"]
    assert machine.gone == ["young", "child"]


async def test_layers_of_images_are_unpacked_again(machine: Machine) -> None:
    machine.boot("first")
    members = [file_member("f", b"x")]
    machine.snapshots.add_lazy("base", None, tar_layer(None, members), tar_bytes(members))
    await machine.snapshots.store.materialize("base")
    assert machine.boot("second") == 1
    found = machine.snapshots.store.find("base")
    assert found is not None and found.lazy
    with open_snapshots(machine.snapshots.root) as later:
        later.blobs["base"] = tar_bytes(members)
        async with later.store.view("base") as tree:
            assert (tree / "f").read_bytes() == b"x"


async def test_without_periodic_flushing_nothing_is_trusted(machine: Machine) -> None:
    (machine.proc / "dirty_writeback_centisecs").write_text("0\n")
    machine.boot("first")
    await make(machine, "one", "two")
    assert machine.boot("second") == 2


async def test_a_root_that_was_copied_here_is_trusted(machine: Machine) -> None:
    machine.boot("first")
    await make(machine, "one")
    machine.snapshots.database.execute("UPDATE boots SET place = 'elsewhere'")
    assert machine.boot("second") == 0
    assert trees(machine) == ["one"]


async def test_where_the_kernel_does_not_tell_nothing_is_given_up(machine: Machine) -> None:
    machine.boot("first")
    await make(machine, "one")
    database, root = machine.snapshots.database, machine.snapshots.root
    census = Census(root, database)
    assert distrust_unflushed(root, database, census, lambda: root / "unused", boot_id=machine.proc / "absent") == 0
    assert trees(machine) == ["one"]


async def test_what_others_know_of_lost_trees_goes_with_them(machine: Machine) -> None:
    database = machine.snapshots.database
    database.create("CREATE TABLE content_digests (snapshot TEXT, selection TEXT, digest TEXT)")
    await make(machine, "one", "two")
    for id in ("one", "two"):
        database.execute("INSERT INTO content_digests VALUES (?, '', '')", id)
    census = Census(machine.snapshots.root, database, forget_about(database))
    assert census.drop(["one"], lambda: machine.snapshots.store.scratch.name("gone")) == 1
    assert database.query("SELECT snapshot FROM content_digests") == [("two",)]


async def test_a_tree_without_its_files_is_not_present(machine: Machine) -> None:
    store = machine.snapshots.store
    await make(machine, "low", "other")
    await machine.snapshots.commit("high", "low", lambda root: None)
    with open_snapshots(machine.snapshots.root) as later:
        assert later.store.present("high")
        (machine.snapshots.root / "snapshots/1").rename(machine.snapshots.root / "elsewhere")
        assert later.store.present("high")  # looked for once in a run
    assert not store.present("high")
    assert trees(machine) == ["other"]
    assert not store.present("low")
    assert store.present("other")
