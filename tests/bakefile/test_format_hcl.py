"""The layout of native syntax: the rules one by one, and what holds for every file."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakepy.bakefile.format import format_text
from bakepy.bakefile.format.hcl import format_hcl
from bakepy.bakefile.format.hcl_tokens import NEWLINE, tokens
from bakepy.errors import BakeError, DefinitionError, UsageError
from bakepy.model.location import SourceFile
from tests.bakefile.test_properties import BODIES, print_body
from tests.support.shapes import native_shape

CORPUS = Path(__file__).parents[3] / "shared" / "conformance" / "bake"


def formatted(text: str, name: str = "x.hcl") -> str:
    return format_text(SourceFile(name, text))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a=1", "a = 1\n"),
        ("\n\na = 1\n\n\n\nb = 2\n\n", "a = 1\n\nb = 2\n"),
        ("a = 1\nbcd = 2\n\ne = 3\n", "a   = 1\nbcd = 2\n\ne = 3\n"),
        ("a = 1 # x\nbcd = 22 // y\n", "a   = 1  # x\nbcd = 22 // y\n"),
        ('target "a"{\ncontext="."\n}\n', 'target "a" {\n  context = "."\n}\n'),
        ("variable A {default=1}\n", "variable A { default = 1 }\n"),
        ("a = [1,2 , 3 ,]\n", "a = [1, 2, 3,]\n"),
        ("a = [\n1,\n2\n]\n", "a = [\n  1,\n  2\n]\n"),
        ("a = f( {\nx = 1\n} )\n", "a = f({\n  x = 1\n})\n"),
        ("a = {x=1,y:2}\nb = {}\nc = { }\n", "a = { x = 1, y : 2 }\nb = {}\nc = {}\n"),
        ("a = -1+2*-3- -x\n", "a = -1 + 2 * -3 - -x\n"),
        ("a = !b&&c||d!=e\n", "a = !b && c || d != e\n"),
        ("a = b?c:d\n", "a = b ? c : d\n"),
        ("a = x [ 0 ] . y . * . z[*]\n", "a = x[0].y.*.z[*]\n"),
        ("a = [for k,v in x:v if (k>1)]\n", "a = [for k, v in x : v if (k > 1)]\n"),
        ("a = {for v in [1]:v=>v...}\n", "a = { for v in [1] : v => v... }\n"),
        ("a = f (x , y ...)\n", "a = f(x, y...)\n"),
        ("a = n::f ( 1 )\n", "a = n::f(1)\n"),
        ('a = "${ x+1 }" \n', 'a = "${ x+1 }"\n'),
        ('a = "%{ if x }"}"%{ endif }"\n', None),
        ("a = <<EOT\n  x  \nEOT\nbcd = 1\n", "a = <<EOT\n  x  \nEOT\nbcd = 1\n"),
        ("a = 1\nlong = {\nx = 1\n}\n", "a = 1\nlong = {\n  x = 1\n}\n"),
        ("/* a\n   b */\nx = /* y */ 1\n", "/* a\n   b */\nx = /* y */ 1\n"),
        ("a = (1\n+ 2)\n", "a = (1\n  + 2)\n"),
        ("a {\n# c   \n\n\n\n# d\n}\n", "a {\n  # c\n\n  # d\n}\n"),
        ("a = 1\r\nbb = 2\r\n", "a  = 1\r\nbb = 2\r\n"),
        ("", ""),
        ("# only", "# only\n"),
    ],
)
def test_rule(before: str, after: str | None) -> None:
    if after is None:
        with pytest.raises(DefinitionError):
            formatted(before)
        return
    assert formatted(before) == after
    assert formatted(after) == after


def test_a_whole_file() -> None:
    before = dedent(
        """\
        variable "TAG"   {   # comment of the header
            default="dev"
              description = "it's"
        }
        # about app
        target "app" {
        tags=["a:${TAG}",
              # within
          "b"]
        args={
        A="1"   # one
        LONG="2" # two
        }
        dockerfile-inline=<<-EOT
            FROM scratch
              COPY . /
            EOT
        }
        """
    )
    assert formatted(before) == dedent(
        """\
        variable "TAG" { # comment of the header
          default     = "dev"
          description = "it's"
        }
        # about app
        target "app" {
          tags = ["a:${TAG}",
            # within
            "b"]
          args = {
            A    = "1" # one
            LONG = "2" # two
          }
          dockerfile-inline = <<-EOT
            FROM scratch
              COPY . /
            EOT
        }
        """
    )


def test_a_broken_file_is_left_alone() -> None:
    with pytest.raises(DefinitionError, match="not closed"):
        formatted('target "a" {\n')


def test_deep_nesting_is_laid_out_or_an_error() -> None:
    deep = "a = " + "[" * 190 + "]" * 190 + "\n"
    assert formatted(deep) == deep
    with pytest.raises(DefinitionError, match="nested too deep"):
        formatted("a = " + "[" * 9000)


def test_other_files_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        formatted("{}", "x.json")
    assert caught.value.render() == (
        "x.json: only HCL and TOML files are laid out\nhint: known endings: .hcl and .toml"
    )


def test_standard_input_is_what_it_can_be_read_as() -> None:
    assert formatted("target a {}", "-") == "target a {}\n"
    assert formatted("[target.a]\ncontext='.'", "-") == "[target.a]\ncontext = '.'\n"
    with pytest.raises(DefinitionError, match="expected '=' or a block"):
        formatted("a !", "-")


BLANKS = st.sampled_from(["", " ", "  ", "\t"])


@st.composite
def untidy(draw: st.DrawFn) -> str:
    """A file with blanks and comments strewn in between its tokens."""
    text = print_body(draw(BODIES))
    pieces: list[str] = []
    for token in tokens(text):
        if token.kind == NEWLINE:
            pieces.append(draw(st.sampled_from(["\n", "\n\n", "\n\n\n\n", " # c\n", "\n  // own line \n"])))
        else:
            pieces.append(draw(BLANKS if pieces and pieces[-1].endswith("\n") else st.sampled_from([" ", "  "])))
            pieces.append(token.text)
    return "".join(pieces)


@given(untidy())
def test_layout_keeps_tokens_and_meaning_and_is_final(text: str) -> None:
    once = format_hcl(text)
    assert words(once) == words(text)
    assert native_shape(once) == native_shape(text)
    assert format_hcl(once) == once


def test_comments_keep_their_bytes() -> None:
    text = "# caf\udce9\na=1#\udcff\n"
    assert formatted(text) == formatted(text, "-") == "# caf\udce9\na = 1 #\udcff\n"


@pytest.mark.parametrize("text", ['# \udce9\na = "\udcff"', "a = \udcff", "a.\udcff = 1"])
def test_what_is_no_comment_is_utf_8(text: str) -> None:
    with pytest.raises(DefinitionError, match="this is not UTF-8"):
        formatted(text)


def words(text: str) -> list[Any]:
    return [token.text for token in tokens(text) if token.kind != NEWLINE]


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not there")
def test_real_files_keep_their_tokens_and_are_laid_out_once() -> None:
    count = 0
    for path in sorted(CORPUS.rglob("*.hcl")):
        if not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "surrogateescape")
        try:
            once = formatted(text)
        except BakeError:
            continue
        count += 1
        assert formatted(once) == once, path
        assert words(once) == words(text), path
        assert native_shape(once) == native_shape(text), path
    assert count > 500
