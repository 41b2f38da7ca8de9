"""The library of functions: one line for each thing that is easy to get wrong."""

from __future__ import annotations

import hashlib

import pytest

from bakepy.bakefile.functions import _FAMILIES, find_function, function_names
from bakepy.errors import DefinitionError
from tests.support.bakefiles import one_target

RESULTS = [
    # numbers
    ("absolute(-1.5)", "1.5"),
    ("ceil(-1.5)", "-1"),
    ("ceil(-0)", "0"),
    ("floor(-0)", "0"),
    ("floor(-1.5)", "-2"),
    ("int(-1.5)", "-1"),
    ("log(8, 2)", "3"),
    ("pow(2, 0.5)", "1.4142135623730951"),
    ("pow(2, -0.5)", "0.7071067811865475"),
    ("pow(12.75, 3)", "2072.671875"),
    ("pow(8.25, 21)", "17600820730745321000"),
    ("log(4.84, 2.718281828459045)", "1.5769147207285403"),
    ("1e400 % 10", "0"),
    ("signum(-9223372036854775808)", "-1"),
    ("[5][-0]", "5"),
    ('try("first", ["x", "y"]...)', "first"),
    ("try([1, 2]...)", "1"),
    ("pow(-0, 3)", "-0"),
    ("max(1, 3, 2)", "3"),
    ("min(1, 3, 2)", "1"),
    ("modulo(-7, 3)", "-1"),
    ("negate(0)", "-0"),
    ('parseint("-fF", 16)', "-255"),
    ('parseint("Zz", 62)', "3817"),
    ("signum(-3)", "-1"),
    ('notequal(1, "1")', "true"),
    ("and(true, false)", "false"),
    ("divide(1, 4)", "0.25"),
    # strings
    ('chomp("a\\r\\n\\n")', "a"),
    ('indent(2, "a\\nb")', "a\n  b"),
    ('join("-", ["a"], ["b", 1])', "a-b-1"),
    ('upper("straße")', "STRAßE"),
    ('upper("ᾳ")', "ᾼ"),
    ('lower("İΣ")', "iσ"),
    ('convert(true ? null : "x", number) == null', "true"),
    ('title("a👨‍👩‍👧a ²a ²b _c-d")', "A👨‍👩‍👧a ²a ²b _c-D"),
    ('title("hello big-world it\'s x_y")', "Hello Big-World It'S X_y"),
    ('trim("xxaxx", "x")', "a"),
    ('trimspace("\\t a\\u00a0")', "a"),
    ('trimprefix("aab", "a")', "ab"),
    ('replace("1+1", "+", "-")', "1-1"),
    ('reverse("e\u0301x")', "xé"),
    ('strlen("👨\u200d👩\u200d👧")', "1"),
    ('strlen("a\\u200d❤")', "2"),
    ('strlen("\\u1100\\u200d❤")', "1"),
    ('strlen("e\\uFFFD\\u0301")', "3"),
    ('strlen("\\u0600a")', "1"),
    ('strlen("\\U0001F3F4\\U000E0067\\U000E007F")', "1"),
    ('strlen("\\u1038a\\u1038")', "3"),
    ('substr("hello", -3, 2)', "ll"),
    ('substr("hello", 1, -1)', "ello"),
    ('sanitize("a.b/c")', "a_b_c"),
    ('jsonencode(split("", "ab"))', '["a","b"]'),
    ('regex("([a-z])([0-9])?", "x")[1] == null', "true"),
    ('jsonencode(regex("(?P<n>[0-9]+)", "a12"))', '{"n":"12"}'),
    ('jsonencode(regexall("[a-z]", "a1b"))', '["a","b"]'),
    ('regex_replace("abc", "(b)", "[$1]$1W")', "a[b]c"),
    (
        'format("%s|%5.1f|%-4d|%04d|%x|%q|%v", "a", 1.25, 7, 42, 255, "q\\"", [1, "x"])',
        'a|  1.2|7   |0042|ff|"q\\""|[1,"x"]',
    ),
    ('format("%010s", "x")', "000000000x"),
    ('format("%v %v %v", 1000000, 0.00001, null)', "1e+06 1e-05 null"),
    ('format("%e %g %G", 12345.678, 0.5, 1e30)', "1.234568e+04 0.5 1E+30"),
    ('format("%[2]s%[1]s%%", "a", "b")', "ba%"),
    ('jsonencode(formatlist("%s-%s", ["a", "b"], "x"))', '["a-x","b-x"]'),
    # collections
    ("jsonencode(chunklist([1, 2, 3], 2))", "[[1,2],[3]]"),
    ('coalesce(null, "", "x")', ""),
    ("jsonencode(coalescelist([], [1]))", "[1]"),
    ('jsonencode(compact(["a", "", null]))', '["a"]'),
    ('jsonencode(concat([1], ["a"]))', '[1,"a"]'),
    ('contains(["1"], 1)', "false"),
    ('jsonencode(distinct([1, "1"]))', '["1"]'),
    ("element([1, 2, 3], 4)", "2"),
    ("jsonencode(flatten([1, [2, [3]]]))", "[1,2,3]"),
    ('hasindex(["a"], 1)', "false"),
    ('indexof(["a", "b"], "b")', "1"),
    ('indexof(distinct(["a", true ? null : "", "b"]), "b")', "2"),
    ('jsonencode(coalesce(distinct([1, 2]), setsubtract(["a"], ["a"])))', "[1,2]"),
    ('jsonencode(coalesce(null, [1], setunion(["2"], [])))', '["1"]'),
    ("jsonencode(keys({b = 1, a = 2}))", '["a","b"]'),
    ('lookup({a = 1}, "b", 5)', "5"),
    ('jsonencode(merge({a = 1}, {a = "x", b = 2}))', '{"a":"x","b":2}'),
    ("jsonencode(range(1.5))", "[0,1]"),
    ("jsonencode(range(-3))", "[0,-1,-2]"),
    ("jsonencode(range(4, 1))", "[4,3,2]"),
    ("jsonencode(reverselist([1, 2]))", "[2,1]"),
    ('jsonencode(setproduct([1], ["a", "b"]))', '[[1,"a"],[1,"b"]]'),
    ('jsonencode(setsubtract(["1", "2"], [1]))', '["2"]'),
    ('jsonencode(setunion(["b"], ["a", "b"]))', '["a","b"]'),
    ('sethaselement([1], "1")', "false"),
    ("jsonencode(slice([1, 2, 3], 1, 2))", "[2]"),
    ('jsonencode(sort(["b", "a"]))', '["a","b"]'),
    ("jsonencode(values({b = 1, a = 2}))", "[2,1]"),
    ('jsonencode(zipmap(["a"], [1]))', '{"a":1}'),
    # encodings
    ('base64decode(base64encode("é"))', "é"),
    ('basename("/a/b/")', "b"),
    ('dirname("a/b/")', "a/b"),
    ('jsonencode(csvdecode("a,b\\n1,\\"x,y\\"\\n"))', '[{"a":"1","b":"x,y"}]'),
    ('jsondecode("{\\"a\\": [1.50]}").a[0]', "1.5"),
    ('jsonencode("<&>")', '"\\u003c\\u0026\\u003e"'),
    ('md5("")', "d41d8cd98f00b204e9800998ecf8427e"),
    ('sha1("a")', "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"),
    ('urlencode("a b/é")', "a+b%2F%C3%A9"),
    ('uuidv5("dns", "www.terraform.io")', "a5008fae-b28c-5ba5-96cd-82b4c53552d6"),
    # networks
    ('cidrhost("10.12.127.0/20", -1)', "10.12.127.255"),
    ('cidrhost("::ffff:10.0.0.0/104", 0)', "10.0.0.0"),
    ('cidrhost("10.0.0.0/08", 1)', "10.0.0.1"),
    ('cidrsubnet("::ffff:10.0.0.0/104", 4, 3)', "10.48.0.0/12"),
    ('cidrnetmask("172.16.0.0/12")', "255.240.0.0"),
    ('cidrsubnet("fd00:fd12:3456:7890::/56", 16, 162)', "fd00:fd12:3456:7800:a200::/72"),
    ('jsonencode(cidrsubnets("10.1.0.0/16", 4, 4, 8))', '["10.1.0.0/20","10.1.16.0/20","10.1.32.0/24"]'),
    # times
    ('formatdate("DD MMM YYYY hh:mm ZZZ", "2018-01-02T23:12:01Z")', "02 Jan 2018 23:12 UTC"),
    ("formatdate(\"EEEE, 'it''s' H AA\", \"2018-01-02T23:12:01+01:30\")", "Tuesday, it's 11 PM"),
    ('formattimestamp("X", "1970-01-02T00:00:00Z")', "86400"),
    ('formattimestamp("YYYY-MM-DD", 86400)', "1970-01-02"),
    ('timeadd("2017-11-22T00:00:00Z", "1h30m0.5s")', "2017-11-22T01:30:00Z"),
    ("unixtimestampparse(0).weekday_name", "Thursday"),
    ("unixtimestampparse(1609459200).iso_week", "53"),
    # versions
    ('semvercmp("1.2.3", ">= 1.2, < 2")', "true"),
    ('semvercmp("1.3.0-rc1", ">= 1.2")', "false"),
    ('semvercmp("v1.3.0-rc1", ">= 1.2-0")', "true"),
    ('semvercmp("0.2.5", "^0.2.3")', "true"),
    ('semvercmp("1.9.9", "1.2 - 2")', "true"),
    ('semvercmp("2.0.0", "~1 || =2.x")', "true"),
    ('jsonencode(setunion([["a"], ["b", "c"]], [["a", "b"]]))', '[["a","b"],["a"],["b","c"]]'),
    ('try(true ? ["x", null, { a = 1 }] : distinct([true]), "no type")', "no type"),
    # control
    ('try(jsondecode("x"), "fallback")', "fallback"),
    ('can(1 / "x")', "false"),
    ('jsonencode(convert([1, "2"], list(string)))', '["1","2"]'),
]


