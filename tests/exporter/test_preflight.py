"""Outputs that are refused before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakepy.errors import BakeError
from bakepy.exporter.preflight import check_outputs, insecure_registries
from bakepy.model.target import Target
from tests.support.results import output


def target(name: str, *outputs: str) -> tuple[Target, bool]:
    return Target(name, outputs=tuple(output(text) for text in outputs)), False


def refused(*targets: tuple[Target, bool], terminal: bool = False) -> str:
    with pytest.raises(BakeError) as caught:
        check_outputs(targets, stdout_is_terminal=terminal)
    return caught.value.render()


def test_good_outputs_give_their_warnings(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("a file may be replaced")
    outputs = (
        f"type=oci,dest={tmp_path / 'old'}",
        f"type=local,dest={tmp_path}",
        "type=tar",
        "type=docker",
        "type=image,x=1",
    )
    assert check_outputs([target("app", *outputs)]) == (
        "target.app.output[4]: attribute 'x' has no effect on type=image",
    )


def test_all_faults_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(
        target("one", f"type=oci,dest={tmp_path}", "type=tar"),
        target("two", f"type=local,dest={tmp_path / 'file'}", "type=oci"),
        target("three", "type=nope"),
    ).splitlines() == [
        f"target.one.output[0]: destination file {tmp_path} is a directory",
        "hint: give the name of a file",
        f"target.two.output[0]: destination directory {tmp_path / 'file'} is a file",
        "hint: give the name of a directory",
        "target.two.output[1]: multiple outputs configured to write to stdout",
        "hint: the other is target.one.output[1]",
        'target.three.output[0]: exporter "nope" could not be found',
        "hint: one of image, registry, oci, docker, local, tar, cacheonly",
    ]


def test_a_terminal_gets_no_archive() -> None:
    assert refused(target("app", "type=oci"), terminal=True) == (
        "target.app.output[0]: refusing to write an archive to the terminal\nhint: add dest=FILE, or redirect stdout"
    )


def test_an_index_is_no_docker_archive() -> None:
    app, _ = target("app", "type=docker,dest=x")
    assert refused((app, True)) == (
        "target.app.output[0]: docker exporter does not currently support exporting manifest lists\nhint: use type=oci"
    )


def test_insecure_registries_are_those_of_outputs_that_say_so() -> None:
    targets = [
        target("one", "type=registry,name=a.test/x,registry.insecure=true"),
        target("two", "type=image,name=b.test/x", "type=oci"),
    ]
    assert insecure_registries(item for item, _ in targets) == {"a.test"}
