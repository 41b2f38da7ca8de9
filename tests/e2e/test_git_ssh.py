"""Repositories behind a real sshd: which keys open them, which servers are trusted, and what counts for the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Bakepy, executed, write
from tests.support.ordinary_user import USER, command, ordinary_home
from tests.support.repositories import Repository
from tests.support.sshd import Sshd, make_key, open_agent, open_sshd

pytestmark = pytest.mark.runtime


@dataclass(frozen=True)
class Place:
    """A server with a repository that `key` opens, the folder of the bake, and an agent that has the key."""

    sshd: Sshd
    repository: Repository
    folder: Path
    key: Path
    agent: Path

    @property
    def address(self) -> str:
        return f"{self.sshd.url}{self.repository.path}"

    @property
    def env(self) -> dict[str, str]:
        return {"SSH_AUTH_SOCK": str(self.agent)}

    def context(self, *instructions: str) -> Path:
        """A folder with a Dockerfile; `REPOSITORY` in it is the address."""
        lines = "\n".join(("FROM scratch", *instructions, ""))
        (self.folder / "Dockerfile").write_text(lines.replace("REPOSITORY", self.address))
        return self.folder

    def tree(self) -> dict[str, str]:
        """What the last build has written, without what is in kept repositories."""
        out = self.folder / "out"
        files = {str(path.relative_to(out)): path for path in sorted(out.rglob("*")) if path.is_file()}
        return {name: path.read_text() for name, path in files.items() if "/.git/" not in name}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    served, folder, key = tmp_path / "served", tmp_path / "project", tmp_path / "key"
    served.mkdir()
    folder.mkdir()
    repository = Repository.create(served, "r.git")
    repository.commit({"README": "one\n", "sub/dir/f": "f\n"})
    with open_sshd(tmp_path / "sshd") as sshd:
        sshd.authorize(make_key(key))
        with open_agent(tmp_path, key) as agent:
            yield Place(sshd, repository, folder, key, agent)


BUILD = ("build", "--ssh=default", "--output=type=local,dest=out", "--progress=plain", ".")


def test_a_lent_agent_opens_a_repository_and_the_commit_counts(place: Place, bakepy: Bakepy) -> None:
    folder = place.context("ADD REPOSITORY /whole", "ADD REPOSITORY#main:sub/dir /part")
    bakepy.run(*BUILD, cwd=folder, env=place.env)
    assert place.tree() == {"part/f": "f\n", "whole/README": "one\n", "whole/sub/dir/f": "f\n"}
    assert executed(bakepy.vertexes(*BUILD[:3], ".", cwd=folder, env=place.env), " ADD ") == []
    place.repository.commit({"README": "two\n"})
    ran = executed(bakepy.vertexes(*BUILD[:3], ".", cwd=folder, env=place.env), " ADD ")
    assert len(set(ran)) == 2 and place.tree()["whole/README"] == "two\n"


def test_a_commit_that_is_there_needs_no_key(place: Place, bakepy: Bakepy) -> None:
    commit = place.repository.git("rev-parse", "HEAD")
    folder = place.context(f"ADD --checksum={commit} REPOSITORY#{commit} /r")
    bakepy.run(*BUILD, cwd=folder, env=place.env)
    (place.sshd.folder / "authorized_keys").write_text("")
    bakepy.run(*BUILD, cwd=place.context(f"ADD REPOSITORY#{commit}:sub /part"), env=place.env)
    assert place.tree() == {"part/dir/f": "f\n", "r/README": "one\n", "r/sub/dir/f": "f\n"}


def test_submodules_and_a_repository_that_is_kept(place: Place, bakepy: Bakepy, tmp_path: Path) -> None:
    library = Repository.create(tmp_path / "served", "library.git")
    library.commit({"code": "c\n"})
    place.repository.git("submodule", "--quiet", "add", str(library.path), "library")
    place.repository.git("config", "-f", ".gitmodules", "submodule.library.url", "../library.git")
    head = place.repository.commit({})
    bakepy.run(*BUILD, cwd=place.context("ADD --keep-git-dir REPOSITORY#main /r"), env=place.env)
    found = place.tree()
    found.pop("r/.gitmodules")
    assert found.pop("r/library/.git").startswith("gitdir: ../.git/modules/library")
    assert found == {"r/README": "one\n", "r/sub/dir/f": "f\n", "r/library/code": "c\n"}
    assert (place.folder / "out/r/.git/HEAD").read_text() == f"{head}\n"
    assert f"url = {place.address}\n" in (place.folder / "out/r/.git/config").read_text()


def test_a_key_file_is_as_good_and_each_target_lends_its_own(place: Place, bakepy: Bakepy, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    files = {
        "bake.toml": f"""
