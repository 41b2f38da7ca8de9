"""Many targets over one Dockerfile: what is equal is made once, and nothing leaks from one target to the next."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.dockerfile.compile import Compilation, Lowered, ParsedDockerfile, parse
from bakepy.dockerfile.errors import DockerfileError
from bakepy.dockerfile.globals import MAX_TEXT
from bakepy.dockerfile.options import LocalContext, LowerOptions
from bakepy.llb.definition import Definition
from bakepy.llb.op import FileOp
from bakepy.llb.unmarshal import unmarshal
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceRange
from bakepy.model.platform import Platform
from tests.support.dockerfiles import AMD64, provided
from tests.support.fake_images import resolve

TEXT = """\
ARG BASE=alpine
ARG FLAVOR=plain
FROM $BASE AS base
WORKDIR /src
FROM base AS deps
COPY go.mod .
RUN --mount=type=cache,target=/root download
FROM deps AS build
ARG VERSION=dev
ARG TARGETARCH
COPY . .
RUN build $VERSION
FROM scratch AS bin
COPY --from=build /out /
FROM alpine AS image
LABEL v=$VERSION w=$none
COPY --from=bin / /usr/bin
COPY --from=ctx x y
CMD first $undefined
ARG FLAVOR
ENV F=${FLAVOR} G=$missing
RUN --mount=type=secret,id=$FLAVOR pack
ARG VERSION
ARG EXTRA=$FLAVOR-$VERSION
CMD second $VERSION
RUN pack $EXTRA
"""


def options(
    target: str,
    version: str | None,
    base: str | None,
    arch: str,
    ignore: str | None,
    no_cache: bool,
    hostname: str,
    flavor: str | None = None,
) -> LowerOptions:
    given = {"VERSION": version, "BASE": base, "FLAVOR": flavor}
    args = {name: value for name, value in given.items() if value is not None}
    return LowerOptions(
        target=target,
        build_args=FrozenMap(args),
        platform=Platform("linux", arch) if arch else None,
        build_platform=AMD64,
        context=LocalContext(session="s", ignore=ignore),
        contexts=FrozenMap({"ctx": LocalContext("other", "s", shared_key="")}),
        no_cache=no_cache,
        hostname=hostname,
    )


def lowered(parsed: ParsedDockerfile, wanted: LowerOptions) -> Lowered:
    return provided(Compilation(parsed, wanted)).lower()


def shown(result: Lowered) -> tuple[object, ...]:
    definition = Definition.of(result.graph, result.head)
    said = [(vertex.data, vertex.metadata, vertex.locations) for vertex in definition.vertices]
    return said, result.head, result.image, result.warnings, result.base_image, result.platform


OPTIONS = st.builds(
    options,
    st.sampled_from(["", "base", "deps", "build", "bin", "image"]),
    st.sampled_from([None, "1", "2"]),
    st.sampled_from([None, "example/with-user", "scratch"]),
    st.sampled_from(["", "amd64", "arm64"]),
    st.sampled_from([None, "x\n", "go.mod\n"]),
    st.booleans(),
    st.sampled_from(["", "h"]),
    st.sampled_from([None, "sweet", "sour"]),
)


@settings(max_examples=60)
@given(st.lists(OPTIONS, min_size=2, max_size=5))
def test_a_target_is_the_same_whatever_was_lowered_before_it(wanted: list[LowerOptions]) -> None:
    shared = parse(TEXT, "Dockerfile")
    for one in wanted:
        fresh = parse(TEXT, "Dockerfile")
        result = lowered(shared, one)
        assert shown(result) == shown(lowered(fresh, one))
        definition = Definition.of(result.graph, result.head)
        read = unmarshal(definition.marshal())  # what is said of an op is what its bytes say
        assert [vertex.op for vertex in definition.vertices] == [vertex.op for vertex in read.vertices]
        assert provided(Compilation(shared, one)).outline() == provided(Compilation(fresh, one)).outline()


def test_steps_above_an_argument_are_lowered_once_for_all_its_values() -> None:
    lines = ["FROM alpine", *(f"RUN step {n}" for n in range(10)), "ARG VERSION", "RUN last $VERSION", "COPY a b"]
    parsed = parse("\n".join(lines), "Dockerfile")
    results = [lowered(parsed, options("", str(n), None, "", None, False, "")) for n in range(20)]
    made = {id(vertex) for result in results for vertex in result.graph.values()}
    assert len(made) == 1 + 10 + 20 * 2 + 1  # the image, what stands above, two steps for each value, the context
    assert len({vertex.digest for result in results for vertex in result.graph.values()}) == len(made)


def test_equal_stages_of_a_matrix_are_lowered_once() -> None:
    parsed = parse(TEXT, "Dockerfile")
    results = [lowered(parsed, options("", str(n), None, "", None, False, "")) for n in range(50)]
    distinct = {id(vertex) for result in results for vertex in result.graph.values()}
    digests = {vertex.digest for result in results for vertex in result.graph.values()}
    assert len(distinct) == len(digests)  # no vertex was made twice
    common = set.intersection(*(set(result.graph) for result in results))
    assert len(digests) == len(common) + 50 * (len(results[0].graph) - len(common))


def test_images_are_asked_for_once_per_target_even_if_the_plan_is_known() -> None:
    parsed = parse("FROM alpine\nRUN x\n", "Dockerfile")
    first, second = (Compilation(parsed, LowerOptions(build_platform=AMD64)) for _ in range(2))
    provided(first).lower()
    assert [request.reference for request in second.missing()] == ["docker.io/library/alpine:latest"]
    with pytest.raises(RuntimeError, match="not provided"):
        second.lower()


def test_an_instruction_is_read_once_for_all_targets_that_mean_the_same_by_it() -> None:
    lines = ["FROM alpine", "ARG EARLY", *(f"RUN step {n}" for n in range(5)), "COPY a b", "RUN echo $EARLY"]
    parsed = parse("\n".join(lines), "Dockerfile")
    results = []
    for n in range(3):
        wanted = LowerOptions(build_args=FrozenMap({"EARLY": str(n)}), build_platform=AMD64)
        results.append(lowered(parsed, wanted))
        assert shown(results[-1]) == shown(lowered(parse("\n".join(lines), "Dockerfile"), wanted))
    copies = [vertex for result in results for vertex in result.graph.values() if isinstance(vertex.op, FileOp)]
    assert len({vertex.digest for vertex in copies}) == 3
    assert len({id(vertex.op) for vertex in copies}) == 1


def test_an_instruction_that_fails_for_another_target_only_is_named() -> None:
    runs = [f"RUN step {n}" for n in range(6)]
    text = "\n".join(["FROM alpine", "ARG LONG", "RUN first", "EXPOSE 80", *runs])
    parsed = parse(text, "Dockerfile")
    for length in (1, MAX_TEXT // 3):
        wanted = LowerOptions(build_args=FrozenMap({"LONG": "x" * length}), build_platform=AMD64)
        errors = []
        for one in (parsed, parse(text, "Dockerfile")):
            try:
                lowered(one, wanted)
            except DockerfileError as error:
                assert isinstance(error.where, SourceRange)
                errors.append((error.what, error.where.start.line))
        told = (f"the values of variables come to more than {MAX_TEXT} characters", 6)
        assert errors == [told] * 2 * (length > 1)


def test_a_plan_that_asked_for_images_goes_on_and_says_what_a_new_one_says() -> None:
    text = "FROM example/onbuild-from AS a\nFROM example/amd64-only\nCOPY --from=a / /\nFROM alpine AS builder\n"
    parsed = parse(text, "Dockerfile")
    wanted = LowerOptions(platform=Platform("linux", "arm64"), build_platform=AMD64, all_stages=True)
    compilation = Compilation(parsed, wanted)
    while requests := compilation.missing():
        answer = resolve(requests[0])  # one at a time
        compilation.provide(requests[0], answer)
    assert shown(compilation.lower()) == shown(lowered(parse(text, "Dockerfile"), wanted))
