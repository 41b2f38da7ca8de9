"""Steps count by what they read: with real containers, told by which steps ran. Each test is a change that must not,
or must, run something again."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakepy.model.frozen import FrozenMap
from bakepy.model.target import Target
from tests.support.baking import Kitchen, kitchen, target

pytestmark = [pytest.mark.runtime, pytest.mark.anyio]

BUSYBOX = {"busybox": "oci-layout://busybox:latest"}


def _write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def _again(bench: Kitchen, *targets: Target) -> list[str]:
    """The RUN steps of another run on the same state."""
    async with kitchen(bench.engine.root, bench.folder) as other:
        outcomes = await other.bake(*targets)
        assert {outcome.outcome for outcome in outcomes.values()} == {"succeeded"}
        return other.processes


class TestTwoTargets:
    async def test_equal_files_through_two_ignore_files_run_what_follows_once(self, bench: Kitchen) -> None:
        """Each Dockerfile has an ignore file of its own, so the two contexts differ; what is copied does not."""
        text = "FROM busybox\nCOPY src /src\nRUN cat /src/* > /all\n"
        for name in ("one", "two"):
            (bench.folder / f"{name}.Dockerfile").write_text(text)
        _write(bench.folder, src__a="a", src__b="b", src__one_log="1", src__two_log="2", other="x")
        (bench.folder / "one.Dockerfile.dockerignore").write_text("src/*_log\nother\n")
        (bench.folder / "two.Dockerfile.dockerignore").write_text("*\n!src/a\n!src/b\n")
        pair = [Target(name, dockerfile=f"{name}.Dockerfile", contexts=_contexts()) for name in ("one", "two")]
        await bench.bake(*pair)
        assert bench.processes == ["cat /src/* > /all"]

    async def test_equal_outputs_of_two_stages_run_what_follows_once(self, bench: Kitchen) -> None:
        text = """
        FROM busybox AS made
        ARG WHO
        RUN echo $WHO > /who; echo same > /same
        FROM busybox
        COPY --from=made /same /same
        RUN cat /same > /copy
        """
        await bench.bake(*(target(who, text, contexts=BUSYBOX, args={"WHO": who}) for who in ("one", "two")))
        assert sorted(bench.processes) == [
            "cat /same > /copy",
            "echo one > /who; echo same > /same",
            "echo two > /who; echo same > /same",
        ]

    async def test_a_bind_mount_of_equal_files_runs_once(self, bench: Kitchen) -> None:
        text = "FROM busybox\nRUN --mount=type=bind,source=src,target=/src cat /src/a > /copy\n"
        _write(bench.folder, one__src__a="a", two__src__a="a", one__more="1", two__more="2")
        await bench.bake(*(target(name, text, context=name, contexts=BUSYBOX) for name in ("one", "two")))
        assert len(bench.processes) == 1


class TestAnotherRun:
    async def test_a_file_beside_what_is_mounted_changes_nothing(self, bench: Kitchen) -> None:
        text = "FROM busybox\nRUN --mount=type=bind,source=src,target=/src cat /src/a > /copy\n"
        _write(bench.folder, src__a="a", other="1")
        await bench.bake(one := target("t", text, contexts=BUSYBOX))
        _write(bench.folder, other="2")
        assert await _again(bench, one) == []
        _write(bench.folder, src__a="b")
        assert len(await _again(bench, one)) == 1

    async def test_a_stage_that_is_mounted_counts_by_what_is_in_it(self, bench: Kitchen) -> None:
        text = """
        FROM busybox AS made
        COPY in /in
        RUN wc -c < /in > /size
        FROM busybox
        RUN --mount=type=bind,from=made,source=/size,target=/size cat /size > /copy
        """
        _write(bench.folder, **{"in": "abc"})
        await bench.bake(one := target("t", text, contexts=BUSYBOX))
        _write(bench.folder, **{"in": "xyz"})
        assert await _again(bench, one) == ["wc -c < /in > /size"]
        _write(bench.folder, **{"in": "four"})
        assert len(await _again(bench, one)) == 2

    async def test_new_times_and_an_equal_text_change_nothing(self, bench: Kitchen) -> None:
        _write(bench.folder, file="text")
        await bench.bake(one := target("t", "FROM busybox\nCOPY file /\nRUN cat /file\n", contexts=BUSYBOX))
        (bench.folder / "file").unlink()
        _write(bench.folder, file="text")
        assert await _again(bench, one) == []

    async def test_a_base_that_is_made_anew_but_equal_is_the_same(self, bench: Kitchen) -> None:
        """The linked target's arguments change; what is copied from it does not."""
        base = "FROM busybox\nARG N\nRUN echo $N > /n; echo x > /x\n"
        app = "FROM busybox\nCOPY --from=base /x /x\nRUN cat /x\n"
        links = {**BUSYBOX, "base": "target:base"}

        def both(number: str) -> list[Target]:
            return [target("base", base, contexts=BUSYBOX, args={"N": number}), target("app", app, contexts=links)]

        await bench.bake(*both("1"))
        assert await _again(bench, *both("2")) == ["echo 2 > /n; echo x > /x"]


class TestCacheMounts:
    async def test_what_is_in_a_cache_does_not_count(self, bench: Kitchen) -> None:
        fill = target(
            "fill", "FROM busybox\nRUN --mount=type=cache,id=c,target=/c echo $RANDOM >> /c/log\n", contexts=BUSYBOX
        )
        use = target("use", "FROM busybox\nRUN --mount=type=cache,id=c,target=/c ls /c > /list\n", contexts=BUSYBOX)
        await bench.bake(use)
        await bench.bake(fill)
        assert await _again(bench, use) == []


class TestWithoutCache:
    TEXT = """
    FROM busybox AS one
    RUN echo one > /one
    FROM busybox AS two
    RUN echo two > /two
    FROM busybox
    COPY --from=one /one /
    COPY --from=two /two /
    RUN cat /one /two
    """

    async def test_a_filter_runs_the_steps_of_its_stages(self, bench: Kitchen) -> None:
        """They make what they made before, so what is above is not run."""
        await bench.bake(target("t", self.TEXT, contexts=BUSYBOX))
        only_two = target("t", self.TEXT, contexts=BUSYBOX, no_cache_filter=("two",))
        assert await _again(bench, only_two) == ["echo two > /two"]

    async def test_it_is_for_the_target_that_says_so(self, bench: Kitchen) -> None:
        plain = "FROM busybox\nRUN echo other > /other\n"
        await bench.bake(target("t", self.TEXT, contexts=BUSYBOX), target("other", plain, contexts=BUSYBOX))
        ran = await _again(
            bench, target("t", self.TEXT, contexts=BUSYBOX), target("other", plain, contexts=BUSYBOX, no_cache=True)
        )
        assert ran == ["echo other > /other"]


def _contexts() -> FrozenMap[str, str]:
    return FrozenMap(BUSYBOX)
