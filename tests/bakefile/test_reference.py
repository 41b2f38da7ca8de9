"""docs/bake-file.md: its tables are what the schema makes, and both syntaxes in them mean the same."""

from __future__ import annotations

import re
import textwrap

import jsonschema
import pytest
import tomli

from bakepy.bakefile.convert import convert, difference
from bakepy.bakefile.fields import TOML_NAMES
from bakepy.bakefile.load import LoadOptions, load, load_definitions
from bakepy.bakefile.render import render
from bakepy.bakefile.schema import schema
from bakepy.errors import BakeError
from bakepy.model.location import SourceFile
from tests.bakefile.reference import EXAMPLES, PAGE, PREAMBLE, document, in_hcl, page

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^(?: {4}.*)?\n)+", re.MULTILINE)
TEXT = PAGE.read_text("utf-8")
PAIRS = {"name": "matrix", "matrix": "name"}
CASES = [("target", [key, PAIRS[key]] if key in PAIRS else [key]) for key in EXAMPLES["target"]]
CASES += [(kind, list(keys)) for kind, keys in EXAMPLES.items() if kind != "target"]


def test_the_page_is_what_the_schema_makes() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text) == text


def print_of(name: str, text: str) -> str:
    """What `--print` says of every target and group."""
    file = SourceFile(name, text)
    defined = load_definitions([file], LoadOptions())
    return render(
        load([file], LoadOptions(targets=(*(each.name for each in defined.config.groups), *defined.config.targets)))
    )


def test_the_examples_side_by_side_print_the_same() -> None:
    blocks = dict(each for each in FENCED.findall(TEXT) if each[0])
    assert set(blocks) == {"hcl", "toml"}
    toml = print_of("bake.toml", blocks["toml"])
    assert toml == print_of("docker-bake.hcl", blocks["hcl"])
    assert '"tool-sum": {' in toml
    json_text = convert(SourceFile("docker-bake.hcl", blocks["hcl"]), "docker-bake.json", "json").file.text
    assert print_of("docker-bake.json", json_text) == toml


def test_the_examples_of_own_keys_mean_the_same() -> None:
    examples = [textwrap.dedent(each) for each in INDENTED.findall(FENCED.sub("", TEXT)) if "pools" in each]
    (toml,) = (each for each in examples if "[target" in each)
    (hcl,) = (each for each in examples if 'target "' in each)
    hcl = hcl.replace('"2g"', '"2g", retry = { attempts = 3, backoff = "2s", on = ["network", 28] }')
    assert difference(SourceFile("bake.toml", toml), SourceFile("x.hcl", hcl), LoadOptions()) == ""


def test_the_example_of_an_error_is_what_is_shown() -> None:
    (shown,) = (text for kind, text in FENCED.findall(TEXT) if not kind)
    line = shown.splitlines()[1].strip()
    with pytest.raises(BakeError) as caught:
        print_of("bake.toml", f"[target.web]\n\n{line}\n")
    assert str(caught.value) + "\n" == shown


def conversions() -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = re.findall(r"^\| `([^|`]+)` \(HCL\) \| `([^|]+)` \|", TEXT, re.MULTILINE)
    assert rows
    return rows


@pytest.mark.parametrize(("hcl", "toml"), conversions(), ids=str)
def test_the_table_of_conversions_is_true(hcl: str, toml: str) -> None:
    image = 'function "image" {\n  params = [name]\n  result = name\n}\n'
    text = f'{image}target "default" {{\n  {hcl}\n}}\n'
    assert toml in convert(SourceFile("x.hcl", text), "bake.toml", "toml").file.text.splitlines()


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
