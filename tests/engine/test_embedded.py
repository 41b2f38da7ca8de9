"""The embedded engine with real containers: what runs, how often, and how targets end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import anyio
import pytest

from bakepy.engine.embedded import Embedded
from bakepy.engine.protocol import Engine, Outcome, SolveOptions
from bakepy.errors import BuildError, EngineError, ProcessError
from bakepy.events import (
    Event,
    TargetDone,
    TargetStarted,
    VertexAdded,
    VertexCached,
    VertexFailed,
    VertexLog,
    VertexStarted,
    VertexStatus,
)
from bakepy.exporter.result import Exported, TargetResult
from bakepy.model.target import Target
from tests.support.baking import Kitchen, kitchen, target

pytestmark = [pytest.mark.runtime, pytest.mark.anyio]

BUSYBOX = {"busybox": "oci-layout://busybox:latest"}
SHARED = """
FROM busybox AS base
RUN echo base >> /log
FROM base AS deps
COPY deps.txt /deps.txt
RUN cat /deps.txt >> /log
FROM deps
ARG NUMBER
RUN echo $NUMBER >> /log
COPY --from=base /log /base.log
"""


def as_engine(engine: Embedded) -> Engine:
    """For the type checker: it is one."""
    return engine


def _twenty() -> list[Target]:
    return [target(f"t{number}", SHARED, contexts=BUSYBOX, args={"NUMBER": str(number % 4)}) for number in range(20)]


async def _read(bench: Kitchen, name: str, path: str) -> str:
    """A file of a target's result."""
    (platform,) = bench.exported[name].platforms
    async with bench.engine.snapshots.view(platform.snapshot) as tree:
        return (tree / path).read_text()


