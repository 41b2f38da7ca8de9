"""Variables, functions, globals, references and matrices: what they come to."""

from __future__ import annotations

import pytest

from bakepy.errors import DefinitionError, DefinitionErrors
from tests.support.bakefiles import load_text, one_target, printed


def args(text: str, **options: object) -> dict[str, str | None]:
    return dict(one_target(text, **options).args)


def failure(text: str, *targets: str, **options: object) -> str:
    with pytest.raises((DefinitionError, DefinitionErrors)) as caught:
        load_text(text, *targets, **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_a_variable_takes_the_environment_before_its_default_and_var_before_both() -> None:
    text = 'variable "A" { default = "d" }\ntarget "default" { args = { a = A } }'
    assert args(text) == {"a": "d"}
    assert args(text, env={"A": "e"}) == {"a": "e"}
    assert args(text, env={"A": "e"}, var={"A": "v"}) == {"a": "v"}


def test_the_environment_can_be_hidden_from_variables() -> None:
    text = 'variable "A" { default = "d" }\ntarget "default" { args = { a = A } }'
    hidden = {"A": "e", "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP": "1"}
    assert args(text, env=hidden) == {"a": "d"}
    assert args(text, env=hidden, var={"A": "v"}) == {"a": "v"}


@pytest.mark.parametrize(
    ("default", "given", "expected"),
    [("1", "1e2", "100"), ("1", "1_000", "1000"), ("true", "0", "false"), ('"x"', "", ""), ("null", "y", "y")],
)
def test_an_untyped_variable_takes_the_type_of_its_default(default: str, given: str, expected: str) -> None:
    text = f'variable "A" {{ default = {default} }}\ntarget "default" {{ args = {{ a = "${{A}}" }} }}'
    assert args(text, env={"A": given}) == {"a": expected}


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("list(string)", 'a,"b,c"', '["a","b,c"]'),
        ("list(number)", "1,2.50", "[1,2.5]"),
        ("set(string)", "b,a,b", '["a","b"]'),
        ("map(bool)", "x:true,y:0", '{"x":true,"y":false}'),
        ("tuple([string, number])", "a,2", '["a",2]'),
        ("bool", "T", "true"),
    ],
)
def test_typed_variables_read_csv(kind: str, given: str, expected: str) -> None:
    text = f'variable "A" {{ type = {kind} }}\ntarget "default" {{ args = {{ a = jsonencode(A) }} }}'
    assert args(text, env={"A": given}) == {"a": expected}


def test_json_goes_before_the_plain_value_of_a_typed_variable() -> None:
    text = 'variable "A" { type = object({n=number, s=string}) }\ntarget "default" { args = { a = jsonencode(A) } }'
    assert args(text, env={"A_JSON": '{"n": 1}', "A": "x"}) == {"a": '{"n":1,"s":null}'}
    assert "there is no attribute 'z'" in failure(text, env={"A_JSON": '{"z": 1}'})


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("string", "1.50", '"1.50"'),
        ("list(string)", "[1.50, true]", '["1.50","true"]'),
        ("string", '"a,b",c', '"a,b"'),
        ("number", "1_0", "1"),
    ],
)
def test_json_of_simple_types_is_taken_as_it_is_written(kind: str, given: str, expected: str) -> None:
    text = f'variable "A" {{ type = {kind} }}\ntarget "default" {{ args = {{ a = jsonencode(A) }} }}'
    assert args(text, env={"A_JSON": given}) == {"a": expected}


@pytest.mark.parametrize("given", ["1.", "1.e5", "1e", "1.55e+", "1..2", "-"])
def test_a_number_in_json_that_is_begun_must_be_ended(given: str) -> None:
    text = 'variable "A" {\n  type = number\n}\ntarget "default" { args = { a = A } }\n'
    assert "the value of A_JSON given from outside can not be used: no JSON" in failure(text, env={"A_JSON": given})


def test_variable_is_a_name_like_any_other() -> None:
    assert args('variable = "x"\ntarget "default" { args = { a = variable } }') == {"a": "x"}


def test_a_variable_without_default_is_empty_and_with_a_type_null() -> None:
    text = 'variable "A" {}\nvariable "B" { type = string }\ntarget "default" { args = { a = A, b = B == null } }'
    assert args(text) == {"a": "", "b": "true"}


def test_a_wrong_value_from_outside_names_the_variable() -> None:
    text = 'variable "N" {\n  default = 1\n}\ntarget "default" {}'
    assert failure(text, env={"N": "x"}) == (
        "docker-bake.hcl:1:1: variable.N: the value of N given from outside can not be used: "
        "expected a number, found 'x'\n"
        '    variable "N" {\n    ^^^^^^^^^^^^'
    )


