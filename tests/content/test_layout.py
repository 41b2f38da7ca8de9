"""OCI layouts and Docker archives: the same image in a folder, a tar and a pipe."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import threading
from pathlib import Path

import pytest

from bakepy.content.docker_archive import write_docker_archive
from bakepy.content.layout import IMAGE_NAME, REF_NAME, reachable, write_layout_dir, write_layout_tar
from bakepy.content.layout_read import open_layout
from bakepy.content.store import ContentStore
from bakepy.errors import BakeError, DefinitionError
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor, Manifest
from bakepy.model.platform import Platform
from bakepy.model.reference import ImageReference
from tests.support.base_image import put_base_image

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def named(root: Descriptor, name: str, tag: str = "1") -> Descriptor:
    return root.with_annotations({IMAGE_NAME: f"test.invalid/{name}:{tag}", REF_NAME: tag})


def inspect(reference: str) -> dict[str, object]:
    done = subprocess.run(["skopeo", "inspect", "--raw", reference], check=True, capture_output=True)
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value


def test_tar_has_the_members_modes_and_order_of_the_reference_implementation(store: ContentStore) -> None:
    root = put_base_image(store, [AMD64])
    out = io.BytesIO()

    write_layout_tar(out, store, [named(root, "app")])

    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        members = [(m.name, m.mode, m.mtime, m.uid) for m in tar if not m.name.startswith("blobs/sha256/")]
        blobs = [m.name for m in tar if m.name.startswith("blobs/sha256/")]
    assert members == [
        ("blobs", 0o755, 0, 0),
        ("blobs/sha256", 0o755, 0, 0),
        ("index.json", 0o644, 0, 0),
        ("oci-layout", 0o444, 0, 0),
    ]
    assert blobs == sorted(f"blobs/sha256/{blob.digest.hex}" for blob in reachable(store, [root]))


def test_tar_into_a_file_a_pipe_and_memory_is_the_same(store: ContentStore, tmp_path: Path) -> None:
    roots = [named(put_base_image(store, [AMD64, ARM64]), "app")]
    memory = io.BytesIO()
    write_layout_tar(memory, store, roots)

    with (tmp_path / "file").open("wb") as file:
        write_layout_tar(file, store, roots)
    assert (tmp_path / "file").read_bytes() == memory.getvalue()

    reading, writing = os.pipe()
    received: list[bytes] = []

    def drain() -> None:
        with open(reading, "rb") as pipe:  # noqa: PTH123 (a descriptor)
            received.append(pipe.read())

    reader = threading.Thread(target=drain)
    reader.start()
    with open(writing, "wb") as pipe:  # noqa: PTH123 (a descriptor)
        write_layout_tar(pipe, store, roots)
    reader.join()
    assert received == [memory.getvalue()]


def test_skopeo_reads_folder_and_tar(store: ContentStore, tmp_path: Path) -> None:
    root = put_base_image(store, [AMD64, ARM64])

    write_layout_dir(tmp_path / "layout", store, [named(root, "app")])
    with (tmp_path / "layout.tar").open("wb") as out:
        write_layout_tar(out, store, [named(root, "app")])

    assert inspect(f"oci:{tmp_path}/layout:1") == json.loads(store.read(root.digest))
    assert inspect(f"oci-archive:{tmp_path}/layout.tar:1") == json.loads(store.read(root.digest))


def test_folder_keeps_other_images_and_replaces_those_of_the_same_name(store: ContentStore, tmp_path: Path) -> None:
    first, second = put_base_image(store, [AMD64]), put_base_image(store, [ARM64])
    layout = tmp_path / "layout"

    write_layout_dir(layout, store, [named(first, "app"), named(first, "other")])
    write_layout_dir(layout, store, [named(second, "app")])
    write_layout_dir(layout, store, [second])
    write_layout_dir(layout, store, [second])

    entries = open_layout(layout).index().manifests
    assert [(entry.annotations.get(IMAGE_NAME), entry.digest) for entry in entries] == [
        ("test.invalid/other:1", first.digest),
        ("test.invalid/app:1", second.digest),
        (None, second.digest),
    ]
    assert sorted(path.name for path in layout.iterdir()) == ["blobs", "index.json", "oci-layout"]


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_blobs_are_read_back_and_verified(store: ContentStore, tmp_path: Path, kind: str) -> None:
    root = named(put_base_image(store, [AMD64]), "app")
    path = tmp_path / "layout"
    if kind == "tar":
        with path.open("wb") as out:
            write_layout_tar(out, store, [root])
    else:
        write_layout_dir(path, store, [root])
    fresh = ContentStore(tmp_path / "fresh")

    layout = open_layout(path)

    assert layout.find("1") == layout.find("test.invalid/app:1") == root
    assert layout.find("2") is None
    assert layout.read(root.digest) == store.read(root.digest)
    for blob in reachable(store, [root]):
        layout.copy(blob, fresh)
        assert fresh.read(blob.digest) == store.read(blob.digest)
    absent = Digest.of(b"absent")
    with pytest.raises(BakeError) as caught:
        layout.read(absent)
    assert caught.value.what == f"{absent} is not in the image layout {path}"


def test_damaged_blob_of_a_layout_never_gets_into_the_store(store: ContentStore, tmp_path: Path) -> None:
    root = put_base_image(store, [AMD64])
    layer = Manifest.from_bytes(store.read(root.digest)).layers[0]
    write_layout_dir(tmp_path / "layout", store, [root])
    blob = tmp_path / "layout" / "blobs" / "sha256" / layer.digest.hex
    blob.write_bytes(b"x" * layer.size)
    fresh = ContentStore(tmp_path / "fresh")

    with pytest.raises(BakeError, match="is damaged: blob has digest"):
        open_layout(tmp_path / "layout").copy(layer, fresh)

    assert not fresh.has(layer.digest)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no OCI image layout at {path}"),
        (lambda path: path.mkdir(), "{path} is not an OCI image layout: it has no index.json"),
        (lambda path: path.write_text("x" * 600), "{path} is not an OCI image layout: invalid header"),
    ],
    ids=["nothing", "empty folder", "no tar"],
)
def test_what_is_no_layout_is_a_definition_error(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "layout"
    make(path)  # type: ignore[operator]

    with pytest.raises(DefinitionError) as caught:
        open_layout(path).index()

    assert caught.value.what == message.format(path=path)


def test_docker_archive_is_read_as_such_by_skopeo(store: ContentStore, tmp_path: Path) -> None:
    root = put_base_image(store, [AMD64])
    manifest = Manifest.from_bytes(store.read(root.digest))
    names = [ImageReference.parse("docker.io/team/app:1"), ImageReference.parse("ghcr.io/team/app:2")]

    with (tmp_path / "image.tar").open("wb") as out:
        write_docker_archive(out, store, [named(root, "app")], manifest, names)

    done = subprocess.run(
        ["skopeo", "inspect", f"docker-archive:{tmp_path}/image.tar:team/app:1"], check=True, capture_output=True
    )
    assert json.loads(done.stdout)["Architecture"] == "amd64"
    with tarfile.open(tmp_path / "image.tar") as tar:
        [entry] = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    assert entry["RepoTags"] == ["team/app:1", "ghcr.io/team/app:2"]


def test_docker_archive_without_a_name_has_no_repo_tags(store: ContentStore) -> None:
    root = put_base_image(store, [AMD64])
    out = io.BytesIO()

    write_docker_archive(out, store, [root], Manifest.from_bytes(store.read(root.digest)), [])

    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as tar:
        [entry] = json.load(tar.extractfile("manifest.json") or io.BytesIO())
    assert entry["RepoTags"] is None
