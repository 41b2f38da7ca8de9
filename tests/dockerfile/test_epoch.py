"""Whose time SOURCE_DATE_EPOCH asks for when it is no number."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bakepy.dockerfile.compile import parse
from bakepy.dockerfile.epoch import epoch_source
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.options import GitContext, InvalidContext, LowerOptions, NamedContext
from bakepy.model.frozen import FrozenMap
from bakepy.model.platform import Platform

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
STAGE = "FROM scratch AS src\nADD https://h.test/stage.git /\nFROM alpine\n"


def asked(value: str, text: str, **contexts: str) -> str:
    options = LowerOptions(build_platform=AMD64, platform=ARM64)
    named: FrozenMap[str, NamedContext] = FrozenMap(
        {name.replace("_", "::linux/"): GitContext(url) for name, url in contexts.items()}
    )
    request = epoch_source(value, parse(text, "Dockerfile").dockerfile, replace(options, contexts=named), {}, {})
    assert request is not None
    return request.op.identifier


def test_a_stage_gives_the_time_of_what_it_adds() -> None:
    assert asked("src", STAGE) == "git://h.test/stage.git"


def test_a_context_counts_more_than_a_stage() -> None:
    assert asked("src", STAGE, src="https://h.test/context.git") == "git://h.test/context.git"


def test_a_context_for_a_platform_is_one_of_the_machine_that_builds() -> None:
    both = {"src_arm64": "https://h.test/target.git", "src_amd64": "https://h.test/builder.git"}
    assert asked("src", STAGE, **both) == "git://h.test/builder.git"
    assert asked("src", STAGE, src_arm64="https://h.test/target.git") == "git://h.test/stage.git"


def test_any_context_can_be_named() -> None:
    assert asked("scratch", STAGE, scratch="https://h.test/x.git") == "git://h.test/x.git"


def test_a_context_that_can_not_be_read_is_told() -> None:
    contexts: FrozenMap[str, NamedContext] = FrozenMap(
        {"src": InvalidContext("unsupported context source ssh for src")}
    )
    with pytest.raises(DockerfileError, match="unsupported context source ssh for src"):
        epoch_source("src", parse(STAGE, "Dockerfile").dockerfile, LowerOptions(contexts=contexts), {}, {})


@pytest.mark.parametrize("value", ["scratch", "nobody", "::", "SRC"])
def test_nothing_else_has_a_time(value: str) -> None:
    with pytest.raises(DockerfileError, match="invalid SOURCE_DATE_EPOCH"):
        asked(value, STAGE)
