"""A `Document` as TOML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Final

from bakepy.bakefile.convert.document import (
    Code,
    Document,
    Expression,
    Fields,
    Section,
    Setting,
    Syntax,
    Text,
    template_source,
)
from bakepy.bakefile.convert.writing import WIDTH, Writer
from bakepy.bakefile.format.toml import format_toml

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_SHORT: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def write_toml(document: Document) -> str:
    """The text, laid out."""
    writer = _Toml()
    often = Counter((each.kind, each.label) for each in document.sections())
    shared = [each for each in document.content if isinstance(each, Setting)]
    for item in document.content:
        if isinstance(item, Section):
            path = f"{item.kind}.{_key(item.label)}" if item.label else item.kind
            writer.section(item, path, repeated=often[item.kind, item.label] > 1)
        elif shared:
            writer.lines += ["", "[locals]"]
            writer.settings(shared, "locals")
            shared = []
    if document.closing:
        writer.lines.append("")
        writer.comment(document.closing)
    return format_toml("\n".join(writer.lines) + "\n")


class _Toml(Writer):
    """TOML: what takes a section of its own comes last."""

    gap: ClassVar[str] = "  "

    def section(self, section: Section, path: str, *, repeated: bool) -> None:
        self.lines.append("")
        self.comment(section.comments.above)
        self.line(f"[[{path}]]" if repeated else f"[{path}]", section.comments)
        self.settings(section.settings, path)
        for rule in section.rules:
            self.section(rule, f"{path}.{rule.kind}", repeated=len(section.rules) > 1)
        self.comment(section.closing)

    def settings(self, settings: Sequence[Setting], path: str) -> None:
        later: list[tuple[Setting, Fields]] = []
        for setting in settings:
            if isinstance(setting.value, Fields) and not self._fits(setting.value):
                later.append((setting, setting.value))
                continue
            self.comment(setting.comments.above)
            self.line(f"{_key(setting.name)} = {self.value(setting.value)}", setting.comments)
        for setting, fields in later:
            self.lines.append("")
            self.comment(setting.comments.above)
            self.line(f"[{path}.{_key(setting.name)}]", setting.comments)
            self.fields(fields)

    def _fits(self, fields: Fields) -> bool:
        """Whether an object can stand in braces, on one line and without losing comments."""
        if len(fields.fields) > 3 or any(each.comments for each in fields.fields):
            return False
        text = self.value(fields)
        return "\n" not in text and len(text) <= WIDTH // 2

    def text(self, text: Text) -> str:
        return quote(template_source(text.parts))

    def expression(self, value: Expression | Syntax) -> str:
        return quote(Code(value.text).sequence if isinstance(value, Expression) else value.text)

    def key(self, key: Text) -> str:
        return _key(template_source(key.parts))


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
