"""What displays are told of an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakepy.errors import RegistryError
from bakepy.events import VertexAdded, VertexDone, VertexFailed, VertexStarted, VertexStatus, VertexWarning
from tests.support.results import House, result

pytestmark = pytest.mark.anyio


async def test_each_output_is_a_vertex_with_its_pieces(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a'},junk=1"))
    added, started, warning, *statuses, done = house.events
    assert isinstance(added, VertexAdded)
    assert (added.name, added.targets) == ("[app] exporting to oci image format", ("app",))
    assert isinstance(started, VertexStarted)
    assert isinstance(warning, VertexWarning)
    assert warning.message == "target.app.output[0]: attribute 'junk' has no effect on type=oci"
    assert [(event.id, event.done) for event in statuses if isinstance(event, VertexStatus)] == [
        ("exporting layers", False),
        ("exporting layers", True),
        ("sending tarball", False),
        ("sending tarball", True),
    ]
    assert isinstance(done, VertexDone)
    assert {event.digest for event in (started, warning, done)} == {added.digest}


async def test_a_push_tells_its_bytes(house: House) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    await house.exporter().export(result(top, "type=registry", tags=("reg.test/app",)))
    transfers = [event for event in house.events if isinstance(event, VertexStatus) and event.total]
    assert {event.id for event in transfers} == set(house.registry.blobs["reg.test/app"])
    assert {(event.action, event.done) for event in transfers} == {("pushing layer", True)}


async def test_a_failed_export_is_a_failed_vertex(house: House, tmp_path: Path) -> None:
    house.base_layer("base", {"a": "1"})
    house.remote.clear()
    with pytest.raises(RegistryError):
        await house.exporter().export(result("base", f"type=oci,dest={tmp_path / 'a'}"))
    failed = house.events[-1]
    assert isinstance(failed, VertexFailed)
    assert (failed.error, failed.cancelled) == ("registry.test is away", False)
