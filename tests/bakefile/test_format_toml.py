"""The layout of TOML: the rules one by one, and what holds for every file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.bakefile.format import format_text
from bakepy.bakefile.format.toml import format_toml
from bakepy.bakefile.source import Text
from bakepy.bakefile.toml_reader import read_toml
from bakepy.errors import DefinitionError
from bakepy.model.location import SourceFile
from tests.bakefile.test_properties import PIECES
from tests.support.shapes import toml_shape

EXAMPLE = Path(__file__).parents[2] / "bake.toml.example"


def formatted(text: str) -> str:
    return format_text(SourceFile("bake.toml", text))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a=1", "a = 1\n"),
        ("\n\n a = 1\n\n\n\n  b=2\n\n", "a = 1\n\nb = 2\n"),
        ("[ target . app ]\na=1\n[[x]]\n", "[target.app]\na = 1\n\n[[x]]\n"),
        ("a = 1\n# about x\n# and more\n[x]\n", "a = 1\n\n# about x\n# and more\n[x]\n"),
        ("# apart\n\n[x]\n", "# apart\n\n[x]\n"),
        ("a.b . 'c d'=1\n", "a.b.'c d' = 1\n"),
        ('a = ["x","y" ,]\nb = [ ]\n', 'a = ["x", "y"]\nb = []\n'),
        ("a = { x=1,y = {} }\nb = { }\n", "a = { x = 1, y = {} }\nb = {}\n"),
        ("a = [\n1,2\n,3]\n", "a = [\n  1, 2,\n  3,\n]\n"),
        ("a = [1, # one\n# own\n\n\n22 # two\n]\n", "a = [\n  1,  # one\n  # own\n\n  22,  # two\n]\n"),
        ("a = [ # head\n1]\n", "a = [  # head\n  1,\n]\n"),
        ("a = [[1,\n2],[3]]\n", "a = [[\n  1,\n  2,\n], [3]]\n"),
        ("a = [\n[1,\n2],\n]\n", "a = [\n  [\n    1,\n    2,\n  ],\n]\n"),
        ("a = 1 # x\nbcd = 22# y\n\ne = 3 # z\n", "a = 1     # x\nbcd = 22  # y\n\ne = 3  # z\n"),
        ('a = """\n  x  \n""" # c\n', 'a = """\n  x  \n"""  # c\n'),
        ("a = '''x = [1,\n2]'''\n", "a = '''x = [1,\n2]'''\n"),
        ('a = "# no comment"\n', 'a = "# no comment"\n'),
        ('a = """"x""""\nb = "\\""\n', 'a = """"x""""\nb = "\\""\n'),
        ("a=1.5\nb=1e3\nc=-1_0\nd=0xF\ne=+1\n", "a = 1.5\nb = 1e3\nc = -1_0\nd = 0xF\ne = +1\n"),
        ("a = 1\r\nb = 2\r\n", "a = 1\r\nb = 2\r\n"),
        ("", ""),
        ("# only", "# only\n"),
    ],
)
def test_rule(before: str, after: str) -> None:
    assert formatted(before) == after
    assert formatted(after) == after
    assert toml_shape(after) == toml_shape(before)


def test_a_broken_file_is_left_alone() -> None:
    with pytest.raises(DefinitionError, match="expected a value"):
        formatted("a = \n")


@settings(max_examples=600)
@given(st.lists(PIECES, max_size=16).map("".join))
def test_layout_keeps_meaning_and_is_final(text: str) -> None:
    _, errors = read_toml(Text(SourceFile("bake.toml", text)))
    if errors:
        return
    once = format_toml(text)
    assert toml_shape(once) == toml_shape(text)
    assert format_toml(once) == once


LINES = st.sampled_from(
    ["a = 1", "[t]", "[[u]]", "# c", "", "", "b = [", "1,", "'x', # c", "]", "{ y = [2,", "3] },", "[4,", "],",
     'c = """', '"""']
)  # fmt: skip


@settings(max_examples=1000)
@given(st.lists(LINES, max_size=14).map("\n".join))
def test_lines_in_any_order(text: str) -> None:
    _, errors = read_toml(Text(SourceFile("bake.toml", text)))
    if errors:
        return
    once = format_toml(text)
    assert toml_shape(once) == toml_shape(text)
    assert format_toml(once) == once
    assert once.count("# c") == text.count("# c")


def test_the_example_keeps_its_meaning() -> None:
    text = EXAMPLE.read_text("utf-8")
    once = formatted(text)
    assert toml_shape(once) == toml_shape(text)
    assert formatted(once) == once
