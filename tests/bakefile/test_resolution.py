"""Merging, inheritance, groups, links, overrides: from what is written to what is baked."""

from __future__ import annotations

from typing import Any

import pytest

from bakepy.bakefile import LoadOptions, load, render
from bakepy.bakefile.overrides import with_load, with_push
from bakepy.errors import BakeError, UsageError
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile
from bakepy.model.target import BakeFile, OutputEntry, PolicyEntry, SSHEntry
from tests.support.bakefiles import MemoryReader, load_text, one_target, printed


def failure(text: str, *targets: str, **options: Any) -> str:
    with pytest.raises(BakeError) as caught:
        load_text(text, *targets, **options)
    return str(caught.value)


BASE = """target "base" {
  context = "b"
  args = { A = "1", B = "1" }
  tags = ["base"]
  cache-from = ["base"]
  secret = ["id=s,src=one", "id=t,src=two"]
}
"""
SECRETS = {"one": "x", "two": "x", "three": "x"}


def test_children_replace_join_and_append() -> None:
    text = BASE + (
        'target "default" {\n  inherits = ["base"]\n  args = { B = "2" }\n  tags = ["own"]\n  cache-from = ["own"]\n'
        '  secret = ["id=s,src=three"]\n}\n'
    )
    target = one_target(text, files=SECRETS)
    assert target.context == "b"
    assert dict(target.args) == {"A": "1", "B": "2"}
    assert target.tags == ("own",)
    assert [entry.attrs["ref"] for entry in target.cache_from] == ["base", "own"]
    assert [(secret.id, secret.src) for secret in target.secrets] == [("s", "three"), ("t", "two")]


def test_null_neither_sets_nor_removes_an_argument() -> None:
    text = BASE + 'target "default" {\n  inherits = ["base"]\n  args = { A = null, C = null }\n}\n'
    assert dict(one_target(text, files=SECRETS).args) == {"A": "1", "B": "1"}


def test_parents_are_merged_in_order_and_a_loop_gives_nothing_more() -> None:
    text = """target "a" {
  inherits = ["b"]
  args = { x = "a" }
}
target "b" {
  inherits = ["a"]
  args = { x = "b", y = "b" }
}
"""
    assert dict(one_target(text, "a").args) == {"x": "a", "y": "b"}
    assert dict(one_target(text, "b").args) == {"x": "b", "y": "b"}


def test_what_a_loop_cuts_for_one_target_is_whole_for_another() -> None:
    text = """target "a" {
  inherits = ["b"]
  args = { x = "a" }
}
target "b" { inherits = ["c"] }
target "c" { inherits = ["a"] }
"""
    both = load_text(text, "a", "b").targets
    assert [dict(both[name].args) for name in ("a", "b")] == [{"x": "a"}, {"x": "a"}]


def test_a_loop_of_parents_is_an_error_in_toml() -> None:
    text = '[target.a]\ninherits = ["b"]\n[target.b]\ninherits = ["c"]\n[target.c]\ninherits = ["b"]\n'
    assert failure(text, "a", name="bake.toml") == (
        "bake.toml:6:14: target.c.inherits[0]: targets inherit from each other: b -> c -> b\n"
        '    inherits = ["b"]\n                 ^'
    )


def test_a_missing_parent_is_named_with_the_nearest() -> None:
    assert failure('target "default" { inherits = ["bsae"] }\ntarget "base" {}') == (
        "docker-bake.hcl:1:32: target.default.inherits[0]: there is no target 'bsae' to inherit from\n"
        '    target "default" { inherits = ["bsae"] }\n                                   ^^^^^^\n'
        "hint: did you mean 'base'?"
    )


def test_equal_cache_entries_are_dropped_as_buildx_does() -> None:
    text = 'target "default" { cache-from = ["a", "b", "a", "c", "d"] }'
    assert [entry.attrs["ref"] for entry in one_target(text).cache_from] == ["a", "b", "d", "c"]


def test_later_files_add_to_earlier_ones() -> None:
    files = [
        SourceFile(
            "a.hcl", 'target "default" {\n  args = { A = "1" }\n  tags = ["a"]\n}\ngroup "g" { targets = ["x"] }\n'
        ),
        SourceFile("b.json", '{"target": {"default": {"args": {"B": 2}}}, "group": {"g": {"targets": ["default"]}}}'),
    ]
    result = load(files, LoadOptions(targets=["g"]))
    assert dict(result.targets["default"].args) == {"A": "1", "B": "2"}
    assert result.groups["g"].targets == ("default",)


def test_default_is_what_was_asked_for() -> None:
    text = 'group "default" { targets = ["b", "a"] }\ntarget "a" {}\ntarget "b" {}\ntarget "c" {}\n'
    assert printed(text)["group"] == {"default": {"targets": ["a", "b"]}}
    assert printed(text, "c")["group"] == {"default": {"targets": ["c"]}}
    assert printed(text, "default", "c")["group"] == {"default": {"targets": ["a", "b", "c"]}}


