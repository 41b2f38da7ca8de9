"""State roots that can not be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bakepy.engine.root import open_root
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
