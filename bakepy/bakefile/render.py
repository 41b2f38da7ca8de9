"""The JSON of `--print`, byte for byte as buildx writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bakepy.bakefile.fields import FIELDS
from bakepy.bakefile.functions.json_values import quote
from bakepy.model.target import BakeFile, Group, Target


def render(bakefile: BakeFile) -> str:
    """What `--print` writes, without the new line at the end."""
    document: dict[str, Any] = {}
    if bakefile.groups:
        document["group"] = {name: _group(bakefile.groups[name]) for name in sorted(bakefile.groups)}
    targets = bakefile.targets
    document["target"] = {name: _target(targets[name].printed or targets[name]) for name in sorted(targets)}
    return to_json(document)


def to_json(value: Any) -> str:
    """JSON with an indentation of two, escaped as Go does."""
    pieces: list[str] = []
    _write(value, "\n", pieces)
    return "".join(pieces)


def _group(group: Group) -> dict[str, Any]:
    printed: dict[str, Any] = {"description": group.description} if group.description else {}
    printed["targets"] = None if group.unlisted else list(group.targets)
    return printed


def _target(target: Target) -> dict[str, Any]:
    printed: dict[str, Any] = {}
    for field in FIELDS:
        if field.own or field.name == "inherits":
            continue
        plain = getattr(target, field.field)
        if plain is None or (plain == "" and field.name == "description"):
            continue
        if plain == () or (isinstance(plain, Mapping) and not plain and field.name != "resources"):
            continue
        shown = field.kind.printed(plain)
        if shown is not None:
            printed[field.name] = shown
    return printed


def _write(value: Any, newline: str, pieces: list[str]) -> None:
    """`newline` is the new line and the indentation of this level."""
    match value:
        case str():
            pieces.append(quote(value))
        case None:
            pieces.append("null")
        case bool():
            pieces.append("true" if value else "false")
        case int():
            pieces.append(str(value))
        case dict():
            if not value:
                pieces.append("{}")
                return
            inner = newline + "  "
            separator = "{" + inner
            for name, each in value.items():
                pieces += (separator, quote(name), ": ")
                _write(each, inner, pieces)
                separator = "," + inner
            pieces.append(newline + "}")
        case list():
            if not value:
                pieces.append("[]")
                return
            inner = newline + "  "
            separator = "[" + inner
            for each in value:
                pieces.append(separator)
                _write(each, inner, pieces)
                separator = "," + inner
            pieces.append(newline + "]")
