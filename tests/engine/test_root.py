"""State roots that can not be used."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import anyio
import pytest

from bakepy.engine.embedded import Embedded
from bakepy.engine.root import Use, open_root
from bakepy.errors import EngineError

HINT = "hint: choose another with --root or BAKEPY_ROOT"


def test_it_is_made_with_its_parents(tmp_path: Path) -> None:
    open_root(tmp_path / "a/b")
    assert (tmp_path / "a/b").is_dir()


def test_below_a_file_it_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError) as caught:
        open_root(tmp_path / "file/root")
    assert caught.value.render() == f"state root {tmp_path}/file/root: not a directory\n{HINT}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_one_that_another_user_began_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("")
    os.chown(tmp_path / "state.db", 1000, 1000)
    with pytest.raises(EngineError) as caught:
        open_root(tmp_path)
    assert caught.value.render() == f"state root {tmp_path} belongs to user 1000, this is user 0\n{HINT}"


def test_names_that_others_can_not_take_are_told(tmp_path: Path) -> None:
    long = tmp_path / "/".join(["a" * 100] * 6)
    with pytest.raises(EngineError) as caught:
        open_root(long)
    begin, size = str(long)[:40], len(str(long))
    assert caught.value.render() == (f"state root {begin}…: its path has {size} bytes, the database takes 490\n{HINT}")
    with pytest.raises(EngineError) as caught:
        open_root(tmp_path / "a\udcff")
    assert caught.value.render() == (
        f"state root {tmp_path}/a\\xff: its path is not UTF-8, which the OCI runtime could not be told\n{HINT}"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_one_that_is_being_made_smaller_is_waited_for_but_not_after_an_interrupt(tmp_path: Path) -> None:
    opened = False

    async def build() -> None:
        nonlocal opened
        async with Embedded.open(tmp_path):
            opened = True

    with Use(tmp_path) as prune:
        assert prune.alone()
        in_time = threading.Timer(20, prune.share)  # what could not be cancelled would wait for ever
        in_time.start()
        async with anyio.create_task_group() as group:
            group.start_soon(build)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert (opened, in_time.is_alive()) == (False, True)
        in_time.cancel()
        async with anyio.create_task_group() as group:
            group.start_soon(build)
            await anyio.wait_all_tasks_blocked()
            assert not opened
            prune.share()
    assert opened
