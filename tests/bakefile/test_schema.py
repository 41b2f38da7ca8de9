"""The JSON Schema and the field table say the same, and the examples fit both."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import jsonschema
import pytest
import tomli

from bakepy.bakefile import LoadOptions, load, load_definitions
from bakepy.bakefile.fields import FIELDS, STRUCTURAL, TOML_NAMES
from bakepy.bakefile.format import format_text
from bakepy.bakefile.schema import schema, schema_text
from bakepy.errors import BakeError
from bakepy.model.location import SourceFile
from bakepy.model.target import Target

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = [ROOT / "bake.toml.example", *sorted(ROOT.glob("examples/*/bake.toml"))]


def test_the_file_is_what_the_table_makes() -> None:
    assert (ROOT / "schemas" / "bake.schema.json").read_text() == schema_text()


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_table_has_every_field_of_a_target_in_its_order() -> None:
    model = [each.name for each in fields(Target) if each.name not in ("name", "linked", "locations", "printed")]
    assert [each.field for each in FIELDS] == model


def test_the_schema_knows_the_keys_of_the_table() -> None:
    target = schema()["$defs"]["target"]
    assert set(target["properties"]) == TOML_NAMES | set(STRUCTURAL)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_are_laid_out(path: Path) -> None:
    text = path.read_text()
    assert format_text(SourceFile("bake.toml", text)) == text


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_examples_fit_the_schema_and_are_read(path: Path) -> None:
    text = path.read_text()
    jsonschema.validate(tomli.loads(text), schema(), cls=jsonschema.Draft202012Validator)
    assert load_definitions([SourceFile("bake.toml", text)], LoadOptions()).config.targets
    assert text.startswith("#:schema ")
    assert (path.parent / text.split()[1]).resolve() == ROOT / "schemas" / "bake.schema.json"


def test_the_example_has_every_key() -> None:
    data = tomli.loads((ROOT / "bake.toml.example").read_text())
    used = {key for target in data["target"].values() for key in target}
    assert used == TOML_NAMES | set(STRUCTURAL)
    assert set(data) == {"include", "variable", "locals", "function", "group", "target", "pools"}


@pytest.mark.parametrize(
    "text",
    [
        "[target.a]\ntgas = []\n",
        "[targets.a]\n",
        "[target.a]\ntags = 1\n",
        '[target."a b"]\n',
        "[group.g]\ndescription = 'x'\n",
        "[target.a]\nsecret = [{ id = 'x', path = 'y' }]\n",
        "[target.a]\nname = 'x'\n",
        "[variable.A]\ndefalt = 1\n",
        "[function.f]\nparams = []\n",
    ],
)
def test_what_the_schema_refuses_bakepy_refuses_too(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomli.loads(text), schema(), cls=jsonschema.Draft202012Validator)
    if "path" in text:
        return  # unknown keys inside an entry are for editors only: buildx skips them
    with pytest.raises(BakeError):
        load_definitions([SourceFile("bake.toml", text)], LoadOptions())


def test_the_schema_text_is_json() -> None:
    assert json.loads(schema_text()) == schema()


REPEATED = """
[[target.app]]
tags = ["a"]
[[target.app]]
args = { A = "1" }
[[variable.V]]
default = "1"
[[group.default]]
targets = ["app"]
"""


def test_a_table_may_be_there_several_times() -> None:
    """Both the reader and the schema take what merges, as repeated blocks do in HCL."""
    jsonschema.validate(tomli.loads(REPEATED), schema(), cls=jsonschema.Draft202012Validator)
    target = load([SourceFile("bake.toml", REPEATED)], LoadOptions()).targets["app"]
    assert (target.tags, dict(target.args)) == (("a",), {"A": "1"})
