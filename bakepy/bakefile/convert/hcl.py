"""A `Document` in native syntax."""

from __future__ import annotations

import re
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
from bakepy.bakefile.format.hcl import format_hcl
from bakepy.bakefile.format.hcl_tokens import NEWLINE, SIGN, tokens
from bakepy.errors import UsageError

_NAME: Final = re.compile(r"[^\W\d][\w-]*")
_WORDS: Final = frozenset({"for", "true", "false", "null"})
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
WIDTH: Final = 100


def write_hcl(document: Document) -> str:
    """The text, laid out. Raises UsageError for names that have no place in native syntax."""
    lines: list[str] = []
    for item in document.content:
        if isinstance(item, Section):
            lines.append("")
            _section(lines, item)
        elif item.name in ("variable", "function", "group", "target"):
            raise UsageError(f"the value {item.name!r} can not have this name in HCL")
        elif _NAME.fullmatch(item.name):
            _setting(lines, item)
        else:
            document.notes.append(
                f"the value {item.name!r} is left out: no expression can refer to it, and HCL has no such names"
            )
    if document.closing:
        lines += ["", *_comment_lines(document.closing)]
    return format_hcl("\n".join(lines) + "\n")


def _section(lines: list[str], section: Section) -> None:
    lines += _comment_lines(section.comments.above)
    label = f" {quote(Text((section.label,)))}" if section.label or section.kind != "validation" else ""
    lines.append(f"{section.kind}{label} {{" + _behind(section.comments))
    for setting in section.settings:
        _setting(lines, setting)
    for rule in section.rules:
        _section(lines, rule)
    lines += [*_comment_lines(section.closing), "}"]


def _setting(lines: list[str], setting: Setting) -> None:
    lines += _comment_lines(setting.comments.above)
    if isinstance(setting.value, Fields) and setting.value.fields:
        lines.append(f"{setting.name} = {{" + _behind(setting.comments))
        for each in setting.value.fields:
            lines += _comment_lines(each.comments.above)
            lines.append(f"{_key(each.key)} = {_value(each.value)}" + _behind(each.comments))
        lines.append("}")
        return
    text = _heredoc(setting.value) or _value(setting.value)
    if text.startswith("<<") and setting.comments.behind:
        lines.append(f"#{setting.comments.behind}")
        lines.append(f"{setting.name} = {text}")
        return
    lines.append(f"{setting.name} = {text}" + _behind(setting.comments))


def setting_line(setting: Setting) -> str:
    """A setting without its comments, on one line if its value allows that."""
    return f"{setting.name} = {_value(setting.value)}"


def _comment_lines(lines: Sequence[str | None]) -> list[str]:
    return ["" if line is None else f"#{line}".rstrip() for line in lines]


def _behind(comments: Comments) -> str:
    return f" #{comments.behind}" if comments.behind else ""


def _value(value: Value) -> str:
    match value:
        case Plain():
            return value.text
        case Text():
            return quote(value)
        case Expression() | Syntax():
            return _enclosed(value.text)
        case Fields():
            if not value.fields:
                return "{}"
            return "{ " + ", ".join(f"{_key(each.key)} = {_value(each.value)}" for each in value.fields) + " }"
    return _items(value)


def _items(value: Items) -> str:
    texts = [_value(each.value) for each in value.items]
    line = "[" + ", ".join(texts) + "]"
    if "\n" not in line and len(line) <= WIDTH and not any(each.comments for each in value.items):
        return line
    lines = ["["]
    for item, text in zip(value.items, texts, strict=True):
        lines += _comment_lines(item.comments.above)
        lines.append(text + ("\n," if "<<" in text else ",") + _behind(item.comments))
    return "\n".join([*lines, "]"])


def _enclosed(text: str) -> str:
    """An expression that goes over several lines outside of brackets gets some."""
    depth = 0
    for token in tokens(text):
        if token.kind == NEWLINE and depth == 0:
            return f"({text}\n)" if "<<" in text else f"({text})"
        if token.kind == SIGN and token.text in "([{":
            depth += 1
        elif token.kind == SIGN and token.text in ")]}":
            depth -= 1
    return text


def _key(key: Text) -> str:
    literal = key.literal
    if literal is not None and _NAME.fullmatch(literal) and literal not in _WORDS:
        return literal
    return quote(key)


def quote(text: Text) -> str:
    """A string in quotes."""
    written: list[str] = []
    for position, part in enumerate(text.parts):
        if isinstance(part, Code):
            written.append(part.sequence)
            continue
        escaped = "".join(_SHORT.get(each) or (each if each >= " " else f"\\u{ord(each):04x}") for each in part)
        escaped = escaped.replace("${", "$${").replace("%{", "%%{")
        following = text.parts[position + 1] if position + 1 < len(text.parts) else None
        if isinstance(following, Code) and escaped.endswith(following.mark):
            escaped = f"{escaped[:-1]}\\u{ord(following.mark):04x}"
        written.append(escaped)
    return '"' + "".join(written) + '"'


def _heredoc(value: Value) -> str:
    """A text of several lines as such; empty if that is not possible."""
    if not isinstance(value, Text):
        return ""
    source = template_source(value.parts)
    last = value.parts[-1] if value.parts else ""
    if isinstance(last, Code) or not last.endswith("\n") or source.count("\n") < 2 or "\r" in source:
        return ""
    marker = "EOT"
    while marker in source:
        marker += "_"
    return f"<<{marker}\n{source}{marker}"