@pytest.mark.parametrize(("expression", "expected"), RESULTS, ids=[each[0][:40] for each in RESULTS])
def test_functions(expression: str, expected: str) -> None:
    target = one_target(f'target "default" {{\n  args = {{ x = {expression} }}\n}}')
    assert target.args["x"] == expected


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("upper()", "upper() takes 1 argument, not 0"),
        ("upper(null)", "an argument of upper() can not be null"),
        ("length({})", "length(): a list, a set or a map is required, not an object"),
        ("parseint(1, 10)", "parseint(): the first argument must be a string, not a number"),
        ('parseint("9", 8)', "parseint(): '9' is no whole number in base 8"),
        ("range(2000)", "range(): more than 1024 numbers"),
        ("range(1, 5, -1)", "range(): the step leads away from the end"),
        ('format("%d", 1.5)', "format(): '%d': a whole number is required, not 1.5"),
        ('format("%s")', "format(): '%s' asks for argument 1, there are 0"),
        ('format("x", 1)', "format(): there are 1 arguments, the format uses 0"),
        ('regex("(", "x")', "regex(): the pattern can not be used: a group is not closed (at 2)"),
        ('regex("a", "b")', "regex(): the pattern matches no part of the text"),
        ('cidrhost("10.0.0.0/31", 2)', "cidrhost(): 10.0.0.0/31 has no host 2"),
        ('timeadd("x", "1h")', "timeadd(): 'x' is no time in RFC 3339 form"),
        ('formatdate("YYY", "2018-01-02T23:12:01Z")', "formatdate(): there is no verb 'YYY' in formats of times"),
        ('semvercmp("x", "1")', "semvercmp(): 'x' is no semantic version"),
        ('base64decode("%")', "base64decode(): this is no base64"),
        ('byteslen("x")', "byteslen(): bytes are required"),
        ('try(1 / "x")', "none of the expressions could be evaluated"),
        ("jsonencode(1 / 0)", "jsonencode(): infinity has no JSON form"),
        ("7 % (1 / 0)", "infinity and what is left of a division do not go together"),
        ("log(1e398, 2)", "log(): the number must be between -1.7976931348623157e+308 and 1.7976931348623157e+308"),
        ('substr("abc", 1 / 0, 1)', "substr(): a whole number is required, not +Inf"),
        ("can(1, 2)", "can() takes 1 argument, not 2"),
        ("can([1, 2]...)", "can() takes 1 argument, not 2"),
        ("try(1, null...)", "null can not be expanded to arguments"),
        ("[for x in [] : x if null]", "the condition is null"),
        (f'format("%{"9" * 5000}d", 1)', "more than 100000 characters"),
        (f'format("%[{"9" * 5000}]d", 1)', "asks for argument 999999999"),
        (f'timeadd("2024-01-01T00:00:00Z", "{"9" * 5000}h")', "is no duration that can be used"),
        (f'semvercmp("{"9" * 20}", "1")', "has a number of more than 19 digits"),
        (f'semvercmp("1", "{"9" * 5000}")', "semvercmp(): a text of more than 1000 characters"),
        ('bcrypt("x", 31)', "bcrypt(): a cost of 31 takes too long; at most 15 is allowed"),
        ('bcrypt("x", 32)', "bcrypt(): the cost must be between 4 and 31, not 32"),
        ("format(null)", "format(): the format can not be null"),
        ("formatlist(null, [1])", "formatlist(): the format can not be null"),
        ('setproduct(["a"])', "setproduct(): at least two arguments are required"),
    ],
)
def test_wrong_arguments_are_named(expression: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        one_target(f'target "default" {{\n  args = {{ x = {expression} }}\n}}')
    assert message in caught.value.what


def test_functions_of_text_that_is_no_utf_8() -> None:
    """Such text comes from the environment. Bytes stay what they are; where characters count, each byte is one that
    stands for such."""
    given = {"V": "a\udcff"}

    def result(expression: str) -> str:
        text = f'variable "V" {{}}\ntarget "default" {{\n  args = {{ r = {expression} }}\n}}\n'
        return str(one_target(text, env=given).args["r"])

    assert result("md5(V)") == hashlib.md5(b"a\xff").hexdigest()
    assert result("base64encode(V)") == "Yf8="
    assert result("urlencode(V)") == "a%FF"
    assert result("upper(V)") == "A\ufffd"
    assert result("title(V)") == "A\ufffd"
    assert result("jsonencode(V)") == '"a\\ufffd"'
    assert result('jsondecode("\\"${V}\\"")') == "a\ufffd"
    assert result('regex_replace(V, "\\uFFFD", "!")') == "a!"
    assert result('trim(V, "\\uFFFD")') == "a"
    assert result('regex(".$", V)') == "\udcff"


def test_every_name_has_its_function() -> None:
    for name in function_names():
        assert find_function(name) is not None, name
    assert len(_FAMILIES) == len(set(function_names())) == 106


def test_bcrypt_gives_a_hash_of_the_text() -> None:
    from bakepy.bakefile.functions.crypt import blowfish_hash

    hashed = blowfish_hash(b"secret", bytes(range(16)), 4)
    if hashed is None:
        pytest.skip("the C library has no bcrypt")
    assert hashed.startswith("$2a$04$")
    assert len(hashed) == 60
