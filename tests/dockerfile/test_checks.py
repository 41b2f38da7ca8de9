"""Build checks, outline and targets."""

from __future__ import annotations

import pytest

from bakepy.dockerfile.checks import RULES
from bakepy.dockerfile.compile import parse
from bakepy.dockerfile.options import LocalContext, LowerOptions
from bakepy.model.frozen import FrozenMap
from tests.support.dockerfiles import AMD64, compilation


def found(text: str) -> list[tuple[str, int]]:
    options = LowerOptions(build_platform=AMD64, all_stages=True)
    result = compilation(text, options).check()
    assert result.error is None
    return [(warning.rule.name, warning.line) for warning in result.warnings]


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("FROM alpine AS Build\n", [("StageNameCasing", 1)]),
        ("FROM alpine as b\n", [("FromAsCasing", 1)]),
        ("FROM alpine\nRUN a \\\n\n b\n", [("NoEmptyContinuation", 4)]),
        ("FROM alpine\nRUN a\nrun b\n", [("ConsistentInstructionCasing", 3)]),
        ("FROM alpine AS a\nFROM alpine AS a\n", [("DuplicateStageName", 2)]),
        ("FROM alpine AS scratch\n", [("ReservedStageName", 1)]),
        ("FROM alpine\nCMD a\n", [("JSONArgsRecommended", 2)]),
        ("FROM alpine\nMAINTAINER me\n", [("MaintainerDeprecated", 2)]),
        ("ARG A=x\nFROM alpine$B\n", [("UndefinedArgInFrom", 2)]),
        ("FROM alpine\nWORKDIR a\nWORKDIR b\n", [("WorkdirRelativePath", 2)]),
        ("FROM alpine\nLABEL a=$PAHT\n", [("UndefinedVar", 2)]),
        ('FROM alpine\nCMD ["a"]\nCMD ["b"]\n', [("MultipleInstructionsDisallowed", 2)]),
        ("FROM alpine\nENV a b\n", [("LegacyKeyValueFormat", 2)]),
        ("FROM --platform=linux/arm64 example/amd64-only AS arm64\n", [("InvalidBaseImagePlatform", 1)]),
        ("FROM --platform=$TARGETPLATFORM alpine\n", [("RedundantTargetPlatform", 1)]),
        ("FROM alpine\nARG API_TOKEN\nENV PUBLIC_KEY=a\n", [("SecretsUsedInArgOrEnv", 2)]),
        ("FROM --platform=linux/arm64 alpine\n", [("FromPlatformFlagConstDisallowed", 1)]),
        ("# check=experimental=all\n# other words\nFROM alpine AS a\n", [("InvalidDefinitionDescription", 3)]),
        ("FROM alpine\nEXPOSE 80/TCP\n", [("ExposeProtoCasing", 2)]),
        ("FROM alpine\nEXPOSE 1.2.3.4:80:80\n", [("ExposeInvalidFormat", 2)]),
    ],
)
def test_each_rule_finds_its_fault(text: str, warnings: list[tuple[str, int]]) -> None:
    assert found(text) == warnings


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("FROM alpine\nCOPY a ${none-x}${other\n", [("UndefinedVar", 2)]),
        ("FROM alpine\nARG x=$none${\n", [("UndefinedVar", 2)]),
        ("ARG A\nFROM alpine$none${\nFROM alpine$none\n", [("UndefinedArgInFrom", 2)]),
    ],
)
def test_variables_before_the_fault_of_a_word_are_judged(text: str, warnings: list[tuple[str, int]]) -> None:
    result = compilation(text, LowerOptions(build_platform=AMD64, all_stages=True)).check()
    assert result.error is not None
    assert [(warning.rule.name, warning.line) for warning in result.warnings] == warnings


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("FROM alpine as a\nVOLUME\nMAINTAINER me\n", [("FromAsCasing", 1)]),
        ("FROM alpine\nMAINTAINER\n", [("MaintainerDeprecated", 2)]),
        ("RUN a \\\n\n b\n", [("NoEmptyContinuation", 3)]),
        ("FROM alpine as a\nRUN <<E\n", []),
        ("FROM alpine:$A\nrun x\n", [("InvalidDefaultArgInFrom", 1), ("ConsistentInstructionCasing", 2)]),
    ],
)
def test_what_was_found_before_a_fault_is_told(text: str, warnings: list[tuple[str, int]]) -> None:
    options = LowerOptions(build_platform=AMD64, all_stages=True, build_args=FrozenMap({"SOURCE_DATE_EPOCH": "?"}))
    result = compilation(text, options).check()
    assert result.error is not None
    assert sorted((warning.line, warning.rule.name) for warning in result.warnings) == [
        (line, rule) for rule, line in warnings
    ]


