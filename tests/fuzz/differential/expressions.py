"""Random expressions of the bake language: every form, every function, arguments at the edges of what they take.

An expression is made for a kind of value (`s` string, `n` number, `b` bool, `l` list of anything, `ls`, `ln` lists of
strings and numbers, `m` map or object, `t` set, `a` anything); now and then one of another kind is put in its place.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

HEADER = """
g_null = null
g_bool = true
g_text = "Tëxt a-b_c.D/é"
g_number = 12.75
g_list = ["b", "a", "c", "a"]
g_mixed = [1, "two", true, null, [3], { k = "v" }]
g_object = { name = "x", "b" = 2, n = null, deep = { list = [1, 2, 3], o = { p = "q" } } }
g_objects = [{ id = "a", n = 1 }, { id = "b", n = 2, extra = true }, { id = "c", n = 3 }]
g_numbers = [3, 1.5, -2, 0]
variable "v_list" {
  type = list(string)
  default = ["x", "y", "z"]
}
variable "v_numbers" {
  type = list(number)
  default = [5, 7.5, -1]
}
variable "v_set" {
  type = set(string)
  default = ["q", "p", "q"]
}
variable "v_map" {
  type = map(string)
  default = { two = "2", one = "1" }
}
variable "v_maps" {
  type = map(object({ a = number, b = optional(list(string)) }))
  default = { k = { a = 1 }, l = { a = 2, b = ["x"] } }
}
variable "v_tuple" {
  type = tuple([string, number, bool])
  default = ["t", 1, false]
}
variable "v_object" {
  type = object({ s = string, n = optional(number), l = list(number) })
  default = { s = "text", l = [1, 2] }
}
variable "v_any" {
  type = any
  default = { x = [1, "y"] }
}
function "f_add" {
  params = [a, b]
  result = a + b
}
function "f_text" {
  params = [s]
  variadic_params = more
  result = "${s}:${join("+", more)}"
}
function "f_same" {
  params = [x]
  result = x
}
"""

STRINGS = [
    "", "a", "A b", "ß", "é", "e\u0301x", "日本語", "👨‍👩‍👧a", "1", "-1", "1.5", "1e3", "0x10", "true", "false", "True", "null",
    " x ", "a,b", "a\nb", "a\r\nb\r\n", "\t", "${x}", "%{if}", "<>&", "\u2028", "a/b/c.txt", "/", "..", "x-y_z.w", "İI",
    "ﬁ", "ǆ", "\u00a0z\u00a0", "Hello, World", "foo bar-baz_qux's", "aaa", "abcabc", "-0", "007", "+5", "inf", "NaN", "1_000",
    "🇩🇪🇫🇷", "\\", "\"q\"", "'", "#x", "%d", "$1", "a=b;c=d", "k v", "~", "line1\nline2\n", "\u0130", "ΑΣ", "\x7f", ".5", "5.", "1e400",
]  # fmt: skip
NUMBERS = [
    "0", "1", "-1", "2", "3", "4", "5", "10", "1.5", "-1.5", "0.1", "0.5", "2.5", "1e3", "1e-3", "255", "256", "1024", "1e400",
    "9007199254740993", "18446744073709551616", "(1/3)", "(-0)", "(0.1+0.2)", "-2.5", "1e-400", "36", "37", "62", "63", "(2/3)",
    "9223372036854775807", "-9223372036854775808", "123456789.987654321", "(1/0)", "1E5", "7", "16", "100",
]  # fmt: skip
PATTERNS = [
    "a", "[a-z]+", "(a)(b)?", "(?P<x>a)(?P<y>z)?", "^", "$", "", "\\d+", "\\w", "(", "[", "a{2}", "a*?", "(?i)A", "\\bfoo\\b", "(a|b)*c",
    "[[:alpha:]]", "\\p{L}", "\\pN+", ".", "(?s).", "x*", "(?:a)(b)", "\\Q.\\E", "[^a]", "(?P<n>.)", "(?<n>.)", "a|b|", "\\x{41}", "(?m)^l",
    "\\1", "(?=a)", "a{1001}", "(.)(.)", "([a-z])([A-Z])?", "\\s", "[\\d-]", "(a+)+$", "(?U)a+", "\\z", "é", "[é-ü]", "(?i)ß", "\\C",
]  # fmt: skip
REPLACEMENTS = ["", "x", "$1", "${1}", "$x", "${x}", "$0", "$$", "$1W", "${y}-${x}", "\\1", "$", "${", "$9", "$n$n"]
FORMATS = [
    "%s", "%d", "%v", "%#v", "%q", "%t", "%x", "%X", "%o", "%b", "%e", "%E", "%f", "%g", "%G", "%5d", "%-5s|", "%05d", "%+d", "% d", "%.2f",
    "%8.3f", "%.3s", "%010s", "%[1]s %[1]s", "%[2]s%[1]s", "%%", "%", "%z", "a%sb%dc", "%*d", "%s %s", "%5t", "%-10v|", "%.0f", "%.10g", "%#x",
    "%5%", "%[3]d", "%s%", "%5q", "%.1q", "%.5d", "%-05d", "%+.1e", "%x%X", "%[0]s", "%[1]", "%6.2v|", "%.2v", "%+v", "%#q",
]  # fmt: skip
TIMES = [
    "2024-01-02T03:04:05Z", "2024-02-29T23:59:59+02:00", "1999-12-31T00:00:00-11:30", "2024-1-02T03:04:05Z", "2024-01-02", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z", "2023-02-29T00:00:00Z", "2024-01-02T03:04:05.678Z", "2024-01-02t03:04:05z", "2024-01-02T24:00:00Z", "2024-01-02T03:04:60Z",
    "2024-06-15T13:07:09Z", "2024-01-02 03:04:05Z", "2024-01-02T03:04:05", "2024-01-02T03:04:05+0200", "2024-12-30T12:00:00+14:00", "2024-01-02T03:04:05.Z",
]  # fmt: skip
DATE_FORMATS = [
    "YYYY-MM-DD", "YY", "M", "MMM", "MMMM", "D", "DD", "EEE", "EEEE", "h:mm aa", "hh", "H", "HH:mm:ss", "AA", "m", "s", "Z", "ZZZ", "ZZZZ", "ZZZZZ",
    "'quoted' YYYY", "''", "'", "YYY", "'a''b'", "E", "x", "YYYY [x]", "DDD", "hhh", "S", "ssss", "", "é-YYYY", "X", "a", "A", "d", "EEEEE", "MMMMM",
]  # fmt: skip
DURATIONS = [
    "1h",
    "-1h30m",
    "1.5h",
    "10ms",
    "1d",
    "",
    "0",
    "1h1h",
    "-5m10s",
    "100000h",
    "1us",
    "1µs",
    "3000000h",
    "+1h",
    ".5s",
    "1",
    "h",
    "1ns",
    "- 1h",
]
CIDRS = [
    "10.0.0.0/8", "192.168.1.5/24", "fd00::/8", "2001:db8::1/64", "10.0.0.0/33", "10.0.0.0", "::/0", "0.0.0.0/0", "10.1.2.3/32", "::1/128", "010.0.0.0/8",
    "::ffff:10.0.0.0/104", "300.0.0.0/8", "10.0.0/8", "fe80::1%eth0/64", "10.0.0.0/08", "1:2:3:4:5:6:7:8/16",
]  # fmt: skip
VERSIONS = [
    "1.2.3",
    "v1.2",
    "1",
    "1.2.3-rc.1",
    "1.2.3+meta",
    "2.0.0",
    "0.1.0",
    "1.02.3",
    "v",
    "",
    "1.2.3.4",
    "1.2.3-beta",
    "10.20.30",
    " 1.2.3",
    "1.2.x",
    "1.2-beta",
]
CONSTRAINTS = [
    ">= 1.2", "~1.2.3", "^1.2", "1.x", "*", "!= 1.2.3", ">1, <2", ">=1 <2 || 3", "~> 1.2", "= 1.2.3", "1.2.3 - 2.0", ">=1.2.3-0", "", "^0.1", "~1", "=>1",
    "^0", "^0.0.1", "> 1.2.3-beta", "<=v1.2", "x", "1.2 || ^2", ">1.x", "!=1.x", "~0", "^1.x", "<1.2.3-rc.2", "a", "1.2 - 1", ">1 - 2", "^1.2.3-beta", "~1.2.3-beta", "1.2.X",
]  # fmt: skip
JSONS = [
    "{}", "[]", '{"a":1,"b":[true,null,"x"]}', "[1,2.5,1e3]", "null", '"x"', "{", "[1,]", ' {"a" : {"b":1} } ', '{"a":1,"a":2}', "1 2", "tru", '"\\ud83d\\ude00"', '"\\ud800"', "-0", "01", "1e400",
    '{"é":"e\u0301"}', "", "[[],{}]", '"\\u0000"', "// c\n1", "[1 2]", '{"a"}', '"\t"', "1.0", "1E+2", "[1.50]",
]  # fmt: skip
CSVS = [
    "a,b\n1,2\n3,4",
    "a\n",
    "a,a\n1,2",
    "",
    "a,b\n1",
    'a,b\n"x,y","q""r"',
    "a\r\n1\r\n",
    "a,b\n\n1,2\n",
    "\na\n1",
    'a\n"',
    'a\nx"y',
    "a, b\n1, 2",
    "é\n1",
    ",\n1,2",
    'a\n"x\ny"\n',
]
BASE64 = [
    "YQ==",
    "YWJj",
    "YQ",
    "=",
    "",
    "8J+YgA==",
    "8J-YgA==",
    "/w==",
    "YQ==\n",
    "Y Q==",
    "YW\nJj",
    "YR==",
    "YQ===",
    "4pyT",
]
PATHS = ["a/b/c", "/", "", ".", "a//b/", "../x", "/a", "a/", "//", "a/.", "C:\\x", "a/b/.."]
INDENTS = ["a\nb", "a\n\nb\n", "", "\n", " a\n  b", "a\r\nb"]
NAMES = ["a", "name", "b", "one", "two", "x", "k", "id", "n", "s", "zzz", "deep", "", "0"]

SIGNATURES: dict[str, str] = {
    "absolute": "n", "add": "n n", "and": "b b", "base64decode": "base64", "base64encode": "s", "basename": "path",
    "byteslen": "s", "bytesslice": "s n n", "can": "a", "ceil": "n", "chomp": "s", "chunklist": "l n",
    "cidrhost": "cidr n", "cidrnetmask": "cidr", "cidrsubnet": "cidr n n", "cidrsubnets": "cidr n*", "coalesce": "a a*",
    "coalescelist": "l l*", "compact": "ls", "concat": "l l*", "contains": "l a", "csvdecode": "csv", "dirname": "path",
    "distinct": "l", "divide": "n n", "element": "l n", "equal": "a a", "flatten": "l", "floor": "n",
    "format": "format a*", "formatdate": "date time", "formatlist": "format a*",
    "greaterthan": "n n", "greaterthanorequalto": "n n", "hasindex": "c key", "homedir": "", "indent": "n indent",
    "index": "c key", "indexof": "l a", "int": "n", "join": "s ls*", "jsondecode": "json", "jsonencode": "a", "keys": "m",
    "length": "c", "lessthan": "n n", "lessthanorequalto": "n n", "log": "n n", "lookup": "m name a", "lower": "s",
    "max": "n n*", "md5": "s", "merge": "m m*", "min": "n n*", "modulo": "n n", "multiply": "n n", "negate": "n", "not": "b",
    "notequal": "a a", "or": "b b", "parseint": "s n", "pow": "n n", "range": "n n*", "regex": "pattern s",
    "regex_replace": "s pattern replacement", "regexall": "pattern s", "replace": "s s s", "reverse": "s",
    "reverselist": "l", "sanitize": "s", "sethaselement": "t a", "setintersection": "t t*",
    "setproduct": "l l*", "setsubtract": "t t", "setsymmetricdifference": "t t*", "setunion": "t t*", "sha1": "s",
    "sha256": "s", "sha512": "s", "signum": "n", "slice": "l n n", "sort": "ls", "split": "s s", "strlen": "s",
    "substr": "s n n", "subtract": "n n", "timeadd": "time duration", "title": "s", "trim": "s s", "trimprefix": "s s",
    "trimspace": "s", "trimsuffix": "s s", "try": "a a*", "upper": "s", "urlencode": "s",
    "uuidv5": "uuid s", "values": "m", "zipmap": "ls l", "f_add": "n n", "f_text": "s s*", "f_same": "a",
    "convert": "a type",
}  # fmt: skip
RESULTS: dict[str, list[str]] = {
    "s": ["base64encode", "basename", "chomp", "cidrhost", "dirname", "format", "formatdate", "indent", "join", "jsonencode",
          "lower", "md5", "regex_replace", "replace", "reverse", "sanitize", "substr", "timeadd", "title", "trim", "trimprefix",
          "trimspace", "trimsuffix", "upper", "urlencode", "f_text"],
    "n": ["absolute", "add", "ceil", "divide", "floor", "index", "indexof", "int", "length", "log", "max", "min", "modulo",
          "multiply", "negate", "parseint", "pow", "signum", "strlen", "subtract", "f_add"],
    "b": ["and", "can", "contains", "equal", "greaterthan", "hasindex", "lessthan", "not", "notequal", "or",
          "sethaselement"],
    "l": ["chunklist", "coalescelist", "concat", "csvdecode", "distinct", "flatten", "range", "regexall", "reverselist", "slice",
          "split", "values", "formatlist", "setproduct", "keys", "sort", "compact"],
    "m": ["merge", "zipmap", "jsondecode"],
    "t": ["setunion", "setintersection", "setsubtract", "setsymmetricdifference"],
    "a": ["try", "coalesce", "element", "lookup", "index", "jsondecode", "regex", "f_same", "convert"],
}  # fmt: skip
POOLS: dict[str, list[str]] = {
    "pattern": PATTERNS, "replacement": REPLACEMENTS, "format": FORMATS, "time": TIMES, "date": DATE_FORMATS, "duration": DURATIONS,
    "cidr": CIDRS, "version": VERSIONS, "constraint": CONSTRAINTS, "json": JSONS, "csv": CSVS, "base64": BASE64, "path": PATHS,
    "indent": INDENTS, "name": NAMES, "uuid": ["dns", "url", "oid", "x500", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "x", ""],
}  # fmt: skip
TYPES = [
    "list(any)",
    "set(any)",
    "map(any)",
    "any",
    "list(list(any))",
    "tuple([any, any])",
    "object({ a = any })",
    "object({ name = any, n = optional(any) })",
]


def quoted(text: str) -> str:
    """A string literal."""
    escaped = json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f").replace("\u2028", "\\u2028")
    return escaped.replace("${", "$${").replace("%{", "%%{")


class Expressions:
    """Makes expressions; the same seed makes the same ones."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def pick(self, *forms: Callable[[], str]) -> str:
        return self.random.choice(forms)()

    def any(self, depth: int = 3) -> str:
        return self.make(self.random.choice("snblmtaaa"), depth)

    def call(self, name: str, depth: int = 2) -> str:
        """A call of `name`, mostly with arguments that fit."""
        kinds = SIGNATURES[name].split()
        given: list[str] = []
        for kind in kinds:
            for _ in range(self.random.choice((0, 1, 1, 2, 3)) if kind.endswith("*") else 1):
                given.append(self.argument(kind.rstrip("*"), depth - 1))
        chance = self.random.random()
        if chance < 0.03 and given:
            given.pop()
        elif chance < 0.06:
            given.append(self.any(1))
        elif chance < 0.1 and given:
            given[-1] = self.make("l", 1) + "..."
        return f"{name}({', '.join(given)})"

    def argument(self, kind: str, depth: int) -> str:
        if kind == "type":
            return self.random.choice(TYPES)
        if self.random.random() < 0.06:
            return self.any(depth)
        if kind in POOLS:
            return quoted(self.random.choice(POOLS[kind])) if self.random.random() < 0.95 else self.make("s", depth)
        if kind == "key":
            return self.random.choice([self.make("n", 0), quoted(self.random.choice(NAMES)), self.make("a", 0)])
        return self.make({"c": self.random.choice(["l", "l", "m", "t", "s"])}.get(kind, kind), depth)

    def make(self, kind: str, depth: int) -> str:
        """An expression of a kind."""
        random = self.random
        if depth <= 0 or random.random() < 0.25:
            return self.simple(kind)
        base = {"ls": "l", "ln": "l"}.get(kind, kind)
        forms = ["call"] * 5 + ["form"] * 5
        if random.choice(forms) == "call":
            return self.call(random.choice(RESULTS[base]), depth)
        return self.form(base, depth - 1)

    def simple(self, kind: str) -> str:
        random = self.random
        match kind:
            case "s":
                return random.choice([quoted(random.choice(STRINGS))] * 6 + ["g_text", "v_object.s", "g_list[0]"])
            case "n":
                return random.choice([random.choice(NUMBERS)] * 6 + ["g_number", "v_numbers[1]", '"5"', "v_object.n"])
            case "b":
                return random.choice(["true", "false", "g_bool", '"true"', "!g_bool", "null", '"1"'])
            case "ls":
                return random.choice(
                    [
                        "g_list",
                        "v_list",
                        "[]",
                        '["c", "b", "", "a"]',
                        '["x"]',
                        "v_set",
                        '["é", "Z", "z"]',
                        '[1, "a"]',
                        '["a", null]',
                    ]
                )
            case "ln":
                return random.choice(["g_numbers", "v_numbers", "[]", "[2, 1]", '["1", 2]', "[null]"])
            case "l":
                return random.choice([
                    "g_list", "v_list", "v_numbers", "g_mixed", "v_tuple", "g_objects", "[]", "[1]", '["a", "b"]', "[[1, 2], [3]]", "[true, false]",
                    '[1, "a"]', "[null]", "[[]]", '[["a"], []]', "[{a=1}, {a=2}]", '[{a=1}, {a="x"}]', "g_object.deep.list", '[1, "1"]', "[1.0, 1]", "v_set",
                ])  # fmt: skip
            case "m":
                return random.choice([
                    "g_object", "v_map", "v_object", "v_maps", "{}", "{ a = 1 }", '{ a = "x", b = "y" }', "g_object.deep", "{ a = null }", '{ "b c" = [1] }', "v_any",
                    "{ a = 1, b = true }", "{ 1 = 2 }", '{ "é" = 1, "e\u0301" = 2 }', "{ (g_text) = g_number }",
                ])  # fmt: skip
            case "t":
                return random.choice(
                    [
                        "v_set",
                        "v_set",
                        "[1, 2]",
                        '["p"]',
                        "[]",
                        'setunion(["a"], ["b"])',
                        "v_list",
                        "[[1], [2]]",
                        '[1, "1"]',
                        "[true]",
                        "[null]",
                    ]
                )
            case _:
                return random.choice(["null", "g_null", "v_any", self.simple(random.choice("snblmt"))])

    def form(self, kind: str, depth: int) -> str:
        """An operator, a template, a for, an index…"""
        random, make = self.random, self.make
        match kind:
            case "s":
                return self.pick(
                    lambda: '"' + "".join(self.piece(depth) for _ in range(random.randint(1, 3))) + '"',
                    lambda: f'"${{{make("a", depth)}}}"',
                    lambda: f"({make('b', depth)} ? {make('s', depth)} : {make('s', depth)})",
                    lambda: f"{make('m', 0)}[{quoted(random.choice(NAMES))}]",
                    lambda: f"[for x in {make('ls', depth)} : upper(x)][0]",
                )
            case "n":
                operator = random.choice("+-*/%")
                return self.pick(
                    lambda: f"({make('n', depth)} {operator} {make('n', depth)})",
                    lambda: f"-{make('n', 0)}",
                    lambda: f"({make('b', depth)} ? {make('n', depth)} : {make('a', depth)})",
                    lambda: f"{make('ln', 0)}[{make('n', 0)}]",
                )
            case "b":
                order, logic, equal = (
                    random.choice(["<", ">", "<=", ">="]),
                    random.choice(["&&", "||"]),
                    random.choice(["==", "!="]),
                )
                return self.pick(
                    lambda: f"({make('n', depth)} {order} {make('n', depth)})",
                    lambda: f"({make('a', depth)} {equal} {make('a', depth)})",
                    lambda: f"({make('b', depth)} {logic} {make('b', depth)})",
                    lambda: f"!{make('b', 0)}",
                )
            case "l" | "t":
                return self.pick(
                    lambda: (
                        "[" + ", ".join(make(random.choice("snba"), depth) for _ in range(random.randint(0, 3))) + "]"
                    ),
                    lambda: (
                        f"[for x in {make(random.choice('lmt'), depth)} : {random.choice(['x', 'x == null', '[x]', 'try(x + 1, x)', '{v = x}'])}]"
                    ),
                    lambda: (
                        f"[for k, x in {make(random.choice('lmt'), depth)} : {random.choice(['k', '[k, x]', 'try(upper(k), k)'])} if {random.choice(['true', 'x != null', 'k != 0', 'null'])}]"
                    ),
                    lambda: f"{make('l', 0)}[*]" + random.choice(["", ".id", ".n", "[0]"]),
                    lambda: (
                        f"{random.choice(['g_objects', 'g_object', 'v_list', 'g_null', 'v_any', 'v_set'])}.*"
                        + random.choice(["", ".id", ".n", ".zz"])
                    ),
                    lambda: f"({make('b', depth)} ? {make('l', depth)} : {make('l', depth)})",
                )
            case "m":
                return self.pick(
                    lambda: (
                        "{ "
                        + ", ".join(
                            f"{random.choice(['a', 'b', '(g_text)', quoted('k k')])} {random.choice('=:')} {make('a', depth)}"
                            for _ in range(random.randint(0, 3))
                        )
                        + " }"
                    ),
                    lambda: (
                        f"{{ for k, x in {make(random.choice('lmt'), depth)} : {random.choice(['k', 'x', 'upper(k)', '1'])} => {random.choice(['x', 'k', '[x]'])}{random.choice(['', '...'])} }}"
                    ),
                    lambda: f"({make('b', depth)} ? {make('m', depth)} : {make('m', depth)})",
                )
            case _:
                return self.pick(
                    lambda: f"{make('l', 0)}[{make('n', 0)}]",
                    lambda: f"{make('m', 0)}.{random.choice([each for each in NAMES if each.isalpha()])}",
                    lambda: f"{make('m', 0)}[{make('s', 0)}]",
                    lambda: f"g_list.{random.choice('0159')}",
                    lambda: f"({make('b', depth)} ? {make('a', depth)} : {make('a', depth)})",
                    lambda: make(random.choice("snblmt"), depth),
                )

    def piece(self, depth: int) -> str:
        """A part of a template."""
        random = self.random
        strip = random.choice(["", "", "", "~"])
        return self.pick(
            lambda: quoted(random.choice(STRINGS))[1:-1],
            lambda: f"${{{strip} {self.make(random.choice('snb'), depth)} {strip}}}",
            lambda: f" %{{{strip} if {self.make('b', depth)} }} y %{{ else {strip}}} n %{{ endif {strip}}} ",
            lambda: f" %{{ for x in {self.make('ls', depth)} {strip}}} [${{x}}] %{{{strip} endfor }} ",
            lambda: f"%{{ for k, x in {self.make('m', depth)} }}${{k}}=${{try(x + 0, k)}};%{{ endfor }}",
        )


def file_of(expressions: list[str], *, whole: bool) -> str:
    """A bake file that prints each expression's value as an argument; failures print ERR unless `whole`."""
    lines = []
    for position, each in enumerate(expressions):
        wrapped = (f"jsonencode({each})", f'"${{{each}}}"')[position % 4 == 3]
        lines.append(f"    e{position} = " + (wrapped if whole else f'try({wrapped}, "ERR")') + "\n")
    return f'{HEADER}\ntarget "default" {{\n  args = {{\n{"".join(lines)}  }}\n}}\n'


def expressions(random: Random, count: int) -> list[str]:
    """Half of them call one function after the other, the others are anything."""
    make = Expressions(random)
    names = sorted(SIGNATURES)
    return [make.call(random.choice(names), 2) if position % 2 else make.any(3) for position in range(count)]
