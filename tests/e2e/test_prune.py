"""Less in the state root: what goes by age, by size, altogether; and what a build finds afterwards."""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import Bakepy, executed, write

pytestmark = pytest.mark.runtime

PROJECT = {
    "bake.toml": """
[variable.BASE]
[target.old]
contexts = { busybox = "${BASE}" }
target = "old"
output = ["type=oci,dest=old.tar"]
[target.new]
contexts = { busybox = "${BASE}" }
target = "new"
output = ["type=oci,dest=new.tar"]
""",
    "Dockerfile": """
FROM busybox AS shared
RUN echo shared > /shared
FROM shared AS old
RUN --mount=type=cache,target=/cache,id=c dd if=/dev/urandom of=/old bs=1k count=3000 && cp /old /cache
FROM shared AS new
RUN dd if=/dev/urandom of=/new bs=1k count=1000
""",
}
DAY = 86400


class Site:
    """A project whose target `old` was not used for ten days, and `new` just now."""

    def __init__(self, bakepy: Bakepy, folder: Path, busybox: Path) -> None:
        self.bakepy = bakepy
        self.folder = folder
        self.env = {"BASE": f"oci-layout://{busybox}:latest"}

    @property
    def root(self) -> Path:
        return self.bakepy.root

    def bake(self, *targets: str) -> list[str]:
        """The stages whose steps were run."""
        names = executed(self.bakepy.vertexes("run", *targets, cwd=self.folder, env=self.env))
        return [_stage(name) for name in names]

    def prune(self, *flags: str) -> str:
        return self.bakepy.run("prune", *flags, cwd=self.folder).stdout

    def execute(self, sql: str) -> list[tuple[int, ...]]:
        database = sqlite3.connect(self.root / "state.db", isolation_level=None)
        try:
            return database.execute(sql).fetchall()
        finally:
            database.close()

    def rows(self, table: str) -> int:
        ((number,),) = self.execute(f"SELECT count(*) FROM {table}")
        return number

    def trees(self) -> set[str]:
        return {path.name for path in (self.root / "snapshots").iterdir()}


def _stage(name: str) -> str:
    found = re.search(r"\[(\w+) \d+/\d+\]", name) or re.search(r"\[\w+ (\w+) \d+/\d+\]", name)
    assert found, name
    return found[1]


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Path:
    """Baked once for all tests: each gets a copy."""
    place = tmp_path_factory.mktemp("baked")
    site = Site(Bakepy(place / "state", place), write(place / "project", PROJECT), busybox)
    assert sorted(site.bake("old")) == ["old", "shared"]
    site.execute(f"UPDATE records SET used = used - {10 * DAY}")
    assert site.bake("new") == ["new"]
    return place


@pytest.fixture
def site(bakepy: Bakepy, baked: Path, tmp_path: Path, busybox: Path) -> Site:
    subprocess.run(["cp", "-a", baked / "project", baked / "state", tmp_path], check=True)
    (tmp_path / "state/collected").unlink(missing_ok=True)  # whether that run looked depends on this machine's disk
    return Site(bakepy, tmp_path / "project", busybox)


def test_without_options_only_garbage_goes(site: Site) -> None:
    assert site.prune() == site.prune("--dry-run").replace("would remove", "removed")
    (site.root / "snapshots/4711/fs").mkdir(parents=True)
    stray = site.root / "blobs/sha256" / ("0" * 64)
    stray.write_bytes(b"x" * 5000)
    (site.root / "ingest").mkdir(exist_ok=True)
    (site.root / "ingest/half").write_bytes(b"x")
    before = site.trees() - {"4711"}
    assert re.match(r"removed 1 blob, 2 leftovers; [\d.]+ kB of [\d.]+ MB\n", site.prune())
    assert site.trees() == before
    assert not stray.exists()
    assert site.bake("old", "new") == []


def test_what_was_not_used_for_long_goes_with_what_only_it_needs(site: Site) -> None:
    said = site.prune("--older-than", "7d")
    assert re.fullmatch(r"removed 1 blob, 1 step, 1 tree; 6\.\d MB of \d+\.\d MB\n", said)
    assert site.bake("new") == []
    assert site.bake("old") == ["old"]


def test_the_longest_unused_goes_until_little_enough_is_left(site: Site) -> None:
    megabytes = float(site.prune("--dry-run").split()[-2])
    said = site.prune("--keep-storage", f"{int((megabytes - 2) * 1e6)}")
    assert said.startswith("removed 1 blob, 1 step, 1 tree; 6.")
    assert site.bake("new") == []
    assert site.bake("old") == ["old"]