def test_patterns_choose_groups_and_targets() -> None:
    text = 'group "web" { targets = ["a"] }\ntarget "wex" {}\ntarget "a" {}\n'
    assert sorted(printed(text, "we?")["target"]) == ["a", "wex"]
    assert failure(text, "x*") == "no target matches 'x*'"


@pytest.mark.parametrize(
    ("text", "targets", "message"),
    [
        ('target "app" {}', ["ap"], "there is no target 'ap'\nhint: did you mean 'app'?"),
        ('target "app" {}', [], "there is no target or group 'default', and none was asked for\nhint: known: app"),
        (
            'group "g" { targets = ["h"] }\ngroup "h" { targets = ["g"] }',
            ["g"],
            "the group 'g' leads to no target: g -> h -> g",
        ),
        ('group "g" { targets = [] }\ngroup "h" { targets = ["g"] }', ["h"], "leads to no target: it is empty"),
        ('group "g" { targets = ["x"] }', ["g"], "docker-bake.hcl:1:24: group.g.targets[0]: there is no target 'x'"),
        ('target "a" {\n  contexts = { b = "target:a" }\n}', ["a"], "the target 'a' uses itself: a -> a"),
        (
            'target "a" {\n  contexts = { b = "target:b" }\n}\ntarget "b" {\n  contexts = { a = "target:a" }\n}',
            ["a"],
            "docker-bake.hcl:5:20: target.b.contexts.a: targets use each other: a -> b -> a",
        ),
        ('target "a" {\n  contexts = { b = "target:c" }\n}', ["a"], "target.a.contexts.b: there is no target 'c'"),
    ],
)
def test_what_can_not_be_found_is_named(text: str, targets: list[str], message: str) -> None:
    assert message in failure(text, *targets)


def test_linked_targets_are_printed_and_pass_their_rights_on() -> None:
    text = """target "default" { contexts = { base = "target:base" } }
target "base" {
  entitlements = ["security.insecure"]
  output = ["type=docker"]
}
"""
    result = load_text(text)
    assert result.targets["base"].linked
    assert result.targets["base"].outputs == (OutputEntry("cacheonly"),)
    assert result.targets["default"].entitlements == ("security.insecure",)


def test_platforms_of_a_linked_target_must_be_enough() -> None:
    text = """target "default" {
  contexts = { base = "target:base" }
  platforms = ["linux/amd64", "linux/arm64"]
}
target "base" { platforms = ["linux/amd64", "linux/s390x"] }
"""
    assert "the target 'base' is not built for linux/arm64, which 'default' needs" in failure(text)


# -- --set


def overridden(*texts: str, body: str = "", **options: Any) -> Any:
    target = printed(f'target "default" {{\n{body}\n}}', set=texts, **options)["target"]["default"]
    return {name: value for name, value in target.items() if name not in ("context", "dockerfile")}


@pytest.mark.parametrize(
    ("texts", "body", "expected"),
    [
        (["default.args.a.b=1"], "", {"args": {"a.b": "1"}}),
        (["*.tags=a", "d*.tags=b"], 'tags = ["x"]', {"tags": ["a", "b"]}),
        (["default.tags=a", "default.tags+=b"], 'tags = ["x"]', {"tags": ["x", "a", "b"]}),
        (["default.tags="], 'tags = ["x"]', {}),
        (["default.platform=linux/amd64,linux/arm64"], "", {"platforms": ["linux/amd64,linux/arm64"]}),
        (
            ["default.attest=type=sbom,disabled=true"],
            'attest = ["type=sbom"]',
            {"attest": [{"disabled": True, "type": "sbom"}]},
        ),
        (["default.annotations=a=1"], 'annotations = ["b=2"]', {"annotations": ["b=2", "a=1"]}),
        (["default.network=host"], "", {"network": ""}),
        (["default.ulimits+=nofile=1"], 'ulimits = ["core=1"]', {}),
        (["default.no-cache=t", "default.pull=0"], "", {"pull": False, "no-cache": True}),
        (
            ["default.resources.memory=1g"],
            "resources = { cpu-shares = 5 }",
            {"resources": {"memory": "1g", "cpu-shares": 5}},
        ),
        (["default.labels.a=${x}"], "", {"labels": {"a": "$${x}"}}),
        (["default.contexts.a=", "default.contexts.b=c"], 'contexts = { a = "x" }', {"contexts": {"b": "c"}}),
        (["default.output=type=local,dest=o"], "", {"output": [{"dest": "o", "type": "local"}]}),
        (
            ["default.cache-from=a,b"],
            "",
            {"cache-from": [{"ref": "a", "type": "registry"}, {"ref": "b", "type": "registry"}]},
        ),
        (["default.push=true"], "", {"output": [{"push": "true", "type": "image"}]}),
        (["default.load=true"], 'output = ["type=image"]', {"output": [{"type": "image"}, {"type": "docker"}]}),
        (["default.secret.s=env=X"], 'secret = ["id=s,env=Y"]', {"secret": [{"id": "s", "env": "X"}]}),
    ],
)
def test_overrides(texts: list[str], body: str, expected: dict[str, Any]) -> None:
    assert overridden(*texts, body=body) == expected


