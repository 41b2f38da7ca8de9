"""Blobs of the state root that a disk has damaged: no output ever holds one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bakepy.content.store import ContentStore
from bakepy.errors import BuildError, RegistryError
from bakepy.model.oci import OCI_INDEX, ImageIndex
from bakepy.registry.registry import Registry
from bakepy.session.credentials import Credentials
from tests.exporter.test_daemon import engine
from tests.support.damage import damage, damage_blobs
from tests.support.fake_registry import FakeRegistry
from tests.support.results import House, config, files_of, open_house, result

pytestmark = pytest.mark.anyio

IMAGE = config("COPY base / # buildkit", "COPY a / # buildkit")
FORCED = "compression=zstd,force-compression=true"


async def fill(house: House) -> None:
    """A base layer and one on top of it, 300 KB that do not compress well."""
    text = "".join(hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(4_000))
    house.base_layer("base", {"bin": text})
    await house.snapshot("s1", {"a": text[::-1]}, parent="base")


async def first_run(root: Path, dest: Path, options: str) -> dict[str, bytes]:
    """Fills the state root; what the archive should be."""
    async with open_house(root) as house:
        await fill(house)
        await house.exporter().export(result("s1", f"type=oci,dest={dest}{options}", image=IMAGE))
    return read(dest)


@pytest.mark.parametrize("options", ["", f",{FORCED}"], ids=["as it is", "forced"])
async def test_an_archive_of_damaged_blobs_is_made_of_new_ones(state_root: Path, tmp_path: Path, options: str) -> None:
    right = await first_run(state_root, tmp_path / "a.tar", options)
    assert damage_blobs(state_root) == (5 if options else 4)
    async with open_house(state_root) as house:
        await remember_base(house)
        await house.exporter().export(result("s1", f"type=oci,dest={tmp_path / 'b.tar'}{options}", image=IMAGE))
    assert files_of((tmp_path / "b.tar").read_bytes()) == right


async def test_a_docker_archive_of_damaged_blobs_is_made_of_new_ones(state_root: Path, tmp_path: Path) -> None:
    right = await first_run(state_root, tmp_path / "a.tar", "")
    damage_blobs(state_root)
    async with open_house(state_root) as house:
        await remember_base(house)
        await house.exporter().export(result("s1", f"type=docker,dest={tmp_path / 'b.tar'}", image=IMAGE))
    assert blobs_of(files_of((tmp_path / "b.tar").read_bytes())) == blobs_of(right)


async def test_a_docker_engine_is_given_new_ones(state_root: Path, tmp_path: Path) -> None:
    right = await first_run(state_root, tmp_path / "a.tar", "")
    damage_blobs(state_root)
    async with open_house(state_root) as house:
        await remember_base(house)
        with engine(tmp_path) as server:
            run = house.exporter(environ={"DOCKER_HOST": f"unix://{tmp_path / 'docker.sock'}"})
            await run.export(result("s1", "type=docker", image=IMAGE))
    ((_, body),) = server.loaded
    assert blobs_of(files_of(body)) == blobs_of(right)


async def test_a_layout_folder_gets_new_ones_and_its_own_damage_is_mended(state_root: Path, tmp_path: Path) -> None:
    right = blobs_of(await first_run(state_root, tmp_path / "a.tar", ""))
    output = f"type=oci,dest={tmp_path / 'layout'},tar=false"
    for _ in range(2):
        damage_blobs(state_root)
        async with open_house(state_root) as house:
            await remember_base(house)
            await house.exporter().export(result("s1", output, image=IMAGE))
        found = sorted((tmp_path / "layout/blobs/sha256").glob("*"))
        assert {f"blobs/sha256/{path.name}": path.read_bytes() for path in found} == right
        for path in found:
            damage(path)


async def test_a_registry_is_sent_new_ones(state_root: Path, tmp_path: Path) -> None:
    right = await first_run(state_root, tmp_path / "a.tar", "")
    damage_blobs(state_root)
    async with open_house(state_root) as house:
        with FakeRegistry() as fake:
            async with Registry(Credentials({})) as client:
                await remember_base(house)
                house.registry = client  # type: ignore[assignment]
                run = house.exporter()
                await run.export(result("s1", "type=registry", tags=(f"{fake.host}/app:1",), image=IMAGE))
                await run.publish()
            sent = {f"blobs/sha256/{digest.partition(':')[2]}": data for (_, digest), data in fake.blobs.items()}
            (top,) = {data for (_, name), (_, data) in fake.manifests.items() if name == "1"}
    assert sent | {f"blobs/sha256/{hashlib.sha256(top).hexdigest()}": top} == blobs_of(right)


async def test_what_can_not_be_made_anew_is_an_error_and_nothing_is_written(state_root: Path, tmp_path: Path) -> None:
    await first_run(state_root, tmp_path / "a.tar", "")
    damage_blobs(state_root)
    async with open_house(state_root) as house:
        with pytest.raises(RegistryError) as caught:
            await house.exporter().export(result("s1", f"type=oci,dest={tmp_path / 'b.tar'}", image=IMAGE))
    assert caught.value.what == "registry.test is away"
    assert not (tmp_path / "b.tar").exists()


async def test_a_layer_that_would_be_another_one_now_is_an_error_once(state_root: Path, tmp_path: Path) -> None:
    """The files of the snapshot are damaged as well: no image gets a layer that its manifest does not name."""
    async with open_house(state_root) as house:
        await house.snapshot("s1", {"a": "1" * 5000})
        await house.exporter().export(result("s1", f"type=oci,dest={tmp_path / 'a.tar'}"))
        layer = house.compressed[0].descriptor.digest
        folder = house.snapshots.folder("s1")
        assert folder is not None
        damage(folder / "a")
    damage(ContentStore(state_root).path(layer))
    async with open_house(state_root) as house:
        with pytest.raises(BuildError) as caught:
            await house.exporter().export(result("s1", f"type=oci,dest={tmp_path / 'b.tar'}"))
        made = house.compressed[0].descriptor.digest
        assert caught.value.render() == (
            f"layer {layer} was damaged, and what it was made of gives {made} now\n"
            "hint: run again: then the image is made of the new one"
        )
        assert not (tmp_path / "b.tar").exists()
        await house.exporter().export(result("s1", f"type=oci,dest={tmp_path / 'b.tar'}"))
    files = files_of((tmp_path / "b.tar").read_bytes())
    assert hashlib.sha256(files[f"blobs/sha256/{made.hex}"]).hexdigest() == made.hex


async def test_documents_that_a_manifest_names_are_never_passed_on_damaged(state_root: Path, tmp_path: Path) -> None:
    """A config that has the right name, and other bytes, when the exporter wants to store it."""
    right = await first_run(state_root, tmp_path / "a.tar", "")
    index = ImageIndex.from_bytes(right["index.json"]).manifests
    assert [entry.media_type for entry in index] != [OCI_INDEX]
    damage(ContentStore(state_root).path(index[0].digest))
    async with open_house(state_root) as house:
        await house.exporter().export(result("s1", f"type=oci,dest={tmp_path / 'b.tar'}", image=IMAGE))
    assert files_of((tmp_path / "b.tar").read_bytes()) == right


async def remember_base(house: House) -> None:
    """The registry has the base layer, as in the first run."""
    (snapshot,) = house.snapshots.chain("base")
    assert snapshot.layer is not None
    digest = snapshot.layer.descriptor.digest
    house.remote[digest] = ContentStore(house.root / "away").read(digest)


def read(archive: Path) -> dict[str, bytes]:
    return files_of(archive.read_bytes())


def blobs_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.startswith("blobs/")}
