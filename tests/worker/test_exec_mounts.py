"""The mounts of a step: what it sees there, what it may write, and what is left of them."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
import pytest

from bakepy.errors import BuildError, ProcessError
from bakepy.llb.op import NONE, CacheOpt, CacheSharing, Mount, MountType, SecretOpt
from bakepy.source.local import LocalSource
from bakepy.worker.ref import LocalRef, TreeRef
from tests.support.steps import Steps, bind

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]

KERNEL = ["dir dev 755 0:0", "dir proc 755 0:0", "dir sys 755 0:0"]
DATA = TreeRef("data", "data")


@pytest.fixture
async def data(steps: Steps) -> TreeRef:
    def make(root: Path) -> None:
        (root / "d").mkdir()
        (root / "d/one").write_text("1")
        (root / "d/one").chmod(0o600)
        (root / "ln").symlink_to("/d")
        (root / "a.txt").write_text("alpha")

    await steps.machine.commit("data", None, make)
    return DATA


def cache(
    dest: str, id: str, sharing: CacheSharing = CacheSharing.SHARED, *, input: int = NONE, selector: str = ""
) -> Mount:
    option = CacheOpt(id, sharing)
    return Mount(dest, input, selector=selector, output=NONE, type=MountType.CACHE, cache=option)


def secret(dest: str, option: SecretOpt) -> Mount:
    return Mount(dest, NONE, output=NONE, type=MountType.SECRET, secret=option)


async def test_bound_tree_is_read_only_and_leaves_no_stub(steps: Steps, data: TreeRef) -> None:
    ran = await steps.run(
        "ls /new/deep/dir; cat /new/deep/dir/a.txt; touch /new/deep/dir/x", mounts=[bind("/new/deep/dir", 1)],
        inputs=[data], meta={"valid_exit_codes": (1,)},
    )  # fmt: skip
    assert ran.out == "a.txt\nd\nln\nalpha"
    assert ran.err == "touch: /new/deep/dir/x: Read-only file system\n"
    assert ran.layer == KERNEL


async def test_a_place_that_can_not_be_made_is_a_process_that_failed(steps: Steps, data: TreeRef) -> None:
    tree = await steps.run("ln -s loop /loop; touch /file")
    for dest, why in (("/file/x", "/file/x: not a directory"), ("/loop", "/loop: too many links")):
        with pytest.raises(ProcessError) as caught:
            await steps.run("true", on=tree.refs[0], mounts=[bind(dest, 1)], inputs=[data])
        assert caught.value.what == 'process "/bin/sh -c true" did not complete successfully: exit code: 1'
        assert caught.value.status == 1
        assert caught.value.detail == (f"no place to mount on: {why}",)


async def test_stub_that_the_step_used_stays(steps: Steps, data: TreeRef) -> None:
    ran = await steps.run("touch /new/mine", mounts=[bind("/new/deep/dir", 1)], inputs=[data])
    assert ran.layer == [KERNEL[0], "dir new 755 0:0", "file new/mine 644 0:0 ''", *KERNEL[1:]]


async def test_existing_folder_below_a_mount_is_as_before(steps: Steps, data: TreeRef) -> None:
    first = await steps.run("mkdir /m; echo kept > /m/f")
    ran = await steps.run("ls /m", on=first.refs[0], mounts=[bind("/m", 1)], inputs=[data])
    assert (ran.out, ran.layer) == ("a.txt\nd\nln\n", [])


@pytest.mark.parametrize(
    ("selector", "command", "out"),
    [
        ("/a.txt", "cat /m/file", "alpha"),
        ("ln", "ls /m/file", "one\n"),
        ("/../../d", "ls /m/file", "one\n"),
    ],
)
async def test_part_of_a_tree(steps: Steps, data: TreeRef, selector: str, command: str, out: str) -> None:
    ran = await steps.run(command, mounts=[bind("/m/file", 1, selector=selector)], inputs=[data])
    assert (ran.out, ran.layer) == (out, KERNEL)


async def test_missing_part_of_a_tree_is_named(steps: Steps, data: TreeRef) -> None:
    with pytest.raises(BuildError, match=r'^"/d/none": not found$'):
        await steps.run("true", mounts=[bind("/m", 1, selector="d/none")], inputs=[data])
    with pytest.raises(BuildError, match=r"^open /none: no such file or directory$"):
        await steps.run("true", mounts=[cache("/c", "empty", selector="none")])


async def test_relative_destination_starts_at_the_work_directory(steps: Steps, data: TreeRef) -> None:
    ran = await steps.run("ls sub/x", mounts=[bind("sub/x", 1)], inputs=[data], meta={"cwd": "/tmp"})
    assert (ran.out, ran.layer) == ("a.txt\nd\nln\n", KERNEL)


async def test_writes_to_a_writable_mount_are_thrown_away(steps: Steps, data: TreeRef) -> None:
    mount = bind("/m", 1, readonly=False)
    ran = await steps.run("echo x > /m/a.txt; touch /m/new; ls /m", mounts=[mount], inputs=[data])
    assert (ran.out, ran.layer) == ("a.txt\nd\nln\nnew\n", KERNEL)
    assert (await steps.run("cat /m/a.txt", mounts=[mount], inputs=[data])).out == "alpha"


async def test_mount_with_an_output_gives_its_tree(steps: Steps, data: TreeRef) -> None:
    mounts = [Mount("/rw", 1, output=1), Mount("/ro", 1, output=2, readonly=True), Mount("/new", NONE, output=3)]
    ran = await steps.run("echo x > /rw/out; echo y > /new/y", mounts=mounts, inputs=[data], id="r")
    assert ran.refs == [TreeRef("r", "r"), TreeRef("r#1", "r#1"), data, TreeRef("r#3", "r#3")]
    assert steps.machine.changes("r#1") == ["file out 644 0:0 'x\\n'"]
    assert steps.machine.changes("r#3") == ["file y 644 0:0 'y\\n'"]


def make_context(context: Path) -> None:
    (context / "d").mkdir(parents=True)
    for name in ("a", "b.log", "d/c"):
        (context / name).write_text(name)
        os.chown(context / name, 1234, 1234)
    (context / "d/c").chmod(0o640)


async def test_context_shows_what_its_filters_left_owned_by_root(steps: Steps, tmp_path: Path) -> None:
    context = tmp_path / "context"
    make_context(context)
    tree = await LocalSource(steps.machine.database).open(context, exclude=["*.log"])
    local = LocalRef("local", tree)
    command = "ls -d /ctx/* /ctx/d/*; stat -c '%a %u:%g' /ctx/d/c"
    ran = await steps.run(command, mounts=[bind("/ctx", 1)], inputs=[local])
    assert ran.out == "/ctx/a\n/ctx/d\n/ctx/d/c\n640 0:0\n"
    ran = await steps.run("touch /ctx/new && ls /ctx", mounts=[bind("/ctx", 1, readonly=False)], inputs=[local])
    assert ran.out == "a\nd\nnew\n"
    assert sorted(os.listdir(context)) == ["a", "b.log", "d"]  # noqa: PTH208


async def test_tmpfs(steps: Steps) -> None:
    mount = Mount("/t", NONE, output=NONE, type=MountType.TMPFS, tmpfs_size=1 << 20)
    ran = await steps.run("stat -c %a /t; df -k /t | tail -1 | tr -s ' ' | cut -d' ' -f2; touch /t/f", mounts=[mount])
    assert (ran.out, ran.layer) == ("1777\n1024\n", KERNEL)


async def test_tmpfs_has_the_mode_of_the_folder_that_it_hides(steps: Steps) -> None:
    first = await steps.run("mkdir -m 700 /t; chown 5:6 /t; echo hidden > /t/f")
    mount = Mount("/t", NONE, output=NONE, type=MountType.TMPFS)
    ran = await steps.run("stat -c '%a %u:%g' /t; ls /t", on=first.refs[0], mounts=[mount])
    assert (ran.out, ran.layer) == ("700 0:0\n", [])


async def test_size_of_shared_memory(steps: Steps) -> None:
    mount = Mount("/dev/shm", NONE, output=NONE, type=MountType.TMPFS, tmpfs_size=32 << 20)
    ran = await steps.run("df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", mounts=[mount])
    assert ran.out == "32768\n"


async def test_secret_file(steps: Steps) -> None:
    steps.lent.secrets["key"] = b"value"
    ran = await steps.run(
        "cat /run/secrets/key; stat -c ' %a %u:%g' /run/secrets/key; echo x > /run/secrets/key || true",
        mounts=[secret("/run/secrets/key", SecretOpt("key", uid=1, gid=2, mode=0o440))],
    )
    assert ran.out == "value 440 1:2\n"
    assert ran.layer == KERNEL
    assert list(steps.context.volatile.glob("*/secret*")) == []


async def test_missing_secret_is_an_error_unless_it_is_optional(steps: Steps) -> None:
    with pytest.raises(BuildError, match=r"^secret gone: not found\n"):
        await steps.run("true", mounts=[secret("/s", SecretOpt("gone"))])
    ran = await steps.run("ls /s || echo none", mounts=[secret("/s", SecretOpt("gone", optional=True))])
    assert (ran.out, ran.layer) == ("none\n", KERNEL)


async def test_cache_outlives_the_step_and_never_enters_the_layer(steps: Steps) -> None:
    first = await steps.run("echo kept > /c/f", mounts=[cache("/c", "one")])
    assert first.layer == KERNEL
    assert (await steps.run("cat /other/f", mounts=[cache("/other", "one")])).out == "kept\n"
    assert (await steps.run("ls /c", mounts=[cache("/c", "two")])).out == ""


async def test_cache_begins_as_its_base(steps: Steps, data: TreeRef) -> None:
    mount = cache("/c", "based", input=1, selector="/d")
    ran = await steps.run("cat /c/one; echo 2 > /c/one", mounts=[mount], inputs=[data])
    assert ran.out == "1"
    assert (await steps.run("cat /c/one", mounts=[mount], inputs=[data])).out == "2\n"
    other = TreeRef("other", "data")
    assert (await steps.run("cat /c/one", mounts=[mount], inputs=[other])).out == "1"


async def test_two_mounts_of_one_cache_in_a_step_are_one(steps: Steps) -> None:
    mounts = [cache("/a", "x", CacheSharing.LOCKED), cache("/b", "x", CacheSharing.LOCKED)]
    assert (await steps.run("echo 1 > /a/f; cat /b/f", mounts=mounts)).out == "1\n"


async def seen_beside_another(steps: Steps, sharing: CacheSharing, other: str) -> str:
    """What a step finds in a cache that another step has in use, which runs `other` after it has made `mark`."""
    mounts = [cache("/c", "meet", sharing)]
    log: list[tuple[int, bytes]] = []
    async with anyio.create_task_group() as group:
        group.start_soon(partial(steps.run, f"touch /c/mark; echo ready; {other}", mounts=mounts, log=log))
        while not log:
            await anyio.lowlevel.checkpoint()
        found = (await steps.run("ls /c", mounts=mounts)).out
        group.cancel_scope.cancel()
    return found


async def test_shared_cache_is_used_at_the_same_time(steps: Steps) -> None:
    assert await seen_beside_another(steps, CacheSharing.SHARED, "sleep 600") == "mark\n"


async def test_private_cache_is_used_by_one_and_the_other_gets_a_new_one(steps: Steps) -> None:
    assert await seen_beside_another(steps, CacheSharing.PRIVATE, "sleep 600") == ""


async def test_locked_cache_is_waited_for(steps: Steps) -> None:
    assert await seen_beside_another(steps, CacheSharing.LOCKED, "sleep 0.3; touch /c/end") == "end\nmark\n"


async def test_ssh_socket_passes_on_to_the_agent(steps: Steps, tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(path))
        agent.listen()
        steps.lent.sockets["default"] = path
        mount = Mount("/agent", NONE, output=NONE, type=MountType.SSH, ssh=SecretOpt("default", uid=1000, mode=0o600))
        ran = await steps.run("stat -c '%F %a %u' /agent", mounts=[mount])
    assert ran.out == "socket 600 1000\n"
    assert ran.layer == KERNEL


async def test_missing_agent_is_an_error_unless_it_is_optional(steps: Steps) -> None:
    mount = Mount("/agent", NONE, output=NONE, type=MountType.SSH, ssh=SecretOpt("default"))
    with pytest.raises(BuildError, match=r"^unset ssh forward key default\n"):
        await steps.run("true", mounts=[mount])
    optional = replace(mount, ssh=SecretOpt("default", optional=True))
    assert (await steps.run("ls /agent || echo none", mounts=[optional])).out == "none\n"
