"""The native syntax: what is read, what it means, what is refused and how it is said."""

from __future__ import annotations

import pytest

from bakepy.bakefile import values as v
from bakepy.bakefile.functions import find_function
from bakepy.bakefile.functions.json_encoding import encode
from bakepy.bakefile.hcl_reader import BodyParser
from bakepy.bakefile.node import Globals, Scope
from bakepy.bakefile.parser import ExpressionParser
from bakepy.bakefile.source import Text
from bakepy.errors import DefinitionError
from bakepy.model.location import SourceFile


class Names(Globals):
    def __init__(self, **values: v.Value) -> None:
        self.values = values

    def find(self, name: str) -> v.Value | None:
        return self.values.get(name)

    def find_function(self, name: str):  # type: ignore[no-untyped-def]
        return find_function(name)

    def names(self) -> list[str]:
        return list(self.values)


NAMES = Names(
    text=v.string("T"),
    list=v.tuple_of([v.number(1), v.number(2)]),
    object=v.object_of({"a": v.number(1), "b": v.tuple_of([v.string("x")])}),
    objects=v.tuple_of([v.object_of({"n": v.number(1)}), v.object_of({"n": v.number(2)})]),
    nothing=v.NULL,
)


def evaluate(source: str) -> str:
    """The value of an expression, as JSON."""
    parser = ExpressionParser(Text(SourceFile("x.hcl", source)))
    node = parser.expression()
    parser.newlines = False
    assert not parser.peek(), "the whole text is one expression"
    return encode(node.value(Scope(NAMES)))


def failure(source: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        evaluate(source)
    return caught.value.render()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("-2 + 1", "-1"),
        ("7 % -3", "1"),
        ("-7 % 3", "-1"),
        ("5 % 0", "5"),
        ("!true || true", "true"),
        ("1 < 2 && 2 <= 2", "true"),
        ('"1" == 1', "false"),
        ("list == [1, 2]", "true"),
        ('true ? 1 : "x"', '"1"'),
        ('false ? 1 : "x"', '"x"'),
        ('true ? [1, "x"] : [2]', '["1","x"]'),
        ("true ? null : 1", "null"),
        ("true || missing", "true"),
        ("missing || true", "true"),
        ("false && missing", "false"),
        ("null && true", "false"),
        ("true ? 1 : missing", "1"),
        ("object.b[0]", '"x"'),
        ("list.1", "2"),
        ("objects.*.n", "[1,2]"),
        ("objects[*].n", "[1,2]"),
        ("text[*]", '["T"]'),
        ("nothing.*.n", "[]"),
        ("[for x in list: x * 2 if x > 1]", "[4]"),
        ("{for k, x in object: upper(k) => k}", '{"A":"a","B":"b"}'),
        ("{for x in [1, 2, 3]: x % 2 => x...}", '{"0":[2],"1":[1,3]}'),
        ('{a = 1, "b": 2, (text) = 3}', '{"T":3,"a":1,"b":2}'),
        ("{a = 1, a = 2}", '{"a":2}'),
        ("{\n  a = 1\n  b = 2\n}", '{"a":1,"b":2}'),
        ("max([1, 5, 2]...)", "5"),
        ('"a${1 + 1}b"', '"a2b"'),
        ('"${list}"', "[1,2]"),
        ('"$${x} %%{y}"', '"${x} %{y}"'),
        ('"%{ if true ~}  yes  %{~ else }no%{ endif }"', '"yes"'),
        ('"%{ for x in list }${x};%{ endfor }"', '"1;2;"'),
        ('"\\t\\"\\u00e9\\U0001f600"', '"\\t\\"é😀"'),
        ("<<EOT\n a\n  b ${text}\nEOT\n", '" a\\n  b T\\n"'),
        ("<<-EOT\n    a\n      b\n    EOT\n", '"a\\n  b\\n"'),
        ("<<EOT\r\na\r\nEOT\r\n", '"a\\r\\n"'),
        ("<<EOT\n\\n\nEOT\n", '"\\\\n\\n"'),
        ("<<EOT\na\n EOT \t\r\n", '"a\\n"'),
        ("<<-EOT\n a\n\u00a0EOT\u2003\n", '"a\\n"'),
        ("1.e3", "1000"),
        ("[1 /* no */, # yes\n 2]", "[1,2]"),
        ('"e\u0301"', '"é"'),
    ],
)
def test_expressions_mean(source: str, expected: str) -> None:
    assert evaluate(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 +", "x.hcl:1:3: the text ends here: expected an expression\n    1 +\n      ^"),
        ("[1, 2", "x.hcl:1:1: this is not closed: expected ',' or ']' before the end\n    [1, 2\n    ^"),
        (
            "lst[0]",
            "x.hcl:1:1: there is no variable 'lst'\n    lst[0]\n    ^^^\nhint: did you mean 'list'?",
        ),
        (
            "object.c",
            "x.hcl:1:7: there is no attribute 'c' here\n    object.c\n          ^^",
        ),
        ("list[2]", "x.hcl:1:5: there is no element 2: there are 2, counted from 0\n    list[2]\n        ^^^"),
        ("list[0.5]", "x.hcl:1:5: an index must be a whole number, not 0.5\n    list[0.5]\n        ^^^^^"),
        (
            'uper("x")',
            "x.hcl:1:1: there is no function 'uper'\n    uper(\"x\")\n    ^^^^",
        ),
        (
            '"a${nothing}"',
            'x.hcl:1:5: null can not be part of a string\n    "a${nothing}"\n        ^^^^^^^',
        ),
        (
            "true ? 1 : [2]",
            "x.hcl:1:1: the two results do not fit one type: a number and a tuple\n"
            "    true ? 1 : [2]\n    ^^^^^^^^^^^^^^",
        ),
        ('1 < "x"', "x.hcl:1:5: an operand of <: a number is required, not 'x'\n    1 < \"x\"\n        ^^^"),
        ("0 / 0", "x.hcl:1:1: zero by zero, or infinity by infinity, has no value\n    0 / 0\n    ^^^^^"),
        (
            "{a.b = 1}",
            "x.hcl:1:2: this key is ambiguous\n    {a.b = 1}\n     ^^^\n"
            "hint: put it in quotes for a name with dots, in parentheses for its value",
        ),
        (
            '{for x in [1, 2]: "a" => x}',
            "x.hcl:1:19: two elements give the key 'a'\n    {for x in [1, 2]: \"a\" => x}\n                      ^^^\n"
            "hint: write `...` after the value to group by key",
        ),
        (
            '"a\nb"',
            'x.hcl:1:3: a string in quotes can not go over several lines\n    "a\n      ^\n'
            "hint: write \\n, or use <<EOT",
        ),
        (
            '"%{ iff true }"',
            "x.hcl:1:2: there is no template directive 'iff'\n    \"%{ iff true }\"\n     ^^^^^^\n"
            "hint: did you mean 'if'?",
        ),
        ("'x'", "x.hcl:1:1: expected an expression, found '''\n    'x'\n    ^\nhint: text stands in double quotes"),
        ("\0", "x.hcl:1:1: expected an expression, found '\\x00'\n    \0\n    ^"),
        ('"%{ if true }x"', "x.hcl:1:2: 'if' without 'endif'\n    \"%{ if true }x\"\n     ^^^^^^^^^^^^"),
    ],
)
def test_mistakes_are_shown_with_their_place(source: str, message: str) -> None:
    assert failure(source) == message


