"""Hostile files end in a clear error, soon."""

from __future__ import annotations

import pytest

from bakepy.bakefile import LoadOptions, evaluate, json_reader, load_definitions, parser, render, toml_reader
from bakepy.errors import BakeError
from bakepy.model.location import SourceFile
from tests.support.bakefiles import load_text, one_target


def failure(text: str, name: str = "docker-bake.hcl") -> str:
    with pytest.raises(BakeError) as caught:
        load_text(text, "*", name=name)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()[0]


DOUBLED = "".join(f"v{n} = [v{n - 1}, v{n - 1}]\n" for n in range(1, 60))


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("x = " + "[" * 10_000, "x.hcl", "this is nested too deep: more than 200 levels"),
        ("x = " + "(" * 10_000, "x.hcl", "this is nested too deep: more than 200 levels"),
        ("x = " + "-" * 10_000 + "1", "x.hcl", "this is nested too deep: more than 200 levels"),
        ("x = " + '"${' * 10_000, "x.hcl", "this is nested too deep: more than 200 levels"),
        ('x = "' + "%{if true}" * 10_000 + '"', "x.hcl", "this is nested too deep: more than 200 levels"),
        ("a {\n" * 10_000, "x.hcl", "this is nested too deep: more than 200 levels"),
        ("x = 1" + " + 1" * 10_000, "x.hcl", "there are more than 1000 operators in a row"),
        ("x = a" + "[0]" * 10_000, "x.hcl", "there are more than 1000 steps in a row"),
        ('{"x":' + "[" * 10_000, "x.json", "this is nested too deep: more than 500 levels"),
        ("[locals]\nx = " + "[" * 10_000, "bake.toml", "this is nested too deep: more than 200 levels"),
        ("a." * 10_000 + "b = 1", "bake.toml", "this key has more than 200 parts"),
        ('v0 = ["x"]\n' + DOUBLED, "x.hcl", "a value has more than 2,000,000 parts"),
        (
            'v0 = "xxxxxxxx"\n' + "".join(f'v{n} = "${{v{n - 1}}}${{v{n - 1}}}"\n' for n in range(1, 60)),
            "x.hcl",
            "this text is longer than 16,000,000 characters",
        ),
        (
            'target "x" {\n  name = "x-${a}"\n  matrix = { a = range(1000), b = range(1000), c = range(1000) }\n}',
            "x.hcl",
            "the matrix has more than 200,000 combinations",
        ),
        ("x = 1e9999999999", "x.hcl", "this number can not be used: out of range"),
        ("x = 1e" + "9" * 100_000, "x.hcl", "this number can not be used: out of range"),
        ("x = " + "1" * 1_000_001, "x.hcl", "this number can not be used: more than 1,000,000 digits"),
        ('x = "a${1e100000000}"', "x.hcl", "a number of more than 16,000,000 digits"),
        ("x = jsonencode(1e-640000000 * 1)", "x.hcl", "a number of more than 16,000,000 digits"),
        ('x = format("%d", 1e640000000)', "x.hcl", "a number of more than 1,000,000 digits"),
        ('x = format("%f", 1e640000000)', "x.hcl", "a number of more than 1,000,000 digits"),
        ('x = format("%.3e", 1e-640000000)', "x.hcl", "a number of more than 1,000,000 digits"),
        ("x = [1][1e640000000]", "x.hcl", "there is no element …e640000000: there are 1, counted from 0"),
        ("x = range(1e640000000)", "x.hcl", "more than 1024 numbers"),
        ('x = substr("a", 1e640000000, 1)', "x.hcl", "a whole number is required, not …e640000000"),
        ('x = format("%999999999d", 1)', "x.hcl", "more than 100000 characters"),
        ('x = regex("((a{1000}){1000}){1000}", "a")', "x.hcl", "the pattern is too large"),
        ("x: &x [*x]\nservices: {}", "x.yaml", "an alias leads back into its own anchor"),
        (
            "a0: &a0 [x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 9))
            + "services: {}",
            "x.yaml",
            "the file has more than 200000 nodes",
        ),
        ("x = \x00\n", "x.hcl", "expected an expression"),
        ("x = \udcff\n", "x.hcl", "this is not UTF-8"),
        ('# \udce9\nx = "\udcff"\n', "x.hcl", "this is not UTF-8"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_hostile_files_are_refused(text: str, name: str, message: str) -> None:
    assert message in failure(text, name)


@pytest.mark.parametrize("name", ["docker-bake.hcl", "x.HCL", "bake"])
def test_comments_may_be_in_any_encoding(name: str) -> None:
    text = '# caf\udce9\ntarget "default" { tags = ["x"] } /* \udcff */\n'
    assert one_target(text, name=name).tags == ("x",)


@pytest.mark.parametrize("name", ["docker-bake.hcl", "bake"])
@pytest.mark.parametrize("octets", ["\udced\udca0\udc80", "\udcc0\udc80", "\udcf4\udc90\udc80\udc80"])
def test_texts_of_native_syntax_need_only_the_form_of_utf_8(name: str, octets: str) -> None:
    """Half of a pair of UTF-16, characters written too long, characters that there are not: HCL takes these."""
    text = f'target "default" {{\n  args = {{ "{octets}" = "x{octets}${{"{octets}"}}", b = <<E\n{octets}\nE\n  }}\n}}\n'
    assert dict(one_target(text, name=name).args) == {octets: f"x{octets}{octets}", "b": f"{octets}\n"}
    replaced = "\\ufffd" * len(octets)
    assert f'"b": "{replaced}\\n"' in render(load_text(text, name=name))


def test_comments_inside_of_texts_may_be_in_any_encoding() -> None:
    text = 'target "default" {\n  tags = ["x${ /* \udcff */ 1}"]\n  target = <<E\n${ # \udce9\n1}\nE\n}\n'
    assert one_target(text).tags == ("x1",)


@pytest.mark.parametrize("octets", ["\udced\udca0", "\udca0", "\udcc0", "\udcf8\udc88\udc80\udc80\udc80"])
def test_texts_without_the_form_of_utf_8_are_refused(octets: str) -> None:
    assert "this is not UTF-8" in failure(f'# {octets}\nx = "{octets}"\n')
    assert "this is not UTF-8" in failure(f'x = "${{1 /* {octets} */}}{octets}"\n')


@pytest.mark.parametrize(
    "text", ['x = "\udcff"\n', "x = \udcff\n", "services: {a: {build: .}} # \udcff", "[locals] # \udcff"]
)
def test_values_and_other_syntaxes_are_utf_8(text: str) -> None:
    assert "this is not UTF-8" in failure(text, "bake")


def test_numbers_far_from_one_are_what_they_are() -> None:
    """Exponents are machine integers; beyond are infinity and zero. Only what is written out has limits."""
    text = """target "default" {
      args = {
        million = strlen("${1e1000000}")
        tiny = substr("${7e-1000000}", 999995, -1)
        ratio = 1e600000000 / 1e599999999
        sum = 1e600000000 + 1 == 1e600000000
        order = 1e-600000000 < 1e-500000000 && -1e600000000 < 1
        rest = 1e20000 % 7
        whole = floor(1e20000) == 1e20000
        above = 1e600000000 * 1e600000000
        below = -1e-600000000 / 1e600000000
        zero = 0e9999999999
        float = pow(1e-640000000, 2)
        digits = format("%d", 3e100)
        short = format("%.2f", 1e-640000000)
        found = contains([1], 1e640000000)
      }
    }"""
    digits = "3" + "0" * 100
    found = dict(one_target(text).args)
    assert found == {
        "million": "1000001", "tiny": "0000007", "ratio": "10", "sum": "true", "order": "true", "rest": "0",
        "whole": "true", "above": "+Inf", "below": "-0", "zero": "0", "float": "0", "digits": digits, "short": "0.00",
        "found": "false",
    }  # fmt: skip


def test_a_thousand_variables_may_refer_to_each_other() -> None:
    chain = "".join(f'variable "v{n}" {{ default = v{n + 1} }}\n' for n in range(1000))
    text = chain + 'variable "v1000" { default = "end" }\ntarget "default" { args = { a = v0 } }\n'
    assert dict(one_target(text).args) == {"a": "end"}


def test_a_chain_of_ten_thousand_is_an_error_like_any_other() -> None:
    chain = "".join(f'variable "v{n}" {{ default = v{n + 1} }}\n' for n in range(10_000))
    assert failure(chain) == "values or names refer to each other over too many levels"


def test_functions_that_call_others_twice_and_loops_in_loops_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "STEPS", 50_000)
    loops = "x = [for a in range(1000): [for b in range(1000): [for c in range(1000): c]]]"
    assert "take more than 50,000 steps in all" in failure(loops)
    text = 'function "f0" {\n  params = [x]\n  result = x\n}\n' + "".join(
        f'function "f{n}" {{\n  params = [x]\n  result = f{n - 1}(x) == f{n - 1}(x)\n}}\n' for n in range(1, 60)
    )
    assert "take more than 50,000 steps in all" in failure(text + "x = f59(1)\n")


