"""What holds for every input: printing and reading give the same, and nothing but bakepy's own errors comes out."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.bakefile import LoadOptions, load, load_definitions
from bakepy.bakefile.data_body import Array, Data, Scalar, Table
from bakepy.bakefile.functions.json_encoding import encode
from bakepy.bakefile.functions.re2 import compile_pattern
from bakepy.bakefile.functions.re2.pattern import PatternError
from bakepy.bakefile.hcl_reader import BodyParser, NativeBody
from bakepy.bakefile.json_reader import parse_json, read_json
from bakepy.bakefile.node import Globals, Scope
from bakepy.bakefile.number import Number
from bakepy.bakefile.parser import ExpressionParser
from bakepy.bakefile.source import Text
from bakepy.bakefile.toml_reader import read_toml
from bakepy.errors import BakeError, DefinitionError
from bakepy.model.location import SourceFile
from tests.support.bakefiles import MemoryReader

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True).filter(
    lambda name: name not in ("for", "if", "in", "true", "false", "null")
)
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n\t\"\\$%{}~'"), max_size=12).map(
    lambda text: unicodedata.normalize("NFC", text)
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXTS
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def hcl(value: Any) -> str:
    """A plain value in the native syntax."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
            return '"' + escaped.replace("${", "$${").replace("%{", "%%{") + '"'
        case list():
            return "[" + ", ".join(hcl(each) for each in value) + "]"
    return "{" + ", ".join(f"{hcl(name)} = {hcl(each)}" for name, each in value.items()) + "}"


def plain(text: str) -> Any:
    return json.loads(text)


@given(PLAIN)
def test_a_printed_value_reads_back(value: Any) -> None:
    node = ExpressionParser(Text(SourceFile("x", hcl(value)))).expression()
    assert plain(encode(node.value(Scope(Globals())))) == value


def as_template(value: Any) -> Any:
    """The value as JSON and TOML hold it: strings are templates, keys too."""
    match value:
        case str():
            return value.replace("${", "$${").replace("%{", "%%{")
        case list():
            return [as_template(each) for each in value]
        case dict():
            return {as_template(name): as_template(each) for name, each in value.items()}
    return value


@given(PLAIN, st.booleans())
def test_a_value_in_json_reads_back(value: Any, ascii_only: bool) -> None:
    data = read_json(Text(SourceFile("x", json.dumps(as_template(value), ensure_ascii=ascii_only))))
    assert plain(encode(data.node().value(Scope(Globals())))) == value


BODIES: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(NAMES, PLAIN, max_size=3).map(lambda attributes: (attributes, [])),
    lambda inner: st.tuples(
        st.dictionaries(NAMES, PLAIN, max_size=3),
        st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=2), inner), max_size=3),
    ),
    max_leaves=5,
)


def print_body(body: Any, indent: str = "") -> str:
    attributes, blocks = body
    lines = [f"{indent}{name} = {hcl(value)}\n" for name, value in attributes.items()]
    for kind, labels, inner in blocks:
        heads = "".join(f' "{label}"' for label in labels)
        lines.append(f"{indent}{kind}{heads} {{\n{print_body(inner, indent + '  ')}{indent}}}\n")
    return "".join(lines)


def read_body(body: NativeBody) -> Any:
    attributes = {
        name: plain(encode(each.node.value(Scope(Globals())))) for name, each in body.all_attributes().items()
    }
    blocks = []
    for block in body.blocks:
        assert isinstance(block.body, NativeBody)
        blocks.append((block.type, list(block.labels), read_body(block.body)))
    return attributes, blocks


@given(BODIES)
def test_a_printed_body_reads_back(body: Any) -> None:
    attributes, blocks = read_body(BodyParser(Text(SourceFile("x", print_body(body)))).file())
    assert (attributes, blocks) == (body[0], body[1])


# -- TOML, beside tomli


def toml_plain(data: Data) -> Any:
    match data:
        case Table():
            return {entry.name: toml_plain(entry.data) for entry in data.value}
        case Array():
            return [toml_plain(each) for each in data.value]
    assert isinstance(data, Scalar)
    raw = data.value.raw
    return (
        float(raw)
        if isinstance(raw, Number) and not raw.is_whole
        else int(str(raw))
        if isinstance(raw, Number)
        else raw
    )


PIECES = st.sampled_from(
    [
        "a", "b", "key-1", '"q k"', "'l'", "[", "]", "[[", "]]", "{", "}", "=", ".", ",", "\n", "\n", " ", "# c\n",
        "1", "-1", "+0", "0x1F", "0o7", "0b1", "1_000", "1.5", "1e3", "true", "false", '"s"', "'l\\t'", '"\\u00e9"',
        '"""\nm\n"""', "'''x'''", '"""a\\\n  b"""', "[a]\n", "[a.b]\n", "[[t]]\n", "x = 1\n", "a.b = 2\n", "\t", "\r\n",
        '""""q""""', "inf", "1.", "01", "é", '"\\q"',
    ]
)  # fmt: skip


