"""Text to statements and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakepy.dockerfile.instructions import Instruction
from bakepy.dockerfile.parsed import ParsedDockerfile, parse
from bakepy.dockerfile.printer import pieces_of, print_parsed
from tests.fuzz.targets import bare

CASES = Path(__file__).parent.parent.parent.parent / "shared" / "conformance" / "dockerfile"


def meaning(parsed: ParsedDockerfile) -> tuple[object, ...]:
    """All that a file says, places aside."""
    dockerfile = parsed.dockerfile

    def unplaced(instruction: Instruction) -> Instruction:
        return replace(instruction, statement=bare(instruction.statement))

    return (
        parsed.parsed.directives,
        dockerfile.escape,
        [bare(statement) for statement in parsed.parsed.statements],
        [unplaced(arg) for arg in dockerfile.global_args],
        [(unplaced(s.head), [unplaced(each) for each in s.instructions], s.index) for s in dockerfile.stages],
    )


def check_round_trip(text: str) -> None:
    parsed = parse(text, "Dockerfile")
    assert "".join(piece.text for piece in pieces_of(parsed.parsed)) == text
    if not parsed.parsed.errors:
        printed = print_parsed(parsed.parsed)
        again = parse(printed, "Dockerfile")
        assert meaning(again) == meaning(parsed)
        assert print_parsed(again.parsed) == printed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FROM a",
        "\ufeffFROM a\r\nRUN b\r\n",
        "\ufeff\ufeffFROM a\n",
        "# escape=`\n# syntax = x/y:1 \nFROM a AS b\nCOPY c:\\d `\n  e:\\f\\\nRUN dir c:\\\n",
        "#\n# escape=`\nFROM a\nRUN b\\\n",
        " # base of all\nFROM a\n# A  is\n\n#b\nARG A=1 \\\n# inside\n\n  B\n# at the end",
        "FROM a\nRUN <<A cat <<-'B b' \\\n # no\n  <<\"C\"\n1\r\nA\n\t2\n\tB b\n\\\nC\nCMD x\n",
        'FROM a\nONBUILD COPY <<E /x\n$a\nE\nONBUILD  RUN ["a", "\\n"]\n',
        "FROM a\nRUN x\\\\\nRUN y \\\\\\\nRUN z \\  \\",
        "FROM a\nRUN x\r\\\n\\\n\n",
        "FROM a\n\\\n\\\n  RUN x \\\n\\\n y\n\\",
        "FROM a\nMAINTAINER J\udcfc\nRUN \udcfc\n",
        "FROM a\nRUN <<E\nnever ends",
    ],
)
def test_files_come_back(text: str) -> None:
    check_round_trip(text)


def test_an_empty_file_stays_empty() -> None:
    assert print_parsed(parse("", "Dockerfile").parsed) == ""


def test_a_piece_is_a_statement_or_what_stands_between_two() -> None:
    text = "# escape=`\n\n# base\nFROM a\nRUN <<E `\n# in\n b\n1\nE\n# last"
    pieces = pieces_of(parse(text, "Dockerfile").parsed)
    assert [(piece.text, piece.statement and piece.statement.keyword) for piece in pieces] == [
        ("# escape=`\n\n# base\n", None),
        ("FROM a\n", "FROM"),
        ("RUN <<E `\n# in\n b\n1\nE\n", "RUN"),
        ("# last", None),
    ]


def test_what_is_printed_says_what_the_file_says_and_no_more() -> None:
    text = "# syntax=x\n\n# lost\n\n#\n# A of all\nARG A=1 \\\n\n  # lost\n  B\r\nFROM a\n  RUN <<E\n1\nE"
    assert print_parsed(parse(text, "Dockerfile").parsed) == (
        "# syntax=x\n#\n# A of all\nARG A=1 \\\n  B\nFROM a\nRUN <<E\n1\nE\n"
    )


BLANKS = st.sampled_from(["", "", "", " ", "\t", "  ", "\v", "\xa0"])
WORDS = st.sampled_from(
    ["a", "x=1", "'b c'", '"d', "$e", "${f:-g}", "c:\\h\\", "\\", "`", "``", "\\\\", "#i", "[", '["j", "k"]', "\r", "é",
     "\udcff", "--l=m", "<<E", "<<-'E E'", '<<"F"', "&&", ","]
)  # fmt: skip
KEYWORDS = st.sampled_from(
    ["RUN", "run", "COPY", "ADD", "ENV", "LABEL", "ARG", "CMD", "ONBUILD RUN", "ONBUILD COPY", "WORKDIR", "EXPOSE",
     "FROM a", "SHELL", "VOLUME", "USER", "HEALTHCHECK CMD", "HEALTHCHECK --interval=1s CMD", "MAINTAINER", "NO"]
)  # fmt: skip
BREAKS = st.sampled_from(["\\\n", "`\n", "\\ \t\r\n", "` \n", "\\\n# c\n", "\\\n\n", "`\n \n #\n", "\\\n\\\n"])
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", "\nE\n", "\n\tE E\n1\nE\nF\n", "\nF\n", "\nE\nE E\nF\n", "\\", "", "`\n"])
COMMENTS = st.sampled_from(["# x is y\n", "#\n", " # escape=`\n", "#check=skip=all\n", "# syntax = a b\r\n", "\n"])


@st.composite
def dockerfiles(draw: st.DrawFn) -> str:
    out = [draw(st.sampled_from(["", "\ufeff", "# escape=`\n", "# syntax=a\n#escape = \\\n"]))]
    out += draw(st.lists(COMMENTS, max_size=2))
    out.append("FROM a\n")
    for _ in range(draw(st.integers(0, 4))):
        out += [*draw(st.lists(COMMENTS, max_size=2)), draw(BLANKS), draw(KEYWORDS)]
        for part in draw(st.lists(WORDS | BREAKS, max_size=6)):
            out += [draw(st.sampled_from([" ", " ", ""])), part]
        out += [draw(BLANKS), draw(ENDS)]
    return "".join(out)


@given(dockerfiles())
def test_generated_files_come_back(text: str) -> None:
    check_round_trip(text)


@given(st.text(alphabet="FROMRUN \\`\r\n\v#<E'\"$={}[],-\t\ufeff", max_size=80))
def test_any_text_comes_back(text: str) -> None:
    check_round_trip(text)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not there")
def test_files_of_projects_come_back() -> None:
    files = [path for path in CASES.rglob("*") if path.is_file() and "ockerfile" in path.name]
    assert files
    for path in files:
        check_round_trip(path.read_bytes().decode("utf-8", "surrogateescape"))
