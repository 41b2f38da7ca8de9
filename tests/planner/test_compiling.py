"""A bake file becomes one plan: shared steps once, files read once, images resolved once, errors together."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import pytest

from bakepy.errors import BakeError, DefinitionErrors, RegistryError
from bakepy.llb.op import ExecOp, SourceOp
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile, SourceRange
from bakepy.model.platform import Platform, host_platform
from bakepy.model.target import BakeFile, Group, Target
from bakepy.planner.compiling import PlanOptions, make_plan
from bakepy.planner.images import side_by_side
from bakepy.planner.plan import Plan, PlanWarning
from bakepy.planner.views import title
from tests.support.files import MemoryFiles
from tests.support.images import MemoryImages

SERVICE = """
FROM busybox AS base
RUN prepare

FROM base AS build
ARG SERVICE
COPY src /src
RUN make $SERVICE

FROM scratch
COPY --from=build /out /
"""


def bake(*targets: Target) -> BakeFile:
    return BakeFile(
        FrozenMap({target.name: target for target in targets}),
        FrozenMap({"default": Group("default", tuple(target.name for target in targets))}),
    )


def plan(
    targets: BakeFile,
    files: MemoryFiles | Mapping[str, str],
    images: MemoryImages | None = None,
    options: PlanOptions | None = None,
) -> Plan:
    reader = files if isinstance(files, MemoryFiles) else MemoryFiles(files)

    async def make() -> Plan:
        return await make_plan(
            targets, files=reader, resolve=side_by_side(images or MemoryImages("busybox")), options=options
        )

    return anyio.run(make)


def message(targets: BakeFile, files: Mapping[str, str], images: MemoryImages | None = None) -> str:
    with pytest.raises(BakeError) as caught:
        plan(targets, files, images)
    return str(caught.value)


def steps(plan: Plan, target: str) -> list[str]:
    return [title(plan.graph[digest]) for digest in plan.needed()[target]]


def located(*lines: str, **places: tuple[int, int, int]) -> FrozenMap[str, SourceRange]:
    """Places in `bake.toml`, by path: line, column, width."""
    file = SourceFile("bake.toml", "\n".join(lines))
    return FrozenMap({path.replace("__", "."): SourceRange.at(file, *place) for path, place in places.items()})


def test_two_targets_share_the_steps_that_are_equal() -> None:
    made = plan(
        bake(
            Target("api", args=FrozenMap(SERVICE="api")),
            Target("web", args=FrozenMap(SERVICE="web")),
        ),
        {"Dockerfile": SERVICE, "src/a": ""},
    )
    users = made.users()
    runs = [
        (vertex.op.meta.args[-1], users[vertex.digest])
        for vertex in made.graph.values()
        if isinstance(vertex.op, ExecOp)
    ]
    assert sorted(runs) == [("make $SERVICE", ("api",)), ("make $SERVICE", ("web",)), ("prepare", ("api", "web"))]


def test_files_are_read_and_images_resolved_once() -> None:
    files = MemoryFiles({"Dockerfile": SERVICE, "src/a": ""})
    images = MemoryImages("busybox")
    plan(bake(*(Target(f"t{n}", args=FrozenMap(SERVICE=str(n))) for n in range(5))), files, images)
    assert files.reads["Dockerfile"] == 1
    assert files.reads[".dockerignore"] == 1
    assert images.asked == {("docker.io/library/busybox:latest", str(host_platform())): 1}


def test_images_are_resolved_side_by_side() -> None:
    images = MemoryImages("a", "b", "c")
    plan(
        bake(Target("t")),
        {"Dockerfile": "FROM a AS x\nFROM b AS y\nFROM c\nCOPY --from=x / /\nCOPY --from=y / /\n"},
        images,
    )
    assert images.most == 3


def test_equal_targets_are_one_compilation() -> None:
    made = plan(bake(Target("a", tags=("a:1",)), Target("b", tags=("b:1",))), {"Dockerfile": "FROM busybox\nRUN x\n"})
    assert made.targets[0].platforms[0].image is made.targets[1].platforms[0].image
    assert made.targets[0].heads == made.targets[1].heads


def test_platforms_are_spread() -> None:
    images = MemoryImages("busybox")
    made = plan(
        bake(Target("t", platforms=("linux/amd64", "linux/arm64"))),
        {"Dockerfile": "FROM busybox\nRUN x\n"},
        images,
    )
    (target,) = made.targets
    assert [str(planned.platform) for planned in target.platforms] == ["linux/amd64", "linux/arm64"]
    assert target.multi_platform
    assert len(set(target.heads)) == 2
    assert [platform for _, platform in images.asked] == ["linux/amd64", "linux/arm64"]


def test_a_platform_that_is_asked_for_twice_is_built_once_and_is_twice_in_the_index() -> None:
    written = Target("t", platforms=("linux/amd64", "linux/arm64", "linux/amd64/v1"))
    images = MemoryImages("busybox")
    made = plan(bake(written), {"Dockerfile": "FROM busybox\nRUN x\n"}, images)
    (target,) = made.targets
    assert [str(planned.platform) for planned in target.platforms] == ["linux/amd64", "linux/arm64", "linux/amd64"]
    assert target.multi_platform
    assert len(set(target.heads)) == 2
    assert [platform for _, platform in images.asked] == ["linux/amd64", "linux/arm64"]
    assert made.warnings == (PlanWarning('Duplicate platform result requested "linux/amd64"', targets=("t",)),)


def test_one_platform_is_no_index_unless_it_is_asked_for() -> None:
    dockerfile = {"Dockerfile": "FROM busybox\n"}
    assert not plan(bake(Target("t", platforms=("linux/arm64",))), dockerfile).targets[0].multi_platform
    asked = Target("t", platforms=("linux/arm64",), args=FrozenMap(BUILDKIT_MULTI_PLATFORM="1"))
    assert plan(bake(asked), dockerfile).targets[0].multi_platform


def test_a_linked_target_is_taken_over_and_comes_first() -> None:
    made = plan(
        bake(
            Target("app", contexts=FrozenMap(base="target:base"), dockerfile="app.Dockerfile"),
            Target("base", linked=True),
        ),
        {"Dockerfile": "FROM busybox\nRUN base\n", "app.Dockerfile": "FROM base\nRUN app\n"},
    )
    assert [target.name for target in made.targets] == ["base", "app"]
    head = made.targets[0].heads[0]
    assert head.vertex in made.needed()["app"]
    assert len([vertex for vertex in made.graph.values() if isinstance(vertex.op, ExecOp)]) == 2


def test_each_platform_gets_the_linked_target_for_that_platform() -> None:
    both = ("linux/amd64", "linux/arm64")
    made = plan(
        bake(
            Target("base", platforms=both),
            Target("app", contexts=FrozenMap(base="target:base"), platforms=both, dockerfile="app.Dockerfile"),
            Target("one", contexts=FrozenMap(base="target:base"), platforms=both[1:], dockerfile="app.Dockerfile"),
        ),
        {"Dockerfile": "FROM busybox\nRUN base\n", "app.Dockerfile": "FROM base\nRUN app\n"},
    )
    base, app, one = made.targets
    for planned, below in zip(app.platforms, base.heads, strict=True):
        assert planned.head is not None
        assert made.graph[planned.head.vertex].inputs[0] == below
    assert one.heads == app.heads[1:]


def test_a_linked_target_without_that_platform_is_told_when_it_is_needed() -> None:
    linked = bake(
        Target("base", platforms=("linux/amd64", "linux/arm64")),
        Target("app", contexts=FrozenMap(base="target:base"), platforms=("linux/s390x",), dockerfile="a"),
    )
    text = message(linked, {"Dockerfile": "FROM busybox\n", "a": "FROM base\nRUN x\n"})
    assert "the target 'base' is built for linux/amd64, linux/arm64, not for linux/s390x" in text
    plan(linked, {"Dockerfile": "FROM busybox\n", "a": "FROM busybox\nRUN x\n"})


def test_a_target_with_one_platform_serves_every_platform() -> None:
    made = plan(
        bake(
            Target("data", dockerfile="data"),
            Target("app", contexts=FrozenMap(data="target:data"), platforms=("linux/amd64", "linux/arm64")),
        ),
        {"data": "FROM scratch\nCOPY x /\n", "x": "", "Dockerfile": "FROM busybox\nCOPY --from=data / /\n"},
    )
    data, app = made.targets
    assert all(data.heads[0].vertex in [v.digest for v in made.graph.reachable([head])] for head in app.heads)


def test_folders_have_one_source_each_however_they_are_written() -> None:
    copy = {"Dockerfile": "FROM scratch\nCOPY x /\n", "a/Dockerfile": "FROM scratch\nCOPY --from=more x /\nCOPY x /\n"}
    made = plan(
        bake(
            Target("one"),
            Target("two", context="a", contexts=FrozenMap(more="b/../.")),
            Target("three", context="./a/", contexts=FrozenMap(more="/work")),
            Target("four", context="a", contexts=FrozenMap(more="b")),
        ),
        {**copy, "x": "", "a/x": "", "b/x": ""},
    )
    assert made.locals == {"context": "/work", "context:a": "/work/a", "more": "/work/b"}
    assert made.targets[1].heads == made.targets[2].heads
    assert made.targets[1].heads != made.targets[3].heads
    sources = {vertex.op.identifier for vertex in made.graph.values() if isinstance(vertex.op, SourceOp)}
    assert sources == {"local://context", "local://context:a", "local://more"}


def test_the_ignore_file_beside_the_dockerfile_wins_even_if_empty() -> None:
    files = {
        ".dockerignore": "secret\n",
        "Dockerfile": "FROM scratch\nCOPY . /\n",
        "other/Dockerfile": "FROM scratch\nCOPY . /\n",
        "other/Dockerfile.dockerignore": "",
        "inline": "",
    }
    made = plan(
        bake(
            Target("ignoring"),
            Target("not", dockerfile="other/Dockerfile"),
            Target("inline", dockerfile_inline="FROM scratch\nCOPY . /\n"),
        ),
        files,
    )
    ignoring, everything, inline = (
        next(v.op for v in made.graph.reachable(target.heads) if isinstance(v.op, SourceOp)) for target in made.targets
    )
    assert ignoring.attrs["local.excludepatterns"] == '["secret"]'
    assert "local.excludepatterns" not in everything.attrs
    assert inline == ignoring


def test_an_oci_layout_is_pinned_and_its_folder_told() -> None:
    digest = "sha256:" + "1" * 64
    index = (
        '{"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 2,'
        f'"digest": "{digest}", "annotations": {{"org.opencontainers.image.ref.name": "v1"}}}}]}}'
    )
    images = MemoryImages()
    made = plan(
        bake(Target("t", contexts=FrozenMap(base="oci-layout://out/image:v1"))),
        {"Dockerfile": "FROM base\nRUN x\n", "out/image/index.json": index},
        images,
    )
    assert list(made.layouts.values()) == ["/work/out/image"]
    assert images.layouts == dict(made.layouts)
    (source,) = (vertex.op for vertex in made.graph.values() if isinstance(vertex.op, SourceOp))
    assert source.identifier.endswith(digest)


def test_entitlements_are_asked_for_with_the_place_of_the_step() -> None:
    dockerfile = {"Dockerfile": "FROM busybox\nRUN a\nRUN --network=host b\n"}
    assert message(bake(Target("t")), dockerfile) == (
        "Dockerfile:3:1: network.host is not allowed\n"
        "    RUN --network=host b\n"
        "    ^^^^^^^^^^^^^^^^^^^^\n"
        "hint: --allow network.host grants it"
    )
    plan(bake(Target("t")), dockerfile, options=PlanOptions(granted=frozenset({"network.host"})))


def test_settings_of_run_steps_reach_the_steps() -> None:
    made = plan(
        bake(
            Target("t", network="none", shm_size="1m", ulimits=("nofile=5:6",),
                   extra_hosts=FrozenMap(Box="10.0.0.1", a="::1"),
                   resources=FrozenMap({"memory": "1g", "cpu-shares": 5}), no_cache=True)
        ),
        {"Dockerfile": "FROM busybox\nRUN x\n"},
    )  # fmt: skip
    (run,) = (vertex for vertex in made.graph.values() if isinstance(vertex.op, ExecOp))
    assert isinstance(run.op, ExecOp)
    assert run.op.network.name == "NONE"
    assert [(u.name, u.soft, u.hard) for u in run.op.meta.ulimits] == [("nofile", 5, 6)]
    assert [(host.host, host.ip) for host in run.op.meta.extra_hosts] == [("box", "10.0.0.1"), ("a", "::1")]
    assert run.metadata.ignore_cache
    assert run.metadata.linux_resources is not None
    assert run.metadata.linux_resources.memory == 1 << 30


def test_scratch_is_an_empty_tree() -> None:
    made = plan(bake(Target("t")), {"Dockerfile": "FROM scratch\nENV A=b\n"})
    assert made.targets[0].platforms[0].head is None
    assert made.targets[0].platforms[0].image.config.env[-1] == "A=b"


# -- what is wrong


def test_a_missing_dockerfile_is_told_at_its_place_with_the_nearest_name() -> None:
    where = located("[target.t]", 'dockerfile = "Dockerfil"', dockerfile=(2, 1, 10))
    text = message(bake(Target("t", dockerfile="Dockerfil", locations=where)), {"Dockerfile": "FROM scratch\n"})
    assert text == (
        "bake.toml:2:15: target.t.dockerfile: the Dockerfile 'Dockerfil' does not exist "
        "(open Dockerfil: no such file or directory)\n"
        '    dockerfile = "Dockerfil"\n'
        "                  ^^^^^^^^^\n"
        "hint: did you mean 'Dockerfile'?"
    )


def test_a_missing_context_is_told_at_its_place() -> None:
    where = located("[target.t]", 'context = "servces"', context=(2, 1, 7))
    text = message(
        bake(Target("t", context="servces", dockerfile="/work/Dockerfile", locations=where)),
        {"Dockerfile": "FROM scratch\n", "services/x": ""},
    )
    assert (
        text.splitlines()[0]
        == "bake.toml:2:12: target.t.context: the folder 'servces' can not be used: no such file or directory"
    )
    assert text.splitlines()[-1] == "hint: did you mean 'services'?"


def test_a_file_is_no_context() -> None:
    files = {"Dockerfile": "FROM scratch\n", "app.tar": ""}
    text = message(bake(Target("t", context="app.tar", dockerfile="/work/Dockerfile")), files)
    assert text == "target.t.context: the folder 'app.tar' can not be used: it is no folder"


def test_the_folder_of_a_missing_dockerfile_may_be_what_is_wrong() -> None:
    assert message(bake(Target("t", dockerfile="dcoker/x")), {"docker/x": "FROM scratch\n"}) == (
        "target.t.dockerfile: the Dockerfile 'dcoker/x' does not exist: there is no folder 'dcoker'\n"
        "hint: did you mean 'docker'?"
    )


def test_a_containerfile_will_do_where_there_is_no_dockerfile() -> None:
    other = {"Containerfile": "FROM busybox\nRUN container\n"}
    for files, ran in ((other, "container"), (other | {"dockerfile": "FROM busybox\nRUN docker\n"}, "docker")):
        assert steps(plan(bake(Target("a")), files), "a")[-1].endswith(f"RUN {ran}")


MOPY = "the frontend 'h.test/mopy' can not be run by the embedded engine\n"
NO_MOPY = (
    "hint: only docker/dockerfile is built in; any other frontend is a container image that BuildKit runs: "
    "docker buildx bake"
)


def test_a_frontend_that_is_not_built_in_is_told_where_it_is_asked_for() -> None:
    files = {"Dockerfile": "# syntax=h.test/mopy\nversion: 1\n"}
    in_bake_file = Target("b", args=FrozenMap({"BUILDKIT_SYNTAX": "h.test/mopy"}), locations=located(
        "[target.b.args]", 'BUILDKIT_SYNTAX = "h.test/mopy"', args__BUILDKIT_SYNTAX=(2, 1, 15)
    ))  # fmt: skip
    assert message(bake(Target("a")), files) == (
        f"Dockerfile:1:10: {MOPY}    # syntax=h.test/mopy\n             ^^^^^^^^^^^\n{NO_MOPY}"
    )
    assert message(bake(in_bake_file), files) == (
        f"bake.toml:2:20: target.b.args.BUILDKIT_SYNTAX: {MOPY}"
        f'    BUILDKIT_SYNTAX = "h.test/mopy"\n                       ^^^^^^^^^^^\n{NO_MOPY}'
    )


def test_the_labs_channel_knows_devices() -> None:
    text = "FROM busybox\nRUN --device=vendor.test/gpu=all x\n"
    assert "device feature is only supported" in message(bake(Target("a")), {"Dockerfile": text})
    made = plan(bake(Target("a")), {"Dockerfile": f"# syntax=docker/dockerfile:1-labs\n{text}"})
    (run,) = [vertex.op for vertex in made.graph.values() if isinstance(vertex.op, ExecOp)]
    assert [device.name for device in run.cdi_devices] == ["vendor.test/gpu=all"]


def test_an_unknown_stage_is_told_in_the_bake_file() -> None:
    where = located("[target.t]", 'target = "biuld"', target=(2, 1, 6))
    text = message(bake(Target("t", target="biuld", locations=where)), {"Dockerfile": "FROM scratch AS build\n"})
    assert text.startswith("bake.toml:2:11: target.t.target: ")
    assert text.endswith("hint: did you mean 'build'?")


def test_an_unknown_architecture_is_told_with_the_nearest() -> None:
    assert message(bake(Target("t", platforms=("linux/amd64", "linux/adm64"))), {"Dockerfile": "FROM scratch\n"}) == (
        "target.t.platforms[1]: unknown architecture 'adm64'\nhint: did you mean 'linux/amd64'?"
    )


def test_an_architecture_like_no_other_is_taken_as_it_is() -> None:
    made = plan(bake(Target("t", platforms=("linux/madeup",))), {"Dockerfile": "FROM scratch\nCOPY a /\n", "a": ""})
    assert str(made.targets[0].platforms[0].platform) == "linux/madeup"


def test_errors_of_several_targets_are_told_together_and_each_once() -> None:
    with pytest.raises(DefinitionErrors) as caught:
        plan(
            bake(
                Target("a", dockerfile="bad"),
                Target("b", dockerfile="bad", args=FrozenMap(X="1")),
                Target("c", context="nowhere"),
                Target("d", network="hst"),
                Target("e"),
            ),
            {"bad": "FROM scratch\nCPOY a b\n", "Dockerfile": "FROM scratch\n"},
        )
    heads = [error.render().splitlines()[0] for error in caught.value.errors]
    assert len(heads) == 3
    assert heads[0].startswith("bad:2:1: ")
    assert heads[1] == "target.c.context: the folder 'nowhere' can not be used: no such file or directory"
    assert heads[2] == 'target.d.network: network mode "hst" is not supported'


def test_everything_wrong_with_one_target_is_told() -> None:
    with pytest.raises(DefinitionErrors) as caught:
        plan(
            bake(
                Target("t", context="no", network="hst", ulimits=("nofile=1", "x=1"), platforms=("linux/amd46",),
                       contexts=FrozenMap(a="b", c="oci-layout://d"), args=FrozenMap(BUILDKIT_MULTI_PLATFORM="perhaps"))
            ),
            {"Dockerfile": "FROM scratch\n"},
        )  # fmt: skip
    assert [error.path.removeprefix("target.t.") for error in caught.value.errors] == [
        "context", "platforms[0]", "contexts.a", "contexts.c", "network", "ulimits[1]", "args.BUILDKIT_MULTI_PLATFORM",
    ]  # fmt: skip


def test_an_image_that_is_not_there_may_be_a_stage_misspelled() -> None:
    text = message(bake(Target("t")), {"Dockerfile": "FROM busybox AS build\nFROM scratch\nCOPY --from=biuld a /\n"})
    assert text.splitlines()[0] == "Dockerfile:3:1: docker.io/library/biuld:latest: not found"
    assert text.splitlines()[-1] == "hint: did you mean 'build'?"


def test_a_target_that_needs_a_broken_one_says_nothing() -> None:
    text = message(
        bake(Target("app", contexts=FrozenMap(base="target:base")), Target("base", dockerfile="none")),
        {"Dockerfile": "FROM base\n"},
    )
    assert text == "target.base.dockerfile: the Dockerfile 'none' does not exist (open none: no such file or directory)"


def test_images_that_can_not_be_resolved_are_told_together() -> None:
    with pytest.raises(RegistryError) as one:
        plan(bake(Target("t")), {"Dockerfile": "FROM nothing\n"})
    assert "docker.io/library/nothing:latest: not found" in str(one.value)
    with pytest.raises(RegistryError) as two:
        plan(bake(Target("a"), Target("b", dockerfile="b")), {"Dockerfile": "FROM none\n", "b": "FROM nothing\n"})
    assert str(two.value).splitlines() == [
        "2 images can not be used",
        "    Dockerfile:1:6: docker.io/library/none:latest: not found",
        "        FROM none",
        "             ^^^^",
        "    b:1:6: docker.io/library/nothing:latest: not found",
        "        FROM nothing",
        "             ^^^^^^^",
    ]


def test_cycles_and_unknown_links_are_told() -> None:
    cycle = bake(
        Target("a", contexts=FrozenMap(x="target:b")),
        Target("b", contexts=FrozenMap(x="target:c")),
        Target("c", contexts=FrozenMap(x="target:b")),
    )
    assert message(cycle, {"Dockerfile": "FROM x\n"}) == "target.c.contexts.x: a cycle: b -> c -> b"
    assert message(
        bake(Target("base"), Target("a", contexts=FrozenMap(x="target:bse"))), {"Dockerfile": "FROM x\n"}
    ) == ("target.a.contexts.x: there is no target 'bse'\nhint: did you mean 'base'?")


@pytest.mark.parametrize(
    ("context", "what"),
    [
        ("https://example.com/x.git", "the embedded engine can not build from 'https://example.com/x.git' yet: "
                                      "clone or download it first"),
        ("-", "a context from standard input is not possible in a bake file"),
        ("target:base", 'a target can not be the main context; link it with contexts = { name = "target:…" }'),
    ],
)  # fmt: skip
def test_contexts_that_can_not_be_used_are_refused(context: str, what: str) -> None:
    assert message(bake(Target("t", context=context)), {"Dockerfile": "FROM scratch\n"}) == f"target.t.context: {what}"


def test_a_thousand_targets_over_one_dockerfile_read_it_once() -> None:
    files = MemoryFiles({"Dockerfile": SERVICE, "src/a": ""})
    made = plan(bake(*(Target(f"t{n}", args=FrozenMap(SERVICE=str(n % 4))) for n in range(1000))), files)
    assert files.reads["Dockerfile"] == 1
    assert len({target.heads for target in made.targets}) == 4
    assert len(made.targets) == 1000
    assert Platform.parse("linux/amd64") is not None


def test_only_the_first_platform_of_a_target_is_checked() -> None:
    text = "FROM scratch\nARG TARGETARCH\nWORKDIR ${TARGETARCH#amd64}/a\n"  # absolute for amd64
    strict = {"Dockerfile": "# check=error=true\n" + text}
    right, wrong = ("linux/amd64", "linux/arm64"), ("linux/arm64", "linux/amd64")
    assert plan(bake(Target("t", platforms=right)), strict).warnings == ()
    assert "lint violation found" in message(bake(Target("t", platforms=wrong)), strict)
    (warning,) = plan(bake(Target("t", platforms=wrong)), {"Dockerfile": text}).warnings
    assert warning.message.startswith('Relative workdir "arm64/a"')
    both = bake(Target("r", platforms=right), Target("w", platforms=wrong))
    (warning,) = plan(both, {"Dockerfile": text}).warnings
    assert warning.targets == ("w",)
