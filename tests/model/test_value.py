"""`bakepy.model.value.dataclass` behaves as the standard decorator does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import Any, ClassVar

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


class _Base:
    __slots__ = ()


@cheap(frozen=True, slots=True)
class _First(_Base):
    LIMIT: ClassVar[int] = 3
    x: int
    ys: list[int] = field(default_factory=list)


@cheap(frozen=True, slots=True)
class _Second(_First):
    z: str = "z"


def test_values_inherit_fields_and_compile_their_init_late() -> None:
    early = _Second.__init__
    for number in range(20):
        assert (_Second.__init__ is early) == (number * 6 < 16)
        assert _Second(1) == _Second(x=1, ys=[], z="z")
        assert _Second(1, [2]).ys == [2]
        assert _Second(1).ys is not _Second(1).ys
        assert dataclasses.astuple(_Second(1, z="q")) == (1, [], "q")
    assert (_First.LIMIT, vars(_Second)["__slots__"]) == (3, ("z",))
    assert pickle.loads(pickle.dumps(_Second(1, [2], "q"))) == _Second(1, [2], "q")
    with pytest.raises(AttributeError):
        object.__setattr__(_Second(1), "other", 2)


@pytest.mark.parametrize(
    ("positional", "named"),
    [((), {}), ((), {"y": 1}), ((1, 2, "", 4), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((1,), {"made": 1})],
)
def test_arguments_that_do_not_fit_are_told_as_ever(positional: tuple[Any, ...], named: dict[str, Any]) -> None:
    def told(decorate: Any) -> str:
        @decorate(frozen=True, slots=True)
        class Fresh:
            x: int
            y: int = 0
            note: str = ""
            made: int = field(default=3, init=False)

        make: Any = Fresh
        with pytest.raises(TypeError) as first:
            make(*positional, **named)
        assert (make(1).made, make(1, note="n").note) == (3, "n")
        with pytest.raises(TypeError) as second:
            make(*positional, **named)
        assert str(first.value) == str(second.value)
        return str(first.value)

    assert told(cheap) == told(dataclasses.dataclass)


def test_mistakes_in_a_definition_are_told() -> None:
    with pytest.raises(TypeError, match="non-default argument 'y' follows"):
        cheap(type("Wrong", (), {"__annotations__": {"x": "int", "y": "int"}, "x": 1}))
    with pytest.raises(ValueError, match="mutable default"):
        cheap(type("Wrong", (), {"__annotations__": {"x": "list"}, "x": []}))
