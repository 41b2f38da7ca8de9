"""Variables in compose files (`$NAME`, `${NAME:-default}`, …) and `.env` files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from bakepy.model.value import dataclass

_NAME: Final = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATORS: Final = (":?", ":-", ":+", "?", "-", "+")
NESTING: Final = 100
"""How deep references may stand in the arguments of others."""
_LONGEST: Final = 10_000_000

Lookup = Callable[[str], str | None]


class SubstitutionError(Exception):
    """What is wrong with a reference to a variable, or that a required one is missing."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable that is referred to. `operator`: `:-`, `-`, `:?`, `?`, `:+`, `+` or empty; `argument`: what stands
    behind it, which may hold references itself."""

    name: str
    operator: str = ""
    argument: str = ""


def references(text: str) -> Iterator[str | Reference]:
    """`text` in pieces: texts, unescaped, and references. Raises SubstitutionError."""
    position, line_end = 0, -1
    while True:
        dollar = text.find("$", position)
        if dollar < 0:
            yield text[position:]
            return
        yield text[position:dollar]
        following = text[dollar + 1 : dollar + 2]
        if following == "$":
            yield "$"
            position = dollar + 2
        elif following == "{":
            if line_end < dollar:
                line_end = text.find("\n", dollar) % (len(text) + 1)
            end = _closing(text, dollar + 1, line_end)
            yield _braced(text, dollar + 2, end)
            position = end + 1
        elif found := _NAME.match(text, dollar + 1):
            yield Reference(found[0])
            position = found.end()
        else:
            yield "$"
            position = dollar + 1


def substitute(text: str, lookup: Lookup, depth: int = 0) -> str:
    """`text` with the values of the variables it names. Raises SubstitutionError."""
    if "$" not in text:
        return text
    if depth > NESTING:
        raise SubstitutionError("defaults are nested too deep")
    pieces: list[str] = []
    size = 0
    for piece in references(text):
        pieces.append(piece if isinstance(piece, str) else _value(piece, lookup, depth))
        size += len(pieces[-1])
        if size > _LONGEST:
            raise SubstitutionError("the result is too long")
    return "".join(pieces)


def _closing(text: str, opened: int, line_end: int) -> int:
    """Where the brace is closed that is opened at `opened`, on its line. Raises SubstitutionError.

    As the loader of compose has it, what follows an opening brace is never looked at, and where braces do not match,
    the last one of the line closes all.
    """
    last = text.rfind("}", opened, line_end)
    if last < 0:
        raise SubstitutionError(
            f"the reference to a variable in {_shown(text)} is not closed; write $$ for a dollar sign"
        )
    depth, position = 0, opened
    while position <= last:
        if text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
        elif text[position] == "{":
            depth += 1
            position += 1
        position += 1
    return last


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _braced(text: str, start: int, end: int) -> Reference:
    """The reference whose inside goes from `start` to `end`."""
    inner = text[start:end]
    name = _NAME.match(inner)
    rest = inner[name.end() :] if name else ""
    operator = next((each for each in _OPERATORS if rest.startswith(each)), "")
    if not name or (rest and not operator):
        raise SubstitutionError(
            f"{_shown('${' + inner + '}')} is no reference to a variable; write $$ for a dollar sign"
        )
    return Reference(name[0], operator, rest[len(operator) :])


def _value(reference: Reference, lookup: Lookup, depth: int) -> str:
    value, operator = lookup(reference.name), reference.operator
    if not operator:
        return value or ""
    absent = value is None or (operator.startswith(":") and value == "")
    match operator[-1]:
        case "-":
            return substitute(reference.argument, lookup, depth + 1) if absent else value or ""
        case "+":
            return value or "" if absent else substitute(reference.argument, lookup, depth + 1)
    if absent:
        reason = substitute(reference.argument, lookup, depth + 1)
        raise SubstitutionError(f"the variable {reference.name} is required" + (f": {reason}" if reason else ""))
    return value or ""


# -- .env files


class EnvFileError(Exception):
    """What is wrong with an environment file; `line` counts from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")


