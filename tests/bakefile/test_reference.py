"""docs/bake-file.md: its tables are what the schema makes, and both syntaxes in them mean the same."""

from __future__ import annotations

import jsonschema
import pytest
import tomli

from bakepy.bakefile.convert import convert, difference
from bakepy.bakefile.fields import TOML_NAMES
from bakepy.bakefile.load import LoadOptions
from bakepy.bakefile.schema import schema
from bakepy.model.location import SourceFile
from tests.bakefile.reference import EXAMPLES, PAGE, PREAMBLE, document, in_hcl, page

PAIRS = {"name": "matrix", "matrix": "name"}
CASES = [("target", [key, PAIRS[key]] if key in PAIRS else [key]) for key in EXAMPLES["target"]]
CASES += [(kind, list(keys)) for kind, keys in EXAMPLES.items() if kind != "target"]


def test_the_page_is_what_the_schema_makes() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text) == text


def test_every_key_has_an_example() -> None:
    kinds = schema()["$defs"]
    assert {kind: set(keys) for kind, keys in EXAMPLES.items()} == {
        kind: set(shape["properties"]) for kind, shape in kinds.items()
    }
    assert set(EXAMPLES["target"]) > TOML_NAMES


@pytest.mark.parametrize("kind", ["target", "group", "variable", "function"])
def test_examples_fit_the_schema(kind: str) -> None:
    data = tomli.loads(document(kind, EXAMPLES[kind]))
    jsonschema.validate(data, schema(), cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize(("kind", "keys"), CASES, ids=[f"{kind}-{keys[0]}" for kind, keys in CASES])
def test_both_syntaxes_mean_the_same(kind: str, keys: list[str]) -> None:
    preamble = PREAMBLE if kind != "variable" else ""
    toml = preamble + document(kind, {each: EXAMPLES[kind][each] for each in keys})
    block = "\n".join(in_hcl(kind, each, EXAMPLES[kind][each]) for each in keys)
    name = "PLATFORMS" if kind == "variable" else "it"
    hcl = convert(SourceFile("x.toml", preamble), "x.hcl", "hcl").file.text + f'{kind} "{name}" {{\n{block}\n}}\n'
    options = LoadOptions(environment={"PLATFORMS": "linux/amd64"})
    assert difference(SourceFile("x.toml", toml), SourceFile("x.hcl", hcl), options) == ""
