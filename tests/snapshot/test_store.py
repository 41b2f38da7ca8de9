"""Snapshots kept, shared, unpacked and removed; what a killed process leaves is gone for the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import anyio
import pytest

from bakepy.content.entry import Layer
from bakepy.errors import BuildError, EngineError
from bakepy.model.digest import Digest
from bakepy.snapshot.table import Snapshot
from tests.support.damage import damage
from tests.support.snapshots import Snapshots, open_snapshots
from tests.support.trees import Member, file_member, member, mount_points_below, tar_bytes, tar_layer

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]


REPOSITORY = Path(__file__).parents[2]


def start(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, cwd=REPOSITORY
    )


async def text_in(machine: Snapshots, id: str, name: str) -> str:
    async with machine.store.view(id) as tree:
        return (tree / name).read_text()


async def test_child_begins_as_its_parent(either: Snapshots) -> None:
    await either.commit("one", None, lambda root: (root / "f").write_text("1"))
    snapshot = await either.commit("two", "one", lambda root: (root / "g").write_text((root / "f").read_text() + "2"))
    assert snapshot == Snapshot("two", "one")
    assert await text_in(either, "two", "g") == "12"
    assert await text_in(either, "one", "f") == "1"
    assert [found.id for found in either.store.chain("two")] == ["one", "two"]


async def test_tree_that_is_not_committed_is_thrown_away(either: Snapshots) -> None:
    async with either.store.prepare(None) as active:
        (active.path / "f").write_text("")
        path = active.path
    assert not path.exists()
    assert mount_points_below(either.root) == []


async def test_tree_of_a_cancelled_step_is_thrown_away(machine: Snapshots) -> None:
    with anyio.CancelScope() as scope:
        async with machine.store.prepare(None) as active:
            (active.path / "f").write_text("")
            scope.cancel()
            await anyio.sleep_forever()
    assert mount_points_below(machine.root) == []
    assert sorted(path.name for path in machine.store.scratch.path.iterdir()) == ["empty1"]


async def test_second_commit_of_an_id_keeps_the_first(either: Snapshots) -> None:
    await either.commit("same", None, lambda root: (root / "f").write_text("first"))
    again = await either.commit("same", None, lambda root: (root / "f").write_text("second"))
    assert again == Snapshot("same", None)
    assert await text_in(either, "same", "f") == "first"


async def test_mount_left_inside_goes_with_the_commit(machine: Snapshots) -> None:
    def change(root: Path) -> None:
        (root / "m").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", root / "m"], check=True)
        (root / "m/hidden").write_text("")

    await machine.commit("step", None, change)
    assert machine.changes("step") == ["dir m 755 0:0"]
    assert mount_points_below(machine.root) == []


async def test_view_is_read_only(machine: Snapshots) -> None:
    await machine.commit("one", None, lambda root: (root / "f").write_text("1"))
    async with machine.store.view("one") as tree:
        with pytest.raises(OSError, match="Read-only file system"):
            (tree / "f").write_text("2")


async def test_view_of_nothing_is_an_empty_folder(either: Snapshots) -> None:
    async with either.store.view(None) as tree:
        assert list(tree.iterdir()) == []


async def test_two_hundred_layers(machine: Snapshots) -> None:
    parent = None
    for number in range(200):
        id = f"layer {number}"
        await machine.commit(id, parent, lambda root, name=f"f{number}": (root / name).write_text(name))  # type: ignore[misc]
        parent = id
    async with machine.store.view(parent) as tree:
        assert len(list(tree.iterdir())) == 200
    assert machine.changes("layer 199") == ["file f199 644 0:0 'f199'"]


async def test_unknown_snapshot_is_an_error_that_names_it(machine: Snapshots) -> None:
    with pytest.raises(EngineError, match="snapshot nobody is not in the state root"):
        machine.store.chain("nobody")
    assert machine.store.find("nobody") is None


async def test_missing_files_are_told(machine: Snapshots) -> None:
    await machine.commit("one", None, lambda root: None)
    (machine.root / "snapshots/1").rename(machine.root / "elsewhere")
    with pytest.raises(EngineError, match=r"^files of the state root are missing: .*/snapshots/1/fs\n"):
        async with machine.store.prepare("one"):
            pass
    assert sorted(path.name for path in machine.store.scratch.path.iterdir()) == ["empty1"]


async def test_parent_can_not_be_removed(either: Snapshots) -> None:
    await either.commit("one", None, lambda root: (root / "f").write_text("1"))
    await either.commit("two", "one", lambda root: None)
    with pytest.raises(EngineError, match="snapshot one is the parent of others"):
        either.store.remove("one")
    either.store.remove("two")
    either.store.remove("one")
    assert either.store.find("one") is None
    assert list((either.root / "snapshots").iterdir()) == []


async def test_layer_of_a_snapshot_is_remembered_for_each_compression(machine: Snapshots) -> None:
    await machine.commit("one", None, lambda root: None)
    layer = tar_layer(None, [])
    machine.store.remember_layer("one", "gzip", layer)
    assert machine.store.known_layer("one", "gzip") == layer
    assert machine.store.known_layer("one", "zstd") is None


async def test_lazy_layers_are_fetched_when_they_are_needed_and_once(either: Snapshots) -> None:
    low: list[Member] = [
        member("d", tarfile.DIRTYPE, mode=0o750, mtime=5, uid=3),
        file_member("d/a", b"a"),
        file_member("d/b", b"b"),
    ]
    high: list[Member] = [
        member("d", tarfile.DIRTYPE, mode=0o750, mtime=6, uid=3),
        member("d/.wh.a"),
        file_member("d/c", b"c"),
    ]
    either.add_lazy("low", None, tar_layer(None, low), tar_bytes(low))
    either.add_lazy("high", "low", tar_layer(None, high), tar_bytes(high))
    found = either.store.find("high")
    assert found is not None and found.lazy
    assert either.fetched == []
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(either.store.materialize, "high")
    assert sorted(either.fetched) == ["origin of high", "origin of low"]
    async with either.store.view("high") as tree:
        assert sorted(path.name for path in (tree / "d").iterdir()) == ["b", "c"]
        facts = (tree / "d").stat()
        assert (facts.st_mode & 0o7777, facts.st_uid, facts.st_mtime) == (0o750, 3, 6)
    found = either.store.find("high")
    assert found is not None and not found.lazy and found.layer is not None


async def test_a_damaged_blob_is_fetched_anew_and_unpacked(state_root: Path) -> None:
    """What lay in the state root since an earlier run has one wrong byte."""
    members: list[Member] = [file_member("f", b"x" * 3000)]
    layer, data = tar_layer(None, members), tar_bytes(members)
    with open_snapshots(state_root) as machine:
        machine.content.put(data)
    damage(machine.content.path(layer.descriptor.digest))
    with open_snapshots(state_root) as machine:
        machine.add_lazy("one", None, layer, data)
        await machine.store.materialize("one")
        async with machine.store.view("one") as tree:
            assert (tree / "f").read_bytes() == b"x" * 3000
        assert machine.fetched == ["origin of one"] * 2


async def test_folder_that_a_layer_only_implies_keeps_its_facts_from_below(either: Snapshots) -> None:
    low: list[Member] = [member("d", tarfile.DIRTYPE, mode=0o700, uid=3, gid=4)]
    high = [file_member("d/f", b"f")]
    either.add_lazy("low", None, tar_layer(None, low), tar_bytes(low))
    either.add_lazy("high", "low", tar_layer(None, high), tar_bytes(high))
    async with either.store.view("high") as tree:
        facts = (tree / "d").stat()
        assert (facts.st_mode & 0o7777, facts.st_uid, facts.st_gid) == (0o700, 3, 4)


async def test_layer_with_another_diff_id_is_refused(either: Snapshots) -> None:
    data = tar_bytes([file_member("f", b"")])
    layer = Layer(tar_layer(None, [file_member("f", b"")]).descriptor, Digest.of(b"other"))
    either.add_lazy("bad", None, layer, data)
    with pytest.raises(BuildError) as caught:
        await either.store.materialize("bad")
    assert str(caught.value) == f"layer has diff ID {Digest.of(data)}, {Digest.of(b'other')} was expected"
    found = either.store.find("bad")
    assert found is not None and found.lazy


async def test_what_a_killed_process_left_is_removed(state_root: Path) -> None:
    script = (
        "import sys, anyio\n"
        "from pathlib import Path\n"
        "from tests.support.snapshots import open_snapshots\n"
        "async def main():\n"
        "    with open_snapshots(Path(sys.argv[1])) as machine:\n"
        "        async with machine.store.prepare(None) as active:\n"
        "            (active.path / 'f').write_text('half')\n"
        "            print('mounted', flush=True)\n"
        "            await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    process = start(script, state_root)
    assert process.stdout is not None and process.stdout.readline() == b"mounted\n"
    with process.stdout, open_snapshots(state_root) as machine:
        # it lives: it keeps what it has
        assert len(list((state_root / "tmp").iterdir())) == 2
        assert machine.store.scratch.swept == ()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(mount_points_below(state_root)) == 1
    with open_snapshots(state_root) as machine:
        assert len(machine.store.scratch.swept) == 1
        assert mount_points_below(state_root) == []
        assert list((state_root / "tmp").iterdir()) == [machine.store.scratch.path]


async def test_two_processes_share_a_root(state_root: Path) -> None:
    script = (
        "import sys, anyio\n"
        "from pathlib import Path\n"
        "from tests.support.snapshots import open_snapshots\n"
        "async def main():\n"
        "    with open_snapshots(Path(sys.argv[1])) as machine:\n"
        "        for n in range(30):\n"
        "            parent = f's{n - 1}' if n else None\n"
        "            await machine.commit(f's{n}', parent, lambda root: (root / str(n)).write_text(sys.argv[2]))\n"
        "anyio.run(main)\n"
    )
    processes = [start(script, state_root, name) for name in "ab"]
    for process in processes:
        assert process.communicate()[0] == b""
        assert process.returncode == 0
    with open_snapshots(state_root) as machine:
        async with machine.store.view("s29") as tree:
            assert sorted(int(path.name) for path in tree.iterdir()) == list(range(30))
    assert len(os.listdir(state_root / "snapshots")) == 30  # noqa: PTH208
    assert list((state_root / "tmp").iterdir()) == []
