"""Checks that need only the text: casing, names, descriptions, MAINTAINER."""

from __future__ import annotations

from collections.abc import Iterator

from bakepy.dockerfile.checks import Checker
from bakepy.dockerfile.errors import Location
from bakepy.dockerfile.instructions import Arg, Dockerfile, From, Instruction
from bakepy.dockerfile.parser import Parsed, Statement, line_location
from bakepy.dockerfile.text import quote, split_blanks

_RESERVED = frozenset({"context", "scratch"})


def check_text(parsed: Parsed, dockerfile: Dockerfile, checker: Checker, *, fault: int | None = None) -> None:
    """With an instruction that can not be read, on line `fault`, only what is found on the way to it."""
    for statement in parsed.empty_continuations:
        location = line_location(parsed.file, statement.last_command_line, statement.last_command_line)
        checker.warn("NoEmptyContinuation", "Empty continuation line", location)
    read = {id(instruction.statement): instruction for instruction in _instructions(dockerfile)}
    for statement in parsed.statements:
        if fault is not None and statement.first_line > fault:
            return
        _check_statement(statement, read.get(id(statement)), checker.merged(statement.comments))
    if fault is None:
        _check_names(dockerfile, checker)
        _check_casing(dockerfile, checker)


def _instructions(dockerfile: Dockerfile) -> Iterator[Instruction]:
    yield from dockerfile.global_args
    for stage in dockerfile.stages:
        yield stage.head
        yield from stage.instructions


def _check_statement(statement: Statement, instruction: Instruction | None, checker: Checker) -> None:
    match statement.keyword.lower():
        case "maintainer":
            message = "Maintainer instruction is deprecated in favor of using label"
            checker.warn("MaintainerDeprecated", message, statement.location)
        case "from":
            words = split_blanks(statement.rest)
            if len(words) == 3 and words[2] != words[2].lower():
                message = f"Stage name '{words[2]}' should be lowercase"
                checker.warn("StageNameCasing", message, statement.location)
            if len(words) >= 3:
                _check_as(statement, words[1], checker)
    names = []
    if isinstance(instruction, From) and instruction.name:
        names = [instruction.name]
    elif isinstance(instruction, Arg):
        names = [item.name for item in instruction.items]
    if names and statement.comments and statement.comments[-1].split(" ")[0] not in names:
        example = names[0] if len(names) == 1 else "<arg_key>"
        word = "FROM" if isinstance(instruction, From) else "ARG"
        message = f"Comment for {word} should follow the format: `# {example} <description>`"
        checker.warn("InvalidDefinitionDescription", message, statement.location)


def _check_as(statement: Statement, word: str, checker: Checker) -> None:
    keyword = statement.keyword
    if keyword == keyword.lower():
        fits = word == word.lower()
    elif keyword == keyword.upper():
        fits = word == word.upper()
    else:
        return
    if not fits:
        message = f"'{word}' and '{keyword}' keywords' casing do not match"
        checker.warn("FromAsCasing", message, statement.location)


def _check_names(dockerfile: Dockerfile, checker: Checker) -> None:
    seen: set[str] = set()
    for stage in dockerfile.stages:
        if not stage.name:
            continue
        if stage.name in _RESERVED:
            message = f"Stage name should not use the same name as reserved stage {quote(stage.name)}"
            checker.warn("ReservedStageName", message, stage.head.location)
        if stage.name in seen:
            message = f"Duplicate stage name {quote(stage.name)}, stage names should be unique"
            checker.warn("DuplicateStageName", message, stage.head.location)
        seen.add(stage.name)


def _check_casing(dockerfile: Dockerfile, checker: Checker) -> None:
    written: list[tuple[str, Location]] = []
    for stage in dockerfile.stages:
        written += [(entry.keyword, entry.location) for entry in (stage.head, *stage.instructions)]
    lower = sum(word == word.lower() for word, _ in written)
    upper = sum(word == word.upper() and word != word.lower() for word, _ in written)
    most_lower = lower > upper
    for word, location in written:
        if word != (word.lower() if most_lower else word.upper()):
            wanted = "lowercase" if most_lower else "uppercase"
            message = f"Command '{word}' should match the case of the command majority ({wanted})"
            checker.warn("ConsistentInstructionCasing", message, location)