@settings(max_examples=600)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_toml_is_read_as_tomli_reads_it(text: str) -> None:
    body, errors = read_toml(Text(SourceFile("bake.toml", text)))
    try:
        expected = tomli.loads(text)
    except tomli.TOMLDecodeError:
        assert errors, "tomli refuses it"
        return
    if any(error.what.startswith(("a date", "inf is", "nan is", "+inf", "-inf")) for error in errors):
        return
    assert not errors, errors[0].render()
    assert toml_plain(body.data) == expected


@given(st.dictionaries(NAMES, PLAIN.filter(lambda value: value is not None), max_size=4))
def test_what_json_and_toml_share_is_read_alike(value: dict[str, Any]) -> None:
    if "null" in json.dumps(value):
        return
    text = "".join(f"{name} = {toml(each)}\n" for name, each in value.items())
    body, errors = read_toml(Text(SourceFile("bake.toml", text)))
    assert not errors, errors[0].render()
    assert toml_plain(body.data) == value


def toml(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return "[" + ", ".join(toml(each) for each in value) + "]"
    return "{" + ", ".join(f"{toml(name)} = {toml(each)}" for name, each in value.items()) + "}"


# -- nothing but bakepy's own errors

FRAGMENTS = st.sampled_from(
    [
        "target",
        "group",
        "variable",
        "function",
        '"a"',
        "default",
        "{",
        "}",
        "\n",
        "=",
        "[",
        "]",
        "(",
        ")",
        "${",
        "}",
        "%{",
        "if true",
        "for x in [1]",
        "endif",
        "endfor",
        "else",
        '"',
        "<<EOT\n",
        "EOT\n",
        "<<-E\n",
        "1",
        "0.5",
        "-",
        "+",
        "/",
        "*",
        "%",
        "==",
        "!=",
        "&&",
        "||",
        "?",
        ":",
        ",",
        ".",
        "...",
        "=>",
        "null",
        "true",
        "x",
        "#",
        "//",
        "/*",
        "*/",
        "inherits",
        "matrix",
        "name",
        "tags",
        "args",
        "context",
        "contexts",
        "output",
        "platforms",
        "try",
        "convert(",
        "regex(",
        "format(",
        "range(",
        "\\",
        "\\u12",
        "é",
        "\x00",
        "\ufeff",
        "\r",
        "services:",
        "  build: .",
        "- ",
        "&a",
        "*a",
        "!reset",
        "<<: *a",
        "$",
        "$$",
        "${A:-",
        "[target.a]",
        "[[x]]",
        "'''",
        '"""',
        "include",
        "target:a",
    ]
)


@settings(max_examples=400)
@given(
    st.sampled_from(["x.hcl", "x.json", "bake.toml", "compose.yaml", "other"]),
    st.lists(FRAGMENTS | st.text(max_size=3), max_size=25).map(" ".join),
)
def test_any_text_gives_a_result_or_an_error_of_bakepy(name: str, text: str) -> None:
    options = LoadOptions(targets=["*"], reader=MemoryReader({name: "x"}), now=lambda: 0.0, random=bytes)
    try:
        load([SourceFile(name, text)], options)
        load_definitions([SourceFile(name, text)], options)
    except BakeError as error:
        assert error.render()
        assert error.exit_code == 2


@given(st.binary(max_size=60), st.sampled_from(["x.hcl", "x.json", "bake.toml", "compose.yaml", "other"]))
def test_any_bytes_give_a_result_or_an_error_of_bakepy(data: bytes, name: str) -> None:
    text = data.decode("utf-8", "surrogateescape")
    try:
        load_definitions([SourceFile(name, text)], LoadOptions())
    except BakeError as error:
        assert error.render()


@pytest.mark.parametrize(
    "text", ["{", "[1,]", '{"a" 1}', '{"a":1}}', "nul", "01", '"\\x"', "// c\n{}", "{'a':1}", '"\n"']
)
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError):
        parse_json(Text(SourceFile("x.json", text)))


# -- patterns, beside Python's re, where both have the same syntax

PATTERNS = st.lists(
    st.sampled_from(
        ["a", "b", ".", "[ab]", "[^a]", "(", ")", "|", "*", "+", "?", "*?", "{1,2}", "^", "$", r"\d", r"\b", "(?:"]
    ),
    max_size=8,
).map("".join)


@settings(max_examples=500)
@given(PATTERNS, st.text("ab1\n", max_size=8))
def test_patterns_match_as_in_python(pattern: str, text: str) -> None:
    import re
    import warnings

    try:
        mine = compile_pattern(pattern)
    except PatternError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = re.compile(pattern.replace("$", r"\Z"), re.ASCII)
        except re.error:
            return  # such as ^*, which only RE2 takes
    found = theirs.search(text)
    spans = mine.search(text, 0)
    assert (spans is None) == (found is None)
    if found is not None and spans is not None:
        assert spans[0] == found.span()
