"""Patterns have RE2's syntax and its speed."""

from __future__ import annotations

import unicodedata

import pytest

from bakepy.bakefile.functions.re2 import compile_pattern
from bakepy.bakefile.functions.re2.characters import CASED, INHABITED, property_ranges
from bakepy.bakefile.functions.re2.pattern import PatternError


def found(pattern: str, text: str) -> list[str]:
    return [text[whole[0] : whole[1]] for spans in compile_pattern(pattern).find_all(text) if (whole := spans[0])]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a|ab", "ab", ["a"]),
        ("(?i)É", "é", ["é"]),
        ("(?i)σ+", "σςΣ", ["σςΣ"]),
        ("(?i)[k\u017f]+", "kK\u212aSs\u017f", ["kK\u212aSs\u017f"]),
        ("(?i)[\\x{2000}-\\x{FFFF}]+", "k\u212a", ["k\u212a"]),
        ("(?i)[\u0130\u0131]", "iI\u0131", ["\u0131"]),
        ("(?i)\\p{Lu}+", "aB\u01c5ß\u1e9e1", ["aB\u01c5ß\u1e9e"]),
        ("a(?i)b|C", "aB c", ["aB", "c"]),
        (r"\pL+", "aé1", ["aé"]),
        (r"\p{Greek}+", "aβγ", ["βγ"]),
        ("[[:digit:]x-z]+", "1y a", ["1y"]),
        (r"\Qa.b\E+", "a.bb", ["a.bb"]),
        (r"\x41\x{1F600}", "A😀", ["A😀"]),
        ("(?U)a+", "aaa", ["a", "a", "a"]),
        ("a{,2}", "a{,2}", ["a{,2}"]),
        ("(?m)^b$", "a\nb", ["b"]),
        ("b$", "b\n", []),
        ("x*", "axb", ["", "x", ""]),
        ("[]a]+", "]a", ["]a"]),
        (r"\s", "\v", []),
    ],
)
def test_matches(pattern: str, text: str, expected: list[str]) -> None:
    assert found(pattern, text) == expected


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("a**", "a repetition of a repetition (at 4)"),
        ("a*+", "a repetition of a repetition (at 4)"),
        ("(a", "a group is not closed (at 3)"),
        ("a)", "unexpected ')' (at 2)"),
        ("[a", "'[' is not closed (at 1)"),
        ("[b-a]", "a range of characters goes backwards (at 5)"),
        (r"(a)\1", "there are no references back to groups (at 6)"),
        ("(?=a)", "'(?=' is not known here: there is no looking ahead or back (at 3)"),
        ("(?<=a)", "'(?<' is not known here: there is no looking ahead or back (at 3)"),
        ("a{1001}", "repetitions go from 0 to 1000 (at 2)"),
        ("*", "nothing to repeat before '*' (at 2)"),
        ("{1,2}", "nothing to repeat before '{' (at 6)"),
        (r"\y", "there is no escape sequence '\\y' (at 3)"),
        (r"\p{Klingon}", "there is no class of characters 'Klingon' (at 12)"),
        ("(?P<a>x)(?P<a>y)", "two groups are named 'a' (at 13)"),
        ("(a{1000}){1000}", "the pattern is too large"),
    ],
)
def test_what_can_not_be_used_is_said(pattern: str, problem: str) -> None:
    with pytest.raises(PatternError) as caught:
        compile_pattern(pattern)
    assert str(caught.value) == problem


def test_a_pattern_that_makes_others_backtrack_takes_linear_steps() -> None:
    assert found("(a*)*b", "a" * 2000) == []
    assert found("(x+x+)+y", "x" * 2000) == []


def test_no_character_beyond_those_that_are_looked_at_has_cases_or_a_category() -> None:
    inhabited = [range(first, last + 1) for first, last in INHABITED]
    outside = (chr(code) for code in range(0x110000) if not any(code in each for each in inhabited))
    assert {unicodedata.category(each) for each in outside} == {"Cn", "Co"}
    assert all(chr(code).lower() == chr(code) == chr(code).upper() for code in range(CASED, 0x40000))


@pytest.mark.parametrize("name", ["L", "Nd", "Co"])
def test_categories_hold_the_characters_that_have_them(name: str) -> None:
    ranges = property_ranges(name)
    assert ranges is not None
    found = {code for low, high in ranges for code in range(low, high + 1)}
    assert found == {code for code in range(0x110000) if unicodedata.category(chr(code)).startswith(name)}
