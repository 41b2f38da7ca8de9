"""A state root that something happened to: what is told, and that the next build is right all the same."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Bakepy, executed, write
from tests.support.damage import damage, damage_blobs

pytestmark = pytest.mark.runtime

PROJECT = {
    "bake.toml": """
[variable.BASE]
[target.default]
contexts = { busybox = "${BASE}" }
output = ["type=oci,dest=out.tar"]
args = { SOURCE_DATE_EPOCH = "1700000000" }
""",
    "Dockerfile": "FROM busybox\nRUN echo one > /one\nCOPY f /f\nRUN cat /one /f > /two\n",
    "f": "from the context\n",
}
ALL_STEPS = ["RUN echo one > /one", "RUN cat /one /f > /two"]


class Site:
    """A project that was baked once; its archive had the files `right`."""

    def __init__(self, bakepy: Bakepy, folder: Path, busybox: Path) -> None:
        self.bakepy = bakepy
        self.folder = folder
        self.env = {"BASE": f"oci-layout://{busybox}:latest"}
        self.right = self.files() if (folder / "out.tar").exists() else {}

    @property
    def root(self) -> Path:
        return self.bakepy.root

    def bake(self) -> list[str]:
        """Bakes; the steps that were really run."""
        names = executed(self.bakepy.vertexes("run", cwd=self.folder, env=self.env))
        return [name.partition("] ")[2] for name in names]

    def said(self, status: int = 0) -> str:
        """Bakes; what people are told."""
        return self.bakepy.run("run", "--progress", "plain", cwd=self.folder, env=self.env, status=status).stderr

    def files(self) -> dict[str, bytes]:
        """What each layer of the archive has, by name."""
        found: dict[str, bytes] = {}
        with tarfile.open(self.folder / "out.tar") as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive if member.isreg()}  # type: ignore[union-attr]
        index = json.loads(files["index.json"])
        manifest = json.loads(files["blobs/" + index["manifests"][0]["digest"].replace(":", "/")])
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=io.BytesIO(files["blobs/" + layer["digest"].replace(":", "/")])) as tar:
                for member in tar:
                    if member.isreg():
                        found[member.name] = tar.extractfile(member).read()  # type: ignore[union-attr]
        return found

    def is_right(self) -> None:
        assert self.files() == self.right
        assert (self.right["one"], self.right["two"]) == (b"one\n", b"one\nfrom the context\n")

    def repair(self, how: str = "--repair") -> dict[str, str]:
        done = self.bakepy.run("doctor", how, "--format", "json", cwd=self.folder)
        return {each["name"]: f"{each['found']}: {each['done']}" for each in json.loads(done.stdout)}

    def query(self, sql: str) -> list[tuple[str, ...]]:
        with sqlite3.connect(self.root / "state.db") as database:
            found = database.execute(sql).fetchall()
        database.close()
        return found

    def tree_of(self, file: str) -> Path:
        """The folder of the snapshot that has this file in its own layer."""
        (found,) = (path for path in (self.root / "snapshots").glob("*/fs") if (path / file).exists())
        return found.parent


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Path:
    """A project and a state root, baked once for all tests: each gets a copy."""
    place = tmp_path_factory.mktemp("baked")
    site = Site(Bakepy(place / "state", place), write(place / "project", PROJECT), busybox)
    assert site.bake() == ALL_STEPS
    return place


@pytest.fixture
def site(bakepy: Bakepy, baked: Path, tmp_path: Path, busybox: Path) -> Site:
    subprocess.run(["cp", "-a", baked / "project", baked / "state", tmp_path], check=True)
    return Site(bakepy, tmp_path / "project", busybox)


def test_deleted_blobs_are_made_anew(site: Site) -> None:
    shutil.rmtree(site.root / "blobs")
    assert site.bake() == []
    site.is_right()


def test_damaged_blobs_are_made_anew(site: Site) -> None:
    assert damage_blobs(site.root) > 4
    assert site.bake() == []
    site.is_right()


def test_folders_in_the_place_of_files_are_replaced(site: Site) -> None:
    files = [site.root / "use.lock", site.root / "keys.lock", *(site.root / "blobs/sha256").iterdir()]
    for path in files:
        path.unlink()
        path.mkdir()
    assert site.bake() == []
    site.is_right()
    assert [path for path in files if path.is_dir()] == []


@pytest.mark.parametrize(
    ("lost", "again"),
    [("one", ALL_STEPS[:1]), ("two", ALL_STEPS[1:]), ("bin/busybox", [])],
    ids=["first step", "last step", "base"],
)
def test_a_deleted_tree_is_made_anew(site: Site, lost: str, again: list[str]) -> None:
    shutil.rmtree(site.tree_of(lost))
    if lost == "bin/busybox":
        shutil.rmtree(site.root / "blobs")
        (site.folder / "f").write_text("new\n")  # so that a step has to run on the base
        again = ALL_STEPS[1:]
        site.right |= {"f": b"new\n", "two": b"one\nnew\n"}
        assert site.bake() == again
        assert site.files() == site.right
        return
    ran = site.bake()
    assert ran[: len(again)] == again
    site.is_right()


@pytest.mark.parametrize(
    ("name", "again"),
    [("one", ALL_STEPS), ("two", ALL_STEPS[1:]), ("bin/busybox", [])],
    ids=["first step", "last step", "base"],
)
@pytest.mark.parametrize("more", [False, True], ids=["taken away", "added"])
def test_a_tree_whose_top_was_changed_is_made_anew(site: Site, name: str, again: list[str], more: bool) -> None:
    tree = site.tree_of(name) / "fs"
    if more:
        (tree / "more").touch()
    else:
        for path in tree.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(site.root / "blobs")
    if name == "bin/busybox":
        (site.folder / "f").write_text("new\n")  # so that a step has to run on the base
        site.right |= {"f": b"new\n", "two": b"one\nnew\n"}
        assert site.bake() == ALL_STEPS[1:]
        assert site.files() == site.right
        return
    assert site.bake() == again
    site.is_right()


def test_all_trees_deleted(site: Site) -> None:
    for path in (site.root / "snapshots").iterdir():
        shutil.rmtree(path)
    assert site.bake() == ALL_STEPS
    site.is_right()


def half(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all " * 1000)


def middle(path: Path) -> None:
    """All pages but the first two."""
    data = bytearray(path.read_bytes())
    data[8192:] = b"\x55" * (len(data) - 8192)
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [half, garbage, middle, empty, folder])
def test_a_damaged_database_is_put_aside_and_begun_anew(site: Site, spoil: Callable[[Path], None]) -> None:
    settle(site)
    spoil(site.root / "state.db")
    first = site.bakepy.run("run", "--progress", "plain", cwd=site.folder, env=site.env, status=None)
    if first.returncode:  # found in the middle of a run: that one tells, the next one mends
        assert first.returncode == 5
        assert "hint: run again: it is put aside then, and a new one is begun" in first.stderr
        said = site.said()
    else:
        said = first.stderr
    if spoil is not empty:
        assert re.search(
            rf"WARNING: the state database was damaged: it is {site.root}/state\.db\.damaged-\S+ now, "
            "and what it knew is made anew\n",
            said,
        )
    site.is_right()
    assert site.bake() == []
    assert not [path for path in site.root.iterdir() if path.name == "state.db-damaged"]


def settle(site: Site) -> None:
    """Writes what is in the journal into the database, and takes the journal away."""
    site.query("PRAGMA wal_checkpoint(TRUNCATE)")
    for suffix in ("-wal", "-shm"):
        (site.root / f"state.db{suffix}").unlink(missing_ok=True)


def test_a_damaged_database_that_another_build_uses_stays(site: Site) -> None:
    settle(site)
    garbage(site.root / "state.db")
    with (site.root / "use.lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        said = site.said(status=5)
    assert f"ERROR: state database {site.root}/state.db is damaged, and another bakepy is using it\n" in said
    assert (site.root / "state.db").read_bytes().startswith(b"no database")


def test_repair_of_a_sound_root_changes_nothing(site: Site) -> None:
    before = {
        path: path.lstat().st_mtime_ns for path in site.root.rglob("*") if path.is_file() and "db" not in path.name
    }
    found = site.repair()
    assert {name: text.rpartition(": ")[2] for name, text in found.items()} == dict.fromkeys(found, "")
    said = site.bakepy.run("doctor", "--repair", cwd=site.folder).stdout
    assert said.startswith("folders    writable\ndatabase   sound\n")
    assert said.endswith("leftovers  none\n\nNothing is broken.\n")
    assert found["database"] == "sound: "
    assert found["leftovers"] == "none: "
    assert re.fullmatch(r"(\d+) of \1 are there: ", found["trees"])
    assert {path: path.lstat().st_mtime_ns for path in before} == before
    assert site.bake() == []


def test_repair_takes_away_what_is_broken_and_what_depends_on_it(site: Site) -> None:
    shutil.rmtree(site.tree_of("one"))
    shutil.rmtree(site.tree_of("bin/busybox"))
    orphan = site.root / "snapshots/4711/fs"
    orphan.mkdir(parents=True)
    (orphan / "x").write_text("x" * 100_000)
    (site.root / "ingest/half").write_text("half")
    blobs = sorted((site.root / "blobs/sha256").iterdir())
    damage(blobs[0])
    (site.root / "blobs").chmod(0o500)
    found = site.repair()
    assert found["folders"] == f"not writable: {site.root}/blobs: made writable"
    trees = len(site.query("SELECT id FROM snapshot")) + 3
    assert found["trees"] == (
        f"{trees - 4} of {trees} are there: 1 layers of images are to be unpacked again; 3 dropped, to be made again"
    )
    assert re.fullmatch(r"\d+ of \d+ have their trees: 3 dropped", found["records"])
    assert re.fullmatch(
        rf"{len(blobs) - 1} of {len(blobs)} are what their names say \([\d.]+ MB\): "
        "1 removed, to be pulled or written again",
        found["blobs"],
    )
    assert found["leftovers"] == "2 of builds that were killed: removed (0.1 MB)"
    assert not orphan.exists()
    assert site.bake() == ALL_STEPS
    site.is_right()


def test_repair_of_a_damaged_database(site: Site) -> None:
    settle(site)
    middle(site.root / "state.db")
    found = site.repair()
    assert re.fullmatch(r"damaged: .+: put aside as state\.db\.damaged-\S+; a new one is begun", found["database"])
    assert site.bake() == ALL_STEPS
    site.is_right()


def test_repair_waits_for_nobody(site: Site) -> None:
    with (site.root / "use.lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        done = site.bakepy.run("doctor", "--repair", cwd=site.folder, status=5)
    assert done.stderr == (
        f"ERROR: state root {site.root} is in use\nhint: run this again when the builds have ended\n"
    )


def rot(path: Path) -> None:
    """Other bytes, and no time that tells."""
    facts = path.stat()
    damage(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    path.chmod(facts.st_mode)


DROPPED = "{} dropped, to be made again"
UNPACKED = f"1 layers of images are to be unpacked again; {DROPPED}"


@pytest.mark.parametrize(
    ("spoil", "how", "name", "file", "done", "again"),
    [
        (damage, "--repair", "files", "one", DROPPED.format(3), ALL_STEPS),
        (damage, "--repair", "files", "two", DROPPED.format(1), ALL_STEPS[1:]),
        (Path.unlink, "--repair", "files", "etc/passwd", UNPACKED.format(3), ALL_STEPS),
        (rot, "--deep", "bytes", "one", DROPPED.format(3), ALL_STEPS),
        (rot, "--deep", "bytes", "bin/busybox", UNPACKED.format(3), ALL_STEPS),
    ],
)
def test_repair_finds_files_that_are_not_what_they_were(
    site: Site, spoil: Callable[[Path], None], how: str, name: str, file: str, done: str, again: list[str]
) -> None:
    tree = site.tree_of(file)
    spoil(tree / "fs" / file)
    trees = len(list((site.root / "snapshots").iterdir()))
    found = site.repair(how)
    assert found[name].endswith(f": {done}")
    if name == "files":
        path = tree / "fs" / file if spoil is damage else (tree / "fs" / file).parent
        assert found[name] == f"1 of {trees} trees were written to afterwards: {path}: {done}"
    else:
        assert found[name] == f"those of {trees} trees compared with their layers; 1 are others: {done}"
    assert site.bake() == again
    site.is_right()
    assert {text.rpartition(": ")[2] for text in site.repair("--deep").values()} == {""}


def test_trees_that_share_files_are_as_they_were(site: Site) -> None:
    (site.folder / "Dockerfile").write_text(
        "FROM busybox AS a\nRUN echo a > /a\nFROM busybox\nCOPY --link --from=a /a /b\n"
    )
    site.bake()
    site.bakepy.run("prune", "--older-than", "0s", cwd=site.folder)
    assert site.repair()["files"].endswith(": ")


# ---- disks that are full or can not be written


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Four megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


def refuse(bakepy: Bakepy, folder: Path, busybox: Path, *arguments: str) -> tuple[int, str]:
    """Bakes, which must fail; the status and what is told as the error."""
    env = {"BASE": f"oci-layout://{busybox}:latest"}
    done = bakepy.run("run", "--progress", "plain", *arguments, cwd=folder, env=env, status=None)
    assert done.returncode
    at = done.stderr.rfind("ERROR")
    return done.returncode, done.stderr[at:] if at >= 0 else done.stderr


def test_a_full_state_root_is_told_and_the_next_build_goes_on(
    bakepy: Bakepy, tmp_path: Path, busybox: Path, small_disk: Path
) -> None:
    folder = write(tmp_path / "project", PROJECT | {"f": "x" * 6_000_000})
    full = Bakepy(small_disk / "state", bakepy.home)
    assert refuse(full, folder, busybox) == (
        1,
        "ERROR: Dockerfile:3:1: no space left on device\n"
        "    COPY f /f\n"
        "    ^^^^^^^^^\n"
        "hint: the disk of the state root is full: free some space, "
        "`bakepy prune --all` removes what can be made again\n",
    )
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    site = Site(full, folder, busybox)
    site.bake()
    assert site.files()["two"] == b"one\n" + b"x" * 6_000_000


def test_a_full_place_for_outputs_is_told_and_nothing_half_stays(site: Site, small_disk: Path, busybox: Path) -> None:
    (site.folder / "f").write_bytes(bytes(range(256)) * 4)
    write(site.folder, {"Dockerfile": PROJECT["Dockerfile"] + "RUN dd if=/dev/urandom of=/big bs=1M count=6\n"})
    for output in ("type=oci,dest={}/a.tar", "type=tar,dest={}/b.tar", "type=local,dest={}/c", "type=docker,dest={}/d"):
        found = refuse(site.bakepy, site.folder, busybox, "--set", f"default.output={output.format(small_disk)}")
        dest = output.partition("dest=")[2].format(small_disk)
        file = f"{dest}/big" if output.startswith("type=local") else dest
        assert found == (
            1,
            f"ERROR: can not write {file}: No space left on device\n"
            f"hint: the disk of {dest} is full: free some space\n",
        )
        assert [path for path in small_disk.iterdir() if path.name != "c"] == []
    assert site.bake() == []


def test_a_read_only_state_root_is_told(site: Site, busybox: Path) -> None:
    subprocess.run(["mount", "--bind", site.root, site.root], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", site.root], check=True)
        status, said = refuse(site.bakepy, site.folder, busybox)
    finally:
        subprocess.run(["umount", site.root], check=True)
    assert (status, said) == (
        5,
        f"ERROR: state root {site.root} is not writable\nhint: choose another with --root or BAKEPY_ROOT\n",
    )
