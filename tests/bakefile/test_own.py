"""Keys of bakepy's own: what they may hold, and where they stand in each syntax."""

from __future__ import annotations

import json

import pytest

from bakepy.bakefile import LoadOptions, load
from bakepy.bakefile.render import render
from bakepy.errors import DefinitionError
from bakepy.model.frozen import FrozenMap
from bakepy.model.location import SourceFile
from bakepy.model.target import BakeFile, Retry

TOML = """
[pools]
link = 2

[target.a]
memory = "1.5g"
pools = ["link"]
retry = { attempts = 3, backoff = "500ms", on = ["network", 28] }
metadata-file = "a.json"
"""
HCL = """
x-bakepy = { pools = { link = 2 } }
target "a" {
  x-bakepy = {
    memory = "1.5g"
    pools = ["link"]
    retry = { attempts = 3, backoff = "500ms", on = ["network", 28] }
    metadata-file = "a.json"
  }
}
"""
OWN = {
    "memory": "1.5g",
    "pools": ["link"],
    "retry": {"attempts": 3, "backoff": "500ms", "on": ["network", 28]},
    "metadata-file": "a.json",
}
JSON = json.dumps({"x-bakepy": {"pools": {"link": 2}}, "target": {"a": {"x-bakepy": OWN}}})


def _load(text: str, name: str = "bake.toml", *more: SourceFile) -> BakeFile:
    return load([SourceFile(name, text), *more], LoadOptions(targets=["a"]))


@pytest.mark.parametrize(("name", "text"), [("bake.toml", TOML), ("docker-bake.hcl", HCL), ("docker-bake.json", JSON)])
def test_they_say_the_same_in_all_syntaxes(name: str, text: str) -> None:
    bake = _load(text, name)
    target = bake.targets["a"]
    assert bake.pools == FrozenMap({"link": 2})
    assert (target.memory, target.pools) == (1610612736, ("link",))
    assert target.retry == Retry(3, 0.5, ("network", 28))
    assert target.metadata_file == "a.json"


@pytest.mark.parametrize(("name", "text"), [("bake.toml", TOML), ("docker-bake.hcl", HCL), ("docker-bake.json", JSON)])
def test_they_are_not_printed(name: str, text: str) -> None:
    """`--print` is what buildx prints, and what buildx can read."""
    printed = json.loads(render(_load(text, name)))
    assert printed["target"] == {"a": {"context": ".", "dockerfile": "Dockerfile"}}


def test_they_are_inherited_and_pools_add_up() -> None:
    text = """
    [target._base]
    memory = "1g"
    pools = ["link"]
    retry = 2
    [target.a]
    inherits = ["_base"]
    memory = 5
    pools = ["licence"]
    """
    target = _load(text).targets["a"]
    assert (target.memory, target.pools, target.retry) == (5, ("link", "licence"), Retry(2))


def test_a_later_file_changes_the_places_of_a_pool() -> None:
    more = SourceFile("more.toml", '[variable.N]\ndefault = 5\n[pools]\nlink = "${N}"\n')
    assert _load("[pools]\nlink = 2\ncc = 1\n[target.a]\n", "bake.toml", more).pools == FrozenMap({"link": 5, "cc": 1})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('memory = "much"', "bake.toml:2:11: target.a.memory: 'much' is no size: such as 512m or 2g"),
        ("memory = 0", "bake.toml:2:10: target.a.memory: it must be more than nothing"),
        ("retry = 0", "bake.toml:2:9: target.a.retry: attempts must be a whole number from 1 to 100"),
        ("retry = {}", "bake.toml:2:9: target.a.retry: 'attempts' is missing: how often it is tried in all"),
        (
            "retry = { attempts = 2, after = 1 }",
            "bake.toml:2:9: target.a.retry: there is no 'after' here; expected attempts, backoff, on",
        ),
        (
            'retry = { attempts = 2, on = ["netwrok"] }',
            "bake.toml:2:9: target.a.retry: 'netwrok' is no reason to try again: "
            "expected 'network', 'exit' or an exit code",
        ),
        (
            'retry = { attempts = 2, on = [] }',
            "bake.toml:2:9: target.a.retry: 'on' is empty: nothing would be tried again",
        ),
        (
            'retry = { attempts = 2, backoff = "soon" }',
            "bake.toml:2:9: target.a.retry: 'soon' is no time: such as 500ms, 2s or 1m",
        ),
    ],
)  # fmt: skip
def test_what_they_refuse(line: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        _load(f"[target.a]\n{line}\n")
    assert str(caught.value).splitlines()[0] == message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bake.toml", "[pools]\nlink = 0\n", "bake.toml:2:8: pools.link: the places of a pool must be a whole number "),
        ("b.hcl", 'target "a" {\n  x-bakepy = { memroy = "2g" }\n}\n', "b.hcl:2:14: target.a.x-bakepy.memroy: unknown"),
        ("b.hcl", "x-bakepy = { pool = {} }\n", "b.hcl:1:12: x-bakepy: unknown key 'pool'"),
        ("b.hcl", 'x-bakepy = "pools"\n', "b.hcl:1:12: x-bakepy: expected an object, found "),
    ],
)
def test_what_is_refused_with_its_place(name: str, text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        _load(text, name)
    assert str(caught.value).startswith(message)