def test_validations_are_checked_with_their_messages() -> None:
    text = """variable "TAG" {
  default = ""
  validation {
    condition = TAG != ""
    error_message = "TAG is needed"
  }
}
target "default" {}
"""
    assert failure(text) == (
        "docker-bake.hcl:4:17: variable.TAG: TAG is needed\n"
        '        condition = TAG != ""\n                    ^^^^^^^^^'
    )
    assert one_target(text, env={"TAG": "x"}).name == "default"


def test_functions_take_arguments_and_the_rest() -> None:
    text = """function "both" {
  params = [a]
  variadic_params = more
  result = "${a}:${join("-", more)}"
}
target "default" { args = { x = both("1", "2", "3") } }
"""
    assert args(text) == {"x": "1:2-3"}


def test_a_function_sees_globals_even_where_a_matrix_hides_them() -> None:
    text = """variable "v" { default = "global" }
function "f" {
  params = []
  result = v
}
target "t" {
  name = "t-${v}"
  matrix = { v = ["m"] }
  args = { seen = f(), own = v }
}
"""
    assert dict(one_target(text, "t-m").args) == {"own": "m", "seen": "global"}


def test_attributes_of_blocks_can_be_referred_to() -> None:
    text = """target "a" {
  context = "x"
  args = { n = 1 }
}
target "default" {
  inherits = ["a"]
  args = { c = target.a.context, n = target.a.args.n, none = target.a.dockerfile == null, name = target.a.name }
}
group "g" { targets = ["a"] }
target "members" { args = { all = join(",", group.g.targets) } }
"""
    assert args(text) == {"c": "x", "n": "1", "name": "a", "none": "true"}
    assert dict(one_target(text, "members").args) == {"all": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a = b\nb = c\nc = a\ntarget "default" {}', "variables depend on each other: a -> b -> c -> a"),
        ('variable "A" { default = A }\ntarget "default" {}', "variables depend on each other: A -> A"),
        (
            'function "f" {\n  params = []\n  result = g()\n}\nfunction "g" {\n  params = []\n  result = f()\n}\n',
            "functions call each other: f -> g -> f",
        ),
        ('target "a" { tags = target.a.tags }', "target.a.tags depends on itself"),
        ('target "default" { args = { a = target.b.tags } }', "there is no target 'b'"),
        ('target "default" { args = { a = target.default.tgs } }', "a target has no attribute 'tgs'"),
        ('target "default" { tags = [TG] }\nvariable "TAG" {}', "there is no variable 'TG'"),
        ('function "f" {\n  params = []\n  result = x\n}\ntarget "default" {}', "there is no variable 'x'"),
        ('function "f" {\n  params = []\n  result = 1\n  tags = []\n}', "unknown key 'tags'"),
        ('function "f" {\n  params = []\n  result = 1\n  b {}\n}', "unknown key 'b'"),
        ('variable "v" {\n  validation {\n    condition = true\n    mesage = "x"\n  }\n}', "unknown key 'mesage'"),
        (
            'target "default" { args = { a = f(1) } }\nfunction "f" {\n  params = []\n  result = 1\n}',
            "f() takes 0 arguments",
        ),
        ('variable "v" { type = object({"a" = string}) }', "an attribute's name must be a word"),
        ('variable "v" { type = object({a = string}) }\nx = merge(v, v)', "merge(): all arguments are null"),
        ('target "a b" {}', "'a b' can not be a name"),
        ('target "x" { name = "y" }', "'name' needs a 'matrix'"),
        ('target "x" {\n  name = "x-${b}"\n  matrix = { a = [1] }\n}', "there is no variable 'b'"),
        ('target "x" {\n  name = "same"\n  matrix = { a = [1, 2] }\n}', "two targets of the matrix are named 'same'"),
        ('target "x" { matrix = { a = "s" } }', "the values of 'a' must be a list, not a string"),
        ('group "g" {}', "a group needs 'targets'"),
        ('group "g" {\n  targets = []\n  name = "x"\n}', "a group has no 'name'"),
        ('target "x" { platforms = "linux" }', "a list of string is required, not a string"),
        ('target "x" { output = null }', "null is not allowed here; leave it out"),
        ('target "x" { resources = null }', "null is not allowed here; leave it out"),
        ('target "x" { output = [{ dest = "x" }] }', "an output needs a type"),
        ('target "x" { no-cache = "yes" }', "a bool is required"),
        ('variable "A" { type = lst(string) }', "there is no type 'lst'"),
        (
            'variable "A" {\n  type = number\n  default = "x"\n}',
            "the default does not fit the type number: a number is required",
        ),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    assert message in failure(text, "*")


def test_several_independent_mistakes_are_reported_in_file_order() -> None:
    text = 'target "a" { tags = 1 }\ntarget "b" { no-cache = "x" }\nvariable "V" { type = x }\n'
    lines = [line for line in failure(text).splitlines() if line.startswith("docker-bake.hcl")]
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3"]


def test_a_mistake_is_reported_once_however_many_refer_to_it() -> None:
    text = 'variable "A" { default = nope }\n' + "".join(f'target "t{n}" {{ args = {{ a = A }} }}\n' for n in range(3))
    assert failure(text).count("there is no variable 'nope'") == 1


def test_a_matrix_makes_a_group_of_its_targets() -> None:
    text = """target "app" {
  name = "app-${os}-${v}"
  matrix = { os = ["a", "b"], v = ["1", "2"] }
  args = { OS = os }
}
"""
    result = printed(text, "app")
    assert sorted(result["group"]["app"]["targets"]) == ["app-a-1", "app-a-2", "app-b-1", "app-b-2"]
    assert result["target"]["app-b-1"]["args"] == {"OS": "b"}


def test_an_empty_matrix_is_one_target_and_an_empty_axis_none() -> None:
    assert list(printed('target "a" { matrix = {} }', "a")["target"]) == ["a"]
    text = 'target "a" {\n  name = "x-${v}"\n  matrix = { v = [] }\n}\ntarget "b" {}'
    assert list(printed(text, "b")["target"]) == ["b"]


def test_the_description_of_a_variable_is_plain_text() -> None:
    assert failure('variable "A" {\n  description = null\n}\ntarget "default" {}') == (
        "docker-bake.hcl:2:17: the description can not be null\n      description = null\n                    ^^^^"
    )
    text = '{"variable": {"A": {"description": "${B}"}}, "target": {"default": {"tags": ["x"]}}}'
    assert one_target(text, name="docker-bake.json").tags == ("x",)


def test_json_may_have_bytes_that_are_no_utf_8() -> None:
    text = '{"target": {"default": {"args": {"a": "caf\udce9"}}}}'
    assert args(text, name="docker-bake.json") == {"a": "caf\ufffd"}


def test_unknown_attributes_are_skipped_in_hcl_and_json_but_not_in_toml() -> None:
    assert args('target "default" {\n  tgas = missing()\n  args = { a = 1 }\n}') == {"a": "1"}
    assert args('{"target": {"default": {"tgas": "${x", "args": {"a": 1}}}}', name="x.json") == {"a": "1"}
    assert failure('[target.default]\ntgas = ["x"]\n', name="bake.toml") == (
        "bake.toml:2:1: target.default: unknown key 'tgas'\n    tgas = [\"x\"]\n    ^^^^\nhint: did you mean 'tags'?"
    )


def test_toml_has_locals_functions_and_full_expressions() -> None:
    text = """[locals]
names = ["a", "b"]

[function.twice]
params = ["x"]
result = "${x}${x}"

[target.default]
args = { all = "${join(\\",\\", [for n in names: twice(n)])}", "${names[0]}" = 1.50 }
platforms = "${[for a in [\\"amd64\\"]: \\"linux/${a}\\"]}"
"""
    target = one_target(text, name="bake.toml")
    assert dict(target.args) == {"a": "1.5", "all": "aa,bb"}
    assert target.platforms == ("linux/amd64",)


def test_toml_sections_of_a_matrix() -> None:
    text = """[target.tool]
name = "tool-${tool}"
matrix = { tool = ["count", "sum"] }
[target.tool.args]
TOOL = "${tool}"
"""
    assert dict(one_target(text, "tool-sum", name="bake.toml").args) == {"TOOL": "sum"}


def test_places_lead_to_elements_and_keys() -> None:
    text = '[target.default]\nplatforms = ["linux/amd64", "linux/arm64"]\nargs = { A = "1", B = "2" }\n'
    target = one_target(text, name="bake.toml")
    places = {path: place.label() for path in ("", "platforms[1]", "args.B", "args.C") if (place := target.where(path))}
    assert places == {
        "": "bake.toml:1:9",
        "platforms[1]": "bake.toml:2:30",
        "args.B": "bake.toml:3:24",
        "args.C": "bake.toml:3:8",
    }


def test_time_and_chance_come_from_outside() -> None:
    from bakepy.bakefile import LoadOptions, load
    from bakepy.model.location import SourceFile

    text = 'target "default" { args = { t = timestamp(), u = uuidv4(), h = homedir() } }'
    options = LoadOptions(now=lambda: 86400.5, random=lambda size: bytes(size), environment={"HOME": "/home/x"})
    target = load([SourceFile("docker-bake.hcl", text)], options).targets["default"]
    assert dict(target.args) == {
        "h": "/home/x",
        "t": "1970-01-02T00:00:00Z",
        "u": "00000000-0000-4000-8000-000000000000",
    }
