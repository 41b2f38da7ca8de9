"""Patterns as ignore files, include and exclude lists and COPY wildcards read them."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakepy.model.patterns import BadPattern, MatchState, PatternMatcher, check_glob, clean, go_match, has_wildcards
from bakepy.model.wildcards import (
    ANYTHING,
    DIRECTORIES,
    FLAGS,
    NO_SLASH,
    STAR,
    Automaton,
    Part,
    literal,
    regex_of,
)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", ".hidden", True),
        ("*", "a/b", False),
        ("**", "a/b", False),
        ("a*/b", "a.x/b", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[^a-c]x", "dx", True),
        (r"[\]\-]x", "]x", True),
        (r"[\]\-]x", "-x", True),
        ("[z-a]", "m", False),
        ("[^z-a]", "m", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a.b", "axb", False),
        ("?", "é", True),
        ("x*", "x\n", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_go_match(pattern: str, name: str, expected: bool) -> None:
    assert go_match(pattern, name) is expected


@pytest.mark.parametrize("pattern", ["[", "a[", "[]", "[]a]", "[^]", "[a-]", "[-a]", "[a-b-c]", "a\\", "[a\\", "[a"])
def test_go_match_refuses_what_go_refuses(pattern: str) -> None:
    with pytest.raises(BadPattern, match="syntax error in pattern"):
        go_match(pattern, "anything")


def test_a_bad_pattern_says_what_to_write() -> None:
    with pytest.raises(BadPattern) as raised:
        PatternMatcher(["ok", "src/[a"])
    assert raised.value.render() == (
        "syntax error in pattern: \"src/[a\"\nhint: a '[' opens a set of characters that ']' must close"
    )


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (["a"], "a", True),
        (["a"], "a/b/c", True),
        (["a"], "ab", False),
        (["a/"], "a/b", True),
        (["./a"], "a", True),
        (["/a"], "a", False),
        (["*"], "a/b", True),
        (["*.go"], "x/y.go", False),
        (["**/*.go"], "y.go", True),
        (["**/*.go"], "x/z/y.go", True),
        (["**/y"], "xy", False),
        (["**y"], "a/xy", True),
        (["a/**"], "a", False),
        (["a/**"], "a/b/c", True),
        (["a**"], "ab/c", True),
        (["a/**/c"], "a/c", True),
        (["a/**/c"], "a/x/y/c", True),
        (["a/**/c"], "a/xc", False),
        (["**"], "anything/at/all", True),
        (["a", "!a/b"], "a/b", False),
        (["a", "!a/b"], "a/c", True),
        (["!a/b", "a"], "a/b", True),
        (["*", "!keep", "keep/not"], "keep/not/x", True),
        (["*", "!keep", "keep/not"], "keep/yes", False),
        ([" a "], "a", True),
        (["", "  "], "a", False),
        (["a(b)+.x"], "a(b)+.x", True),
        (["[ab]?"], "b1", True),
        ([r"\d"], "7", True),
        ([r"\#x"], "#x", True),
        (["[[:digit:]]*"], "7x", True),
        (["a\\*"], "a*", True),
        (["x?"], "x\udcff", True),
        (["a{2}*"], "aa", True),
        (["a{2}*"], "a{2}", False),
        (["a{2}"], "a{2}", True),
        (["a{1,2}?"], "aab", True),
        (["{{name}}/*.txt"], "{{name}}/x.txt", True),
        (["?{2,}"], "ab/c", True),
        (["a|b*"], "ax", True),
        (["a|b*"], "x/bx", True),
        (["x|y|z?"], "ayb", True),
        (["[a|b]?"], "|x", True),
        (["a{02}?"], "aa", False),
        (["[*]"], "[]", True),
        (["b*\\"], "bx$y", True),
        (["b*\\"], "bx\\", False),
        ([r"[\D]?"], "1x", False),
        ([r"[\W\S]?"], "xy", True),
        (["*"], "/a", True),
        (["/"], "/a", True),
        (["/"], "/a/b", False),
        (["**/a/**/b"], "x\n/a/c/a/b", False),
        (["?**/*/**/[ab]"], "\n/a\n//a", True),
        (["\x1fa"], "a", False),
        (["\ufeff**"], "b*", False),
        (["\ufeff**/a"], "x/a", False),
    ],
)
def test_matching(patterns: list[str], path: str, expected: bool) -> None:
    assert PatternMatcher(patterns).matches(path) is expected


@pytest.mark.parametrize("pattern", ["!", "!/", "!\r"])
def test_an_exception_of_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern, match='illegal exclusion pattern: "!"'):
        PatternMatcher([pattern])


@pytest.mark.parametrize("pattern", ["\\é", "a\\\xa0*", "[\\é]"])
def test_a_backslash_before_other_letters_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern, match="syntax error in pattern"):
        PatternMatcher([pattern])


def test_a_walk_remembers_what_matched_above_only_as_far_as_it_was_asked() -> None:
    """`!a` is not asked about `a`, which nothing had matched, so below it does not count: unlike for a lone path."""
    matcher = PatternMatcher(["a/b/c", "!a"])
    state: MatchState = None
    for path in ("a", "a/b", "a/b/c"):
        matched, state = matcher.match(path, state)
    assert matched
    assert not matcher.matches("a/b/c")


@pytest.mark.parametrize(
    ("patterns", "directory", "below", "excepted"),
    [
        (["a/b/c"], "a", True, False),
        (["a/b/c"], "a/b", True, False),
        (["a/b/c"], "a/x", False, False),
        (["a/b/c"], "b", False, False),
        (["*/x"], "q", True, False),
        (["*/x"], "q/r", False, False),
        (["a/**/x"], "a/b/c/d", True, False),
        (["a/**/x"], "b", False, False),
        (["**/x"], "any/where", True, False),
        (["[ab]/x"], "q", True, False),
        (["a", "!a/b/c"], "a", False, True),
        (["a", "!a/b/c"], "a/c", False, False),
        (["x/a|b*/c"], "q/bx", True, False),
        (["a{2}*/x"], "aa", True, False),
    ],
)
def test_which_directories_a_walk_must_enter(patterns: list[str], directory: str, below: bool, excepted: bool) -> None:
    matcher = PatternMatcher(patterns)
    assert matcher.may_match_below(directory) is below
    assert matcher.may_except_below(directory) is excepted


def test_cleaning() -> None:
    assert [clean(path) for path in ("", "a//b/", "./a", "//a", "/../a", "../a", "a/../b")] == [
        ".",
        "a/b",
        "a",
        "/a",
        "/a",
        "../a",
        "b",
    ]


def test_what_counts_as_a_wildcard() -> None:
    assert [text for text in ("a", "a*", "?", "[x]", r"a\*", r"\\*", "a]") if has_wildcards(text)] == [
        "a*",
        "?",
        "[x]",
        r"\\*",
    ]


# A straightforward reference: one pattern at a time, one path at a time, by recursion over components.

NAMES = st.sampled_from(["a", "b", "ab", "c.x", ".h"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PIECES = st.sampled_from(["a", "b", "ab", "*", "a*", "?", "*.x", "**", "[ab]", "c.x"])
PATTERNS = st.lists(
    st.tuples(st.sampled_from(["", "", "!"]), st.lists(PIECES, min_size=1, max_size=4).map("/".join)).map("".join),
    min_size=1,
    max_size=5,
)


def reference_match(pattern: list[str], path: list[str], start: bool = True) -> bool:
    if not pattern:
        return not path
    head, rest = pattern[0], pattern[1:]
    if head == "**" and not rest:
        return bool(path) or start
    if head == "**":
        return any(reference_match(rest, path[skip:], False) for skip in range(len(path)))
    return bool(path) and fnmatch.fnmatchcase(path[0], head) and reference_match(rest, path[1:], False)


def reference_judgement(patterns: list[str], path: str, memory: dict[str, list[bool]]) -> bool:
    """The walk's rule, spelled out per pattern; `memory` holds what matched each directory already asked about."""
    above = memory.get(path.rpartition("/")[0])
    matched = False
    found_by = []
    for index, pattern in enumerate(patterns):
        exception = pattern.startswith("!")
        found = bool(above and above[index])
        if not found and exception == matched:
            found = reference_match(pattern.removeprefix("!").split("/"), path.split("/"))
        found_by.append(found)
        if found:
            matched = not exception
    memory[path] = found_by
    return matched