[group.default]
targets = ["friend", "stranger"]
[target.friend]
context = "{place.address}"
dockerfile-inline = "FROM scratch\\nCOPY README /"
ssh = [{{ id = "default", paths = ["{place.key}"] }}]
output = ["type=local,dest=out"]
[target.stranger]
dockerfile-inline = "FROM scratch\\nADD {place.sshd.url}{tmp_path}/served/other.git /"
ssh = [{{ id = "default", paths = ["{tmp_path / "stranger"}"] }}]
output = ["type=cacheonly"]
"""
    }
    done = bakepy.run("run", "--keep-going", cwd=write(place.folder, files), status=3)
    assert place.tree() == {"README": "one\n"}
    assert f"failed to fetch remote {place.sshd.url}{tmp_path}/served/other.git: " in done.stderr
    assert "Permission denied (publickey)" in done.stderr


def test_without_a_lent_agent_ssh_is_not_tried(place: Place, bakepy: Bakepy) -> None:
    (bakepy.home / ".ssh").mkdir()
    (bakepy.home / ".ssh/id_ed25519").write_bytes(place.key.read_bytes())
    (bakepy.home / ".ssh/id_ed25519").chmod(0o600)
    folder = place.context("ADD REPOSITORY /r")
    done = bakepy.run("build", "--ssh", f"other={place.agent}", ".", cwd=folder, env=place.env, status=1)
    assert "ERROR: unset ssh forward key default" in done.stderr
    assert "hint: lend an agent or a key: --ssh default, or ssh in the bake file" in done.stderr


def test_a_context_over_ssh_is_lent_the_agent(place: Place, bakepy: Bakepy) -> None:
    place.repository.commit({"Dockerfile": "FROM scratch\nCOPY README /\n"})
    bakepy.run("build", "--output=type=local,dest=out", place.address, cwd=place.folder, env=place.env)
    assert place.tree() == {"README": "one\n"}
    done = bakepy.run("build", place.address, cwd=place.folder, env={"SSH_AUTH_SOCK": ""}, status=2)
    assert "ssh default: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set" in done.stderr


def test_an_ordinary_users_agent_and_hosts_count(place: Place) -> None:
    with ordinary_home() as home:
        hosts = f"{place.sshd.name} {place.sshd.host_key}\n"
        write(home, {"Dockerfile": f"FROM scratch\nADD {place.address} /r\n", ".ssh/known_hosts": hosts})
        place.sshd.authorize(make_key(home / "key"))
        for path in (home, *home.rglob("*")):
            os.chown(path, USER, USER)
        with open_agent(home, home / "key", user=USER) as agent:
            environment = {"PATH": os.environ["PATH"], "BAKEPY_ROOT": str(home / "state"), "SSH_AUTH_SOCK": str(agent)}
            words = command(home, Path(sys.executable).parent / "bakepy", *BUILD, folder=home)
            done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (home / "out/r/README").read_text() == "one\n"
        assert not (home / "state/git/known_hosts").exists()


class TestServers:
    def test_a_new_one_is_noted_and_must_then_stay_the_same(self, place: Place, bakepy: Bakepy) -> None:
        folder = place.context("ADD REPOSITORY /r")
        bakepy.run(*BUILD, cwd=folder, env=place.env)
        noted = (bakepy.root / "git/known_hosts").read_text()
        assert noted == f"{place.sshd.name} {place.sshd.host_key}\n"
        place.sshd.new_host_key()
        place.repository.commit({"README": "two\n"})
        done = bakepy.run(*BUILD, cwd=folder, env=place.env, status=1)
        assert "Host key verification failed" in done.stderr
        hint = f"hint: if the server has a new key, remove the old one: ssh-keygen -R '{place.sshd.name}' -f "
        assert f"{hint}{bakepy.root}/git/known_hosts" in done.stderr

    def test_the_users_own_list_counts(self, place: Place, bakepy: Bakepy, tmp_path: Path) -> None:
        (bakepy.home / ".ssh").mkdir()
        own = bakepy.home / ".ssh/known_hosts"
        make_key(tmp_path / "other")
        other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
        own.write_text(f"{place.sshd.name} {other}\n")
        folder = place.context("ADD REPOSITORY /r")
        done = bakepy.run(*BUILD, cwd=folder, env=place.env, status=1)
        assert "Host key verification failed" in done.stderr
        own.write_text(f"{place.sshd.name} {place.sshd.host_key}\n")
        bakepy.run(*BUILD, cwd=folder, env=place.env)
        assert not (bakepy.root / "git/known_hosts").exists()
