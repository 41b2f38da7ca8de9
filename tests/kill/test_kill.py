"""Kills at random instants of a bake: the next one is right, and nothing is left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.kill.campaign import Campaign
from tests.kill.victim import Project
from tests.support.base_image import write_base_image

pytestmark = pytest.mark.runtime


@pytest.mark.parametrize("seed", [1, 2])
def test_a_bake_that_is_killed_anywhere_is_made_good_by_the_next(tmp_path: Path, seed: int) -> None:
    write_base_image(tmp_path / "base")
    program = [str(Path(sys.executable).parent / "bakepy")]
    project = Project.make(tmp_path / "project", program, tmp_path / "base")
    result = Campaign(project, tmp_path, seed).run(5)
    assert result.wrong == []
    assert len(result.blows) >= 5
