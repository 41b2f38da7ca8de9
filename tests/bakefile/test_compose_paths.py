"""Compose files in several folders: what is meant from where, as the loader of compose has it."""

from __future__ import annotations

import json

import pytest

from bakepy.bakefile import render
from bakepy.bakefile.compose.paths import directory_of, joined, move_file, move_path
from bakepy.errors import BakeError
from tests.support.bakefiles import load_files

LEAF = "services: {c: {build: {context: ctx, args: [WHERE]}, env_file: e.env}}"
"""A service that says where it was read."""
FOLDERS = ("", "sub", "sub/deep", "sub/sub", "sub/sub/deep", "sub/x", "x", "x/deep")
ENV_FILES = {joined(folder, "e.env"): f"WHERE={folder or 'here'}\n" for folder in FOLDERS}


def found(files: dict[str, str]) -> dict[str, tuple[str, str]]:
    """The context and the argument of each target."""
    targets = json.loads(render(load_files({**ENV_FILES, **files}, "*")))["target"]
    return {name: (each["context"], each.get("args", {}).get("WHERE", "")) for name, each in targets.items()}


def extending(file: str, service: str = "c", name: str = "c") -> str:
    return f"services: {{{name}: {{extends: {{file: {file}, service: {service}}}}}}}"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        # a file that is extended names others from where it is
        ({"sub/b.yaml": extending("c.yaml"), "sub/c.yaml": LEAF}, ("sub/ctx", "sub")),
        ({"sub/b.yaml": extending("deep/c.yaml"), "sub/deep/c.yaml": LEAF}, ("sub/deep/ctx", "sub/deep")),
        ({"sub/b.yaml": extending("../c.yaml"), "c.yaml": LEAF}, ("ctx", "here")),
        (
            {"sub/b.yaml": extending("deep/c.yaml"), "sub/deep/c.yaml": extending("../d.yaml"), "sub/d.yaml": LEAF},
            ("sub/ctx", "sub"),
        ),
        ({"sub/b.yaml": "services: {c: {build: {dockerfile: D}}}"}, (".", "")),
        ({"sub/b.yaml": "services: {c: {build: {context: .}}}"}, ("sub", "")),
    ],
)
def test_extended_from_files_that_extend(files: dict[str, str], expected: tuple[str, str]) -> None:
    assert found({"compose.yaml": extending("sub/b.yaml", name="a"), **files}) == {"a": expected}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sub/a.yaml": LEAF}, ("sub/ctx", "sub")),
        ({"sub/a.yaml": extending("b.yaml"), "sub/b.yaml": LEAF}, ("sub/ctx", "sub")),
        ({"sub/a.yaml": extending("deep/b.yaml"), "sub/deep/b.yaml": LEAF}, ("sub/deep/ctx", "sub/deep")),
        ({"sub/a.yaml": extending("../b.yaml"), "b.yaml": LEAF}, ("ctx", "here")),
        # the folder of an included file counts twice for what that includes
        ({"sub/a.yaml": "include: [deep/b.yaml]", "sub/deep/b.yaml": LEAF}, ("sub/sub/deep/ctx", "sub/sub/deep")),
        ({"sub/a.yaml": "include: [../b.yaml]", "b.yaml": LEAF}, ("sub/ctx", "sub")),
        (
            {"sub/a.yaml": "include: [{path: deep/b.yaml, project_directory: x}]", "sub/deep/b.yaml": LEAF},
            ("sub/x/ctx", "sub/x"),
        ),
        ({"sub/a.yaml": "services: {c: {build: {dockerfile: D}}}"}, ("sub", "")),
    ],
)
def test_included_files_that_include_and_extend(files: dict[str, str], expected: tuple[str, str]) -> None:
    assert found({"compose.yaml": "include: [sub/a.yaml]", "sub/x/there": "", **files}) == {"c": expected}


def test_an_included_file_extends_from_its_project_directory() -> None:
    files = {
        "compose.yaml": "include: [{path: sub/a.yaml, project_directory: x}]",
        "sub/a.yaml": extending("b.yaml"),
        "x/b.yaml": LEAF,
    }
    assert found(files) == {"c": ("x/ctx", "x")}


def test_files_of_agents_and_secrets_are_meant_from_the_file_that_names_them() -> None:
    text = "services: {c: {build: {context: ., ssh: {k: ./key}, secrets: [s]}}}\nsecrets: {s: {file: ../s}}"
    files = {"compose.yaml": "include: [sub/a.yaml]", "sub/a.yaml": text, "s": "", "sub/key": ""}
    with pytest.raises(BakeError) as caught:  # which is read, and is no key
        load_files(files, "c")
    assert "'sub/key'" in str(caught.value)
    files["sub/a.yaml"] = text.replace("ssh: {k: ./key}, ", "")
    assert [each.src for each in load_files(files, "c").targets["c"].secrets] == ["s"]


def test_a_build_of_nothing_is_an_error_in_any_file() -> None:
    files = {"compose.yaml": extending("sub/b.yaml"), "sub/b.yaml": "services: {c: {build: }}"}
    with pytest.raises(BakeError, match=r"services\.c\.build: expected a folder or a mapping, found nothing"):
        load_files(files, "c")


def test_paths() -> None:
    assert [joined("", ""), joined("", "./a"), joined("a", ""), joined("a", "../b"), joined("a", "/b")] == [
        "", "a", "a", "b", "/b",
    ]  # fmt: skip
    kinds = {"a": "dir", "a/b": "dir"}

    def kind(path: str) -> str:
        return kinds.get(path, "")

    assert [directory_of("", "a", kind), directory_of("", "a/c.yaml", kind), directory_of("a", "b", kind)] == [
        "a", "a", "b",
    ]  # fmt: skip
    assert [directory_of("a", "c", kind), directory_of("a", "/x/c.yaml", kind)] == [".", "/x"]
    assert [move_path("a", each) for each in ("b", "", "git@x:b", "C:\\b", "~/b")] == [
        "a/b", "", "git@x:b", "a/C:\\b", "a/~/b",
    ]  # fmt: skip
    assert [move_file("a", each, "/home/me") for each in ("b", "", "C:\\b", "~/b", "http://b", None)] == [
        "a/b", "a", "C:\\b", "/home/me/b", "a/http:/b", None,
    ]  # fmt: skip