def body_failure(source: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        BodyParser(Text(SourceFile("x.hcl", source))).file()
    return caught.value.render().splitlines()[0]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("a = 1\na = 2\n", "x.hcl:2:1: 'a' is already set in line 1"),
        ("target x {\n", "x.hcl:1:10: this block is not closed: expected '}' before the end"),
        ("target {a = 1, b = 2}\n", "x.hcl:1:14: a block on one line holds one attribute only"),
        ('"a" = 1\n', "x.hcl:1:1: names are written without quotes here"),
        ("a = 1, b = 2\n", "x.hcl:1:6: attributes are separated by new lines, not by commas"),
        ('target "${x}" {}\n', "x.hcl:1:8: a label can not have interpolations"),
        ("a\n", "x.hcl:1:1: expected '=' or a block after 'a', found the end of the line"),
        ("a = <<EOT\nx\n", "x.hcl:1:5: this text does not end: there is no line with 'EOT' alone"),
        ("a = <<EOT\nx\nEOT", "x.hcl:1:5: this text does not end: there is no line with 'EOT' alone"),
        ("a = 1.2.3\n", "x.hcl:1:5: this number can not be used: not a number"),
        ("a = 1e3e4\n", "x.hcl:1:5: this number can not be used: not a number"),
    ],
)
def test_mistakes_in_bodies(source: str, message: str) -> None:
    assert body_failure(source) == message


def test_blocks_and_attributes_of_a_file() -> None:
    body = BodyParser(
        Text(SourceFile("x.hcl", '\ufeffa = 1 # c\ntarget "x" y {\n  b = 2\n  inner { c = 3 }\n}\n'))
    ).file()
    assert list(body.attributes) == ["a"]
    (block,) = body.blocks
    assert (block.type, block.labels) == ("target", ("x", "y"))
    assert list(block.body.all_attributes()) == ["b"]


def test_several_mistakes_of_a_file_are_found() -> None:
    parser = BodyParser(Text(SourceFile("x.hcl", 'target "a" {\n  x = [\n}\ntarget "b" {\n  y = )\n}\nz = 1\n')))
    with pytest.raises(DefinitionError):
        parser.file()
    assert [error.where.label() for error in parser.errors if error.where] == ["x.hcl:3:1", "x.hcl:5:7"]
