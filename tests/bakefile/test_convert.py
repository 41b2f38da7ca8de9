"""From one syntax to another: what is written, and that it means the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.bakefile import LoadOptions, load_definitions
from bakepy.bakefile.convert import convert, difference, syntax_of
from bakepy.bakefile.format import format_text
from bakepy.errors import BakeError, DefinitionError, UsageError
from bakepy.model.location import SourceFile
from tests.bakefile.test_properties import SCALARS, TEXTS, hcl
from tests.support.bakefiles import MemoryReader, printed

FEW = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(TEXTS, SCALARS | st.lists(SCALARS, max_size=2), max_size=2)
)
"""Plain values; not deep, which is cheap to make: what is inside what is the same at any depth."""
CORPUS = Path(__file__).parents[3] / "shared" / "conformance" / "bake"
EXAMPLE = Path(__file__).parents[2] / "bake.toml.example"

HCL = """\
# The license of this file.

# what is built
variable "TAG" {
  default = "dev" # the tag
  validation {
    condition     = TAG != ""
    error_message = "empty"
  }
}
variable "LIST" {
  type    = list(string)
  default = null
}
registry = "reg.example.com"
function "image" {
  params          = [name]
  variadic_params = rest
  result          = "${registry}/${name}:${TAG}"
}
group "default" { targets = ["app", "tool"] }
target "_base" {
  labels = { a = "1", "b.c" = upper(TAG) }
}
target "app" {
  inherits = ["_base"]
  // several
  tags = [
    image("app"), # first
    # second
    "x:${TAG}",
  ]
  args = {
    PATH   = "C:\\\\x \\"q\\" $${HOME}"
    COUNT  = 1 + 2
    NOTHING = null
    PLAIN  = -1.50
    FLAG   = true
  }
  dockerfile-inline = <<-EOT
    FROM scratch
      COPY . /%{ if TAG == "dev" }dev%{ else }${TAG}%{ endif }
    EOT
  output     = [{ type = "image", push = true }, "type=local,dest=out"]
  no-cache   = TAG == "dev" ? true : false
  platforms  = [for each in ["amd64", "arm64"] :
    # why
    "linux/${each}"
  ]
}
target "tool" {
  matrix = { one = ["a", "b"], two = [1, 2] }
  name   = "tool-${one}-${two}"
  tags   = LIST
}
target "app" { cache-from = ["type=gha"] }
# the end
"""

TOML = """\
# The license of this file.

# what is built
[variable.TAG]
default = "dev"  # the tag

[variable.TAG.validation]
condition = '${TAG != ""}'
error_message = "empty"

[variable.LIST]
type = "list(string)"
default = "${null}"

[locals]
registry = "reg.example.com"

[function.image]
params = ["name"]
variadic_params = "rest"
result = "${registry}/${name}:${TAG}"

[group.default]
targets = ["app", "tool"]

[target._base]
labels = { a = "1", "b.c" = "${upper(TAG)}" }

[[target.app]]
inherits = ["_base"]
# several
tags = [
  '${image("app")}',  # first
  # second
  "x:${TAG}",
]
dockerfile-inline = \"\"\"
FROM scratch
  COPY . /%{ if TAG == "dev" }dev%{ else }${TAG}%{ endif }
\"\"\"
output = [{ type = "image", push = true }, "type=local,dest=out"]
no-cache = '${TAG == "dev" ? true : false}'
platforms = \"\"\"
${[for each in ["amd64", "arm64"] :
  # why
  "linux/${each}"
]}\"\"\"

[target.app.args]
PATH = 'C:\\x "q" $${HOME}'
COUNT = "${1 + 2}"
NOTHING = "${null}"
PLAIN = -1.50
FLAG = true

[target.tool]
matrix = { one = ["a", "b"], two = [1, 2] }
name = "tool-${one}-${two}"
tags = "${LIST}"

[[target.app]]
cache-from = ["type=gha"]

