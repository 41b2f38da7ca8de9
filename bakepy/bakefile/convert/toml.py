"""A `Document` as TOML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from bakepy.bakefile.convert.document import (
    Code,
    Comments,
    Document,
    Expression,
    Fields,
    Items,
    Plain,
    Section,
    Setting,
    Syntax,
    Text,
    Value,
    template_source,
)
from bakepy.bakefile.format.toml import format_toml

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SHORT: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
WIDTH: Final = 100


def write_toml(document: Document) -> str:
    """The text, laid out."""
    lines: list[str] = []
    often = Counter((each.kind, each.label) for each in document.sections())
    shared = [each for each in document.content if isinstance(each, Setting)]
    for item in document.content:
        if isinstance(item, Section):
            _section(lines, item, f"{item.kind}.{_key(item.label)}", often[item.kind, item.label] > 1)
        elif shared:
            lines += ["", "[locals]"]
            _settings(lines, shared, "locals")
            shared = []
    if document.closing:
        lines += ["", *_comment_lines(document.closing)]
    return format_toml("\n".join(lines) + "\n")


def _section(lines: list[str], section: Section, path: str, repeated: bool) -> None:
    lines += ["", *_comment_lines(section.comments.above)]
    header = f"[[{path}]]" if repeated else f"[{path}]"
    lines.append(header + _behind(section.comments))
    _settings(lines, section.settings, path)
    for rule in section.rules:
        _section(lines, rule, f"{path}.{rule.kind}", len(section.rules) > 1)
    lines += _comment_lines(section.closing)


def _settings(lines: list[str], settings: Sequence[Setting], path: str) -> None:
    """Keys first, then what takes a section of its own."""
    later: list[tuple[Setting, Fields]] = []
    for setting in settings:
        if isinstance(setting.value, Fields) and not _fits(setting.value):
            later.append((setting, setting.value))
            continue
        lines += _comment_lines(setting.comments.above)
        lines.append(f"{_key(setting.name)} = {_value(setting.value)}" + _behind(setting.comments))
    for setting, fields in later:
        lines += ["", *_comment_lines(setting.comments.above)]
        lines.append(f"[{path}.{_key(setting.name)}]" + _behind(setting.comments))
        for each in fields.fields:
            lines += _comment_lines(each.comments.above)
            lines.append(f"{_key(_text(each.key))} = {_value(each.value)}" + _behind(each.comments))


def _comment_lines(lines: Sequence[str | None]) -> list[str]:
    return ["" if line is None else f"#{line}".rstrip() for line in lines]


def _behind(comments: Comments) -> str:
    return f"  #{comments.behind}" if comments.behind else ""


def _fits(fields: Fields) -> bool:
    """Whether an object can stand in braces, on one line and without losing comments."""
    if len(fields.fields) > 3 or any(each.comments for each in fields.fields):
        return False
    text = _value(fields)
    return "\n" not in text and len(text) <= WIDTH // 2


def _value(value: Value) -> str:
    match value:
        case Plain():
            return value.text
        case Text():
            return quote(_text(value))
        case Expression():
            return quote(Code(value.text).sequence)
        case Syntax():
            return quote(value.text)
        case Fields():
            return "{ " + ", ".join(f"{_key(_text(each.key))} = {_value(each.value)}" for each in value.fields) + " }"
    return _items(value)


def _items(value: Items) -> str:
    texts = [_value(each.value) for each in value.items]
    line = "[" + ", ".join(texts) + "]"
    if "\n" not in line and len(line) <= WIDTH and not any(each.comments for each in value.items):
        return line
    lines = ["["]
    for item, text in zip(value.items, texts, strict=True):
        lines += _comment_lines(item.comments.above)
        lines.append(text + "," + _behind(item.comments))
    return "\n".join([*lines, "]"])


def _text(text: Text) -> str:
    return template_source(text.parts)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _one_line(name)


def quote(text: str) -> str:
    """A TOML string, in the form that is easiest to read."""
    if text.count("\n") > 1 or ("\n" in text and len(text) > WIDTH // 2):
        return _several_lines(text)
    return _one_line(text)


def _one_line(text: str) -> str:
    if ('"' in text or "\\" in text) and "'" not in text and "\n" not in text and not _CONTROL.search(text):
        return f"'{text}'"
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _several_lines(text: str) -> str:
    if "\\" in text and "'''" not in text and not text.endswith("'") and not _CONTROL.search(text):
        return f"'''\n{text}'''"
    escaped = "".join(character if character in '\n\t"' else _escaped(character) for character in text)
    escaped = escaped.replace('"""', '""\\"')
    if escaped.endswith('"'):
        escaped = escaped[:-1] + '\\"'
    return f'"""\n{escaped}"""'


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    return f"\\u{ord(character):04x}" if character < " " or character == "\x7f" else character