@settings(max_examples=400)
@given(PATTERNS, PATHS)
def test_a_walk_agrees_with_the_reference(patterns: list[str], path: str) -> None:
    matcher = PatternMatcher(patterns)
    state: MatchState = None
    memory: dict[str, list[bool]] = {}
    parts = path.split("/")
    prunable = ""
    for depth in range(1, len(parts) + 1):
        current = "/".join(parts[:depth])
        matched, state = matcher.match(current, state)
        assert matched == reference_judgement(patterns, current, memory), current
        if prunable:
            assert matched == (prunable == "excluded"), "a pruned directory held something different"
        elif matched and not matcher.may_except_below(current):
            prunable = "excluded"
        elif not matched and not matcher.may_match_below(current):
            prunable = "not included"


@settings(max_examples=200)
@given(st.lists(PIECES.filter(lambda piece: piece != "**"), min_size=1, max_size=4).map("/".join), PATHS)
def test_go_match_agrees_with_the_reference(pattern: str, path: str) -> None:
    assert go_match(pattern, path) == reference_match(pattern.split("/"), path.split("/"))


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*a" * 30 + "b", "a" * 3000, False),
        ("*a" * 30 + "b", "a" * 3000 + "b", True),
        ("**/" * 200 + "b", "a/" * 500 + "c", False),
        ("**/" * 200 + "b", "a/" * 500 + "b", True),
        ("*?a*?b*", "xaxb", True),
        ("*a?*b?c*d", "aaxxbxc/d", False),
        ("*a?*b?c*d", "aaxbxbycd", True),
        ("*[a]" * 20 + "b", "a" * 300, False),
        ("*[^x]" * 20 + "b", "a" * 300 + "b", True),
        ("**/a/" * 20 + "b", "a/" * 60 + "c", False),
        ("**/a/" * 20 + "b", "a/" * 60 + "b", True),
        ("**/*a" * 20 + "b", "a/a" * 60, False),
        ("a**" * 20 + "b", "a/" * 60 + "b", True),
        ("*a{1,3}" * 20 + "b", "a" * 200, False),
        ("a{0,1000}" * 10 + "?b", "a" * 2000, False),
        ("*a*/" * 20 + "b", "aaaa/" * 20 + "b", True),
    ],
    ids=lambda value: str(value)[:12],
)
def test_patterns_of_many_stars_are_soon_decided(pattern: str, path: str, matches: bool) -> None:
    assert PatternMatcher([pattern]).matches(path) is matches
    assert PatternMatcher([pattern]).may_match_below(path) in (True, False)
    if "**" not in pattern and "{" not in pattern:
        assert go_match(pattern, path) is matches


