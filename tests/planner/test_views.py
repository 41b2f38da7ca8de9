"""The views of a plan, on three targets that share steps."""

import json

from bakepy.llb.graph import Edge, Graph, Vertex
from bakepy.llb.op import ExecOp, Meta, Mount, OpMetadata, SourceOp
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.platform import Platform
from bakepy.model.target import Target
from bakepy.planner.plan import Plan, PlannedPlatform, PlannedTarget
from bakepy.planner.views import as_dot, as_json, as_text, rows

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def step(name: str, below: Vertex | None = None) -> Vertex:
    metadata = OpMetadata(description=FrozenMap({"llb.customname": name}))
    if below is None:
        return Vertex.make(SourceOp(f"docker-image://{name}"), platform=AMD64, metadata=metadata)
    op = ExecOp(Meta(("/bin/sh", "-c", name)), (Mount("/"),))
    return Vertex.make(op, [Edge(below.digest)], platform=AMD64, metadata=metadata)


BASE = step("[base 1/1] FROM busybox")
DEPS = step("[deps 1/1] RUN deps", BASE)
API = step("[api 1/1] RUN api", DEPS)
WEB = step('[web 1/1] RUN "web"\nmore', DEPS)
UNUSED = step("unused", BASE)


def target(name: str, *heads: Vertex, platforms: tuple[Platform, ...] = (AMD64,)) -> PlannedTarget:
    planned = tuple(
        PlannedPlatform(platform, Edge(head.digest), ImageConfig(platform))
        for platform, head in zip(platforms, heads, strict=True)
    )
    return PlannedTarget(Target(name), planned, multi_platform=len(platforms) > 1)


PLAN = Plan(
    Graph([BASE, DEPS, API, WEB, UNUSED]),
    (target("api", API), target("web", WEB), target("both", API, WEB, platforms=(AMD64, ARM64))),
)


def test_each_vertex_knows_who_needs_it() -> None:
    assert PLAN.users() == {
        BASE.digest: ("api", "web", "both"),
        DEPS.digest: ("api", "web", "both"),
        API.digest: ("api", "both"),
        WEB.digest: ("web", "both"),
        UNUSED.digest: (),
    }


def test_text_shows_what_is_shared_and_counts_what_sharing_saves() -> None:
    assert as_text(PLAN).splitlines() == [
        "targets    step",
        "all 3      [base 1/1] FROM busybox",
        "all 3      [deps 1/1] RUN deps",
        "api, both  [api 1/1] RUN api",
        'web, both  [web 1/1] RUN "web"⏎ more',
        "",
        "3 targets, 4 images for their platforms, 4 steps instead of 10, 4 shared",
    ]


def test_text_with_the_engine_s_word_on_what_is_cached() -> None:
    lines = as_text(PLAN, {BASE.digest: True, DEPS.digest: True}).splitlines()
    assert lines[1] == "cached  all 3      [base 1/1] FROM busybox"
    assert lines[3] == "run     api, both  [api 1/1] RUN api"
    assert lines[-1].endswith(", 4 shared, 2 cached")


def test_json_has_targets_with_heads_and_vertices_with_users() -> None:
    value = json.loads(as_json(PLAN, {API.digest: True}))
    assert value["targets"]["both"] == {
        "linked": False,
        "platforms": {
            "linux/amd64": {"vertex": API.digest, "index": 0},
            "linux/arm64": {"vertex": WEB.digest, "index": 0},
        },
    }
    assert value["vertices"][2] == {
        "digest": API.digest,
        "kind": "exec",
        "name": "[api 1/1] RUN api",
        "inputs": [DEPS.digest],
        "platform": "linux/amd64",
        "targets": ["api", "both"],
        "shared": True,
        "cached": True,
    }
    assert [vertex["cached"] for vertex in value["vertices"]] == [False, False, True, False]


def test_dot_quotes_names_and_draws_targets() -> None:
    lines = as_dot(PLAN).splitlines()
    assert lines[0] == "digraph plan {"
    assert lines[-1] == "}"
    assert f'  "{WEB.digest.short}" [label="[web 1/1] RUN \\"web\\"", style="filled", fillcolor=lightgrey];' in lines
    assert f'  "{DEPS.digest.short}" -> "{API.digest.short}";' in lines
    assert f'  "{API.digest.short}" -> "target both" [label="linux/amd64"];' in lines
    assert UNUSED.digest.short not in as_dot(PLAN)


def test_steps_without_a_name_tell_what_they_do() -> None:
    plain = Vertex.make(ExecOp(Meta(("make", "all")), (Mount("/"),)))
    plan = Plan(
        Graph([plain]), (PlannedTarget(Target("t"), (PlannedPlatform(AMD64, Edge(plain.digest), ImageConfig(AMD64)),)),)
    )
    assert [row.name for row in rows(plan)] == ["make all"]


def test_an_empty_target_has_no_steps() -> None:
    nothing = PlannedTarget(Target("t"), (PlannedPlatform(AMD64, None, ImageConfig(AMD64)),))
    plan = Plan(Graph(), (nothing,))
    assert as_text(plan).splitlines()[-1] == "1 target, 0 steps, 0 shared"
    assert json.loads(as_json(plan))["targets"]["t"]["platforms"] == {"linux/amd64": None}
    assert plan.needed() == {"t": ()}
    assert Digest.of(b"") not in plan.users()
