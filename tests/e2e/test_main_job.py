"""The main job: examples/monorepo, baked as `make demo` bakes it."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zstandard

from tests.e2e.conftest import REPOSITORY, Bakepy, executed, write

pytestmark = pytest.mark.runtime

TARGETS = ("api", "web", "worker", "tool-count", "tool-sum", "assets", "gateway")


@pytest.fixture(scope="module")
def baked(
    tmp_path_factory: pytest.TempPathFactory, busybox: Path
) -> Iterator[tuple[Bakepy, Path, list[dict[str, Any]]]]:
    """The example baked once: the command, its folder, and the vertexes of that run."""
    folder = tmp_path_factory.mktemp("monorepo")
    shutil.copytree(REPOSITORY / "examples/monorepo", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("out"))
    bakepy = Bakepy(folder.parent / "monorepo-state", folder.parent)
    base = {"BASE": f"oci-layout://{busybox}:latest"}
    yield bakepy, folder, bakepy.vertexes("run", "--metadata-file", "out/metadata.json", cwd=folder, env=base)


def rebake(baked: tuple[Bakepy, Path, list[dict[str, Any]]], busybox: Path, *arguments: str) -> list[dict[str, Any]]:
    bakepy, folder, _ = baked
    return bakepy.vertexes("run", *arguments, cwd=folder, env={"BASE": f"oci-layout://{busybox}:latest"})


def inspect(reference: str) -> Any:
    return json.loads(subprocess.run(["skopeo", "inspect", reference], check=True, capture_output=True).stdout)


def files(archive: Path) -> dict[str, bytes]:
    """Names and contents in the image of an OCI archive with one manifest, upper layers winning."""
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:

        def blob(descriptor: Any) -> Any:
            return tar.extractfile("blobs/" + descriptor["digest"].replace(":", "/"))

        index = json.load(tar.extractfile("index.json"))  # type: ignore[arg-type]
        manifest = json.load(blob(index["manifests"][0]))
        for layer in manifest["layers"]:
            data = blob(layer)
            if layer["mediaType"].endswith("+zstd"):
                data = io.BytesIO(zstandard.ZstdDecompressor().stream_reader(data).read())
            with tarfile.open(fileobj=data) as entries:
                for entry in entries:
                    if entry.isfile():
                        found[entry.name] = entries.extractfile(entry).read()  # type: ignore[union-attr]
    return found


def test_every_step_ran_once(baked: tuple[Bakepy, Path, list[dict[str, Any]]]) -> None:
    ran = executed(baked[2])
    assert ran
    shared = [name for name in ran if "app:x:1000" in name or "sha256sum lib" in name or "<<EOT" in name]
    assert len(shared) == 3, ran


def test_images_hold_what_the_dockerfiles_say(baked: tuple[Bakepy, Path, list[dict[str, Any]]]) -> None:
    out = baked[1] / "out"
    api = files(out / "api.tar")
    assert api["srv/VERSION"] == b"api dev\n"
    assert b"api is up" in api["srv/service"]
    assert files(out / "worker.tar")["srv/VERSION"] == b"worker dev\n"
    assert files(out / "tool-sum.tar")["usr/bin/tool"].startswith(b"#!/bin/sh\n# checksums")
    assert (out / "gateway-root/srv/assets.count").read_text() == "2\n"


def test_skopeo_reads_the_archives(baked: tuple[Bakepy, Path, list[dict[str, Any]]]) -> None:
    out = baked[1] / "out"
    assert inspect(f"oci-archive:{out}/api.tar")["Labels"] == {"org.opencontainers.image.version": "dev"}
    assert inspect(f"docker-archive:{out}/web.tar")["Architecture"] == "amd64"


def test_the_assets_are_an_index_of_two_platforms(baked: tuple[Bakepy, Path, list[dict[str, Any]]]) -> None:
    with tarfile.open(baked[1] / "out/assets.tar") as tar:
        top = json.load(tar.extractfile("index.json"))["manifests"][0]  # type: ignore[arg-type]
        index = json.load(tar.extractfile("blobs/" + top["digest"].replace(":", "/")))  # type: ignore[arg-type]
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]


def test_metadata_follows_its_schema(baked: tuple[Bakepy, Path, list[dict[str, Any]]]) -> None:
    out = baked[1] / "out"
    schema = json.loads((REPOSITORY / "schemas/metadata.schema.json").read_text())
    combined = json.loads((out / "metadata.json").read_text())
    jsonschema.validate(combined, schema)
    assert set(TARGETS) <= set(combined)
    for name in ("api", "web", "worker", "assets", "gateway"):
        alone = json.loads((out / f"{name}.json").read_text())
        assert alone["containerimage.digest"] == combined[name]["containerimage.digest"]


def test_a_second_run_runs_nothing_and_rewrites_no_blob(
    baked: tuple[Bakepy, Path, list[dict[str, Any]]], busybox: Path
) -> None:
    bakepy, folder, _ = baked

    def blobs() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in (bakepy.root / "blobs").rglob("*")
            if path.is_file()
        }

    before, first = blobs(), (folder / "out/api.json").read_text()
    vertexes = rebake(baked, busybox)
    assert [name for name in executed(vertexes, " ") if "] exporting to " not in name] == []
    assert blobs() == before
    assert (
        json.loads(first)["containerimage.digest"]
        == json.loads((folder / "out/api.json").read_text())["containerimage.digest"]
    )


def test_a_changed_file_runs_only_what_reads_it(
    baked: tuple[Bakepy, Path, list[dict[str, Any]]], busybox: Path
) -> None:
    (baked[1] / "tools/sum.sh").write_text('#!/bin/sh\n# checksums, in short\nsha1sum "$@"\n')
    assert executed(rebake(baked, busybox)) == []
    (baked[1] / "services/api/main.sh").write_text('self_test "$@"\nlog "another api is up"\n')
    ran = executed(rebake(baked, busybox))
    assert len(ran) == 2, ran
    assert any("<<EOT" in name for name in ran)


def test_the_plan_tells_what_is_shared(baked: tuple[Bakepy, Path, list[dict[str, Any]]], busybox: Path) -> None:
    bakepy, folder, _ = baked
    plan = bakepy.run("plan", cwd=folder, env={"BASE": f"oci-layout://{busybox}:latest"}).stdout
    line = next(line for line in plan.splitlines() if "app:x:1000" in line)
    assert "cached" in line.lower()


def test_the_flag_for_the_host_s_network_grants_it_and_a_step_alone_does_not(
    bakepy: Bakepy, busybox: Path, tmp_path: Path
) -> None:
    write(tmp_path, {"Dockerfile": "FROM base\nRUN readlink /proc/self/ns/net > /network\n"})
    build = ("build", f"--build-context=base=oci-layout://{busybox}:latest", "--output=type=local,dest=out", ".")
    bakepy.run(*build, "--network=host", cwd=tmp_path)
    assert (tmp_path / "out/network").read_text().strip() == str(Path("/proc/self/ns/net").readlink())
    write(tmp_path, {"Dockerfile": "FROM base\nRUN --network=host true\n"})
    assert "network.host is not allowed" in bakepy.run(*build, cwd=tmp_path, status=2).stderr