class TestOnce:
    async def test_twenty_targets_run_what_they_share_once(self, bench: Kitchen) -> None:
        (bench.folder / "deps.txt").write_text("deps\n")
        outcomes = await bench.bake(*_twenty())
        assert {outcome.outcome for outcome in outcomes.values()} == {"succeeded"}
        assert sorted(bench.processes) == [
            "cat /deps.txt >> /log",
            *(f"echo {number} >> /log" for number in range(4)),
            "echo base >> /log",
        ]
        assert await _read(bench, "t7", "log") == "base\ndeps\n3\n"
        assert await _read(bench, "t7", "base.log") == "base\n"

    async def test_a_second_run_starts_nothing(self, bench: Kitchen) -> None:
        (bench.folder / "deps.txt").write_text("deps\n")
        await bench.bake(*_twenty())
        first = {name: result.platforms[0].snapshot for name, result in bench.exported.items()}
        async with kitchen(bench.engine.root, bench.folder) as again:
            await again.bake(*_twenty())
            assert again.ran == []
            assert not again.steps(VertexLog)
            assert {name: result.platforms[0].snapshot for name, result in again.exported.items()} == first

    async def test_a_changed_file_runs_only_what_is_above_it(self, bench: Kitchen) -> None:
        (bench.folder / "deps.txt").write_text("deps\n")
        await bench.bake(*_twenty()[:1])
        (bench.folder / "deps.txt").write_text("other\n")
        (bench.folder / "unused").write_text("does not matter")
        async with kitchen(bench.engine.root, bench.folder) as again:
            await again.bake(*_twenty()[:1])
            assert again.processes == ["cat /deps.txt >> /log", "echo 0 >> /log"]
            assert again.misses == {
                "COPY deps.txt /deps.txt": ("input", (1,)),
                "RUN cat /deps.txt >> /log": ("input", (0,)),
                "RUN echo 0 >> /log": ("input", (0,)),
                "COPY --from=base /log /base.log": ("input", (0,)),
            }
            assert await _read(again, "t0", "log") == "base\nother\n0\n"

    async def test_equal_files_through_different_contexts_run_what_follows_once(self, bench: Kitchen) -> None:
        for name in ("one", "two"):
            (bench.folder / name).mkdir()
            (bench.folder / name / "same").write_text("same\n")
            (bench.folder / name / name).write_text(name)
        text = "FROM busybox\nCOPY same /same\nRUN cat /same > /copy\n"
        await bench.bake(
            target("one", text, context="one", contexts=BUSYBOX),
            target("two", text, context="two", contexts=BUSYBOX),
        )
        assert bench.processes == ["cat /same > /copy"]
        assert await _read(bench, "two", "copy") == "same\n"

    async def test_an_unchanged_output_cuts_the_rebuild_off(self, bench: Kitchen) -> None:
        text = """
        FROM busybox AS build
        COPY source /source
        RUN wc -l < /source > /lines
        FROM busybox
        COPY --from=build /lines /lines
        RUN cp /lines /end
        """
        lines = target("lines", text, contexts=BUSYBOX)
        (bench.folder / "source").write_text("a\nb\n")
        await bench.bake(lines)
        (bench.folder / "source").write_text("c\nd\n")
        async with kitchen(bench.engine.root, bench.folder) as again:
            await again.bake(lines)
            assert again.processes == ["wc -l < /source > /lines"]

    async def test_no_cache_runs_everything_again(self, bench: Kitchen) -> None:
        text = "FROM busybox\nRUN echo $RANDOM > /random\n"
        await bench.bake(target("t", text, contexts=BUSYBOX))
        first = await _read(bench, "t", "random")
        await bench.bake(target("t", text, contexts=BUSYBOX, no_cache=True))
        assert bench.processes == ["echo $RANDOM > /random"]
        second = await _read(bench, "t", "random")
        await bench.bake(target("t", text, contexts=BUSYBOX))
        assert bench.ran == []
        assert (await _read(bench, "t", "random") == second) and first

    async def test_no_cache_empties_the_caches_that_its_steps_mount(self, bench: Kitchen) -> None:
        def counted(word: str) -> str:
            return f"FROM busybox\nRUN --mount=type=cache,target=/c echo {word} >> /c/log; cp /c/log /log\n"

        await bench.bake(target("t", counted("one"), contexts=BUSYBOX))
        await bench.bake(target("t", counted("two"), contexts=BUSYBOX))
        assert await _read(bench, "t", "log") == "one\ntwo\n"
        await bench.bake(target("t", counted("three"), contexts=BUSYBOX, no_cache=True))
        assert await _read(bench, "t", "log") == "three\n"

    async def test_two_engines_on_one_root_run_a_step_once(self, bench: Kitchen) -> None:
        slow = target("t", "FROM busybox\nRUN sleep 0.3; echo $RANDOM > /random\n", contexts=BUSYBOX)
        async with kitchen(bench.engine.root, bench.folder) as other:
            async with anyio.create_task_group() as group:
                group.start_soon(bench.bake, slow)
                group.start_soon(other.bake, slow)
            assert bench.processes + other.processes == ["sleep 0.3; echo $RANDOM > /random"]
            assert await _read(bench, "t", "random") == await _read(other, "t", "random")


