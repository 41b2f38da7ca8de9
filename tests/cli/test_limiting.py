"""`--pool` and `--memory-budget`: what they say over the bake file, and what they refuse."""

from __future__ import annotations

import pytest

from bakepy.bakefile import LoadOptions, load
from bakepy.cli.limiting import idle_pools, memory_budget, pool_limits
from bakepy.errors import DefinitionError, UsageError
from bakepy.model.location import SourceFile
from bakepy.model.target import BakeFile


def _bake(text: str) -> BakeFile:
    return load([SourceFile("bake.toml", text)], LoadOptions(targets=["a"]))


LINK = "[pools]\nlink = 2\ncc = 3\n[target.a]\npools = ['link']\n"


def test_flags_come_over_the_file() -> None:
    assert pool_limits(_bake(LINK), ["link=5", "exec=1"]) == {"link": 5, "cc": 3, "exec": 1}


def test_a_pool_without_a_number() -> None:
    with pytest.raises(DefinitionError) as caught:
        pool_limits(_bake("[pools]\nlink = 2\n[target.a]\npools = ['lnik']\n"), [])
    assert str(caught.value).splitlines() == [
        "bake.toml:4:11: target.a.pools: the pool 'lnik' has no number of places",
        "    pools = ['lnik']",
        "              ^^^^",
        "hint: did you mean 'link'?",
    ]


def test_kinds_of_steps_are_pools_of_their_own() -> None:
    assert pool_limits(_bake("[target.a]\npools = ['network']\n"), []) == {}


@pytest.mark.parametrize("text", ["link", "link=", "=2", "link=0", "link=two", "link=-1"])
def test_flags_that_can_not_be_read(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        pool_limits(_bake(LINK), [text])
    assert caught.value.what == f"--pool {text}: expected NAME=N"


def test_a_flag_that_limits_nothing_is_told() -> None:
    assert list(idle_pools(_bake(LINK), ["link=1", "cc=1", "exec=1", "cxx=1"])) == [
        "--pool cxx=1: no target of this run is in that pool"
    ]


def test_the_memory_budget() -> None:
    assert (memory_budget(""), memory_budget("1.5g"), memory_budget("1000")) == (None, 1610612736, 1000)
    for text in ("much", "0"):
        with pytest.raises(UsageError) as caught:
            memory_budget(text)
        assert caught.value.what == f"--memory-budget {text}: expected a size"