def test_an_argument_without_value_takes_that_of_the_environment() -> None:
    assert overridden("default.args.A", env={"A": "e"}) == {"args": {"A": "e"}}
    assert overridden("default.args.A") == {}


def test_overrides_reach_targets_through_their_parents() -> None:
    text = 'target "base" {}\ntarget "default" { inherits = ["base"] }\n'
    assert dict(one_target(text, set=["base.args.A=1"]).args) == {"A": "1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "--set x: expected TARGET.KEY=VALUE, found 'x'"),
        ("default.tags", "--set default.tags: there is no value\nhint: write default.tags=VALUE"),
        ("nope.tags=x", "--set nope.tags=x: 'nope' is no target"),
        ("x*.tags=x", "--set x*.tags=x: 'x*' matches no target"),
        ("default.tgas=x", "--set default.tgas=x: unknown key 'tgas'\nhint: did you mean 'tags'?"),
        ("default.args=x", "--set default.args=x: args needs a name\nhint: write default.args.NAME=VALUE"),
        ("default.resources.memory+=1", "--set default.resources.memory+=1: resources can not be appended to"),
        ("default.resources.mem=1", "there is no limit 'mem'"),
        ("default.pull=maybe", "--set default.pull=maybe: expected true or false, found 'maybe'"),
        ("default.secret.s=env=X", "the target declares no secret 's'"),
        ("default.output=type", "--set default.output=type: "),
    ],
)
def test_wrong_overrides_are_named(text: str, message: str) -> None:
    if text == "default.output=type":
        assert overridden(text) == {"output": [{"dest": "type", "type": "local"}]}
        return
    with pytest.raises(UsageError) as caught:
        load_text('target "default" {}', set=[text])
    assert message in str(caught.value)


def test_pushing_and_loading_change_outputs() -> None:
    image, docker = OutputEntry("image", "", FrozenMap({"name": "x"})), OutputEntry("docker")
    registry, local = OutputEntry("registry"), OutputEntry("local", "o")
    pushed: FrozenMap[str, str] = FrozenMap({"name": "x", "push": "true"})
    assert with_push([image, local], True) == (OutputEntry("image", "", pushed), local)
    assert with_push([docker], True) == (docker, OutputEntry("image", "", FrozenMap({"push": "true"})))
    assert with_push([registry, local, image], False) == (
        OutputEntry("image", "", FrozenMap({"name": "x", "push": "false"})),
        local,
    )
    assert with_load([local], True) == (local,)
    assert with_load([docker], True) == (docker,)
    assert with_load([], True) == (docker,)


# -- last checks


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('context = "-"', "a context can not come from standard input"),
        ('shm-size = "lots"', "'lots' is no size"),
        ('secret = ["id=s,src=gone"]', "the secret 's' needs the file 'gone', which is not there"),
        ('secret = ["id=s,src=gone,env=S"]', "the secret 's' needs the file 'gone', which is not there"),
        ('ssh = ["default"]', "the SSH agent 'default' needs SSH_AUTH_SOCK, which is not set"),
        ('output = ["type=local"]', "an output of type 'local' into a folder needs dest"),
        ('output = ["type=tar", "type=oci"]', "only one output can go to standard output"),
        ('annotations = ["x"]', "expected key=value, found 'x'"),
        ('annotations = ["indx:a=b"]', "'indx' is no level of annotations"),
        ('ulimits = ["nofile=2:1"]', "the soft limit of 'nofile' is above the hard one"),
        ('ulimits = ["files=1"]', "there is no limit 'files'"),
        ('platforms = ["linux/amd64/v2/x"]', "invalid platform"),
    ],
)
def test_what_can_not_be_baked_is_refused(body: str, message: str) -> None:
    assert message in failure(f'target "default" {{\n  {body}\n}}', files={"x": ""})


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [
        ("default.shm-size=lots", "--set:1:18: target.default.shm-size: 'lots' is no size", "lots"),
        ("*.contexts.a=target:b", "--set:1:14: target.default.contexts.a: there is no target 'b'", "target:b"),
        ("default.ssh=default=k", "--set:1:13: target.default.ssh: there is no file 'k'", "default=k"),
        ("default.platform+=x/y/z/w", "--set:1:19: target.default.platforms[0]: invalid platform", "x/y/z/w"),
        ("default.resources.memory=x", "--set:1:26: target.default.resources.memory: 'x' is no size", "x"),
        ("*.annotations=x", "--set:1:15: target.default.annotations: expected key=value, found 'x'", "x"),
    ],
)
def test_mistakes_in_overrides_are_shown_there(text: str, message: str, marked: str) -> None:
    lines = failure('target "default" {\n  contexts = {}\n  platforms = []\n}', set=[text]).splitlines()
    assert lines[0].startswith(message)
    assert lines[1:3] == [f"    {text}", f"{' ' * (4 + len(text) - len(marked))}{'^' * len(marked)}"]


