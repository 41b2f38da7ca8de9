"""Frontends: which are this compiler, and what is said of the others."""

from __future__ import annotations

import pytest

from bakepy.dockerfile.channel import wants_labs
from bakepy.dockerfile.errors import DockerfileError
from bakepy.model.location import SourceFile

HINT = (
    "hint: only docker/dockerfile is built in; any other frontend is a container image that BuildKit runs: "
    "docker buildx bake"
)


def wanted(text: str, argument: str | None = None) -> bool:
    return wants_labs(SourceFile("Dockerfile", text), argument)


@pytest.mark.parametrize(
    "image",
    [
        "docker/dockerfile", "docker/dockerfile:1", "docker.io/docker/dockerfile:1.7",
        "docker/dockerfile-upstream:master",
        "docker/dockerfile@sha256:" + "a" * 64, "mirror.test:5000/cache/docker/dockerfile:1 some arguments",
    ],
)  # fmt: skip
def test_every_version_of_the_dockerfile_frontend_is_built_in(image: str) -> None:
    assert not wanted(f"# syntax={image}\nFROM scratch\n")
    assert not wanted("FROM scratch\n", image)


@pytest.mark.parametrize("tag", ["labs", "1-labs", "1.7.0-labs", "1.0-experimental", "master-labs"])
def test_the_labs_channel_is_known_by_its_tag(tag: str) -> None:
    assert wanted(f"#syntax = docker/dockerfile:{tag}@sha256:{'a' * 64}\n")
    assert wanted("# syntax=docker/dockerfile:1\n", f"docker/dockerfile:{tag}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("#!/usr/bin/env x\n# syntax = h.test/mopy:1 x\n",
         "Dockerfile:2:12: the frontend 'h.test/mopy:1' can not be run by the embedded engine\n"
         "    # syntax = h.test/mopy:1 x\n               ^^^^^^^^^^^^^\n" + HINT),
        ("// syntax=dockerfile\n",
         "Dockerfile:1:11: the frontend 'dockerfile' can not be run by the embedded engine\n"
         "    // syntax=dockerfile\n              ^^^^^^^^^^\n" + HINT),
        ('{"syntax": "a//b"}\n',
         "Dockerfile:1:13: the frontend 'a//b' is no image: invalid reference format: 'a//b'\n"
         '    {"syntax": "a//b"}\n                ^^^^\n' + HINT),
    ],
)  # fmt: skip
def test_other_frontends_are_refused_where_they_are_asked_for(text: str, told: str) -> None:
    with pytest.raises(DockerfileError) as error:
        wanted(text)
    assert error.value.render() == told


def test_the_build_argument_counts_more_than_the_file() -> None:
    assert not wanted("# syntax=other/frontend\n", "docker/dockerfile:1")
    with pytest.raises(DockerfileError, match="the frontend 'other/frontend' can not be run by the embedded engine"):
        wanted("# syntax=docker/dockerfile:1\n", "other/frontend:1".removesuffix(":1"))
    with pytest.raises(DockerfileError, match="BUILDKIT_SYNTAX is empty"):
        wanted("", " ")