# the end
"""


def converted(text: str, before: str, after: str) -> str:
    return convert(SourceFile(f"x.{before}", text), f"x.{after}", after).file.text


def same(text: str, before: str, other: str, after: str, env: Mapping[str, str] | None = None) -> str:
    options = LoadOptions(environment=env or {}, reader=MemoryReader(), now=lambda: 0.0, random=bytes)
    return difference(SourceFile(f"x.{before}", text), SourceFile(f"x.{after}", other), options)


def test_hcl_to_toml() -> None:
    assert converted(HCL, "hcl", "toml") == TOML


def test_what_is_written_is_laid_out() -> None:
    for syntax, text in (("toml", TOML), ("hcl", converted(TOML, "toml", "hcl"))):
        assert format_text(SourceFile(f"x.{syntax}", text)) == text


@pytest.mark.parametrize("env", [{}, {"TAG": "v1"}, {"TAG": "v2", "LIST": "a,b"}])
@pytest.mark.parametrize("way", [("toml", "hcl"), ("json", "toml"), ("json", "hcl"), ("toml", "json", "hcl", "toml")])
def test_meaning_stays_on_every_way(way: tuple[str, ...], env: dict[str, str]) -> None:
    before, text = "hcl", HCL
    for after in way:
        text = converted(text, before, after)
        before = after
        assert same(HCL, "hcl", text, after, env) == ""
        for overrides in ([], ["app.args.COUNT=9"], ["*.tags=z"]):
            expected = printed(HCL, "default", name="x.hcl", env=env, set=overrides)
            assert printed(text, "default", name=f"x.{after}", env=env, set=overrides) == expected


def test_toml_to_hcl() -> None:
    text = """\
# top
[variable.TAG]  # head
default = "dev"
# about app
[target.app]
tags = ["a:${TAG}", "${TAG}"] # names
args = { "a b" = 0x10, for = 1_000 }
dockerfile-inline = \"\"\"
FROM scratch
LABEL a="$${x}" b=${TAG == "" ?
  1 : 2}
\"\"\"
context = "${TAG == \\"dev\\" ?\\n '.' : 1}"
""".replace("'.'", '\\".\\"')
    assert converted(text, "toml", "hcl") == (
        "# top\n"
        'variable "TAG" { # head\n'
        '  default = "dev"\n'
        "}\n"
        "\n"
        "# about app\n"
        'target "app" {\n'
        '  tags = ["a:${TAG}", TAG] # names\n'
        "  args = {\n"
        '    "a b" = 16\n'
        '    "for" = 1000\n'
        "  }\n"
        "  dockerfile-inline = <<EOT\n"
        "FROM scratch\n"
        'LABEL a="$${x}" b=${TAG == "" ?\n'
        "  1 : 2}\n"
        "EOT\n"
        '  context = (TAG == "dev" ?\n'
        '    "." : 1)\n'
        "}\n"
    )


def test_json_keeps_types_and_templates() -> None:
    text = (
        '{"variable": {"A": {"type": "list(string)", "default": ["x"]}}, "g": "${A}", '
        '"target": {"t": {"args": {"n": 1.5, "k${1}": null}}}}'
    )
    assert converted(text, "json", "toml") == (
        '[locals]\ng = "${A}"\n\n[variable.A]\ntype = "list(string)"\ndefault = ["x"]\n\n'
        '[target.t]\nargs = { n = 1.5, "k${1}" = "${null}" }\n'
    )
    assert json.loads(converted(converted(text, "json", "toml"), "toml", "json")) == json.loads(text)


@pytest.mark.parametrize(
    "expression",
    [
        r'"\u0024${"x"}"',
        r'"$\u0025%{ if true }y%{ endif }"',
        r'"\u0024{x}"',
        '"$$$${x}"',
        '"a ${~ "b" ~} c"',
        '"%{ for k, v in {a = 1} ~}  ${k}=${v} %{~ endfor }"',
        "<<EOT\n  a\n  ${~ 1 ~}\n  b\nEOT",
        "<<-EOT\n    a\n   b ${1}\n    EOT",
        "<<EOT\n${1}\nEOT",
        "<<EOT\nEOT",
        '"${<<EOT\nx\nEOT\n}"',
        '[<<EOT\nx\nEOT\n, 1]',
        '(true ? <<EOT\nx\nEOT\n: 1)',
        '"a\\tb\\r\\nc\\\\ \'\'\' \\"\\"\\" "',
        '"l1\\nl2\\\\\\nl3\\"\\"\\"\\"\\n"',
        "{ a = 1, a = 2 }",
        '{ "${"k"}" = 1, k = 2 }',
        '{ ("x") = 1 }',
        "{ true = 1, for_ = 2 }",
        '{ "for" = 1, "" = 2, "é" = 3 }',
        "007",
        "-0",
        "- 5",
        "1e3",
        "[1, [], {}, null]",
        "[1].*",
        "(1 + # c\n 2)",
        '"é\\u0001"',
    ],
)  # fmt: skip
def test_values_stay(expression: str) -> None:
    text = f"v = {expression}\ntarget t {{\n  args = {{ v = jsonencode(v) }}\n}}\n"
    before, now = "hcl", text
    for after in ("toml", "json", "hcl", "json", "toml", "hcl"):
        now = converted(now, before, after)
        assert same(text, "hcl", now, after) == "", now
        before = after


@settings(max_examples=100)
@given(st.lists(FEW, min_size=1, max_size=3), st.sampled_from([("toml", "json", "hcl"), ("json", "toml", "hcl")]))
def test_generated_values_stay(values: list[Any], way: tuple[str, ...]) -> None:
    shared = "".join(f"v-{number} = {hcl(value)}\n" for number, value in enumerate(values))
    arguments = "".join(f"v-{number} = jsonencode(v-{number})\n" for number in range(len(values)))
    text = f"{shared}target t {{\nargs = {{\n{arguments}}}\n}}\n"
    before, now = "hcl", text
    for after in way:
        now = converted(now, before, after)
        assert same(text, "hcl", now, after) == "", now
        before = after


def test_what_bake_skips_is_left_out_and_told() -> None:
    text = 'target "a" {\n  x = 1\n  y {}\n}\nother "b" {}\nvariable "V" { colour = "red" }\n'
    found = convert(SourceFile("d/x.hcl", text), "d/x.toml", "toml")
    assert found.file.text == "[target.a]\n\n[variable.V]\n"
    assert [note.partition(" is left out")[0] for note in found.notes] == [
        "d/x.hcl:5: the block 'other'",
        "d/x.hcl:2: target.a.x",
        "d/x.hcl:3: the block 'y' in target.a",
        "d/x.hcl:6: variable.V.colour",
    ]


def test_what_only_toml_has_is_refused() -> None:
    with pytest.raises(DefinitionError) as caught:
        converted('include = ["a.toml"]\n', "toml", "hcl")
    assert caught.value.render() == (
        'x.toml:1:1: only bake.toml can include files\n    include = ["a.toml"]\n    ^^^^^^^\n'
        "hint: convert each file on its own, and name all of them with -f"
    )
    with pytest.raises(UsageError, match="the value 'target' can not have this name in HCL"):
        converted("[locals]\ntarget = 1\n", "toml", "hcl")
    with pytest.raises(UsageError, match="the value 'target' can not have this name in JSON"):
        converted("[locals]\ntarget = ['x']\n", "toml", "json")


OWN = """\
# how many
[pools]
link = 2  # one for each card