def test_all_goes_and_a_build_begins_anew(site: Site) -> None:
    said = site.prune("--all")
    assert re.search(r"^removed \d+ blobs, 1 cache mount, \d+ steps, \d+ trees; ", said)
    assert site.trees() == set()
    assert not [path for path in (site.root / "blobs").rglob("*") if path.is_file()]
    assert [site.rows(table) for table in ("records", "keys", "snapshot", "snapshot_layer", "steps")] == [0] * 5
    assert sorted(site.bake("old")) == ["old", "shared"]


def test_nothing_goes_while_a_build_uses_the_root(site: Site) -> None:
    before = site.trees()
    with (site.root / "use.lock").open("r+") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        said = site.prune("--all")
    assert said == f"{site.root} is in use: only what dead builds left was removed. --wait waits for the others\n"
    assert site.trees() == before
    assert site.bake("old", "new") == []


def test_du_tells_what_there_is(site: Site) -> None:
    lines = site.bakepy.run("du", cwd=site.folder).stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["trees", "blobs", "cache mounts", "repositories", "in all"]
    assert re.search(r"1 +3\.1 MB$", lines[2])
    assert lines[-1].endswith("of it needed by nothing")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--older-than", "soon"], "--older-than: 'soon' is no time\nhint: write 12h, 7d or 2w"),
        (["--keep-storage", "much"], "--keep-storage: 'much' is no size\nhint: write 10g or 500m"),
    ],
)
def test_nonsense_is_refused(bakepy: Bakepy, tmp_path: Path, flags: list[str], said: str) -> None:
    assert bakepy.run("prune", *flags, cwd=tmp_path, status=2).stderr == f"ERROR: {said}\n"


def test_there_may_be_nothing(bakepy: Bakepy, tmp_path: Path) -> None:
    assert bakepy.run("prune", cwd=tmp_path).stdout == f"{bakepy.root}: nothing there\n"
    assert bakepy.run("du", cwd=tmp_path).stdout == f"{bakepy.root}: nothing there\n"
    assert not bakepy.root.exists()


class TestByItself:
    """What runs take away when they end."""

    def ran(self, site: Site, keep: str, status: int = 0) -> str:
        """What the run of `new` told about the state root."""
        env = {**site.env, "BAKEPY_KEEP_STORAGE": keep}
        done = site.bakepy.run("run", "new", "--progress", "plain", cwd=site.folder, env=env, status=status)
        told = [line for line in done.stderr.splitlines() if "state root" in line or line.startswith(("ERROR", "hint"))]
        return "\n".join(told)

    def test_the_longest_unused_goes(self, site: Site) -> None:
        megabytes = float(site.prune("--dry-run").split()[-2])
        said = self.ran(site, f"{int((megabytes - 2) * 1e6)}")
        assert re.fullmatch(r"removed 1 blob, 1 step, 1 tree from the state root; 6\.\d MB of \d+\.\d MB", said)
        assert site.bake("new") == []
        assert site.bake("old") == ["old"]

    def test_it_is_looked_at_once_in_an_hour(self, site: Site) -> None:
        assert self.ran(site, "1g") == ""
        assert self.ran(site, "1m") == ""
        mark = site.root / "collected"
        os.utime(mark, (mark.stat().st_mtime - 3601,) * 2)
        assert self.ran(site, "1m").startswith("removed ")

    def test_it_can_be_turned_off(self, site: Site) -> None:
        assert self.ran(site, "off") == ""
        assert not (site.root / "collected").exists()

    def test_not_while_another_build_uses_the_root(self, site: Site) -> None:
        with (site.root / "use.lock").open("r+") as other:
            fcntl.flock(other, fcntl.LOCK_SH)
            assert self.ran(site, "1m") == ""
        assert site.bake("old", "new") == []

    def test_images_that_were_kept_stay(self, site: Site) -> None:
        write(
            site.folder,
            {"docker-bake.hcl": 'target "kept" {\n  contexts = { busybox = BASE }\n}\nvariable "BASE" {}\n'},
        )
        words = ("-f", "docker-bake.hcl", "kept", "--set", "kept.tags=kept:1", "--set", "kept.output=type=image")
        site.bakepy.run("run", *words, cwd=site.folder, env={**site.env, "BAKEPY_KEEP_STORAGE": "1"})
        ((name, digest),) = site.execute("SELECT name, digest FROM exporter_images")
        assert str(name) == "docker.io/library/kept:1"
        assert (site.root / "blobs" / str(digest).replace(":", "/")).exists()

    def test_nonsense_is_refused(self, site: Site) -> None:
        said = self.ran(site, "much", status=2)
        assert said == "ERROR: BAKEPY_KEEP_STORAGE: 'much' is no size\nhint: write 10g, 500m or off"
