"""Metadata files and their schema."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bakepy.exporter.metadata import OUTCOMES, RunFacts, target_metadata, write_metadata
from tests.support.results import AMD64, ARM64, NOON_TEXT, House, multi_result, result

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "metadata.schema.json").read_bytes())
DIGEST = "sha256:" + "0" * 64
DESCRIPTOR = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": DIGEST, "size": 7}


def validate(value: Any) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(value)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.anyio
async def test_an_archive_has_buildx_keys(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "1"})
    exported = await house.exporter().export(result(top, f"type=oci,dest={tmp_path / 'a'}", tags=("app:1",)))
    value = target_metadata(exported.metadata)
    assert re.fullmatch("sha256:[0-9a-f]{64}", value["containerimage.config.digest"])
    assert value == {
        "containerimage.config.digest": value["containerimage.config.digest"],
        "containerimage.descriptor": {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": exported.descriptor.digest,  # type: ignore[union-attr]
            "size": exported.descriptor.size,  # type: ignore[union-attr]
            "annotations": {"org.opencontainers.image.created": NOON_TEXT},
            "platform": {"architecture": "amd64", "os": "linux"},
        },
        "containerimage.digest": exported.descriptor.digest,  # type: ignore[union-attr]
        "image.name": "docker.io/library/app:1",
    }
    validate(value)


@pytest.mark.anyio
async def test_every_kind_of_output_is_valid(house: House, tmp_path: Path) -> None:
    tops = {AMD64: await house.snapshot("s1", {"a": "1"}), ARM64: None}
    run = house.exporter()
    results = [
        result("s1", "type=image", name="image"),
        result("s1", f"type=tar,dest={tmp_path / 't'}", name="tar"),
        result("s1", f"type=docker,dest={tmp_path / 'd'}", f"type=local,dest={tmp_path / 'l'}", name="both"),
        multi_result(tops, f"type=oci,dest={tmp_path / 'o'}", name="index"),
        result(None, name="none"),
    ]
    facts = RunFacts("succeeded", 3, 1, 2, 1.23456)
    combined = {item.name: target_metadata((await run.export(item)).metadata, facts) for item in results}
    for value in combined.values():
        validate(value)
    validate(combined)
    assert combined["tar"] == {
        "bakepy.outcome": "succeeded",
        "bakepy.steps": {"run": 3, "shared": 1, "cached": 2},
        "bakepy.duration": 1.235,
    }


def test_a_failed_target_says_why() -> None:
    value = target_metadata({}, RunFacts("blocked", blocked_by="base", error="target base failed"))
    assert (value["bakepy.blocked-by"], value["bakepy.error"]) == ("base", "target base failed")
    validate(value)
    validate({"app": value})


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_valid(outcome: str) -> None:
    validate(target_metadata({}, RunFacts(outcome)))


@pytest.mark.parametrize(
    "value",
    [
        {"containerimage.digest": "sha256:12"},
        {"containerimage.digest": DIGEST},
        {"containerimage.descriptor": DESCRIPTOR | {"size": "7"}, "containerimage.digest": DIGEST},
        {"bakepy.outcome": "fine"},
        {"bakepy.steps": {"run": 1}},
        {"something.else": 1},
        {"app": {"image.name": ""}},
        [],
    ],
)
def test_the_schema_refuses(value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate(value)


def test_the_schema_takes_what_buildx_adds() -> None:
    image = {"containerimage.descriptor": DESCRIPTOR, "containerimage.digest": DIGEST}
    validate({"buildx.build.ref": "builder/node/id", **image})
    validate({})


def test_a_file_is_written_whole_with_sorted_keys(tmp_path: Path) -> None:
    path = tmp_path / "new" / "metadata.json"
    write_metadata(path, {"b": {"image.name": "ü"}, "a": {}})
    assert path.read_text() == '{\n  "a": {},\n  "b": {\n    "image.name": "ü"\n  }\n}'
    assert [entry.name for entry in path.parent.iterdir()] == ["metadata.json"]


def test_a_symlink_to_the_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real").write_text("old")
    write_metadata(tmp_path / "link", {})
    assert ((tmp_path / "link").is_symlink(), (tmp_path / "real").read_text()) == (True, "{}")
