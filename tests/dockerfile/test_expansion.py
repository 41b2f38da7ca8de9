"""Variables, quotes and escapes in words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakepy.dockerfile.expansion import MAX_EXPANSION, ExpansionError, Lexer
from bakepy.dockerfile.glob import first_match, longest_suffix, replace_all

ENV = {"file": "a/b.tar.gz", "empty": "", "two": "x y", "star": "a*b*c"}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("$file", "a/b.tar.gz"),
        ("${file}x", "a/b.tar.gzx"),
        ("$filex", ""),
        ("$1a", "a"),
        ("$", "$"),
        ("$ x", "$ x"),
        ("$$", ""),
        ("$(x)", "$(x)"),
        ("\ufeff/a\ufeff", "/a\ufeff"),
        ("'$file'", "$file"),
        ('"$two"', "x y"),
        (r"\$file", "$file"),
        (r"a\b", "ab"),
        (r'"a\b\"\$"', r'a\b"$'),
        (r"'a\b'", r"a\b"),
        ("a\\", "a"),
        ("${none:-d}${none-d}${empty:-d}${empty-d}", "ddd"),
        ("${none:+d}${none+d}${empty:+d}${empty+d}${two:+d}", "dd"),
        ("${two:?no}${two?no}${empty?no}", "x yx y"),
        ("${none:-${two}}", "x y"),
        ("${none:-'$two'}", "$two"),
        ("${file#*/}", "b.tar.gz"),
        ("${file##*.}", "gz"),
        ("${file%.*}", "a/b.tar"),
        ("${file%%.*}", "a/b"),
        ("${file%x}", "a/b.tar.gz"),
        (r"${star#a\*}", "b*c"),
        ("${file/./-}", "a/b-tar.gz"),
        ("${file//./-}", "a/b-tar-gz"),
        (r"${file//\//-}", "a-b.tar.gz"),
        ("${file//[.]/-}", "a/b.tar.gz"),
        ("${file//?.t/<$two>}", "a/<x y>ar.gz"),
        (r"${file//b/[\$0\$\$]}", r"a/[\b\$\$].tar.gz"),
        ("${two//*/-}", "-"),
        ("${two//$empty/-}", "-x- -y-"),
    ],
)
def test_a_word_expands(word: str, text: str) -> None:
    assert Lexer().expand(word, ENV).text == text


def test_a_pattern_for_an_end_is_turned_around_with_its_last_escape() -> None:
    assert Lexer("`").expand(r"${x%/\\}}", {"x": "a"}).text == "a}"
    assert Lexer("`").expand(r"${x%b*\}", {"x": "ab*"}).text == "a"
    assert Lexer("`").expand(r"${x%b\/\}", {"x": "ab/\\"}).text == "a"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("${", "syntax error: missing '}'"),
        ("${}", "syntax error: bad substitution: a name is expected after '${'"),
        ("${:x}", "syntax error: bad substitution: a name is expected after '${'"),
        ("${a", "syntax error: missing '}'"),
        ("${a:-b", "syntax error: missing '}'"),
        ("${a=b}", "unsupported modifier (=) in substitution of 'a'"),
        ("${a:=b}", "unsupported modifier (:=) in substitution of 'a'"),
        ("${a:#b}", "unsupported modifier (:#) in substitution of 'a'"),
        ("${a/b}", "syntax error: missing '/' in ${}"),
        ("${a/b/c", "syntax error: missing '}'"),
        ("${a:?}", "a: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${a?set a}", "a: set a"),
        ("'a", "unexpected end of statement while looking for matching single-quote"),
        ('"a', "unexpected end of statement while looking for matching double-quote"),
        (r"${two#\x}", r"invalid pattern (\x) in substitution: invalid escape '\x'"),
    ],
)
def test_a_malformed_word_says_why(word: str, reason: str) -> None:
    with pytest.raises(ExpansionError) as error:
        Lexer().expand(word, ENV)
    assert str(error.value) == reason


def test_words_split_at_unquoted_blanks_after_expansion() -> None:
    assert Lexer().expand("a $two \"$two\" 'q r' \\  b", ENV).words == ("a", "x", "y", "x y", "q r", " ", "b")


def test_a_default_forgets_the_word_begun_before_it() -> None:
    """A quirk of the reference implementation that EXPOSE shows."""
    assert Lexer().expand('80${none:-81} 90"${none:-91}"', ENV).words == ("81", "91")


def test_the_escape_character_may_be_a_backtick() -> None:
    assert Lexer(escape="`").expand("`$file c:\\x", ENV).text == "$file c:\\x"


def test_found_and_missing_variables_are_told_in_order() -> None:
    result = Lexer().expand("$b ${two} ${a:-$empty}", ENV)
    assert (result.matched, result.unmatched) == (("two", "empty"), ("b", "a"))


def test_unset_variables_can_be_kept() -> None:
    lexer = Lexer(keep_unset=True, raw_quotes=True)
    assert lexer.expand('"$a ${a} ${a:-b} ${a/b/c} $two"', ENV).text == '"$a ${a} ${a:-b} ${a/b/c} x y"'


def test_growth_without_end_is_refused() -> None:
    with pytest.raises(ExpansionError, match=f"longer than {MAX_EXPANSION} characters"):
        Lexer().expand("$a$a$a$a$a", {"a": "x" * (MAX_EXPANSION // 4)})


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(ExpansionError, match="nested more than 150 deep"):
        Lexer().expand("${a:-" * 5000 + "}" * 5000, {})


PATTERN = st.text(alphabet="ab*?", max_size=8)
VALUE = st.text(alphabet="ab", max_size=12)


def as_regex(pattern: str, greedy: bool) -> str:
    return "".join(".*" + "?" * (not greedy) if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)


@given(PATTERN, VALUE, st.booleans())
def test_patterns_match_as_regular_expressions_do(pattern: str, value: str, greedy: bool) -> None:
    found = re.match(as_regex(pattern, greedy), value)
    assert first_match(pattern, value, greedy, True) == (found.span() if found else None)
    found = re.search(as_regex(pattern, greedy), value)
    assert first_match(pattern, value, greedy, False) == (found.span() if found else None)
    ends = [start for start in range(len(value) + 1) if re.fullmatch(as_regex(pattern, True), value[start:])]
    assert longest_suffix(pattern, value, greedy) == (min(ends) if greedy else max(ends)) if ends else True


@given(VALUE)
def test_replacing_a_literal_is_str_replace(value: str) -> None:
    assert replace_all("ab", value, "-") == value.replace("ab", "-")


@given(st.text(alphabet="a$'\"\\{}:-/#% b`<", max_size=30))
def test_any_word_expands_or_is_refused(word: str) -> None:
    try:
        result = Lexer().expand(word, {"a": "v w", "b": ""})
    except ExpansionError as error:
        assert str(error)
    else:
        assert all(result.words)


@given(st.text(max_size=40))
def test_text_in_single_quotes_stays_as_it_is(text: str) -> None:
    text = text.replace("'", "")
    assert Lexer().expand(f"'{text}'", ENV).text == text


def test_a_hostile_pattern_ends() -> None:
    """A backtracking matcher would not."""
    assert first_match("*a" * 2000 + "b", "a" * 20000, True, False) is None


@given(
    st.lists(st.sampled_from(["$", "{", "}", "a", "b", "$a", "${b}", "$no", "${no}", " ", "\t", "é", "-", ":", "1"])),
    st.booleans(),
)
def test_plain_text_with_variables_expands_as_the_same_text_with_quotes(parts: list[str], keep: bool) -> None:
    lexer, text, env = Lexer(keep_unset=keep), "x".join(parts), {"a": "one two", "ax": "", "b": "${a}", "é": "e"}
    try:
        longer = lexer.expand(text + "''", env)  # takes the long way
    except ExpansionError as error:
        with pytest.raises(ExpansionError) as caught:
            lexer.expand(text, env)
        assert str(caught.value) == str(error)
    else:
        assert lexer.expand(text, env) == longer
