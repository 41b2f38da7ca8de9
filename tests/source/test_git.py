"""Git repositories: what is meant, what is checked out, what is asked of the server, and what is never shown."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from bakepy.dockerfile.giturl import parse_git
from bakepy.dockerfile.lower.sources import description, git_source
from bakepy.errors import BuildError, RegistryError
from bakepy.llb.op import SourceOp
from bakepy.source.git import GitSource
from bakepy.source.gitrequest import GitRequest
from bakepy.source.lent import NOTHING, Lent
from tests.support.repositories import Repository
from tests.support.snapshots import Snapshots, open_snapshots
from tests.support.web import Web
from tests.support.written_tree import read_tree

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

DATED = 1_500_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "served"
    path.mkdir()
    return path


@pytest.fixture
def web(folder: Path) -> Iterator[Web]:
    with Web(folder) as server:
        yield server


@pytest.fixture
def machine(state_root: Path) -> Iterator[Snapshots]:
    with open_snapshots(state_root) as snapshots:
        yield snapshots


@pytest.fixture
def first(repository: Repository) -> str:
    return repository.git("rev-parse", "v1^{commit}")


@pytest.fixture
def repository(folder: Path) -> Repository:
    """Two commits on main (tags v1, and v1-annotated on the first), one on dev."""
    made = Repository.create(folder, "r.git")
    made.commit({"README": "one\n", "bin/tool*": "#!/bin/sh\n", "link": "->README", "sub/dir/f": "f\n"}, seconds=DATED)
    made.git("tag", "v1")
    made.git("tag", "-a", "-m", "annotated", "v1-annotated")
    made.commit({"README": "dev\n"}, branch="dev")
    made.git("checkout", "--quiet", "main")
    made.commit({"README": "two\n"})
    return made


class Secrets:
    def __init__(self, **secrets: str) -> None:
        self.secrets = secrets
        self.asked: list[str] = []

    def get(self, id: str) -> bytes | None:
        self.asked.append(id)
        return self.secrets[id].encode() if id in self.secrets else None

    def socket(self, id: str) -> Path | None:
        return None


def request(url: str, *, keep_git_dir: bool = False, checksum: str = "", mtime: str = "") -> GitRequest:
    """As an ADD of the address is read."""
    parsed = parse_git(url)
    assert parsed is not None
    return GitRequest.of(
        git_source(
            parsed, description(""), keep_git_dir=keep_git_dir, checksum=checksum or parsed.checksum,
            mtime=mtime or parsed.mtime, fetch_by_commit=parsed.fetch_by_commit,
        ).op
    )  # fmt: skip


def new_run(machine: Snapshots) -> GitSource:
    return GitSource(machine.root, {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})


async def tree(
    machine: Snapshots, wanted: GitRequest, lent: Lent = NOTHING, source: GitSource | None = None
) -> dict[str, str]:
    """What a source gives."""
    id = f"git-{wanted.ref}-{wanted.subdir}-{wanted.keep_git_dir}"
    await (source or new_run(machine)).place(wanted, id, machine.store, lent)
    async with machine.store.view(id) as root:
        return {name: said for name, said in read_tree(root).items() if not name.startswith(".git/")}


async def text(machine: Snapshots, wanted: GitRequest, name: str = "README") -> str:
    id = f"text-{wanted.ref}-{wanted.keep_git_dir}"
    await new_run(machine).place(wanted, id, machine.store)
    async with machine.store.view(id) as root:
        return (root / name).read_text()


@pytest.mark.parametrize(
    ("ref", "content"),
    [
        ("", "two\n"),
        ("#main", "two\n"),
        ("#dev", "dev\n"),
        ("#v1", "one\n"),
        ("#v1-annotated", "one\n"),
        ("#refs/tags/v1", "one\n"),
        ("#refs/heads/dev", "dev\n"),
        ("?branch=dev", "dev\n"),
        ("?tag=v1", "one\n"),
    ],
)
async def test_references_of_all_kinds(
    web: Web, machine: Snapshots, repository: Repository, ref: str, content: str
) -> None:
    assert await text(machine, request(f"{web.url}/git/r.git{ref}")) == content


async def test_files_have_plain_modes_and_no_repository(web: Web, machine: Snapshots, repository: Repository) -> None:
    await new_run(machine).place(request(f"{web.url}/git/r.git#v1"), "g", machine.store)
    async with machine.store.view("g") as root:
        modes = {str(path.relative_to(root)): oct(path.lstat().st_mode & 0o777) for path in root.rglob("*")}
        assert (root / "link").readlink() == Path("README")
    modes.pop("link")
    assert modes == {
        "README": "0o644", "bin": "0o755", "bin/tool": "0o755", "sub": "0o755", "sub/dir": "0o755",
        "sub/dir/f": "0o644",
    }  # fmt: skip


async def test_a_commit_is_fetched_once_and_then_needs_no_server(
    web: Web, machine: Snapshots, repository: Repository, first: str
) -> None:
    wanted = request(f"{web.url}/git/r.git#{first}")
    assert await text(machine, wanted) == "one\n"
    web.requests.clear()
    assert set(await tree(machine, wanted)) >= {"README", "bin/tool", "link"}
    assert web.requests == []


async def test_one_run_looks_a_reference_up_once_even_if_it_moves(
    web: Web, machine: Snapshots, repository: Repository
) -> None:
    source, wanted = new_run(machine), request(f"{web.url}/git/r.git#main")
    pinned = await source.resolve(wanted)
    repository.commit({"README": "three\n"})
    assert await source.resolve(wanted) == pinned
    await source.place(wanted, "g", machine.store)
    async with machine.store.view("g") as root:
        assert (root / "README").read_text() == "two\n"
    assert await text(machine, wanted) == "three\n"


async def test_a_history_that_was_rewritten_is_followed(web: Web, machine: Snapshots, repository: Repository) -> None:
    wanted = request(f"{web.url}/git/r.git#v1")
    assert await text(machine, wanted) == "one\n"
    repository.git("tag", "-f", "v1")
    repository.push()
    await new_run(machine).place(wanted, "again", machine.store)
    async with machine.store.view("again") as root:
        assert (root / "README").read_text() == "two\n"


class TestSubFolder:
    async def test_its_content_is_the_tree(self, web: Web, machine: Snapshots, repository: Repository) -> None:
        found = await tree(machine, request(f"{web.url}/git/r.git#main:sub"))
        assert "dir/f" in found
        assert {name.split("/")[0] for name in found} == {"dir"}

    @pytest.mark.parametrize("subdir", ["nope", "README", "link"])
    async def test_what_is_no_folder_is_refused(
        self, web: Web, machine: Snapshots, repository: Repository, subdir: str
    ) -> None:
        with pytest.raises(BuildError) as raised:
            await tree(machine, request(f"{web.url}/git/r.git#main:{subdir}"))
        assert raised.value.what == f"invalid subdir {subdir}: {web.url}/git/r.git has no such folder"


class TestKeptRepository:
    async def test_it_is_a_repository_of_one_commit(
        self, web: Web, machine: Snapshots, repository: Repository, first: str
    ) -> None:
        url = f"{web.url}/git/r.git"
        await new_run(machine).place(request(f"{url}#v1", keep_git_dir=True), "g", machine.store)
        async with machine.store.view("g") as root:
            assert (root / ".git/HEAD").read_text() == f"{first}\n"
            assert (root / ".git/refs/heads/v1").read_text() == f"{first}\n"
            assert f"url = {url}\n" in (root / ".git/config").read_text()
            assert (root / ".git/description").exists()  # as `git init` leaves it
            assert not (root / ".git/FETCH_HEAD").exists()
            assert (root / "README").read_text() == "one\n"

    async def test_names_count_only_if_it_is_kept(self, web: Web, machine: Snapshots, repository: Repository) -> None:
        source, url = new_run(machine), f"{web.url}/git/r.git"

        async def key(ref: str, *, keep: bool) -> str:
            wanted = request(f"{url}#{ref}", keep_git_dir=keep)
            return source.key(wanted, await source.resolve(wanted))

        assert await key("v1", keep=False) == await key("v1-annotated", keep=False)
        assert await key("v1", keep=True) != await key("v1-annotated", keep=True)
        assert await key("v1", keep=True) != await key("v1", keep=False)


class TestSubmodules:
    @pytest.fixture
    def parent(self, folder: Path, repository: Repository, web: Web) -> Repository:
        made = Repository.create(folder, "parent.git")
        made.commit({"top": "top\n"})
        made.git("submodule", "--quiet", "add", f"{web.url}/git/r.git", "lib")
        made.git("config", "-f", ".gitmodules", "submodule.lib.url", "../r.git")
        made.commit({})
        return made

    async def test_they_are_checked_out_without_repositories(
        self, web: Web, machine: Snapshots, parent: Repository
    ) -> None:
        found = await tree(machine, request(f"{web.url}/git/parent.git"))
        assert {"top", "lib/README", "lib/bin/tool"} <= set(found)
        assert not [name for name in found if name.rpartition("/")[2] == ".git"]

    async def test_unless_they_are_not_wanted(self, web: Web, machine: Snapshots, parent: Repository) -> None:
        found = await tree(machine, request(f"{web.url}/git/parent.git?submodules=false"))
        assert "top" in found
        assert not [name for name in found if name.startswith("lib/")]

    async def test_they_can_not_reach_into_this_machine(
        self, web: Web, machine: Snapshots, parent: Repository, repository: Repository
    ) -> None:
        parent.git("config", "-f", ".gitmodules", "submodule.lib.url", str(repository.path))
        parent.commit({})
        with pytest.raises(BuildError) as raised:
            await tree(machine, request(f"{web.url}/git/parent.git"))
        assert raised.value.what.startswith(f"failed to update submodules for {web.url}/git/parent.git: ")
        assert "transport 'file' not allowed" in raised.value.render()


class TestChecksum:
    async def test_a_begin_of_the_commit_is_enough(
        self, web: Web, machine: Snapshots, repository: Repository, first: str
    ) -> None:
        for name in ("v1", "v1-annotated", first):
            assert await text(machine, request(f"{web.url}/git/r.git#{name}", checksum=first[:12])) == "one\n"

    async def test_another_commit_is_refused(
        self, web: Web, machine: Snapshots, repository: Repository, first: str
    ) -> None:
        head = repository.git("rev-parse", "main")
        with pytest.raises(BuildError) as raised:
            await new_run(machine).resolve(request(f"{web.url}/git/r.git#main", checksum=first))
        assert raised.value.what == f"expected checksum to match {first}, got {head}"

    def test_it_is_a_number(self) -> None:
        with pytest.raises(BuildError) as raised:
            request("https://example.com/r.git", checksum="xyz")
        assert raised.value.what == "invalid checksum xyz for Git URL, expected hex commit hash"

    async def test_fetching_by_commit_asks_for_no_reference(
        self, web: Web, machine: Snapshots, repository: Repository, first: str
    ) -> None:
        wanted = request(f"{web.url}/git/r.git?ref=gone&fetch-by-commit=true&checksum={first}")
        assert (await new_run(machine).resolve(wanted)).commit == first
        assert web.requests == []
        assert await text(machine, wanted) == "one\n"


async def test_files_may_have_the_time_of_the_commit(web: Web, machine: Snapshots, repository: Repository) -> None:
    wanted = request(f"{web.url}/git/r.git#v1", mtime="commit")
    await new_run(machine).place(wanted, "g", machine.store)
    async with machine.store.view("g") as root:
        assert {int(path.lstat().st_mtime) for path in (root, *root.rglob("*"))} == {DATED}
    assert await new_run(machine).time(wanted) == DATED


async def test_a_server_of_plain_files_will_do(
    web: Web, machine: Snapshots, repository: Repository, first: str
) -> None:
    assert await text(machine, request(f"{web.url}/dumb/r.git#v1")) == "one\n"
    assert await text(machine, request(f"{web.url}/dumb/r.git#{first}")) == "one\n"


async def test_single_files_are_read_through_links(web: Web, machine: Snapshots, repository: Repository) -> None:
    source, wanted = new_run(machine), request(f"{web.url}/git/r.git#v1")
    assert await source.read(wanted, "link") == b"one\n"
    assert await source.read(request(f"{web.url}/git/r.git#v1:sub"), "dir/f") == b"f\n"
    with pytest.raises(FileNotFoundError):
        await source.read(wanted, "Dockerfile")
    with pytest.raises(IsADirectoryError):
        await source.read(wanted, "bin")


class TestFailures:
    async def test_an_unknown_reference(self, web: Web, machine: Snapshots, repository: Repository) -> None:
        with pytest.raises(BuildError) as raised:
            await new_run(machine).resolve(request(f"{web.url}/git/r.git#nope"))
        assert raised.value.what == f"repository does not contain ref nope: {web.url}/git/r.git"

    async def test_an_unknown_commit(self, web: Web, machine: Snapshots, repository: Repository) -> None:
        with pytest.raises(BuildError) as raised:
            await tree(machine, request(f"{web.url}/git/r.git#{'1' * 40}"))
        assert raised.value.what == f"{web.url}/git/r.git has no commit {'1' * 40}"

    async def test_no_repository_at_all(self, web: Web, machine: Snapshots) -> None:
        with pytest.raises(BuildError) as raised:
            await new_run(machine).resolve(request(f"{web.url}/git/none.git"))
        assert raised.value.what.startswith(f"failed to fetch remote {web.url}/git/none.git: ")
        assert raised.value.exit_code == BuildError.exit_code

    async def test_nobody_there(self, machine: Snapshots) -> None:
        url = "http://127.0.0.1:1/r.git"
        with pytest.raises(BuildError) as raised:
            await new_run(machine).resolve(request(url))
        assert raised.value.what.startswith(f"failed to fetch remote {url}: ")
        assert raised.value.exit_code == RegistryError.exit_code

    def test_a_reference_is_no_option(self) -> None:
        with pytest.raises(BuildError) as raised:
            GitRequest.of(SourceOp("git://example.com/r.git#--upload-pack=x"))
        assert raised.value.what == "invalid git ref '--upload-pack=x'"


class TestLent:
    HEADER = "basic " + base64.b64encode(b"x-access-token:t0ken").decode()

    @pytest.mark.parametrize(
        "secrets", [{"GIT_AUTH_TOKEN": "t0ken"}, {"GIT_AUTH_HEADER": HEADER}, {"GIT_AUTH_HEADER.HOST": HEADER}]
    )
    async def test_tokens_open_the_repository_and_are_kept_nowhere(
        self, web: Web, machine: Snapshots, repository: Repository, secrets: dict[str, str]
    ) -> None:
        web.authorization = self.HEADER
        host = web.url.removeprefix("http://")
        lent = Secrets(**{name.replace("HOST", host): value for name, value in secrets.items()})
        found = await tree(machine, request(f"{web.url}/git/r.git#v1", keep_git_dir=True), lent)
        assert "README" in found
        kept = b"".join(path.read_bytes() for path in machine.root.rglob("*") if path.is_file())
        assert b"t0ken" not in kept
        assert self.HEADER.encode() not in kept

    async def test_without_one_nobody_is_asked_for_it(
        self, web: Web, machine: Snapshots, repository: Repository
    ) -> None:
        web.authorization = self.HEADER
        with pytest.raises(BuildError) as raised:
            await new_run(machine).resolve(request(f"{web.url}/git/r.git"))
        assert "terminal prompts disabled" in raised.value.render()

    async def test_passwords_in_addresses_are_neither_kept_nor_shown(
        self, web: Web, machine: Snapshots, repository: Repository
    ) -> None:
        web.authorization = "Basic " + base64.b64encode(b"me:passw0rd").decode()
        address = web.url.replace("http://", "http://me:passw0rd@")
        found = await tree(machine, request(f"{address}/git/r.git#v1", keep_git_dir=True))
        assert "README" in found
        assert b"passw0rd" not in b"".join(path.read_bytes() for path in machine.root.rglob("*") if path.is_file())
        with pytest.raises(BuildError) as raised:
            await new_run(machine).resolve(request(f"{address}/git/gone.git"))
        assert "passw0rd" not in raised.value.render()


class Agent(Secrets):
    """Lends one as `default`."""

    def socket(self, id: str) -> Path | None:
        return Path("/run/agent") if id == "default" else None


class TestSsh:
    @pytest.fixture
    def ssh(self, tmp_path: Path) -> Path:
        """A folder with an `ssh` that notes how it was called and runs the command here."""
        folder = tmp_path / "bin"
        folder.mkdir()
        program = folder / "ssh"
        program.write_text(
            f'#!/bin/sh\necho "$SSH_AUTH_SOCK" > {tmp_path}/agent\nprintf "%s\\n" "$@" > {tmp_path}/arguments\n'
            'for last; do :; done\nexec sh -c "$last"\n'
        )
        program.chmod(0o755)
        return folder

    async def test_only_a_lent_agent_is_used(
        self, machine: Snapshots, repository: Repository, ssh: Path, tmp_path: Path
    ) -> None:
        environment = {"PATH": f"{ssh}:/usr/bin:/bin", "SSH_AUTH_SOCK": "/run/mine"}
        wanted = request(f"ssh://git@example.com{repository.path}#v1")
        found = await tree(machine, wanted, Agent(), GitSource(machine.root, environment))
        assert "README" in found
        assert (tmp_path / "agent").read_text() == "/run/agent\n"
        arguments = (tmp_path / "arguments").read_text().splitlines()
        assert {"BatchMode=yes", "IdentityFile=none", "StrictHostKeyChecking=accept-new"} <= set(arguments)
        assert f'UserKnownHostsFile="{machine.root}/git/known_hosts" "~/.ssh/known_hosts"' in arguments

    async def test_without_an_agent_no_server_is_asked(self, machine: Snapshots, ssh: Path, tmp_path: Path) -> None:
        environment = {"PATH": f"{ssh}:/usr/bin:/bin", "SSH_AUTH_SOCK": "/run/mine"}
        for ref in ("#v1", "", "#" + 40 * "a"):
            wanted = request(f"ssh://git@example.com/r.git{ref}")
            with pytest.raises(BuildError) as raised:
                await tree(machine, wanted, Secrets(), GitSource(machine.root, environment))
            assert raised.value.render() == (
                "unset ssh forward key default\nhint: lend an agent or a key: --ssh default, or ssh in the bake file"
            )
        assert not (tmp_path / "arguments").exists()

    async def test_a_run_that_is_cancelled_leaves_no_process(
        self, machine: Snapshots, ssh: Path, tmp_path: Path
    ) -> None:
        ends = tmp_path / "ends"
        os.mkfifo(ends)
        # whoever has the pipe open for writing lives; reading ends when nobody does
        (ssh / "ssh").write_text(f"#!/bin/sh\nexec 9> {ends}\necho begun >&9\nsleep 600\n")
        source = GitSource(machine.root, {"PATH": f"{ssh}:/usr/bin:/bin"})
        with os.fdopen(os.open(ends, os.O_RDONLY | os.O_NONBLOCK)) as pipe:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(source.resolve, request("ssh://git@example.com/r.git#v1"), Agent())
                await anyio.wait_readable(pipe)
                os.set_blocking(pipe.fileno(), True)
                assert await anyio.to_thread.run_sync(pipe.readline) == "begun\n"
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True), anyio.fail_after(120):
                    rest = await anyio.to_thread.run_sync(pipe.read)
        assert rest == ""


async def test_settings_and_hooks_of_the_user_do_not_count(
    web: Web, machine: Snapshots, repository: Repository, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[url "http://127.0.0.1:1/"]\n\tinsteadOf = {web.url}/\n')
    source = GitSource(machine.root, {"PATH": "/usr/bin:/bin", "HOME": str(home), "GIT_DIR": "/nonexistent"})
    assert "README" in await tree(machine, request(f"{web.url}/git/r.git#v1"), source=source)
