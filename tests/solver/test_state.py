"""The decisions of the solver, without an event loop: what is asked and ordered after what happened."""

from __future__ import annotations

import pytest

from bakepy.solver.node import Ask, Do, Node, Status
from bakepy.solver.state import State
from bakepy.solver.vertex import Limits, Record
from tests.support.toy import Bench, Number, Toy, ToyOp, toy


def _state(*vertices: Toy, limits: Limits | None = None) -> State[Number]:
    return State(vertices, lambda vertex: ToyOp(vertex, Bench()), limits or Limits())  # type: ignore[arg-type]


def _node(state: State[Number], vertex: Toy) -> Node[Number]:
    return state.nodes[vertex.digest]


def _questions(state: State[Number]) -> list[tuple[Ask, str]]:
    state.settle()
    return [(question.kind, question.node.vertex.name) for question in state.take_questions()]


def _miss_all(state: State[Number]) -> None:
    """Answers every question with no, until there is none."""
    state.settle()
    while questions := state.take_questions():
        for question in questions:
            if question.kind is Ask.DEFINITION:
                state.defined(question.node, None)
            else:
                state.looked_up(question.node, None)
        state.settle()


def _commands(state: State[Number]) -> list[tuple[Do, str]]:
    return [(command.kind, command.node.vertex.name) for command in state.take_commands()]


BASE = toy("base", 1)
LEFT, RIGHT = toy("left", 2, BASE), toy("right", 3, BASE)
TOP = toy("top", 4, LEFT, RIGHT)


def test_all_definition_keys_are_asked_for_together() -> None:
    state = _state(BASE, LEFT, RIGHT, TOP)
    state.demand(_node(state, TOP))
    assert sorted(_questions(state), key=str) == [(Ask.DEFINITION, name) for name in ("base", "left", "right", "top")]


def test_a_known_head_asks_for_its_result_only() -> None:
    state = _state(BASE, LEFT, RIGHT, TOP)
    state.demand(_node(state, TOP))
    state.settle()
    for question in state.take_questions():
        state.defined(question.node, Record(1, ("x 1",), 1.0))
    assert _questions(state) == [(Ask.LOAD, "top")]
    state.loaded(_node(state, TOP), (Number("x", 10),))
    state.settle()
    assert _commands(state) == [(Do.SETTLED, "top")]
    assert (_node(state, TOP).by, _node(state, BASE).users) == ("definition", 0)


def test_a_missing_head_works_its_way_up() -> None:
    state = _state(BASE, LEFT, RIGHT, TOP)
    state.demand(_node(state, TOP))
    _miss_all(state)
    assert _commands(state) == [(Do.RUN, "base")]
    state.finished(_node(state, BASE), (Number("b", 1),), None)
    _miss_all(state)
    assert _commands(state) == [(Do.SETTLED, "base"), (Do.RUN, "left"), (Do.RUN, "right")]


def test_the_last_one_to_leave_stops_the_work() -> None:
    state = _state(BASE, LEFT, RIGHT, TOP)
    for vertex in (LEFT, RIGHT):
        state.demand(_node(state, vertex))
    _miss_all(state)
    assert _commands(state) == [(Do.RUN, "base")]
    state.leave(_node(state, LEFT))
    state.settle()
    assert _commands(state) == []
    state.leave(_node(state, RIGHT))
    state.settle()
    assert _commands(state) == [(Do.CANCEL, "base")]
    assert _node(state, BASE).status is Status.STOPPING
    state.stopped(_node(state, BASE))
    state.settle()
    assert {node.status for node in state.nodes.values()} == {Status.IDLE}


def test_work_that_ends_although_it_was_stopped_counts() -> None:
    state = _state(BASE)
    state.demand(_node(state, BASE))
    _miss_all(state)
    _commands(state)
    state.leave(_node(state, BASE))
    state.settle()
    assert _commands(state) == [(Do.CANCEL, "base")]
    state.finished(_node(state, BASE), (Number("b", 1),), None)
    assert _node(state, BASE).results == (Number("b", 1),)


def test_an_answer_that_comes_when_nobody_needs_it_moves_nothing() -> None:
    state = _state(BASE)
    state.demand(_node(state, BASE))
    assert _questions(state) == [(Ask.DEFINITION, "base")]
    state.leave(_node(state, BASE))
    state.settle()
    state.defined(_node(state, BASE), None)
    state.settle()
    assert (_node(state, BASE).status, state.take_questions(), _commands(state)) == (Status.IDLE, [], [])


def test_a_parked_vertex_gives_its_place_to_the_next() -> None:
    state = _state(BASE, other := toy("other", 9), limits=Limits({"exec": 1}))
    for vertex in (BASE, other):
        state.demand(_node(state, vertex))
    _miss_all(state)
    assert _commands(state) == [(Do.RUN, "base")]
    state.parked(_node(state, BASE))
    state.settle()
    assert _commands(state) == [(Do.POLL, "base"), (Do.RUN, "other")]


def test_an_impossible_step_names_the_vertex() -> None:
    state = _state(BASE)
    with pytest.raises(RuntimeError, match=r"base \(sha256:[0-9a-f]{64}\): idle → running"):
        _node(state, BASE).become(Status.RUNNING)