def test_checks_that_fail_the_build_do_not_fail_the_outline() -> None:
    text = "# check=error=true\nFROM alpine as a\nARG V=1\n"
    assert [arg.name for arg in compilation(text).outline().args] == ["V"]


def test_what_a_trigger_needs_is_told_at_the_from_that_fires_it() -> None:
    text = "FROM alpine AS a\nONBUILD RUN --mount=type=ssh --mount=type=secret,id=s x\nFROM a\n"
    outline = compilation(text).outline()
    assert [need.location[0].start.line for need in (*outline.ssh, *outline.secrets)] == [3, 3]


def test_a_hidden_file_is_shown_in_quotes() -> None:
    options = LowerOptions(build_platform=AMD64, context=LocalContext(ignore="**"))
    (warning,) = compilation("FROM alpine\nCOPY \\\\x /d\n", options).check().warnings
    assert warning.message == r'Attempting to Copy file "\\x" that is excluded by .dockerignore'


def test_a_base_that_only_a_build_argument_makes_valid_is_told() -> None:
    options = LowerOptions(build_platform=AMD64, build_args=FrozenMap({"TAG": "1"}))
    (warning,) = compilation("ARG TAG\nFROM alpine:$TAG\n", options).lower().warnings
    assert (warning.rule.name, warning.line) == ("InvalidDefaultArgInFrom", 2)


def test_the_message_names_the_nearest_variable() -> None:
    (warning,) = compilation("FROM alpine\nLABEL a=$PAHT\n").check().warnings
    assert warning.message == "Usage of undefined variable '$PAHT' (did you mean $PATH?)"
    assert warning.rule.url == "https://docs.docker.com/go/dockerfile/rule/undefined-var/"


def test_rules_are_skipped_for_the_file_and_for_one_instruction() -> None:
    assert found("# check=skip=JSONArgsRecommended\nFROM alpine\nCMD a\nENV a b\n") == [("LegacyKeyValueFormat", 4)]
    assert found("FROM alpine\n# check=skip=all\nENV a b\nENV c d\n") == [("LegacyKeyValueFormat", 4)]


def test_a_check_keeps_the_warnings_before_an_error() -> None:
    result = compilation("FROM alpine\nENV a b\nEXPOSE x\n").check()
    assert [warning.rule.name for warning in result.warnings] == ["LegacyKeyValueFormat"]
    assert result.error is not None
    assert result.error.what == "invalid containerPort: x"


def test_all_rules_have_a_description() -> None:
    assert len(RULES) == 22
    assert all(rule.description for rule in RULES.values())


def test_the_outline_names_what_can_be_given() -> None:
    text = (
        "# BASE is the base image\nARG BASE=alpine\nARG UNUSED=1\nFROM $BASE AS one\n"
        "RUN --mount=type=secret,id=token,required --mount=type=ssh,id=key x\n"
        "# two is what we ship\nFROM one AS two\n# LEVEL of noise\nARG LEVEL=3\n"
    )
    outline = compilation(text).outline()
    assert (outline.name, outline.description) == ("two", "is what we ship")
    assert [(arg.name, arg.value, arg.description) for arg in outline.args] == [
        ("BASE", "alpine", "is the base image"),
        ("LEVEL", "3", "of noise"),
    ]
    assert [(need.name, need.required) for need in outline.secrets] == [("token", True)]
    assert [(need.name, need.required) for need in outline.ssh] == [("key", False)]


def test_targets_are_the_stages() -> None:
    targets = parse("# a first\nFROM alpine AS a\nFROM --platform=linux/arm64 a\n", "Dockerfile").targets()
    assert [(t.name, t.description, t.default, t.base, t.platform) for t in targets] == [
        ("a", "first", False, "alpine", ""),
        ("", "", True, "a", "linux/arm64"),
    ]
