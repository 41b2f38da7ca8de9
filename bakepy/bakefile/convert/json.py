"""A `Document` in the JSON syntax of the language. JSON has no comments; they are lost."""

from __future__ import annotations

from typing import Any

from bakepy.bakefile.convert.document import (
    Code,
    Document,
    Expression,
    Items,
    Plain,
    Section,
    Syntax,
    Text,
    Value,
    template_source,
)
from bakepy.bakefile.convert.reading import KINDS
from bakepy.bakefile.functions.json_encoding import quote
from bakepy.errors import UsageError


def write_json(document: Document) -> str:
    """The text. Raises UsageError for values whose names are those of blocks."""
    root: dict[str, Any] = {}
    for item in document.content:
        if isinstance(item, Section):
            _add(root.setdefault(item.kind, {}), item.label, _section(item))
        elif item.name in KINDS:
            raise UsageError(f"the value {item.name!r} can not have this name in JSON")
        else:
            root[item.name] = item.value
    return _written(root, "\n") + "\n"


def _add(holder: dict[str, Any], name: str, section: dict[str, Any]) -> None:
    """What is there twice becomes a list."""
    before = holder.get(name)
    if before is None:
        holder[name] = section
    elif isinstance(before, list):
        before.append(section)
    else:
        holder[name] = [before, section]


def _section(section: Section) -> dict[str, Any]:
    found: dict[str, Any] = {each.name: each.value for each in section.settings}
    for rule in section.rules:
        _add(found, rule.kind, _section(rule))
    return found


def _written(thing: dict[str, Any] | list[Any] | Value, newline: str) -> str:
    inner = newline + "  "
    match thing:
        case dict():
            return _bracketed("{", [f"{quote(name)}: {_written(each, inner)}" for name, each in thing.items()], newline)
        case list():
            return _bracketed("[", [_written(each, inner) for each in thing], newline)
        case Plain():
            return thing.text
        case Text():
            return quote(template_source(thing.parts))
        case Expression():
            return "null" if thing.text == "null" else quote(Code(thing.text).sequence)
        case Syntax():
            return quote(thing.text)
        case Items():
            texts = [_written(each.value, inner) for each in thing.items]
            line = "[" + ", ".join(texts) + "]"
            if "\n" not in line and len(line) <= 80:
                return line
            return _bracketed("[", texts, newline)
    return _bracketed(
        "{",
        [f"{quote(template_source(each.key.parts))}: {_written(each.value, inner)}" for each in thing.fields],
        newline,
    )


def _bracketed(opening: str, texts: list[str], newline: str) -> str:
    closing = {"{": "}", "[": "]"}[opening]
    if not texts:
        return opening + closing
    return opening + ",".join(newline + "  " + text for text in texts) + newline + closing
