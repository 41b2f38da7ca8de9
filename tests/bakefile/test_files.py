"""Which files are read, what the command line's flags mean, and what lists say."""

from __future__ import annotations

import pytest

from bakepy.bakefile import LoadOptions, load_definitions
from bakepy.bakefile.entries import (
    EntryError,
    csv_fields,
    parse_attest,
    parse_caches,
    parse_output,
    parse_policy,
    parse_secret,
    unique_entries,
)
from bakepy.bakefile.listing import render_list, target_names
from bakepy.bakefile.lookup import read_files
from bakepy.bakefile.matching import PatternError, match_path
from bakepy.bakefile.request import Request, call_method
from bakepy.errors import BakeError, DefinitionError, UsageError
from bakepy.model.location import SourceFile
from bakepy.model.target import CacheEntry, OutputEntry, PolicyEntry, SecretEntry
from tests.support.bakefiles import MemoryReader, load_files


def names(files: dict[str, str], *asked: str, env: dict[str, str] | None = None) -> list[str]:
    return [each.name for each in read_files(asked, env or {}, MemoryReader(files))]


EVERY = dict.fromkeys(
    (
        "docker-bake.override.hcl",
        "docker-bake.hcl",
        "docker-bake.json",
        "docker-bake.override.json",
        "compose.yml",
        "compose.yaml",
        "docker-compose.yaml",
        "docker-compose.yml",
        "compose.override.yaml",
    ),
    "x",
)


def test_without_f_all_known_names_are_read_in_their_order() -> None:
    assert names(EVERY) == [
        "compose.yaml",
        "compose.yml",
        "docker-compose.yml",
        "docker-compose.yaml",
        "docker-bake.json",
        "docker-bake.hcl",
        "docker-bake.override.json",
        "docker-bake.override.hcl",
    ]


def test_bake_toml_is_read_alone() -> None:
    assert names(EVERY | {"bake.toml": "x = 1"}) == ["bake.toml"]


def test_empty_files_count_as_missing() -> None:
    assert names({"docker-bake.hcl": "", "docker-bake.json": "{}"}) == ["docker-bake.json"]


def test_names_from_the_environment() -> None:
    files = {"a.hcl": "x", "b.hcl": "x"}
    assert names(files, env={"BUILDX_BAKE_FILE": " b.hcl :: a.hcl"}) == ["b.hcl", "a.hcl"]
    assert names(files, env={"BUILDX_BAKE_FILE": "b.hcl@a.hcl", "BUILDX_BAKE_PATH_SEPARATOR": "@"}) == [
        "b.hcl",
        "a.hcl",
    ]
    assert names(files, "a.hcl", env={"BUILDX_BAKE_FILE": "b.hcl"}) == ["a.hcl"]
    with pytest.raises(UsageError, match=r"stat c\.hcl: there is no such file"):
        names(files, env={"BUILDX_BAKE_FILE": "c.hcl"})


def test_f_takes_standard_input_and_folders_of_the_command() -> None:
    found = read_files(["-", "cwd://a.hcl"], {}, MemoryReader({"a.hcl": "x"}), b"stdin")
    assert [(each.name, each.text) for each in found] == [("-", "stdin"), ("a.hcl", "x")]
    with pytest.raises(UsageError, match=r"open gone\.hcl: no such file or directory"):
        names({}, "gone.hcl")


def test_included_files_come_before_once_and_are_meant_from_their_folder() -> None:
    files = {
        "shop/bake.toml": 'include = ["../common/bake.toml", "more.hcl"]\n[target.default]\ninherits = ["base"]\n',
        "common/bake.toml": 'include = ["../shop/more.hcl"]\n[target.base]\ncontext = "ctx"\nargs = { A = "1" }\n',
        "shop/more.hcl": 'target "more" {}\n',
    }
    assert names(files, "shop/bake.toml") == ["shop/more.hcl", "common/bake.toml", "shop/bake.toml"]
    target = load_files(files, names=["shop/bake.toml"]).targets["default"]
    assert (target.context, dict(target.args)) == ("common/ctx", {"A": "1"})