class TestEndings:
    async def test_a_failed_step_is_told_with_its_place(self, bench: Kitchen) -> None:
        outcomes = await bench.bake(target("t", "FROM busybox\nRUN echo no >&2; exit 3\n", contexts=BUSYBOX))
        outcome = outcomes["t"]
        assert outcome.outcome == "failed"
        assert isinstance(outcome.error, ProcessError)
        assert outcome.error.status == 3
        assert outcome.error.where is not None
        assert outcome.error.where.label().endswith(":2:1")
        assert [name.partition(" RUN ")[2] for name in bench.steps(VertexFailed)] == ["echo no >&2; exit 3"]

    async def test_without_keep_going_the_first_failure_ends_the_rest(self, bench: Kitchen) -> None:
        outcomes = await bench.bake(
            target("bad", "FROM busybox\nRUN exit 3\n", contexts=BUSYBOX),
            target("slow", "FROM busybox\nRUN sleep 6061\n", contexts=BUSYBOX),
        )
        assert {name: outcome.outcome for name, outcome in outcomes.items()} == {"bad": "failed", "slow": "cancelled"}
        assert _containers(bench) == []

    async def test_with_keep_going_the_others_are_done(self, bench: Kitchen) -> None:
        outcomes = await bench.bake(
            target("bad", "FROM busybox\nRUN exit 3\n", contexts=BUSYBOX),
            target("good", "FROM busybox\nRUN echo good > /good\n", contexts=BUSYBOX),
            options=SolveOptions(keep_going=True),
        )
        assert {name: outcome.outcome for name, outcome in outcomes.items()} == {"bad": "failed", "good": "succeeded"}
        assert list(bench.exported) == ["good"]

    async def test_a_target_is_blocked_by_the_one_that_it_links_to(self, bench: Kitchen) -> None:
        outcomes = await bench.bake(
            target("base", "FROM busybox\nRUN exit 3\n", contexts=BUSYBOX),
            target("app", "FROM base\nRUN true\n", contexts={"base": "target:base"}),
            options=SolveOptions(keep_going=True),
        )
        assert outcomes["base"].outcome == "failed"
        assert (outcomes["app"].outcome, outcomes["app"].blocked_by) == ("blocked", "base")
        ends = [(event.target, event.outcome) for event in bench.events if isinstance(event, TargetDone)]
        assert sorted(ends) == [("app", "blocked"), ("base", "failed")]

    async def test_a_linked_target_ends_as_those_that_need_it(self, bench: Kitchen) -> None:
        plan = await bench.plan([
            target("base", "FROM busybox\nRUN echo base > /base\n", contexts=BUSYBOX, linked=True),
            target("app", "FROM base\nRUN cat /base\n", contexts={"base": "target:base"}),
        ])  # fmt: skip
        outcomes = await bench.bake(plan=plan)
        assert {name: outcome.outcome for name, outcome in outcomes.items()} == {
            "base": "succeeded",
            "app": "succeeded",
        }
        assert list(bench.exported) == ["app"]

    async def test_a_failed_export_fails_the_target(self, bench: Kitchen) -> None:
        plan = await bench.plan([target("t", "FROM busybox\n", contexts=BUSYBOX)])

        async def export(result: TargetResult) -> Exported:
            raise BuildError("no space")

        (outcome,) = await bench.engine.solve(plan, export=export)
        assert outcome == Outcome("t", "failed", outcome.error)
        assert str(outcome.error) == "no space"

    async def test_stop_ends_what_is_under_way(self, bench: Kitchen) -> None:
        plan = await bench.plan([target("t", "FROM busybox\nRUN echo started; sleep 6061\n", contexts=BUSYBOX)])
        stop = anyio.Event()
        events: list[Event] = []

        def emit(event: Event) -> None:
            events.append(event)
            if isinstance(event, VertexLog):
                stop.set()

        async def export(result: TargetResult) -> Exported:
            raise AssertionError("nothing to export")

        (outcome,) = await bench.engine.solve(plan, export=export, emit=emit, stop=stop)
        assert outcome == Outcome("t", "cancelled")
        assert _containers(bench) == []

    async def test_targets_start_with_their_first_step(self, bench: Kitchen) -> None:
        await bench.bake(target("t", "FROM busybox\nRUN true\n", contexts=BUSYBOX))
        kinds = [type(event) for event in bench.events]
        assert kinds.index(TargetStarted) == kinds.index(VertexStarted) - 1
        assert kinds[-1] is TargetDone


def _containers(bench: Kitchen) -> list[str]:
    found = subprocess.run(["pgrep", "-f", "^sleep 6061$"], capture_output=True, text=True, check=False)
    return found.stdout.split()