[target.a]
tags = ["a"]
# where it goes
metadata-file = "${V}.json"
retry = { attempts = 2, on = ["network", 3] }

[target.b]
pools = ["link"]
memory = "1g"

[variable.V]
default = "v"
"""


def test_keys_of_its_own_stand_in_an_object_elsewhere() -> None:
    native = converted(OWN, "toml", "hcl")
    assert native == (
        "# how many\nx-bakepy = {\n  pools = { link = 2 }\n}\n\n"
        'target "a" {\n  tags = ["a"]\n  x-bakepy = {\n'
        "    # where it goes\n"
        '    metadata-file = "${V}.json"\n'
        '    retry         = { attempts = 2, on = ["network", 3] }\n  }\n}\n\n'
        'target "b" {\n  x-bakepy = {\n    pools  = ["link"]\n    memory = "1g"\n  }\n}\n\n'
        'variable "V" {\n  default = "v"\n}\n'
    )
    data = converted(native, "hcl", "json")
    own = converted(data, "json", "toml")
    for text, syntax in ((native, "hcl"), (data, "json"), (own, "toml")):
        assert same(OWN, "toml", text, syntax) == ""
    assert own.startswith("[pools]\nlink = 2\n\n[target.a]\n")
    assert """metadata-file = "${V}.json"\nretry = { attempts = 2, on = ["network", 3] }\n""" in own


@pytest.mark.parametrize("text", ["x-bakepy = merge({}, {})\n", 'target "a" {\n  x-bakepy = y\n}\n'])
def test_an_object_of_its_own_keys_that_is_computed_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        convert(SourceFile("x.hcl", text), "x.toml", "toml")
    assert caught.value.what == "what x-bakepy holds has to be computed"
    assert caught.value.hint == "write the keys and their values into it, as in x-bakepy = { retry = 2 }"
    assert caught.value.where is not None


def test_a_value_that_no_expression_can_name_is_left_out() -> None:
    found = convert(SourceFile("x.json", '{"$schema": "s", "target": {"a": {}}}'), "x.hcl", "hcl")
    assert found.file.text == 'target "a" {\n}\n'
    assert found.notes == ("the value '$schema' is left out: no expression can refer to it, and HCL has no such names",)


@pytest.mark.parametrize("syntax", ["hcl", "toml", "json"])
@pytest.mark.parametrize(
    ("name", "text", "sound"),
    [
        ("x.hcl", "a = " + "[" * 190 + "]" * 190, True),
        ("x.hcl", 'a = "' + '${"' * 60 + '"}' * 60 + '"', True),
        ("x.hcl", "a = " + "[" * 9000, False),
        ("x.toml", "[locals]\na = " + "[" * 190 + "]" * 190, True),
        ("x.toml", "a = " + "[" * 9000, False),
        ("x.json", '{"a":' + "[" * 190 + "]" * 190 + "}", True),
        ("x.json", "[" * 9000, False),
    ],
)
def test_deep_nesting_is_converted_or_an_error(name: str, text: str, sound: bool, syntax: str) -> None:
    if sound:
        assert same(text, name[2:], convert(SourceFile(name, text), f"x.{syntax}", syntax).file.text, syntax) == ""
        return
    with pytest.raises(DefinitionError, match="too deep"):
        convert(SourceFile(name, text), f"x.{syntax}", syntax)


def test_a_difference_is_found() -> None:
    assert same('target a { tags = ["x"] }', "hcl", '[target.a]\ntags = ["y"]\n', "toml") == "target.a"
    assert same("variable A {\n default = 1\n}", "hcl", "[variable.A]\n", "toml") == "variable.A"
    assert same("", "hcl", "[pools]\nlink = 2\n", "toml") == "pools.link"
    assert same("target a {}", "hcl", "[target.a]\n[group.g]\ntargets = []\n", "toml") == "group.g"


def test_the_example_goes_to_toml_and_back() -> None:
    text = EXAMPLE.read_text("utf-8")
    other = converted(text, "toml", "hcl")
    assert same(text, "toml", other, "hcl") == ""
    assert same(text, "toml", converted(other, "hcl", "toml"), "toml") == ""


COMPOSE = """\
services:
  web:
    image: "web:${TAG:-latest}"
    build:
      context: ./web
      args:
        - PLAIN=$TAG
        - UNSET=${OTHER-none}
        - FROM_OUTSIDE
        - MONEY=$$5 $${x}
      x-bake:
        platforms: linux/amd64
  db:
    image: postgres
