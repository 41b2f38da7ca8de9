"""What `type=oci` and `type=docker` write, read back by skopeo and by tarfile."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import pytest

from bakepy.errors import BuildError, DefinitionError, RegistryError
from bakepy.events import VertexFailed
from bakepy.model.frozen import FrozenMap
from bakepy.model.image_config import HistoryEntry
from tests.support.results import (
    AMD64,
    ARM64,
    NOON,
    NOON_TEXT,
    House,
    config,
    files_of,
    multi_result,
    open_house,
    result,
    tar_of,
)

pytestmark = pytest.mark.anyio

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def skopeo(*arguments: str) -> dict[str, Any]:
    """What `skopeo inspect --raw` says."""
    command = ["skopeo", "inspect", *arguments]
    value = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert isinstance(value, dict)
    return value


def skopeo_copy(source: str, goal: str) -> None:
    subprocess.run(["skopeo", "copy", "--quiet", "--insecure-policy", source, goal], check=True, capture_output=True)


def archive(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """`index.json` and all files of an archive; every blob is checked against its name."""
    files = files_of(path.read_bytes())
    for name, data in files.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    return json.loads(files["index.json"]), files


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    data = files["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(data) == descriptor["size"]
    return data


async def test_an_oci_archive_is_read_by_skopeo(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"etc/app.conf": "a=1\n"})
    dest = tmp_path / "out" / "app.tar"
    image = config("COPY app.conf /etc/ # buildkit", "ENV A=1", env=("A=1",), cmd=("/bin/app",))
    exported = await house.exporter().export(result(top, f"type=oci,dest={dest}", image=image))
    shown = skopeo(f"oci-archive:{dest}")
    assert (shown["Digest"], shown["Architecture"], shown["Env"]) == (exported.descriptor.digest, "amd64", ["A=1"])  # type: ignore[union-attr]
    skopeo_copy(f"oci-archive:{dest}", f"dir:{tmp_path / 'dir'}")
    manifest = json.loads((tmp_path / "dir" / "manifest.json").read_bytes())
    layer = (tmp_path / "dir" / manifest["layers"][0]["digest"].removeprefix("sha256:")).read_bytes()
    assert files_of(gzip.decompress(layer)) == {"etc/app.conf": b"a=1\n"}


async def test_the_date_of_an_archive_is_in_whole_seconds(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "alpha\n"})
    exporter = house.exporter(now_ns=lambda: NOON + 5 * 10**8)
    await exporter.export(result(top, f"type=oci,dest={tmp_path / 'a.tar'}"))
    index, files = archive(tmp_path / "a.tar")
    (entry,) = index["manifests"]
    made = json.loads(blob(files, json.loads(blob(files, entry))["config"]))
    assert made["created"] == NOON_TEXT.replace("Z", ".5Z")
    assert entry["annotations"] == {"org.opencontainers.image.created": NOON_TEXT}


async def test_what_is_inside_an_oci_archive(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "alpha\n"})
    exported = await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a.tar'}"))
    index, files = archive(tmp_path / "a.tar")
    members = tar_of((tmp_path / "a.tar").read_bytes())
    assert list(members) == sorted(members)
    assert {member.mtime for member in members.values()} == {0}
    (entry,) = index["manifests"]
    manifest = json.loads(blob(files, entry))
    made = json.loads(blob(files, manifest["config"]))
    layer = gzip.decompress(blob(files, manifest["layers"][0]))
    assert entry == {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": exported.descriptor.digest,  # type: ignore[union-attr]
        "size": len(blob(files, entry)),
        "annotations": {"org.opencontainers.image.created": NOON_TEXT},
        "platform": {"architecture": "amd64", "os": "linux"},
    }
    assert made["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}
    assert made["created"] == NOON_TEXT
    assert made["history"] == [
        {"created": NOON_TEXT, "created_by": "COPY . / # buildkit", "comment": "buildkit.dockerfile.v0"}
    ]
    assert exported.size == sum(len(data) for name, data in files.items() if name.startswith("blobs/"))
    assert exported.written == (f"OCI archive {tmp_path / 'a.tar'} (7.2 kB)",)


async def test_names_become_entries_of_the_index(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "alpha\n"})
    tags = ("example.test/x/y:1", "short", "example.test/z")
    exported = await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a.tar'}", tags=tags))
    index, _ = archive(tmp_path / "a.tar")
    assert [
        (entry["annotations"]["io.containerd.image.name"], entry["annotations"]["org.opencontainers.image.ref.name"])
        for entry in index["manifests"]
    ] == [
        ("example.test/x/y:1", "1"),
        ("docker.io/library/short:latest", "latest"),
        ("example.test/z:latest", "latest"),
    ]
    assert exported.metadata["image.name"] == (
        "example.test/x/y:1,docker.io/library/short:latest,example.test/z:latest"
    )


async def test_a_docker_archive_has_tags_and_is_read_by_skopeo(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "alpha\n"})
    dest = tmp_path / "a.tar"
    await house.exporter().export(result(top, f"type=docker,dest={dest}", tags=("app:1", "example.test/app")))
    (manifest,) = json.loads(files_of(dest.read_bytes())["manifest.json"])
    assert manifest["RepoTags"] == ["app:1", "example.test/app:latest"]
    skopeo_copy(f"docker-archive:{dest}:app:1", f"dir:{tmp_path / 'dir'}")
    assert (tmp_path / "dir" / "manifest.json").exists()


async def test_a_docker_archive_without_names_has_no_tags(house: House, tmp_path: Path) -> None:
    await house.exporter().export(result(None, f"type=docker,dest={tmp_path / 'a.tar'}", image=config("ENV A=1")))
    manifest = json.loads(files_of((tmp_path / "a.tar").read_bytes())["manifest.json"])
    assert (manifest[0]["RepoTags"], manifest[0]["Layers"]) == (None, [])


async def test_an_oci_directory_keeps_other_images(house: House, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    one = await house.snapshot("s1", {"a": "1"})
    two = await house.snapshot("s2", {"a": "2"})
    run = house.exporter()
    await run.export(result(one, f"type=oci,tar=false,dest={layout}", tags=("app:1",)))
    await run.export(result(one, f"type=oci,tar=false,dest={layout}", tags=("app:2",), name="two"))
    second = await run.export(result(two, f"type=oci,tar=false,dest={layout}", tags=("app:1",), name="three"))
    names = {
        entry["annotations"]["io.containerd.image.name"]: entry["digest"]
        for entry in json.loads((layout / "index.json").read_bytes())["manifests"]
    }
    assert sorted(names) == ["docker.io/library/app:1", "docker.io/library/app:2"]
    assert names["docker.io/library/app:1"] == second.descriptor.digest  # type: ignore[union-attr]
    assert skopeo("--raw", f"oci:{layout}:2")["schemaVersion"] == 2


async def test_two_platforms_make_an_index(house: House, tmp_path: Path) -> None:
    tops = {AMD64: await house.snapshot("s1", {"a": "amd"}), ARM64: await house.snapshot("s2", {"a": "arm"})}
    dest = tmp_path / "a.tar"
    exported = await house.exporter().export(
        multi_result(
            tops,
            f"type=oci,dest={dest}",
            annotations=(
                "index:i=1",
                "index,manifest:both=2",
                "index-descriptor:d=3",
                "manifest[linux/arm64]:arm=4",
                "manifest-descriptor:m=5",
            ),
        )
    )
    top, files = archive(dest)
    (entry,) = top["manifests"]
    index = json.loads(blob(files, entry))
    manifests = [json.loads(blob(files, descriptor)) for descriptor in index["manifests"]]
    assert entry["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert entry["annotations"] == {"d": "3", "org.opencontainers.image.created": NOON_TEXT}
    assert index["annotations"] == {"both": "2", "i": "1"}
    assert [descriptor["platform"]["architecture"] for descriptor in index["manifests"]] == ["amd64", "arm64"]
    assert [descriptor["annotations"] for descriptor in index["manifests"]] == [{"m": "5"}, {"m": "5"}]
    assert [manifest["annotations"] for manifest in manifests] == [{"both": "2"}, {"both": "2", "arm": "4"}]
    assert "containerimage.config.digest" not in exported.metadata
    assert skopeo("--raw", f"oci-archive:{dest}")["manifests"] == index["manifests"]


async def test_docker_takes_no_index(house: House, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as caught:
        await house.exporter().export(multi_result({AMD64: None, ARM64: None}, f"type=docker,dest={tmp_path / 'a'}"))
    assert caught.value.render() == (
        "target.app.output[0]: docker exporter does not currently support exporting manifest lists\nhint: use type=oci"
    )
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("attrs", "media_type", "start"),
    [
        ("", GZIP, b"\x1f\x8b"),
        (",compression=zstd", "application/vnd.oci.image.layer.v1.tar+zstd", b"\x28\xb5\x2f\xfd"),
        (",compression=uncompressed", "application/vnd.oci.image.layer.v1.tar", b"a\0\0\0"),
        (",oci-mediatypes=false", "application/vnd.docker.image.rootfs.diff.tar.gzip", b"\x1f\x8b"),
        (
            ",oci-mediatypes=0,compression=zstd",
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            b"\x28\xb5\x2f\xfd",
        ),
    ],
)
async def test_compression_and_media_types(
    house: House, tmp_path: Path, attrs: str, media_type: str, start: bytes
) -> None:
    top = await house.snapshot("s1", {"a": "alpha\n" * 1000})
    await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a.tar'}{attrs}"))
    index, files = archive(tmp_path / "a.tar")
    manifest = json.loads(blob(files, index["manifests"][0]))
    assert [layer["mediaType"] for layer in manifest["layers"]] == [media_type]
    assert blob(files, manifest["layers"][0]).startswith(start)
    family = "docker" if "oci-mediatypes" in attrs else "oci"
    assert (f".{family}." in manifest["mediaType"], f".{family}." in manifest["config"]["mediaType"]) == (True, True)


async def test_layers_of_the_base_stay_as_they_are(house: House, tmp_path: Path) -> None:
    base = house.base_layer("base", {"bin": "x"})
    top = await house.snapshot("s1", {"a": "1"}, parent="base")
    await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a.tar'},compression=zstd"))
    index, files = archive(tmp_path / "a.tar")
    layers = json.loads(blob(files, index["manifests"][0]))["layers"]
    assert [layer["mediaType"].rpartition("+")[2] for layer in layers] == ["gzip", "zstd"]
    assert layers[0]["digest"] == base.descriptor.digest
    assert len(house.compressed) == 1


async def test_forced_compression_changes_the_base_but_not_its_diff_id(house: House, tmp_path: Path) -> None:
    base = house.base_layer("base", {"bin": "x"})
    await house.exporter().export(
        result("base", f"type=oci,dest={tmp_path / 'a.tar'},compression=zstd,force-compression=true")
    )
    index, files = archive(tmp_path / "a.tar")
    manifest = json.loads(blob(files, index["manifests"][0]))
    assert [layer["mediaType"].rpartition("+")[2] for layer in manifest["layers"]] == ["zstd"]
    assert json.loads(blob(files, manifest["config"]))["rootfs"]["diff_ids"] == [base.diff_id]
    again = house.exporter()
    await again.export(result("base", f"type=oci,dest={tmp_path / 'b.tar'},compression=zstd,force-compression=true"))
    assert (len(house.compressed), house.fetched) == (1, ["base"])
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


async def test_an_archive_fetches_layers_that_are_away(house: House, tmp_path: Path) -> None:
    house.base_layer("base", {"bin": "x"})
    house.base_layer("base2", {"lib": "y"}, parent="base")
    await house.exporter().export(result("base2", f"type=oci,dest={tmp_path / 'a.tar'}"))
    assert sorted(house.fetched) == ["base", "base2"]
    assert house.snapshots.find("base2").lazy is True  # type: ignore[union-attr]
    archive(tmp_path / "a.tar")


async def test_an_archive_can_go_to_stdout(house: House) -> None:
    out = io.BytesIO()
    top = await house.snapshot("s1", {"a": "1"})
    exported = await house.exporter(stdout=out).export(result(top, "type=oci"))
    assert "index.json" in tar_of(out.getvalue())
    assert exported.written == ("OCI archive stdout",)


async def test_what_the_machine_refuses_while_a_layer_is_written_is_told(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", b"/root/blobs/x")

    top = await house.snapshot("s1", {"a": "1"})
    monkeypatch.setattr("bakepy.exporter.layers.write_layer", full)
    with pytest.raises(BuildError) as caught:
        await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a.tar'}"))
    assert caught.value.what == "can not write /root/blobs/x: No space left on device"
    assert caught.value.hint


async def test_a_failed_export_leaves_the_old_file(house: House, tmp_path: Path) -> None:
    dest = tmp_path / "a.tar"
    dest.write_bytes(b"old")
    house.base_layer("base", {"bin": "x"})
    house.remote.clear()
    with pytest.raises(RegistryError):
        await house.exporter().export(result("base", f"type=oci,dest={dest}"))
    assert (dest.read_bytes(), sorted(os.listdir(tmp_path))) == (b"old", ["a.tar", "state"])  # noqa: PTH208


async def test_history_of_base_and_build_is_dated(house: House, tmp_path: Path) -> None:
    house.base_layer("base", {"bin": "x"})
    top = await house.snapshot("s1", {"a": "1"}, parent="base")
    old = HistoryEntry(created="2020-09-13T12:26:40Z", created_by="base")
    image = config("ENV A=1", "COPY a / # buildkit", "LABEL b=2", base=(old,))
    await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a.tar'}", image=image))
    index, files = archive(tmp_path / "a.tar")
    made = json.loads(blob(files, json.loads(blob(files, index["manifests"][0]))["config"]))
    assert [entry["created"] for entry in made["history"]] == ["2020-09-13T12:26:40Z", *[NOON_TEXT] * 3]
    assert made["created"] == NOON_TEXT


async def test_a_second_run_writes_no_blob_and_the_same_archive(state_root: Path, tmp_path: Path) -> None:
    async with open_house(state_root) as house:
        await house.snapshot("s1", {"a": "1"})
        await house.exporter().export(result("s1", f"type=oci,dest={tmp_path / 'a.tar'}"))
    blobs = {path: path.stat().st_mtime_ns for path in (state_root / "blobs").rglob("*") if path.is_file()}
    async with open_house(state_root) as house:
        later = house.exporter(now_ns=lambda: 1_800_000_000 * 10**9)
        await later.export(result("s1", f"type=oci,dest={tmp_path / 'b.tar'}"))
        assert house.compressed == []
    assert {path: path.stat().st_mtime_ns for path in (state_root / "blobs").rglob("*") if path.is_file()} == blobs
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


async def test_an_unknown_output_type_is_named(house: House) -> None:
    with pytest.raises(DefinitionError) as caught:
        await house.exporter().export(result(None, "type=ocii,dest=x"))
    assert caught.value.render() == (
        "target.app.output[0]: exporter \"ocii\" could not be found\nhint: did you mean 'oci'?"
    )


async def test_no_output_says_where_the_result_is(house: House) -> None:
    exported = await house.exporter().export(result(None))
    assert exported.written == (
        "no output given: the result stays in the build cache (add output=…, --push or --load)",
    )
    assert exported.metadata == FrozenMap()


async def test_cacheonly_writes_nothing(house: House) -> None:
    exported = await house.exporter().export(result(None, "type=cacheonly"))
    assert (exported.written, exported.descriptor, house.events) == ((), None, [])


async def test_a_cancelled_export_leaves_nothing_half_done(house: House, tmp_path: Path) -> None:
    top = None
    for number in range(8):
        top = await house.snapshot(f"s{number}", {f"f{number}": "x" * 100_000}, parent=top)
    image = config(*["COPY . / # buildkit"] * 8)
    with anyio.CancelScope() as scope:
        run = house.exporter(wrote=lambda layer: anyio.from_thread.run_sync(scope.cancel))
        await run.export(result(top, f"type=oci,dest={tmp_path / 'a.tar'}", image=image))
    assert scope.cancelled_caught
    assert os.listdir(tmp_path) == ["state"]  # noqa: PTH208
    assert list((house.root / "ingest").iterdir()) == []
    failed = house.events[-1]
    assert isinstance(failed, VertexFailed)
    assert failed.cancelled
    await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a.tar'}", image=image))
    index, files = archive(tmp_path / "a.tar")
    assert len(json.loads(blob(files, index["manifests"][0]))["layers"]) == 8
    assert len(house.compressed) < 8