class TestSources:
    async def test_a_pull_is_told_at_the_step_of_the_image(self, bench: Kitchen) -> None:
        await bench.bake(target("t", "FROM busybox\nRUN true\n", contexts=BUSYBOX))
        names = {event.digest: event.name for event in bench.events if isinstance(event, VertexAdded)}
        told = [event for event in bench.events if isinstance(event, VertexStatus)]
        assert {names[event.digest] for event in told} == {"[context busybox] OCI load from client"}
        assert [(event.action, event.done, event.current == event.total) for event in told] == [
            ("downloading", True, True)
        ]

    async def test_nothing_is_unpacked_for_steps_that_only_add(self, bench: Kitchen) -> None:
        """A scratch image next to an unused base."""
        (bench.folder / "a").write_text("a")
        await bench.bake(target("t", "FROM busybox AS unused\nFROM scratch\nCOPY a /a\n", contexts=BUSYBOX))
        assert await _read(bench, "t", "a") == "a"
        assert bench.engine.database.query("SELECT count(*) FROM snapshot WHERE layer IS NOT NULL") == [(0,)]

    async def test_a_folder_as_the_whole_image(self, bench: Kitchen) -> None:
        (bench.folder / "tree").mkdir()
        (bench.folder / "tree/file").write_text("here")
        await bench.bake(target("t", "FROM tree\n", contexts={"tree": "./tree"}))
        assert await _read(bench, "t", "file") == "here"
        await bench.bake(target("t", "FROM tree\n", contexts={"tree": "./tree"}))
        assert await _read(bench, "t", "file") == "here"

    async def test_link_layers_are_shared_between_bases(self, bench: Kitchen) -> None:
        (bench.folder / "a").write_text("a")
        one = target("one", "FROM busybox\nCOPY --link a /a\n", contexts=BUSYBOX)
        two = target("two", "FROM busybox\nRUN echo two > /two\nCOPY --link a /a\n", contexts=BUSYBOX)
        await bench.bake(one, two)
        assert len([name for name in bench.ran if "COPY --link" in name and "LINK" not in name]) == 1
        assert await _read(bench, "two", "two") + await _read(bench, "two", "a") == "two\na"


class TestState:
    async def test_secrets_reach_the_step_and_nothing_else(self, bench: Kitchen) -> None:
        value = "very-secret-value"

        class Lent:
            def get(self, id: str) -> bytes | None:
                return value.encode() if id == "token" else None

        text = "FROM busybox\nRUN --mount=type=secret,id=token wc -c < /run/secrets/token > /count\n"
        await bench.bake(target("t", text, contexts=BUSYBOX), options=SolveOptions(secrets={"t": Lent()}))
        assert await _read(bench, "t", "count") == f"{len(value)}\n"
        bench.engine.database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        files = [path for path in bench.engine.root.rglob("*") if path.is_file() and not path.is_symlink()]
        assert files
        assert [path for path in files if value.encode() in path.read_bytes()] == []

    async def test_a_removed_snapshot_is_made_again(self, bench: Kitchen) -> None:
        made = target("t", "FROM busybox\nRUN echo 1 > /one\n", contexts=BUSYBOX)
        await bench.bake(made)
        (platform,) = bench.exported["t"].platforms
        assert platform.snapshot is not None
        bench.engine.snapshots.remove(platform.snapshot)
        await bench.bake(made)
        assert bench.processes == ["echo 1 > /one"]
        assert await _read(bench, "t", "one") == "1\n"

    async def test_a_full_hit_tells_every_step_as_cached(self, bench: Kitchen) -> None:
        made = target("t", "FROM busybox\nRUN echo 1 > /one\nRUN echo 2 > /two\n", contexts=BUSYBOX)
        await bench.bake(made)
        await bench.bake(made)
        assert [name.rpartition("] ")[2] for name in bench.steps(VertexCached)] == [
            "OCI load from client",
            "RUN echo 1 > /one",
            "RUN echo 2 > /two",
        ]

    async def test_a_root_that_is_no_folder_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("")
        with pytest.raises(EngineError) as caught:
            async with kitchen(path, tmp_path):
                pass
        assert caught.value.render() == (
            f"state root {path}: file exists\nhint: choose another with --root or BAKEPY_ROOT"
        )
