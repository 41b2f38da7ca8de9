"""Functions of text: cutting, joining, case, patterns, `format`."""

from __future__ import annotations

import re
from typing import Any, Final

from bakepy.bakefile import values as v
from bakepy.bakefile.functions.declare import FunctionError, declare, texts, whole
from bakepy.bakefile.functions.formatting import format_text
from bakepy.bakefile.graphemes import graphemes
from bakepy.bakefile.node import Function
from bakepy.bakefile.source import legible
from bakepy.bakefile.spaces import trim_space
from bakepy.bakefile.values import Value

_LIMIT: Final = v.LONGEST
"""Longer results are refused."""
_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")


def _chomp(value: Value) -> Value:
    return v.string(value.raw.rstrip("\r\n"))


def _indent(spaces: Value, value: Value) -> Value:
    count = whole(spaces, 0)
    if count < 0:
        raise FunctionError("the number of blanks can not be negative", 0)
    if count * value.raw.count("\n") > _LIMIT:
        raise FunctionError("the result is too long")
    return v.string(value.raw.replace("\n", "\n" + " " * count))


def _join(separator: Value, *lists: Value) -> Value:
    if not lists:
        raise FunctionError("at least one list is required")
    items: list[str] = []
    for argument, each in enumerate(lists, 1):
        for position, item in enumerate(each.raw):
            if item.raw is None:
                raise FunctionError(f"element {position} is null", argument)
            items.append(item.raw)
    if sum([len(each) for each in items]) + len(separator.raw) * len(items) > _LIMIT:
        raise FunctionError("the result is too long")
    return v.string(separator.raw.join(items))


def _one_to_one(text: str, upper: bool) -> str:
    """Case by character: what would become several characters becomes its title form, or stays as it is."""
    if text.isascii():
        return text.upper() if upper else text.lower()
    pieces = []
    for character in legible(text):
        other = character.upper() if upper else character.lower()
        if len(other) > 1:
            other = character.title() if upper else other[0]
        pieces.append(other if len(other) == 1 else character)
    return "".join(pieces)


def _reverse(value: Value) -> Value:
    return v.string("".join(reversed(graphemes(value.raw))))


def _sanitize(value: Value) -> Value:
    return v.string(_NAME.sub("_", value.raw))


def _split(separator: Value, value: Value) -> Value:
    if not separator.raw:
        return texts(list(value.raw))
    return texts(value.raw.split(separator.raw))


def _substr(value: Value, offset: Value, length: Value) -> Value:
    clusters = graphemes(value.raw)
    start, count = whole(offset, 1), whole(length, 2)
    if start < 0:
        start += len(clusters)
    elif count == 0:
        return v.string("")
    start = max(start, 0)
    # Of a negative offset, a length of 0 means the rest, as no length does.
    kept = clusters[start:] if count <= 0 else clusters[start : start + count]
    return v.string("".join(kept))


def _title(value: Value) -> Value:
    """Raises the first letter of each word. Words end at blanks, and at ASCII signs but `_`; not at other signs."""
    pieces: list[str] = []
    inside = False
    for character in legible(value.raw):
        inside_now = character.isalnum() or character == "_" if character.isascii() else not character.isspace()
        if not inside:
            raised = character.title()
            character = raised if len(raised) == 1 else character
        pieces.append(character)
        inside = inside_now
    return v.string("".join(pieces))


def _trim(value: Value, characters: Value) -> Value:
    if not characters.raw:
        return value
    text, taken = legible(value.raw), legible(characters.raw)  # as many characters as before
    start = len(text) - len(text.lstrip(taken))
    return v.string(value.raw[start : len(text.rstrip(taken))])


def _replace(value: Value, old: Value, new: Value) -> Value:
    if len(value.raw) * max(1, len(new.raw)) > _LIMIT * 10:
        raise FunctionError("the result is too long")
    return v.string(value.raw.replace(old.raw, new.raw))


# -- patterns


def _compiled(pattern: str, argument: int) -> Any:
    from bakepy.bakefile.functions.re2 import compile_pattern
    from bakepy.bakefile.functions.re2.pattern import PatternError

    try:
        return compile_pattern(pattern)
    except PatternError as error:
        raise FunctionError(f"the pattern can not be used: {error}", argument) from None


def _result_type(expression: Any) -> v.Type:
    names: list[str] = expression.names
    if not names:
        return v.STRING
    if all(names):
        return v.ObjectType(dict.fromkeys(names, v.STRING))
    if any(names):
        raise FunctionError("the pattern mixes named and unnamed groups", 0)
    return v.TupleType([v.STRING] * len(names))


