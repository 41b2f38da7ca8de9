"""`type=image` and `type=registry`: what goes to the registry, in which order, and how often."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import anyio
import pytest

from bakepy.errors import BakeError, DefinitionError, RegistryError
from bakepy.exporter.kept import KeptImages
from bakepy.model.oci import Descriptor
from bakepy.model.reference import ImageReference
from bakepy.registry.registry import Registry
from bakepy.session.credentials import Credentials
from tests.support.registry import RegistryServer
from tests.support.results import AMD64, ARM64, House, config, multi_result, result

pytestmark = pytest.mark.anyio


def inspected(name: str, architecture: str) -> dict[str, Any]:
    """What skopeo finds in a registry on loopback."""
    command = ["skopeo", "inspect", "--tls-verify=false", f"--override-arch={architecture}", f"docker://{name}"]
    value = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert isinstance(value, dict)
    return value


async def test_blobs_come_first_then_manifests_then_tags(house: House) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    run = house.exporter()
    exported = await run.export(result(top, "type=registry", tags=("reg.test/app:1", "reg.test/app:2")))
    digest = exported.descriptor.digest  # type: ignore[union-attr]
    assert [call.partition(" ")[0] for call in house.registry.calls] == ["blob", "blob", "manifest"]
    assert house.registry.calls[-1] == f"manifest reg.test/app {digest}"
    assert house.registry.tags == {}
    assert await run.publish() == ("reg.test/app:1", "reg.test/app:2")
    assert house.registry.tags == {"reg.test/app:1": digest, "reg.test/app:2": digest}
    assert exported.written == (f"uploaded reg.test/app@{digest}",)
    assert exported.metadata["image.name"] == "reg.test/app:1,reg.test/app:2"
    assert await run.publish() == ()


async def test_an_index_is_pushed_after_its_manifests(house: House) -> None:
    tops = {AMD64: await house.snapshot("s1", {"a": "amd"}), ARM64: await house.snapshot("s2", {"a": "arm"})}
    run = house.exporter()
    exported = await run.export(multi_result(tops, "type=image,name=reg.test/app:1,push=true"))
    await run.publish()
    index = json.loads(house.registry.manifests["reg.test/app"][exported.descriptor.digest])  # type: ignore[union-attr]
    manifests = [call for call in house.registry.calls if call.startswith(("manifest", "tag"))]
    assert set(manifests[:2]) == {f"manifest reg.test/app {entry['digest']}" for entry in index["manifests"]}
    assert manifests[2:] == [f"manifest reg.test/app {exported.descriptor.digest}", "tag reg.test/app:1"]  # type: ignore[union-attr]


async def test_twenty_targets_compress_and_push_a_shared_layer_once(house: House) -> None:
    await house.snapshot("shared", {"a": "1" * 5000})
    names = [f"t{number}" for number in range(20)]
    for name in names:
        await house.snapshot(name, {name: name}, parent="shared")
    run = house.exporter()
    results = [
        result(
            name,
            "type=registry",
            name=name,
            tags=(f"reg.test/app:{name}",),
            image=config("COPY shared / # buildkit", "COPY own / # buildkit"),
        )
        for name in names
    ]
    async with anyio.create_task_group() as group:
        for item in results:
            group.start_soon(run.export, item)
    await run.publish()
    pushed = [call for call in house.registry.calls if call.startswith("blob")]
    assert len(house.compressed) == 21
    assert len(pushed) == len(set(pushed)) == 21 + 20
    assert len(house.registry.tags) == 20


async def test_push_by_digest_sets_no_tag(house: House) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    run = house.exporter()
    exported = await run.export(result(top, "type=image,name=reg.test/app,push=true,push-by-digest=true"))
    await run.publish()
    assert house.registry.tags == {}
    assert exported.written == (f"pushed reg.test/app@{exported.descriptor.digest}",)  # type: ignore[union-attr]


async def test_a_tag_can_not_be_pushed_by_digest(house: House) -> None:
    with pytest.raises(DefinitionError) as caught:
        await house.exporter().export(result(None, "type=registry,push-by-digest=true", tags=("reg.test/app:1",)))
    assert caught.value.render() == (
        "target.app.output[0]: can't push tagged ref reg.test/app:1 by digest\n"
        "hint: name it reg.test/app, without a tag"
    )


async def test_a_push_needs_a_name(house: House) -> None:
    with pytest.raises(DefinitionError) as caught:
        await house.exporter().export(result(None, "type=image,push=true"))
    assert caught.value.render() == (
        "target.app.output[0]: tag is needed when pushing to registry\nhint: add tags, or name=… to the output"
    )


async def test_base_layers_are_mounted_without_being_downloaded(house: House) -> None:
    base = house.base_layer("base", {"bin": "x"})
    run = house.exporter()
    await run.export(result("base", "type=registry", tags=("registry.test/app:1",)))
    assert house.registry.mounts == [f"{base.descriptor.digest} from registry.test/base"]
    assert house.fetched == []
    await run.export(result("base", "type=registry", name="other", tags=("elsewhere.test/app:1",)))
    assert house.fetched == ["base"]


async def test_two_targets_must_not_push_different_images_under_one_tag(house: House) -> None:
    run = house.exporter()
    await run.export(result(await house.snapshot("s1", {"a": "1"}), "type=registry", tags=("reg.test/app:1",)))
    with pytest.raises(BakeError) as caught:
        await run.export(
            result(await house.snapshot("s2", {"a": "2"}), "type=registry", name="two", tags=("reg.test/app:1",))
        )
    assert caught.value.render() == (
        "targets app and two push different images as reg.test/app:1\nhint: give each target tags of its own"
    )


async def test_a_tag_that_can_not_be_set_is_told_with_those_that_were(house: House) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    house.registry.faults["reg.test/app:2"] = RegistryError("reg.test refused: denied")
    run = house.exporter()
    await run.export(result(top, "type=registry", tags=("reg.test/app:1", "reg.test/app:2")))
    with pytest.raises(RegistryError) as caught:
        await run.publish()
    assert caught.value.render() == (
        "1 of 2 tags could not be set\n    reg.test/app:2: reg.test refused: denied\n    reg.test/app:1: set"
    )


async def test_publish_can_be_for_some_targets(house: House) -> None:
    run = house.exporter()
    top = await house.snapshot("s1", {"a": "1"})
    for name in ("one", "two"):
        await run.export(result(top, "type=registry", name=name, tags=(f"reg.test/{name}",)))
    assert await run.publish({"two"}) == ("reg.test/two:latest",)
    assert await run.publish() == ("reg.test/one:latest",)


async def test_images_are_kept_by_name(house: House) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    exported = await house.exporter().export(result(top, "type=image,name-canonical=true", tags=("app",)))
    kept = KeptImages.open(house.database)
    digest = exported.descriptor.digest  # type: ignore[union-attr]
    assert kept.names() == ("docker.io/library/app:latest", f"docker.io/library/app@{digest}")
    assert kept.find("docker.io/library/app:latest") == Descriptor(
        "application/vnd.oci.image.manifest.v1+json",
        digest,
        exported.descriptor.size,  # type: ignore[union-attr]
    )
    assert exported.written == ("image app:latest",)


async def test_an_image_without_a_name_is_kept_by_digest(house: House) -> None:
    exported = await house.exporter().export(result(None, "type=image", image=config("ENV A=1")))
    assert KeptImages.open(house.database).names() == (f"@{exported.descriptor.digest}",)  # type: ignore[union-attr]


@pytest.mark.registry
async def test_a_real_registry_gives_back_what_was_pushed(house: House, registry_server: RegistryServer) -> None:
    tops = {AMD64: await house.snapshot("s1", {"a": "amd"}), ARM64: await house.snapshot("s2", {"a": "arm"})}
    name = f"{registry_server.host}/team/app:1"
    async with Registry(Credentials({})) as registry:
        house.registry = registry  # type: ignore[assignment]
        run = house.exporter()
        exported = await run.export(multi_result(tops, f"type=registry,name={name}"))
        assert registry_server.tags("team/app") == []
        await run.publish()
        found = await registry.resolve(ImageReference.parse(name))
    assert registry_server.tags("team/app") == ["1"]
    assert found.digest == exported.descriptor.digest  # type: ignore[union-attr]
    shown = inspected(name, "arm64")
    assert (shown["Architecture"], len(shown["Layers"])) == ("arm64", 1)


@pytest.mark.registry
async def test_a_real_registry_mounts_the_base(house: House, registry_server: RegistryServer) -> None:
    base = await house.snapshot("base-made", {"bin": "x" * 1000})
    async with Registry(Credentials({})) as registry:
        house.registry = registry  # type: ignore[assignment]
        run = house.exporter()
        await run.export(result(base, f"type=registry,name={registry_server.host}/team/base:1"))
        await run.publish()
    layer = house.compressed[0]
    house.content.delete(layer.descriptor.digest)
    house.snapshots.add_lazy(
        "base", None, layer, f"docker-image://{registry_server.host}/team/base@{'sha256:' + '0' * 64}"
    )
    name = f"{registry_server.host}/other/app:1"
    async with Registry(Credentials({})) as registry:
        house.registry = registry  # type: ignore[assignment]
        run = house.exporter()
        await run.export(result("base", f"type=registry,name={name}"))
        await run.publish()
    assert house.fetched == []
    assert inspected(name, "amd64")["Layers"] == [layer.descriptor.digest]
    assert not house.content.has(layer.descriptor.digest)