def test_layouts_are_meant_from_the_folder_of_a_toml_file() -> None:
    contexts = 'contexts = { a = "oci-layout://img:v1", b = "oci-layout:///abs", c = "oci-layout://../x@sha256:1" }\n'
    files = {"lib/bake.toml": "[target.default]\n" + contexts}
    assert dict(load_files(files, names=["lib/bake.toml"]).targets["default"].contexts) == {
        "a": "oci-layout://lib/img:v1",
        "b": "oci-layout:///abs",
        "c": "oci-layout://x@sha256:1",
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"bake.toml": 'include = ["b.toml"]\n', "b.toml": 'include = ["bake.toml"]\n'},
            "bake.toml -> b.toml -> bake.toml",
        ),
        ({"bake.toml": 'include = ["gone.toml"]\n'}, "bake.toml:1:13: open gone.toml: no such file or directory"),
        ({"bake.toml": 'include = "b.toml"\n'}, "expected a list of file names"),
        ({"bake.toml": 'include = ["${x}.toml"]\n'}, "expected a file name without variables"),
    ],
)
def test_wrong_includes_are_shown(files: dict[str, str], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        names(files)
    assert message in str(caught.value)


def test_without_any_file_that_is_said() -> None:
    with pytest.raises(UsageError, match="there is no bake definition"):
        load_files({})


def test_the_kind_of_an_unnamed_file_is_found_out() -> None:
    for text in (
        "services: {default: {build: .}}",
        'target "default" {}',
        '{"target": {"default": {}}}',
        "[target.default]\n",
    ):
        assert list(load_files({"def": text}, "default", names=["def"]).targets) == ["default"]


# -- flags


def overrides(request: Request) -> list[str]:
    return list(request.options({}, None).overrides)


def test_shorthand_flags_are_overrides_after_all_others() -> None:
    request = Request(
        overrides=["a.tags=x"],
        push=True,
        load=True,
        call="check",
        no_cache=True,
        pull=False,
        sbom="true",
        provenance="mode=max",
        policies=["strict=true"],
    )
    assert overrides(request) == [
        "a.tags=x",
        "*.push=true",
        "*.load=true",
        "*.call=lint",
        "*.no-cache=true",
        "*.pull=false",
        "*.attest=type=sbom,disabled=false",
        "*.attest=type=provenance,mode=max",
        "*.policy+=strict=true",
    ]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(variables=["X"]), "--var X: expected NAME=VALUE"),
        (Request(policies=["filename=x"]), "--policy filename=x: files of policies are named in the bake file"),
        (Request(policies=["disabled=true", "strict=true"]), "what is off can not have other flags"),
        (Request(allowed=["bogus"]), "--allow bogus: there is no entitlement 'bogus'"),
        (Request(call="a,b"), "--call a,b: expected one method, found 'a' and 'b'"),
    ],
)
def test_wrong_flags_are_named(request_: Request, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        request_.options({}, None)
    assert message in str(caught.value)


def test_call_methods() -> None:
    assert [call_method(each) for each in ("build", "check", "outline", "outline,format=json")] == [
        "",
        "lint",
        "outline",
        "outline",
    ]


# -- lists

LISTED = """variable "TAG" {
  default = "x"
  description = "the tag"
}
variable "N" { type = list(string) }
variable "_P" { default = [1, "a"] }
target "app" { description = "the app" }
target "_base" {}
group "all" {
  description = "everything"
  targets = ["b", "app"]
}
"""


def listed(what: str) -> str:
    return render_list(what, load_definitions([SourceFile("docker-bake.hcl", LISTED)], LoadOptions()))


def test_targets_and_groups_are_listed_but_private_ones() -> None:
    assert listed("targets") == "TARGET\tDESCRIPTION\nall\teverything (app, b)\napp\tthe app\n"
    assert listed("type=targets,format=json") == (
        '[\n  {\n    "name": "all",\n    "description": "everything (app, b)",\n    "group": true\n  },\n'
        '  {\n    "name": "app",\n    "description": "the app"\n  }\n]\n'
    )


def test_variables_are_listed_with_types_and_values() -> None:
    assert listed("variables") == (
        "VARIABLE\tTYPE\t\tVALUE\tDESCRIPTION\n"
        "N\t\tlist of string\t<null>\t\n"
        "TAG\t\t\t\tx\tthe tag\n"
        '_P\t\t\t\t[1,"a"]\t\n'
    )


@pytest.mark.parametrize("what", ["target", "type=targets,format=xml", "type=targets,x=y", ""])
def test_unknown_lists_are_refused(what: str) -> None:
    with pytest.raises(UsageError):
        listed(what)


def test_names_for_completion() -> None:
    definitions = load_definitions([SourceFile("docker-bake.hcl", LISTED)], LoadOptions())
    assert target_names(definitions) == ["all", "app"]


# -- entries


@pytest.mark.parametrize(
    ("text", "fields"),
    [("a,b", ["a", "b"]), ('"a,b",c', ["a,b", "c"]), ('"a""b"', ['a"b']), ("a,", ["a", ""]), ("a\n", ["a"])],
)
def test_csv_fields(text: str, fields: list[str]) -> None:
    assert csv_fields(text) == fields


@pytest.mark.parametrize("text", ["", 'a"b', '"a', '"a"b'])
def test_wrong_csv_is_refused(text: str) -> None:
    with pytest.raises(EntryError):
        csv_fields(text)


def test_entries_from_text() -> None:
    assert parse_output("out") == OutputEntry("local", "out")
    assert parse_output("-") == OutputEntry("tar", "-")
    assert parse_output(" TYPE =Docker,Name=X").attrs == {"name": "X"}
    assert parse_caches("a,b") == [CacheEntry("registry", {"ref": "a"}), CacheEntry("registry", {"ref": "b"})]  # type: ignore[arg-type]
    assert parse_secret("type=env,id=a,src=B") == SecretEntry("a", "", "B")
    assert parse_attest("type=sbom,Generator=x,disabled=1") == {"type": "sbom", "Generator": "x", "disabled": "true"}
    assert parse_policy("filename=a,filename=b,log-level=WARN") == PolicyEntry(("a", "b"), log_level="warning")


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_output, "dest=x,tar=true"),
        (parse_caches, "mode=max"),
        (parse_caches, "a,,b"),
        (parse_caches, '"a,b"'),
        (parse_secret, "id=a,foo=b"),
        (parse_secret, "type=x"),
        (parse_attest, "mode=max"),
        (parse_policy, "strict=maybe"),
    ],
)
def test_wrong_entries_are_refused(parse, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EntryError):
        parse(text)


def test_equal_entries_are_dropped_in_buildx_order() -> None:
    assert unique_entries(["a", "b", "a", "c", "d"]) == ("a", "b", "d", "c")


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a*c", "abbc", True),
        ("a*c", "ab", False),
        ("a?c", "abc", True),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("a\\*", "a*", True),
        ("*", "a/b", False),
    ],
)
def test_patterns_of_names(pattern: str, name: str, fits: bool) -> None:
    assert match_path(pattern, name) is fits


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "a\\", "[a-"])
def test_malformed_patterns(pattern: str) -> None:
    with pytest.raises(PatternError):
        match_path(pattern, "a")


def test_exit_code_of_all_these_is_two() -> None:
    for error in (UsageError("x"), DefinitionError("x")):
        assert isinstance(error, BakeError)
        assert error.exit_code == 2
