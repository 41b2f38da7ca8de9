"""`bakepy.model.value.dataclass` behaves as the standard decorator does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import Any

import pytest

from bakepy.model.value import dataclass as cheap


def pair(decorate: Any) -> Any:
    @decorate(frozen=True, slots=True)
    class Point:
        x: int
        y: int = 0
        note: str = field(default="", compare=False, repr=False)

    @decorate(frozen=True, slots=True)
    class Empty:
        pass

    @decorate(slots=True)
    class Open:
        x: int

    @decorate(frozen=True, slots=True)
    class Own:
        x: int

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    return Point, Empty, Open, Own


STANDARD, CHEAP = pair(dataclasses.dataclass), pair(cheap)


@pytest.mark.parametrize("classes", [STANDARD, CHEAP], ids=["standard", "cheap"])
def test_values_behave(classes: Any) -> None:
    point, empty, mutable, own = classes
    assert point(1, 2) == point(1, 2, note="other") != point(1, 3)
    assert hash(point(1, 2)) == hash(point(1, 2, note="other"))
    assert len({point(1), point(1), point(2)}) == 2
    assert point(1) != (1, 0, "")
    assert repr(point(1, 2)).endswith("Point(x=1, y=2)")
    assert empty() == empty()
    assert hash(empty()) == hash(empty())
    assert mutable(1) == mutable(1)
    with pytest.raises(TypeError, match="unhashable"):
        hash(mutable(1))
    assert own(1) == own(2)
    assert hash(own(1)) == 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        point(1).x = 2
    assert dataclasses.replace(point(1, 2), y=5) == point(1, 5)
    assert copy.copy(point(1, 2)) == point(1, 2)
    assert [each.name for each in dataclasses.fields(point)] == ["x", "y", "note"]


def test_values_of_other_classes_are_unequal() -> None:
    assert STANDARD[0](1) != CHEAP[0](1)


@cheap(frozen=True, slots=True)
class Kept:
    x: int


def test_values_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Kept(3))) == Kept(3)
