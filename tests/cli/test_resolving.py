"""Looking up images is shown as steps of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import anyio
import pytest

from bakepy.cli.resolving import resolver
from bakepy.dockerfile.images import ImageRequest
from bakepy.engine.embedded import Embedded
from bakepy.errors import RegistryError
from bakepy.events import Event, VertexAdded, VertexDone, VertexFailed, VertexStarted
from bakepy.model.digest import Digest
from bakepy.model.image_config import ImageConfig
from bakepy.model.oci import Descriptor, Manifest
from bakepy.model.platform import Platform
from bakepy.source.image import ResolvedImage

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
        found = await resolver(cast(Embedded, engine), events.append)(request, {"store": "/layouts/x"})
        assert found.digest == DIGEST

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
    with pytest.raises(RegistryError):
        anyio.run(resolver(cast(Embedded, FakeEngine()), events.append), ImageRequest("docker.io/none:1", None), {})
    assert isinstance(events[-1], VertexFailed)
    assert events[-1].error == "not found"