@pytest.mark.parametrize(
    "pattern",
    [
        "*{2}",
        "a**{2}",
        "a{2}{3}?",
        "a{1001}?",
        "a{2,1}?",
        "a|{2}?",
        "b*[",
        r"[a-\+]x*",
        r"[a-\d]*",
        r"*[^x]*[^x]*\b",
        "*[^x]*[^x]*" + "a{1000}" * 30,
    ],
)
def test_a_pattern_that_can_not_be_compared_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        PatternMatcher([pattern])


@pytest.mark.parametrize(
    ("pattern", "judged"), [("*[", False), ("a[", False), ("*.[", False), ("b*[", True), ("?*b*\\", True)]
)
def test_patterns_are_judged_as_far_as_they_match_a_dot(pattern: str, judged: bool) -> None:
    if judged:
        check_glob(pattern)
    else:
        with pytest.raises(BadPattern):
            check_glob(pattern)


PARTS = [
    STAR, DIRECTORIES, ANYTHING, NO_SLASH, *map(literal, "aa//b"), Part("[a-b]"), Part("[^a]"), Part("a", 2, 2),
    Part("a", 1, 2), Part("a", 0, None), Part("[^/]", 2, 2),
]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=9), st.text("aab//\nc", max_size=12))
def test_automata_and_settled_expressions_find_what_trying_everything_finds(parts: list[Part], text: str) -> None:
    expected = re.fullmatch("".join(part.regex for part in parts), text, FLAGS) is not None
    assert (Automaton(parts).fullmatch(text) is not None) is expected
    settled = regex_of(parts)
    if settled is not None and ("\n" not in text or parts.count(DIRECTORIES) < 2):
        assert (re.fullmatch(settled, text, FLAGS) is not None) is expected


def test_a_byte_order_mark_before_a_pattern_with_wildcards_is_no_part_of_it() -> None:
    assert [PatternMatcher([pattern]).matches("b") for pattern in ("\ufeff[a-c]", "\ufeff?", "\ufeffb")] == [
        True,
        True,
        False,
    ]