def test_five_thousand_parents_and_two_thousand_links() -> None:
    parents = "".join(f'target "t{n}" {{ inherits = ["t{n + 1}"] }}\n' for n in range(5000))
    assert one_target(parents + 'target "t5000" { tags = ["x"] }\n', "t0").tags == ("x",)
    links = "".join(f'target "l{n}" {{\n  contexts = {{ a = "target:l{n + 1}" }}\n}}\n' for n in range(2000))
    assert len(load_text(links + 'target "l2000" {}\n', "l0").targets) == 2001


def test_a_product_is_refused_before_it_is_made() -> None:
    thousand = ", ".join(["range(1000)"] * 4)
    assert failure(f"x = length(setproduct({thousand}))\n", "x.hcl") == (
        "x.hcl:1:12: setproduct(): the product has more than 1000000 elements"
    )


def test_parents_named_twice_on_every_level_double_nothing() -> None:
    chain = "".join(f'target "t{n}" {{\n  inherits = ["t{n + 1}", "t{n + 1}"]\n}}\n' for n in range(60))
    last = 'target "t60" {\n  ulimits = ["nofile=1:2"]\n}\n'
    assert load_text(chain + last, "t0").targets["t0"].ulimits == ("nofile=1:2",)
    assert failure(chain + 'target "t60" {\n  policy = ["filename=p.rego"]\n}\n') == (
        "a target has more than 100,000 policies: its parents add them again and again"
    )


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("x.hcl", "a = 1\nb = [1, 2, 3]\nc = [\n", "2:12"),
        ("x.json", '{"b":[1, 2, 3, 4], "c": [}', "1:13"),
        ("x.toml", "[locals]\na = 1\nb = [1, 2, 3]\nc = [\n", "3:12"),
    ],
)
def test_values_of_a_file_are_counted(monkeypatch: pytest.MonkeyPatch, name: str, text: str, where: str) -> None:
    """What follows is not looked at: there is one error."""
    for module in (parser, json_reader, toml_reader):
        monkeypatch.setattr(module, "MOST_VALUES", 4)
    with pytest.raises(BakeError) as caught:
        load_definitions([SourceFile(name, text)], LoadOptions())
    lines = caught.value.render().splitlines()
    assert (lines[0], len(lines)) == (f"{name}:{where}: the file has more than 4 values", 3)