def _match_value(expression: Any, text: str, spans: list[tuple[int, int] | None]) -> Value:
    found = [Value(v.STRING, None) if span is None else v.string(text[span[0] : span[1]]) for span in spans]
    if not expression.names:
        return found[0]
    if all(expression.names):
        return v.object_of(dict(zip(expression.names, found[1:], strict=True)))
    return v.tuple_of(found[1:])


def _regex(pattern: Value, value: Value) -> Value:
    expression = _compiled(pattern.raw, 0)
    _result_type(expression)
    spans = expression.search(legible(value.raw), 0)
    if spans is None:
        raise FunctionError("the pattern matches no part of the text", 1)
    return _match_value(expression, value.raw, spans)


def _regexall(pattern: Value, value: Value) -> Value:
    expression = _compiled(pattern.raw, 0)
    kind = _result_type(expression)
    matches = expression.find_all(legible(value.raw))
    return v.list_of([_match_value(expression, value.raw, spans) for spans in matches], kind)


def _regex_replace(value: Value, pattern: Value, replacement: Value) -> Value:
    expression = _compiled(pattern.raw, 1)
    text: str = value.raw
    pieces: list[str] = []
    position = 0
    for spans in expression.find_all(legible(text)):
        start, end = spans[0]
        pieces += (text[position:start], _expanded(expression, replacement.raw, text, spans))
        position = end
    return v.string("".join(pieces) + text[position:])


_REFERENCE: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


def _expanded(expression: Any, template: str, text: str, spans: list[tuple[int, int] | None]) -> str:
    """`$1`, `$name` and `${name}` stand for groups; the longest name counts; what does not exist is empty."""

    def group(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name is None:
            return "$"
        if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
            number = int(name) if len(name) < 10 else len(spans)
        else:
            number = expression.names.index(name) + 1 if name in expression.names else len(spans)
        span = spans[number] if number < len(spans) else None
        return "" if span is None else text[span[0] : span[1]]

    return _REFERENCE.sub(group, template)


# -- format


def _format(form: Value, *given: Value) -> Value:
    _check_format(form)
    return v.string(format_text(form.raw, given))


def _check_format(form: Value) -> None:
    if form.raw is None:
        raise FunctionError("the format can not be null", 0)


def _formatlist(form: Value, *given: Value) -> Value:
    _check_format(form)
    length, chooser = -1, 0
    lists: list[bool] = []
    for argument, each in enumerate(given, 1):
        listed = each.raw is not None and isinstance(each.type, (v.TupleType, v.ListType, v.SetType))
        lists.append(listed)
        if not listed:
            continue
        if length < 0:
            length, chooser = len(each.raw), argument
        elif len(each.raw) != length:
            raise FunctionError(
                f"argument {argument} has {len(each.raw)} elements, argument {chooser} has {length}", argument
            )
    if length < 0:
        length = 1
    rows = []
    for position in range(length):
        row = [each.raw[position] if listed else each for each, listed in zip(given, lists, strict=True)]
        rows.append(format_text(form.raw, row))
    return texts(rows)


_S, _N, _D = v.STRING, v.NUMBER, v.DYNAMIC

FUNCTIONS: Final[dict[str, Function]] = {
    "chomp": declare("chomp", _chomp, _S),
    "format": declare("format", _format, _S, rest=_D, nulls=True),
    "formatlist": declare("formatlist", _formatlist, _S, rest=_D, nulls=True),
    "indent": declare("indent", _indent, _N, _S),
    "join": declare("join", _join, _S, rest=v.ListType(_S)),
    "lower": declare("lower", lambda value: v.string(_one_to_one(value.raw, False)), _S),
    "regex": declare("regex", _regex, _S, _S),
    "regex_replace": declare("regex_replace", _regex_replace, _S, _S, _S),
    "regexall": declare("regexall", _regexall, _S, _S),
    "replace": declare("replace", _replace, _S, _S, _S),
    "reverse": declare("reverse", _reverse, _S),
    "sanitize": declare("sanitize", _sanitize, _S),
    "split": declare("split", _split, _S, _S),
    "strlen": declare("strlen", lambda value: v.number(len(graphemes(value.raw))), _S),
    "substr": declare("substr", _substr, _S, _N, _N),
    "title": declare("title", _title, _S),
    "trim": declare("trim", _trim, _S, _S),
    "trimprefix": declare("trimprefix", lambda value, prefix: v.string(value.raw.removeprefix(prefix.raw)), _S, _S),
    "trimspace": declare("trimspace", lambda value: v.string(trim_space(value.raw)), _S),
    "trimsuffix": declare("trimsuffix", lambda value, suffix: v.string(value.raw.removesuffix(suffix.raw)), _S, _S),
    "upper": declare("upper", lambda value: v.string(_one_to_one(value.raw, True)), _S),
}
