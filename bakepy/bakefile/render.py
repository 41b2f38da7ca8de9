"""The JSON of `--print`, byte for byte as buildx writes it."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

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
    writer = _Writer()
    writer.write(value, "\n")
    return "".join(writer.pieces)


def _group(group: Group) -> dict[str, Any]:
    printed: dict[str, Any] = {"description": group.description} if group.description else {}
    printed["targets"] = None if group.unlisted else list(group.targets)
    return printed


_PRINTED: Final = tuple(field for field in FIELDS if not field.own and field.name != "inherits")
_VALUES: Final = attrgetter(*(field.field for field in _PRINTED))


def _target(target: Target) -> dict[str, Any]:
    printed: dict[str, Any] = {}
    for field, plain in zip(_PRINTED, _VALUES(target), strict=True):
        if plain is None or (not plain and field.kind.empty_is_absent):
            continue
        shown = field.kind.printed(plain)
        if shown is not None:
            printed[field.name] = shown
    return printed


class _Writer:
    """Puts JSON together from pieces. Most texts come again and again, names above all: each is quoted once."""

    __slots__ = ("pieces", "quoted")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.quoted: dict[str, str] = {}

    def text(self, value: str) -> str:
        found = self.quoted.get(value)
        if found is None:
            found = self.quoted[value] = quote(value)
        return found

    def write(self, value: Any, newline: str) -> None:
        """`newline` is the new line and the indentation of this level."""
        pieces = self.pieces
        kind = value.__class__
        if kind is str:
            pieces.append(self.text(value))
        elif kind is dict:
            inner = newline + "  "
            separator = "{" + inner
            for name, each in value.items():
                pieces.append(f"{separator}{self.text(name)}: ")
                self.write(each, inner)
                separator = "," + inner
            pieces.append(newline + "}" if value else "{}")
        elif kind is list:
            inner = newline + "  "
            separator = "[" + inner
            for each in value:
                pieces.append(separator)
                self.write(each, inner)
                separator = "," + inner
            pieces.append(newline + "]" if value else "[]")
        elif value is None:
            pieces.append("null")
        elif kind is bool:
            pieces.append("true" if value else "false")
        else:
            pieces.append(str(value))
