"""A `Document` in native syntax."""

from __future__ import annotations

import re
from typing import Final

from bakepy.bakefile.convert.document import (
    Code,
    Document,
    Expression,
    Fields,
    Section,
    Setting,
    Syntax,
    Text,
    Value,
    template_source,
)
from bakepy.bakefile.convert.writing import Writer
from bakepy.bakefile.format.hcl import format_hcl
from bakepy.bakefile.format.hcl_tokens import NEWLINE, SIGN, tokens
from bakepy.errors import UsageError

_NAME: Final = re.compile(r"[^\W\d][\w-]*")
_WORDS: Final = frozenset({"for", "true", "false", "null"})
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def write_hcl(document: Document) -> str:
    """The text, laid out. Raises UsageError for names that have no place in native syntax."""
    writer = _Native()
    for item in document.content:
        if isinstance(item, Section):
            writer.lines.append("")
            writer.section(item)
        elif item.name in ("variable", "function", "group", "target"):
            raise UsageError(f"the value {item.name!r} can not have this name in HCL")
        elif _NAME.fullmatch(item.name):
            writer.setting(item)
        else:
            document.notes.append(
                f"the value {item.name!r} is left out: no expression can refer to it, and HCL has no such names"
            )
    if document.closing:
        writer.lines.append("")
        writer.comment(document.closing)
    return format_hcl("\n".join(writer.lines) + "\n")


def setting_line(setting: Setting) -> str:
    """A setting without its comments, on one line if its value allows that."""
    return f"{setting.name} = {_Native().value(setting.value)}"


class _Native(Writer):
    """Native syntax."""

    def section(self, section: Section) -> None:
        self.comment(section.comments.above)
        label = f" {quote(Text((section.label,)))}" if section.label or section.kind != "validation" else ""
        self.line(f"{section.kind}{label} {{", section.comments)
        for setting in section.settings:
            self.setting(setting)
        for rule in section.rules:
            self.section(rule)
        self.comment(section.closing)
        self.lines.append("}")

    def setting(self, setting: Setting) -> None:
        self.comment(setting.comments.above)
        if isinstance(setting.value, Fields) and setting.value.fields:
            self.line(f"{setting.name} = {{", setting.comments)
            self.fields(setting.value)
            self.lines.append("}")
            return
        text = _heredoc(setting.value) or self.value(setting.value)
        if text.startswith("<<") and setting.comments.behind:
            self.comment([setting.comments.behind])
            self.lines.append(f"{setting.name} = {text}")
            return
        self.line(f"{setting.name} = {text}", setting.comments)

    def text(self, text: Text) -> str:
        return quote(text)

    def expression(self, value: Expression | Syntax) -> str:
        return _enclosed(value.text)

    def key(self, key: Text) -> str:
        literal = key.literal
        if literal is not None and _NAME.fullmatch(literal) and literal not in _WORDS:
            return literal
        return quote(key)

    def element(self, text: str) -> str:
        return text + ("\n," if "<<" in text else ",")


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
