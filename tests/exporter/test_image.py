"""Configs, histories, manifests: pure."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bakepy.content.entry import Layer
from bakepy.exporter.image import ExportLayer, build_image, build_index, fill_history, layer_type, time_text
from bakepy.model.digest import Digest
from bakepy.model.image_config import HistoryEntry
from bakepy.model.oci import DOCKER_LAYER, OCI_LAYER, Descriptor
from tests.support.results import AMD64, config

OLD = "2020-09-13T12:26:40Z"
NEW = "2023-11-14T22:13:20Z"


def layer(name: str, created: str = "", step: str = "") -> ExportLayer:
    digest = Digest.of(name.encode())
    return ExportLayer(Layer(Descriptor(f"{OCI_LAYER}+gzip", digest, len(name)), digest), created, step)


def entry(text: str, created: str = "", empty: bool = False) -> HistoryEntry:
    return HistoryEntry(created=created, created_by=text, empty_layer=empty)


def dates(history: tuple[HistoryEntry, ...]) -> list[str]:
    return [item.created for item in history]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_600_000_500 * 10**9, "2020-09-13T12:35:00Z"),
        (1_600_000_500_120_000_000, "2020-09-13T12:35:00.12Z"),
        (1_600_000_500_000_000_001, "2020-09-13T12:35:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
    ],
)
def test_times_look_as_go_writes_them(nanoseconds: int, text: str) -> None:
    assert time_text(nanoseconds) == text


def test_entries_without_a_layer_take_the_first_new_date() -> None:
    history = (entry("base", OLD), entry("ENV", empty=True), entry("COPY"), entry("LABEL", empty=True))
    assert dates(fill_history(history, [layer("a"), layer("b", NEW)], None)) == [OLD, NEW, NEW, NEW]


def test_entries_on_a_base_without_new_layers_take_its_date() -> None:
    history = (entry("base", OLD), entry("ENV", empty=True))
    assert dates(fill_history(history, [layer("a")], None)) == [OLD, OLD]


def test_nothing_is_dated_where_no_date_is_known() -> None:
    assert dates(fill_history((entry("ENV", empty=True),), [], None)) == [""]


def test_the_epoch_dates_this_build_and_not_the_base() -> None:
    history = (entry("base", OLD), entry("ENV", empty=True), entry("COPY"))
    five = "1970-01-01T00:00:05Z"
    assert dates(fill_history(history, [layer("a"), layer("b", NEW)], 5)) == [OLD, five, five]


def test_layers_that_the_history_does_not_tell_of_are_appended() -> None:
    history = (entry("COPY a"), entry("ENV", empty=True))
    filled = fill_history(history, [layer("a", OLD), layer("b", NEW, "[1/2] COPY a")], None)
    assert filled[-1] == HistoryEntry(NEW, "[1/2] COPY a", comment="buildkit.exporter.image.v0")
    assert dates(filled) == [OLD, NEW, NEW]


def test_too_many_entries_with_layers_are_made_empty_from_the_top() -> None:
    filled = fill_history((entry("a"), entry("b"), entry("c")), [layer("a", NEW)], None)
    assert [item.empty_layer for item in filled] == [False, True, True]


@pytest.mark.parametrize(
    ("created", "epoch", "expected"),
    [
        ("", None, NEW),
        (OLD, None, OLD),
        ("", 1_600_000_500, "2020-09-13T12:35:00Z"),
        (OLD, 1_600_000_500, OLD),
        (NEW, 1_600_000_500, "2020-09-13T12:35:00Z"),
        ("nonsense", 1_600_000_500, "nonsense"),
    ],
)
def test_the_date_of_an_image(created: str, epoch: int | None, expected: str) -> None:
    image = build_image(replace(config("COPY a"), created=created), [layer("a", NEW)], AMD64, epoch=epoch)
    assert image.created == expected


def test_config_and_manifest_name_the_same_layers() -> None:
    untyped = replace(config("COPY a", "COPY b"), rootfs_type="")
    image = build_image(untyped, [layer("a", NEW), layer("b", NEW)], AMD64)
    made = json.loads(image.config.data)
    manifest = json.loads(image.manifest.data)
    assert made["rootfs"] == {"type": "layers", "diff_ids": [item["digest"] for item in manifest["layers"]]}
    assert manifest["config"] == {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": Digest.of(image.config.data),
        "size": len(image.config.data),
    }
    assert image.manifest.descriptor.platform == AMD64


def test_equal_layers_and_config_make_equal_bytes() -> None:
    one, two = (build_image(config("COPY a"), [layer("a", NEW)], AMD64) for _ in range(2))
    assert (one.manifest.data, one.config.data) == (two.manifest.data, two.config.data)


def test_docker_types_are_in_all_places() -> None:
    image = build_image(config("COPY a"), [layer("a")], AMD64, oci_types=False)
    index = build_index([image.manifest.descriptor], oci_types=False)
    manifest = json.loads(image.manifest.data)
    assert [json.loads(index.data)["mediaType"], manifest["mediaType"], manifest["config"]["mediaType"]] == [
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.container.image.v1+json",
    ]
    assert manifest["layers"][0]["mediaType"] == f"{DOCKER_LAYER}.gzip"


@pytest.mark.parametrize("oci_types", [True, False])
def test_layers_whose_times_became_the_epoch_say_so(oci_types: bool) -> None:
    layers = [layer("base"), replace(layer("a", NEW), epoch=5)]
    image = build_image(config("COPY a"), layers, AMD64, epoch=5, oci_types=oci_types)
    found = [item.get("annotations") for item in json.loads(image.manifest.data)["layers"]]
    assert found == [None, {"buildkit/rewritten-timestamp": "5"} if oci_types else None]


@pytest.mark.parametrize("suffixes", [("", ""), ("+gzip", ".gzip"), ("+zstd", ".zstd")])
def test_layer_types_have_a_twin(suffixes: tuple[str, str]) -> None:
    oci, docker = OCI_LAYER + suffixes[0], DOCKER_LAYER + suffixes[1]
    assert [layer_type(oci, False), layer_type(docker, True), layer_type(oci, True)] == [docker, oci, oci]
    assert layer_type("application/x-other", False) == "application/x-other"
