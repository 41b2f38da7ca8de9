"""Outputs that are refused before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakepy.errors import BakeError
from bakepy.exporter.preflight import check_outputs, check_platforms, insecure_registries
from bakepy.model.target import Target
from tests.support.results import AMD64, ARM64, output


def target(name: str, *outputs: str, annotations: tuple[str, ...] = ()) -> Target:
    return Target(name, annotations=annotations, outputs=tuple(output(text) for text in outputs))


def refused(*targets: Target, terminal: bool = False) -> str:
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


def test_a_file_belongs_to_one_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    assert refused(
        target("one", "type=oci,dest=out/x.tar", "type=tar,dest=y.tar"),
        target("two", "type=docker,dest=./link/out/x.tar", "type=oci,tar=false,dest=layout"),
        target("three", "type=oci,tar=false,dest=layout", "type=tar,dest=/dev/null", "type=tar,dest=/dev/null"),
    ).splitlines() == [
        f"target.two.output[0]: the file {tmp_path / 'out/x.tar'} is written by target.one.output[0], too",
        "hint: give each output a file of its own",
    ]


def test_an_index_is_no_docker_archive() -> None:
    with pytest.raises(BakeError) as caught:
        check_platforms([(target("app", "type=docker,dest=x"), [AMD64, ARM64], True)])
    assert caught.value.render() == (
        "target.app.output[0]: docker exporter does not currently support exporting manifest lists\nhint: use type=oci"
    )


def test_annotations_need_their_platform_and_their_index() -> None:
    targets = [
        (target("one", "type=oci", annotations=("index:a=b",)), [AMD64], False),
        (target("two", "type=tar", "type=oci", annotations=("manifest[linux/arm]:a=b",)), [AMD64, ARM64], True),
        (target("three", "type=oci,oci-mediatypes=false", annotations=("index:a=b",)), [AMD64, ARM64], True),
        (target("four", "type=oci", annotations=("index:a=b", "manifest[linux/arm64]:a=b")), [AMD64, ARM64], True),
    ]
    with pytest.raises(BakeError) as caught:
        check_platforms(targets)
    assert caught.value.render().splitlines() == [
        "target.one.output[0]: index annotations not supported for single platform export",
        "hint: build for several platforms, or annotate the manifest",
        "target.two.output[1]: invalid annotation: no platform linux/arm found in source",
        "hint: did you mean 'linux/arm64'?",
        'target.three.output[0]: cannot export annotations with "oci-mediatypes=false"',
    ]


def test_insecure_registries_are_those_of_outputs_that_say_so() -> None:
    targets = [
        target("one", "type=registry,name=a.test/x,registry.insecure=true"),
        target("two", "type=image,name=b.test/x", "type=oci"),
    ]
    assert insecure_registries(targets) == {"a.test"}


def test_a_directory_elsewhere_is_not_emptied_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / "link").symlink_to(tmp_path)
    monkeypatch.chdir(here)
    for dest in (".", "..", "../other", "link", "link/x", "/"):
        app = target("app", f"type=local,mode=delete,dest={dest}")
        assert refused(app) == (
            f"target.app.output[0]: local output mode=delete for destination '{dest}' is not allowed\n"
            "hint: --allow buildx.local.delete grants it, for a directory that is not below the current one"
        )
        assert check_outputs([app], delete_allowed=True) == ()
    assert check_outputs([target("app", "type=local,mode=delete,dest=out/new")]) == ()
