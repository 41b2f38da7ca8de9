"""Definitions as JSON lines and as a graph."""

from __future__ import annotations

import json

from bakepy.llb.definition import Definition
from bakepy.llb.dump import dot, json_lines
from tests.support.dockerfiles import lower


def definition(text: str) -> Definition:
    lowered = lower(text)
    return Definition.of(lowered.graph, lowered.head)


def test_json_lines_name_every_op_in_order() -> None:
    shown = definition('FROM alpine\nRUN --mount=type=tmpfs,target=/t echo "é"\n')
    entries = [json.loads(line) for line in json_lines(shown)]
    assert [entry["Digest"] for entry in entries][:-1] == [vertex.digest for vertex in shown.vertices]
    assert entries[1]["Op"]["Op"]["exec"]["meta"]["args"] == ["/bin/sh", "-c", 'echo "é"']
    assert (
        entries[1]["OpMetadata"]["description"]["llb.customname"]
        == '[stage-0 2/2] RUN --mount=type=tmpfs,target=/t echo "é"'
    )
    assert entries[2]["Op"]["Op"] == {"inputs": [{"digest": shown.vertices[1].digest}]}


def test_an_empty_result_has_no_lines() -> None:
    assert list(json_lines(Definition((), None))) == []


def test_the_graph_shows_what_is_mounted_where() -> None:
    shown = definition('FROM alpine AS a\nFROM scratch\nRUN --mount=from=a,target=/a x "y"\nCOPY --from=a p q\n')
    image, run, copy = (vertex.digest for vertex in shown.vertices)
    assert dot(shown).splitlines() == [
        "digraph {",
        f'  "{image}" [label="{shown.vertices[0].op.identifier}" shape=ellipse];',  # type: ignore[union-attr]
        f'  "{run}" [label="/bin/sh -c x \\"y\\"" shape=box];',
        f'  "{copy}" [label="copy /q" shape=note];',
        f'  "{image}" -> "{run}" [label="/a"];',
        f'  "{run}" -> "{copy}" [label=""];',
        f'  "{image}" -> "{copy}" [label=""];',
        '  "result" [shape=plaintext];',
        f'  "{copy}" -> "result" [label=""];',
        "}",
    ]
