"""Text to statements: lines, comments, documents, directives and places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakepy.dockerfile.directives import find_directive, find_syntax
from bakepy.dockerfile.parser import MAX_LINE, Parsed, Statement, parse_text
from bakepy.dockerfile.words import assignments, json_words, split_flags, split_words
from bakepy.model.location import SourceFile


def parsed(text: str) -> Parsed:
    return parse_text(SourceFile("Dockerfile", text))


def only(text: str) -> Statement:
    result = parsed(text)
    assert not result.errors
    (statement,) = result.statements
    return statement


def errors(text: str) -> list[str]:
    return [str(error) for error in parsed(text).errors]


def test_continuation_lines_are_joined_and_keep_their_blanks() -> None:
    statement = only("RUN a \\  \n  b\\\n\tc\n")
    assert statement.rest == "a   b\tc"
    assert (statement.first_line, statement.last_line) == (1, 3)


def test_comments_and_empty_lines_inside_an_instruction_are_skipped() -> None:
    result = parsed("RUN a \\\n# note\n\n  \\\n b\n")
    assert result.statements[0].rest == "a    b"
    assert result.empty_continuations == result.statements


def test_two_escapes_at_the_end_continue_nothing() -> None:
    assert [statement.rest for statement in parsed("RUN a\\\\\nRUN b\n").statements] == ["a\\\\", "b"]


def test_places_in_a_joined_line_point_into_their_own_lines() -> None:
    statement = only("  RUN one \\\n    two \\\n   three\n")
    assert statement.find("one").label() == "Dockerfile:1:7"
    assert statement.find("two").label() == "Dockerfile:2:5"
    assert statement.find("three").excerpt() == "   three\n   ^^^^^"
    assert statement.find("nowhere").label() == "Dockerfile:1:3"


def test_one_range_per_line_documents_included() -> None:
    statement = only("RUN <<A\nx\nA\n")
    assert [place.start.line for place in statement.location] == [1, 2, 3]


def test_several_documents_follow_each_other() -> None:
    statement = only("COPY <<a <<-'b' /x/\n1\na\n\t$2\n\tb\n")
    assert [(doc.name, doc.content, doc.text, doc.expand, doc.chomp) for doc in statement.heredocs] == [
        ("a", "1\n", "1\n", True, False),
        ("b", "\t$2\n", "$2\n", False, True),
    ]


@pytest.mark.parametrize(
    "line", ["RUN echo $((1<<2))", "RUN cat <<<x", 'RUN ["a", "<<EOF"]', "ENV a=<<EOF", "RUN 'x <<EOF'", "RUN a<<EOF b"]
)
def test_not_every_double_bracket_begins_a_document(line: str) -> None:
    assert only(line + "\n").heredocs == ()


def test_a_trigger_takes_documents_too() -> None:
    assert [doc.name for doc in only("ONBUILD RUN <<E\nx\nE\n").heredocs] == ["E"]


def test_an_open_document_is_shown() -> None:
    assert errors("FROM a\nRUN <<EOT\nx\n") == [
        "Dockerfile:2:5: unterminated heredoc 'EOT'\n"
        "    RUN <<EOT\n        ^^\n"
        "hint: a line that holds just 'EOT' ends it"
    ]


def test_a_byte_order_mark_and_line_ends_of_windows_are_ignored() -> None:
    result = parsed("\ufeffFROM a\r\nRUN b \\\r\n c\r\n")
    assert [(s.keyword, s.rest) for s in result.statements] == [("FROM", "a"), ("RUN", "b  c")]


def test_directives_end_at_the_first_line_that_is_none() -> None:
    result = parsed("# Escape = `\n# check=skip=all\n\n# syntax=x\nRUN a `\n b")
    assert (result.escape, result.directives) == ("`", (("escape", "`"), ("check", "skip=all")))
    assert result.statements[0].rest == "a  b"


def test_comments_above_an_instruction_are_kept() -> None:
    assert only("# one\n#\n# two\n\n# three\nRUN a").comments == ("two", "three")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file with no instructions"),
        ("# only\n", "file with no instructions"),
        ("# escape=x\nRUN", "invalid escape token 'x' does not match ` or \\"),
        ("# syntax=a\n# syntax=b\nRUN", "only one syntax parser directive can be used"),
        ("RUN " + "x" * MAX_LINE, f"dockerfile line greater than max allowed size of {MAX_LINE} bytes"),
    ],
)
def test_what_is_no_dockerfile_is_told(text: str, message: str) -> None:
    assert [error.what for error in parsed(text).errors] == [message]


def test_undecodable_bytes_are_replaced_but_not_in_run() -> None:
    raw = b"MAINTAINER J\xfcrg\nRUN \xfc\n".decode("utf-8", "surrogateescape")
    assert [statement.rest for statement in parsed(raw).statements] == ["J\ufffdrg", "\udcfc"]


@given(
    st.lists(st.sampled_from(["RUN a", "RUN a \\", " b", "# c", "", "COPY <<E /", "E", "ENV a=b\\", "ONBUILD RUN x"]))
)
def test_statements_cover_their_lines_in_order(lines: list[str]) -> None:
    """The text between the first and last line of each statement is the statement: nothing is lost or read twice."""
    result = parsed("\n".join(lines))
    last = 0
    for statement in result.statements:
        assert last < statement.first_line <= statement.last_command_line <= statement.last_line <= len(lines)
        last = statement.last_line
        written = "".join(lines[statement.first_line - 1 : statement.last_command_line]).replace("\\", "")
        assert statement.keyword in written
        for offset, line, column in statement.segments:
            rest = lines[line - 1][column - 1 :]
            assert statement.text[offset:].startswith(rest.rstrip("\\")) or not rest


@given(st.text(alphabet="FROMRUN \\\n#<E'\"$={}[],-\t", max_size=80))
def test_any_text_is_read_without_a_crash(text: str) -> None:
    result = parsed(text)
    assert result.statements or result.errors


def test_flags_lose_their_quotes_and_end_at_the_first_word() -> None:
    assert split_flags("--a=\"b c\" --d='e\\'f' -- --g x", "\\") == (("--a=b c", "--d=e'f"), " --g x")
    assert split_flags("x --a", "\\") == ((), "x --a")


def test_flags_are_read_byte_by_byte() -> None:
    assert split_flags("--a=é b", "\\") == (("--a=Ã©",), "b")


def test_words_keep_quotes_and_escapes() -> None:
    assert split_words(r"""a="b c" d=e\ f 'g h'i j\ """.rstrip(), "\\") == ['a="b c"', r"d=e\ f", "'g h'i", "j"]


def test_assignments_have_an_old_and_a_new_form() -> None:
    assert assignments("a  b = c", "ENV", "\\") == [("a", "b = c", True)]
    assert assignments("a=b 'c'=d", "ENV", "\\") == [("a", "b", False), ("'c'", "d", False)]
    with pytest.raises(ValueError) as error:
        assignments("a=1 b", "ENV", "\\")
    assert str(error.value) == 'Syntax error - can\'t find = in "b". Must be of the form: name=value'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("[]", []),
        (' ["\\u00e9"] ', ["é"]),
        ('["a",]', None),
        ("['a']", None),
        ('["a"] b', None),
        ("a", None),
        ("[NaN]", None),
        ("[" * 100000, None),
    ],
)
def test_json_lists(text: str, words: list[str] | None) -> None:
    assert json_words(text) == words


def test_single_directives_are_found_as_tools_look_for_them() -> None:
    assert find_directive("#!/usr/bin/env x\n# check=skip=A because\nFROM a", "check") == ("skip=A", 2)
    assert find_directive("FROM a\n# check=skip=A", "check") is None
    assert find_syntax("# syntax = docker/dockerfile:1 args\n") == (
        "docker/dockerfile:1",
        "docker/dockerfile:1 args",
        1,
    )
    assert find_syntax("// syntax=a\n") == ("a", "a", 1)
    assert find_syntax('{"syntax": "a"}') == ("a", "a", 1)
    assert find_syntax("FROM a") is None