"""


def test_compose_to_toml() -> None:
    found = convert(SourceFile("compose.yaml", COMPOSE), "bake.toml", "toml", MemoryReader({".env": "OTHER=dot\n"}))
    assert found.file.text == (
        "[variable.TAG]\n\n"
        '[variable.OTHER]\ndefault = "dot"\n\n'
        '[variable.FROM_OUTSIDE]\ndefault = "${null}"\n\n'
        '[group.default]\ntargets = ["web"]\n\n'
        "[target.web]\n"
        'context = "web"\n'
        'platforms = ["linux/amd64"]\n'
        """tags = ['web:${TAG == "" ? "latest" : TAG}']\n\n"""
        "[target.web.args]\n"
        'PLAIN = "${TAG}"\n'
        """UNSET = '${OTHER == null ? "none" : OTHER}'\n"""
        'FROM_OUTSIDE = "${FROM_OUTSIDE}"\n'
        'MONEY = "$5 $${x}"\n'
    )
    assert found.notes == ("values of .env have become defaults of variables",)


@pytest.mark.parametrize(
    "env", [{}, {"TAG": "v1", "OTHER": "o"}, {"TAG": "", "OTHER": ""}, {"FROM_OUTSIDE": ""}, {"FROM_OUTSIDE": "x"}]
)
@pytest.mark.parametrize("syntax", ["toml", "hcl", "json"])
def test_compose_stays_what_it_is(syntax: str, env: dict[str, str]) -> None:
    text = convert(SourceFile("compose.yaml", COMPOSE), f"x.{syntax}", syntax, MemoryReader()).file.text
    assert printed(text, name=f"x.{syntax}", env=env) == printed(COMPOSE, name="compose.yaml", env=env)


REQUIRED = """\
include: [more/c.yaml]
services:
  web:
    extends: {file: more/c.yaml, service: base}
    image: "web:${TAG:?give TAG}${EXTRA:+-}${EXTRA}"
    build:
      args:
        PORT: "${A:-${B-8080}}"
        OTHER: "${B+set to $B}"
        FROM_SERVICE:
        FROM_OUTSIDE:
    environment: ["FROM_SERVICE=s-$TAG", FROM_OUTSIDE]