def test_an_agent_is_a_socket_or_a_key() -> None:
    class Devices(MemoryReader):
        def kind(self, path: str) -> str:
            return {"/dev/null": "other", "agent": "socket", "sub": "dir"}[path]

    def loaded(path: str) -> BakeFile:
        file = SourceFile("docker-bake.hcl", 'target "default" { ssh = ["default"] }')
        return load([file], LoadOptions(environment={"SSH_AUTH_SOCK": path}, reader=Devices()))

    assert loaded("agent").targets["default"].ssh == (SSHEntry("default"),)
    with pytest.raises(BakeError, match="'/dev/null' is neither the socket of an agent nor a key"):
        loaded("/dev/null")
    with pytest.raises(BakeError, match="'sub' is a folder, not a key"):
        loaded("sub")


def test_the_epoch_of_the_environment_becomes_an_argument() -> None:
    text = 'target "default" {}\ntarget "own" { args = { SOURCE_DATE_EPOCH = 1 } }\n'
    result = load_text(text, "default", "own", env={"SOURCE_DATE_EPOCH": "9"})
    assert result.targets["default"].args["SOURCE_DATE_EPOCH"] == "9"
    assert result.targets["own"].args["SOURCE_DATE_EPOCH"] == "1"


def test_policies_keep_all_that_was_said() -> None:
    target = one_target('target "default" { policy = ["filename=a.rego,strict=true", { disabled = true }] }')
    assert target.policy == (PolicyEntry(("a.rego",), strict=True), PolicyEntry(disabled=True))


def test_print_is_byte_for_byte_what_buildx_writes() -> None:
    text = """target "default" {
  description = "<a & b>"
  args = { B = "$${x}", A = "\\u2028\\t" }
  output = ["type=image,name=x,push=true", "type=oci"]
  resources = {}
}
"""
    assert render(load_text(text)) == (
        "{\n"
        '  "group": {\n    "default": {\n      "targets": [\n        "default"\n      ]\n    }\n  },\n'
        '  "target": {\n    "default": {\n'
        '      "description": "\\u003ca \\u0026 b\\u003e",\n'
        '      "context": ".",\n      "dockerfile": "Dockerfile",\n'
        '      "args": {\n        "A": "\\u2028\\t",\n        "B": "$${x}"\n      },\n'
        '      "output": [\n        {\n          "name": "x",\n          "push": "true",\n          "type": "image"\n'
        '        },\n        {\n          "dest": "-",\n          "type": "oci"\n        }\n      ],\n'
        '      "resources": {}\n    }\n  }\n}'
    )


def test_contexts_in_toml_are_meant_from_the_folder_of_the_file() -> None:
    text = '[target.default]\ncontext = "app"\ncontexts = { a = "../lib", b = "docker-image://x" }\n[target.bare]\n'
    result = load_text(text, "default", "bare", name="shop/bake.toml")
    assert result.targets["default"].context == "shop/app"
    assert dict(result.targets["default"].contexts) == {"a": "lib", "b": "docker-image://x"}
    assert result.targets["bare"].context == "shop"


def test_contexts_in_hcl_are_moved_only_on_request() -> None:
    text = 'target "default" { context = "app" }'
    assert one_target(text, name="shop/x.hcl").context == "app"
    assert one_target(text, name="shop/x.hcl", env={"BUILDX_BAKE_FILE_RELATIVE_PATHS": "1"}).context == "shop/app"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docker-bake.hcl", 'target "default" { contexts = { a = "./x/../y" } }'),
        ("compose.yaml", "services: {default: {build: {context: ., x-bake: {contexts: {a: ./x/../y}}}}}"),
    ],
)
def test_paths_that_are_moved_become_clean_even_if_they_stay_where_they_are(name: str, text: str) -> None:
    assert dict(one_target(text, name=name).contexts) == {"a": "./x/../y"}
    moved = one_target(text, name=name, env={"BUILDX_BAKE_FILE_RELATIVE_PATHS": "1"})
    assert dict(moved.contexts) == {"a": "y"}
