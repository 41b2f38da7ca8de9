"""Targets whose context or Dockerfile is far away: what is asked for, once, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import pytest

from bakepy.errors import BakeError, BuildError
from bakepy.llb.op import CopyAction, FileOp, SourceOp
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile, Group, Target
from bakepy.planner.compiling import make_plan
from bakepy.planner.images import side_by_side
from bakepy.planner.plan import Plan
from tests.support.files import MemoryFiles
from tests.support.images import MemoryImages

GIT = "https://example.com/r.git#main:sub"
PAGE = "https://example.com/page"
COPY = "FROM scratch\nCOPY . /\n"


@dataclass
class Web:
    """Far files by identifier and path; `archives` are the identifiers of archives."""

    files: Mapping[tuple[str, str], str] = field(default_factory=dict)
    archives: frozenset[str] = frozenset()
    times: Mapping[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str, tuple[str, ...]]] = field(default_factory=list)

    async def is_archive(self, op: SourceOp, targets: Sequence[Target]) -> bool:
        return op.identifier in self.archives

    async def read(self, op: SourceOp, path: str, targets: Sequence[Target]) -> bytes:
        self.asked.append((op.identifier, path, tuple(target.name for target in targets)))
        if "broken" in op.identifier:
            raise BuildError("no such server")
        if (text := self.files.get((op.identifier, path))) is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        return text.encode()

    async def time(self, op: SourceOp, targets: Sequence[Target]) -> int | None:
        return self.times.get(op.identifier)


def plan(web: Web, *targets: Target, files: Mapping[str, str] | None = None) -> Plan:
    bake = BakeFile(
        FrozenMap({target.name: target for target in targets}),
        FrozenMap({"default": Group("default", tuple(target.name for target in targets))}),
    )

    async def make() -> Plan:
        return await make_plan(
            bake, files=MemoryFiles(files or {}), resolve=side_by_side(MemoryImages("busybox")), remote=web
        )

    return anyio.run(make)


def message(web: Web, target: Target) -> str:
    with pytest.raises(BakeError) as raised:
        plan(web, target)
    return str(raised.value)


def sources(made: Plan) -> list[tuple[str, dict[str, str]]]:
    return [
        (vertex.op.identifier, dict(vertex.op.attrs))
        for vertex in made.graph.values()
        if isinstance(vertex.op, SourceOp)
    ]


def test_the_dockerfile_of_a_repository_is_read_once_for_all_targets() -> None:
    web = Web({("git://example.com/r.git#main:sub", "Dockerfile"): COPY})
    made = plan(web, Target("a", context=GIT), Target("b", context=GIT))
    assert web.asked == [("git://example.com/r.git#main:sub", "Dockerfile", ("a", "b"))]
    ((identifier, attrs),) = sources(made)
    assert identifier == "git://example.com/r.git#main:sub"
    assert attrs["git.fullurl"] == "https://example.com/r.git"
    assert made.targets[0].heads == made.targets[1].heads


def test_it_may_have_another_name_or_a_small_letter() -> None:
    web = Web(
        {("git://example.com/r.git#main:sub", "x/other.df"): COPY, (f"{PAGE}", "dockerfile"): COPY}, frozenset({PAGE})
    )
    assert plan(web, Target("a", context=GIT, dockerfile="x/./other.df")).targets[0].heads
    assert plan(web, Target("a", context=PAGE)).targets[0].heads


@pytest.mark.parametrize("dockerfile", ["cwd://here.df", "/abs/here.df"])
def test_a_dockerfile_of_this_machine_goes_with_a_far_context(dockerfile: str) -> None:
    web = Web()
    made = plan(web, Target("a", context=GIT, dockerfile=dockerfile), files={"here.df": COPY, "/abs/here.df": COPY})
    assert [identifier for identifier, _ in sources(made)] == ["git://example.com/r.git#main:sub"]
    assert web.asked == []


def test_an_archive_is_unpacked_and_a_page_is_a_dockerfile() -> None:
    archive, page = Web({(PAGE, "Dockerfile"): COPY}, frozenset({PAGE})), Web({(PAGE, "Dockerfile"): COPY})
    unpacks = [
        any(
            isinstance(action.action, CopyAction) and action.action.attempt_unpack
            for vertex in plan(web, Target("a", context=PAGE)).graph.values()
            if isinstance(vertex.op, FileOp)
            for action in vertex.op.actions
        )
        for web in (archive, page)
    ]
    assert unpacks == [True, False]


def test_a_far_dockerfile_goes_with_a_folder() -> None:
    web = Web({(PAGE, ""): COPY})
    made = plan(web, Target("a", context=".", dockerfile=PAGE), files={"f": ""})
    assert [identifier for identifier, _ in sources(made)] == ["local://context"]


def test_named_contexts_are_not_looked_into() -> None:
    web = Web()
    text = "FROM scratch\nCOPY --from=g . /g\nCOPY --from=h . /h\n"
    made = plan(
        web, Target("a", context=".", dockerfile_inline=text, contexts=FrozenMap(g=GIT, h=PAGE)), files={"f": ""}
    )
    assert [identifier for identifier, _ in sources(made)] == ["git://example.com/r.git#main:sub", PAGE]
    assert web.asked == []


def test_the_repository_is_kept_if_the_arguments_say_so() -> None:
    web = Web({("git://example.com/r.git#main:sub", "Dockerfile"): COPY})
    made = plan(web, Target("a", context=GIT, args=FrozenMap(BUILDKIT_CONTEXT_KEEP_GIT_DIR="1")))
    assert sources(made)[0][1]["git.keepgitdir"] == "true"


def test_the_time_of_the_context_may_be_that_of_the_image() -> None:
    web = Web(
        {("git://example.com/r.git#main:sub", "Dockerfile"): COPY}, times={"git://example.com/r.git#main:sub": 1234}
    )
    made = plan(web, Target("a", context=GIT, args=FrozenMap(SOURCE_DATE_EPOCH="context")))
    assert made.targets[0].epoch == 1234


def test_what_can_not_be_read_is_told_at_its_target() -> None:
    web = Web()
    assert message(web, Target("a", context=GIT)) == (
        f"target.a.dockerfile: the Dockerfile 'Dockerfile' does not exist in {GIT} "
        "(open Dockerfile: no such file or directory)"
    )
    assert message(web, Target("a", context="https://example.com/broken.git")) == "target.a.dockerfile: no such server"
    assert message(web, Target("a", context="ssh://example.com:x y/z")).startswith("target.a.context: ")