"""
MORE = """\
services:
  base:
    build: {context: "ctx", additional_contexts: {x: ../x, y: docker-image://y, z: "oci-layout://z:1"}}
    image: base:${TAG?}
"""


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"TAG": ""},
        {"TAG": "v1"},
        {"TAG": "v1", "A": "a", "B": "b", "EXTRA": "e", "FROM_OUTSIDE": "o", "FROM_SERVICE": "no"},
        {"TAG": "v1", "A": "", "B": "", "EXTRA": ""},
        {"TAG": "v1", "B": "b"},
    ],
    ids=["nothing", "empty", "tag", "all", "all empty", "one"],
)
@pytest.mark.parametrize("name", ["x.toml", "x.hcl", "x.json", "sub/x.toml"])
def test_required_and_nested_variables_and_other_files(name: str, env: dict[str, str]) -> None:
    reader = MemoryReader({"more/c.yaml": MORE})
    source = SourceFile("sub/compose.yaml", REQUIRED)
    made = convert(source, name, name.rpartition(".")[2], reader).file
    options = LoadOptions(environment=env, reader=reader, now=lambda: 0.0, random=bytes)
    if not env.get("TAG"):
        for file, message in ((source, "the variable TAG is required"), (made, "variable.TAG: give TAG")):
            with pytest.raises(BakeError) as caught:
                load_definitions([file], options)
            assert message in caught.value.render()
    else:
        assert difference(source, made, options) == ""


def test_contexts_for_another_folder() -> None:
    text = convert(
        SourceFile("sub/compose.yaml", REQUIRED), "sub/x.toml", "toml", MemoryReader({"more/c.yaml": MORE})
    ).file.text
    assert text[text.index("[target.web]") :].splitlines()[:2] == ["[target.web]", 'context = "../more/ctx"']
    assert """[variable.TAG]\ndefault = "${null}"\n\n[[variable.TAG.validation]]\n""" in text


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not there")
@pytest.mark.parametrize("way", [("toml", "hcl"), ("json", "toml", "hcl")])
def test_real_files_stay_what_they_are(way: tuple[str, ...]) -> None:
    count = 0
    for case in sorted([*CORPUS.glob("real-*"), *CORPUS.glob("pool/*")]):
        for path in sorted(case.rglob("*")):
            if path.suffix not in (".hcl", ".json", ".toml") or not path.is_file() or "case.json" in path.name:
                continue
            before = syntax_of(path.name)
            text = path.read_bytes().decode("utf-8", "surrogateescape")
            environment: dict[str, str] = json.loads((case / "case.json").read_text()).get("env", {})
            options = LoadOptions(environment=environment, now=lambda: 0.0, random=bytes)
            try:
                load_definitions([SourceFile(f"x.{before}", text)], options)
            except BakeError:
                continue
            now, last = text, before
            for after in (each for each in way if each != before):
                now, last = converted(now, last, after), after
                environments: tuple[dict[str, str], ...] = (environment, {})
                for env in environments:
                    try:
                        assert same(text, before, now, after, env) == "", path
                    except BakeError:
                        assert env != environment, path
            count += 1
    assert count > 150


def test_what_is_no_utf_8_becomes_the_character_for_such() -> None:
    comment = SourceFile("docker-bake.hcl", '# caf\udce9\ntarget "a" {}\n')
    assert convert(comment, "bake.toml", "toml").file.text == "# caf\ufffd\n[target.a]\n"
    with pytest.raises(DefinitionError, match="this is not UTF-8"):
        convert(SourceFile("docker-bake.hcl", '/* \udce9 */ x = "\udced\udca0\udc80"'), "bake.toml", "toml")
    json_file = SourceFile("docker-bake.json", '{"target": {"a": {"tags": ["\udcff"]}}}')
    assert convert(json_file, "bake.toml", "toml").file.text == '[target.a]\ntags = ["\ufffd"]\n'