_ESCAPE: Final = re.compile(r'\\(?:([abcfnrtv$"\\])|0(\d{0,3}))')
_ESCAPED: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\"}
_BLANK: Final = "\t\v\f\r \x85\xa0"


def parse_env_file(text: str, lookup: Lookup, earlier: Mapping[str, str] | None = None) -> dict[str, str]:
    """Names and values, over those of `earlier` files. Values may refer to variables, known ones or those above.
    Raises EnvFileError."""
    found: dict[str, str] = dict(earlier or {})
    text = text.removeprefix("\ufeff")
    position = 0

    def known(name: str) -> str | None:
        value = lookup(name)
        return found.get(name) if value is None else value

    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position >= len(text):
            return found
        line = text.count("\n", 0, position) + 1
        if text[position] == "#":
            end = text.find("\n", position)
            if end < 0:
                return found
            position = end
            continue
        name, position, inherited = _key(text, position, line)
        if inherited:
            value = known(name)
            if value is not None:
                found[name] = value
            continue
        try:
            found[name], position = _env_value(text, position, line, known)
        except SubstitutionError as error:
            raise EnvFileError(line, str(error)) from None


def _key(text: str, position: int, line: int) -> tuple[str, int, bool]:
    """The name, where the value begins, and whether there is none (the name alone on its line)."""
    if re.compile(r"export\s+").match(text, position):
        position += 6
        while position < len(text) and text[position] in _BLANK:
            position += 1
    end = position
    while end < len(text) and text[end] not in "=:\n":
        if not (text[end] in _BLANK or text[end] in "_.-[]" or text[end].isalnum()):
            shown = text[position:].partition("\n")[0]
            raise EnvFileError(line, f"{text[end]!r} can not be part of a name: {shown!r}")
        end += 1
    if end >= len(text):
        # The last line, without '=' and without an end: what stands there is neither name nor value.
        return "", len(text), True
    name = text[position:end].rstrip()
    if " " in name:
        raise EnvFileError(line, f"a name can not have a blank in it: {name!r}")
    inherited = text[end] == "\n"
    end += 1
    while not inherited and end < len(text) and text[end] in _BLANK:
        end += 1
    return name, end, inherited


def _env_value(text: str, position: int, line: int, lookup: Lookup) -> tuple[str, int]:
    quote = text[position : position + 1]
    if quote not in ("'", '"') or not quote:
        end = text.find("\n", position)
        end = len(text) if end < 0 else end
        value = text[position:end].partition(" #")[0].rstrip()
        return substitute(value, lookup), end
    pieces: list[str] = []
    position += 1
    while position < len(text):
        character = text[position]
        if character == quote:
            value = "".join(pieces)
            if quote == '"':
                value = substitute(_ESCAPE.sub(_unescaped, value), lookup)
            return value, position + 1
        if character == "\\" and position + 1 < len(text):
            following = text[position + 1]
            pieces.append(following if following == quote else "\\" + following)
            position += 2
            continue
        pieces.append(character)
        position += 1
    raise EnvFileError(line, "a quote is not closed")


def _unescaped(found: re.Match[str]) -> str:
    letter, octal = found[1], found[2]
    if letter == "$":
        return "$$"
    if letter is None:
        return chr(int(octal, 8)) if len(octal) == 3 and all(each < "8" for each in octal) else found[0]
    return _ESCAPED.get(letter, found[0])


def merged_environment(environment: Mapping[str, str], dotenv: str | None) -> dict[str, str]:
    """The environment over what `.env` says. Raises EnvFileError."""
    merged = dict(environment)
    if dotenv is not None:
        for name, value in parse_env_file(dotenv, environment.get).items():
            merged.setdefault(name, value)
    return merged
