"""Looking up images is shown as steps of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import anyio
import pytest

from bakepy.cli.resolving import Remote, resolver
from bakepy.content.store import ContentStore
from bakepy.dockerfile.images import ImageRequest, ResolvedImageConfig
from bakepy.engine.embedded import Embedded
from bakepy.errors import RegistryError
from bakepy.events import Event, VertexAdded, VertexDone, VertexFailed, VertexLog, VertexStarted
from bakepy.model.digest import Digest
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import ImageConfig
from bakepy.model.oci import Descriptor, Manifest
from bakepy.model.platform import Platform
from bakepy.model.target import BakeFile, Retry, Target
from bakepy.planner.compiling import make_plan
from bakepy.registry.retry import RetryPolicy
from bakepy.source.image import ResolvedImage
from tests.support.base_image import publish, put_base_image
from tests.support.fake_registry import Answer, FakeRegistry, Reset
from tests.support.files import MemoryFiles
from tests.support.web import Page, Web

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
DIGEST = Digest.of(b"image")


class FakeEngine:
    """Knows one image and one layout; keeps what it was asked."""

    host = AMD64

    def __init__(self) -> None:
        self.asked: list[tuple[str, Platform, Mapping[str, str], Mapping[str, Path]]] = []

    async def resolve_image(
        self, identifier: str, platform: Platform, attrs: Mapping[str, str], layouts: Mapping[str, Path]
    ) -> ResolvedImage:
        self.asked.append((identifier, platform, attrs, layouts))
        if "none" in identifier:
            raise RegistryError("not found", hint="log in")
        manifest = Manifest(Descriptor("", DIGEST, 1), ())
        return ResolvedImage("x", DIGEST, manifest, DIGEST, ImageConfig(platform), b"", platform, (), "")


def run(request: ImageRequest) -> tuple[FakeEngine, list[Event]]:
    engine = FakeEngine()
    events: list[Event] = []

    async def ask() -> None:
        found = await resolver(cast(Embedded, engine), events.append)({request: ()}, {"store": "/layouts/x"})
        assert found == {request: ResolvedImageConfig(DIGEST, ImageConfig(request.platform or AMD64))}

    anyio.run(ask)
    return engine, events


def test_a_look_up_begins_and_ends_as_a_step() -> None:
    engine, events = run(ImageRequest("docker.io/library/alpine:3", ARM64))
    assert [type(event) for event in events] == [VertexAdded, VertexStarted, VertexDone]
    assert isinstance(events[0], VertexAdded)
    assert events[0].name == "[internal] load metadata for alpine:3"
    assert engine.asked == [("docker-image://docker.io/library/alpine:3", ARM64, {}, {"store": Path("/layouts/x")})]


def test_a_layout_is_no_step_and_is_asked_for_by_its_store() -> None:
    engine, events = run(ImageRequest("base@sha256:1", None, store="store"))
    assert events == []
    assert engine.asked[0][:3] == ("oci-layout://base@sha256:1", AMD64, {"oci.store": "store"})


def test_a_failed_look_up_is_a_failed_step() -> None:
    events: list[Event] = []
    request = ImageRequest("docker.io/none:1", None)
    found = anyio.run(resolver(cast(Embedded, FakeEngine()), events.append), {request: ()}, {})
    assert isinstance(found[request], RegistryError)
    assert isinstance(events[-1], VertexFailed)
    assert events[-1].error == "not found"


class TestRetry:
    """A registry that is out of order for longer than its client has patience, against the real engine."""

    @pytest.fixture
    def registry(self, tmp_path: Path) -> Iterator[FakeRegistry]:
        remote = ContentStore(tmp_path / "remote")
        with FakeRegistry() as registry:
            publish(registry, remote, put_base_image(remote, [AMD64]))
            yield registry

    async def look_up(self, root: Path, registry: FakeRegistry, *retries: Retry | None) -> list[Event]:
        """A plan of one target for each of `retries`, all on the same image."""
        dockerfile = f"FROM {registry.host}/base:1\n"
        targets = [Target(f"t{n}", dockerfile_inline=dockerfile, retry=retry) for n, retry in enumerate(retries)]
        bake = BakeFile(FrozenMap({target.name: target for target in targets}), FrozenMap())
        events: list[Event] = []
        policy = RetryPolicy(attempts=2, first=0.0)
        async with Embedded.open(root, environment={}, policy=policy, host=AMD64) as engine:
            plan = await make_plan(bake, files=MemoryFiles({}), resolve=resolver(engine, events.append))
        assert len(plan.targets) == len(retries)
        return events

    @pytest.mark.anyio
    @pytest.mark.parametrize("fault", [Answer(503), Reset()], ids=["503", "reset"])
    async def test_the_most_patient_target_decides(
        self, state_root: Path, registry: FakeRegistry, fault: Answer | Reset
    ) -> None:
        registry.fail("HEAD /v2/base/manifests/1", *[fault] * 5)
        events = await self.look_up(state_root, registry, None, Retry(2, 0.0), Retry(3, 0.0), Retry(3, 0.0, (7,)))
        logs = [event.data.decode() for event in events if isinstance(event, VertexLog)]
        assert [log.splitlines()[-1] for log in logs] == [
            "failed 1 time, to be tried again in 0 s",
            "failed 2 times, to be tried again in 0 s",
        ]
        assert isinstance(events[-1], VertexDone)
        assert len(registry.asked("HEAD")) == 6

    @pytest.mark.anyio
    async def test_it_ends(self, state_root: Path, registry: FakeRegistry) -> None:
        registry.fail("HEAD /v2/base/manifests/1", *[Answer(503)] * 5)
        with pytest.raises(RegistryError) as raised:
            await self.look_up(state_root, registry, None, Retry(2, 0.0))
        assert f"look up {registry.host}/base:1: 503 Service Unavailable" in raised.value.what
        assert len(registry.asked("HEAD")) == 4

    @pytest.mark.anyio
    async def test_what_is_refused_is_not_asked_for_again(self, state_root: Path, registry: FakeRegistry) -> None:
        registry.manifests.clear()
        with pytest.raises(RegistryError):
            await self.look_up(state_root, registry, Retry(3, 0.0))
        assert registry.asked("manifests") == ["HEAD /v2/base/manifests/1"]

    @pytest.mark.anyio
    async def test_far_contexts_are_read_as_often(self, state_root: Path) -> None:
        events: list[Event] = []
        policy = RetryPolicy(attempts=1, first=0.0)
        with Web() as web:
            web.pages["/Dockerfile"] = [*[Page(status=503)] * 2, Page(b"FROM scratch\n")]
            target = Target("t", context=f"{web.url}/Dockerfile", retry=Retry(3, 0.0))
            bake = BakeFile(FrozenMap({"t": target}), FrozenMap())
            async with Embedded.open(state_root, environment={}, policy=policy, host=AMD64) as engine:
                remote = Remote(engine, events.append, {}, state_root)
                await make_plan(bake, files=MemoryFiles({}), resolve=resolver(engine, events.append), remote=remote)
            assert web.statuses == [503, 503, 200]
