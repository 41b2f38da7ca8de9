"""The JSON of `--print`, byte for byte as buildx writes it."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from bakepy.bakefile.fields import FIELDS
from bakepy.bakefile.functions.json_encoding import quote
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
    return _shown(value, "\n", _Quoted())


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


class _Quoted(dict[str, str]):
    """Texts as they stand in JSON. Most come again and again, names above all: each is quoted once."""

    def __missing__(self, text: str) -> str:
        found = self[text] = quote(text)
        return found


def _shown(value: Any, newline: str, quoted: _Quoted) -> str:
    """`newline` is the new line and the indentation of this level."""
    kind = value.__class__
    if kind is dict or kind is list:
        inner = newline + "  "
        if kind is dict:
            parts = [
                f"{quoted[name]}: {quoted[each] if each.__class__ is str else _shown(each, inner, quoted)}"
                for name, each in value.items()
            ]
            return f"{{{inner}{f',{inner}'.join(parts)}{newline}}}" if parts else "{}"
        parts = [quoted[each] if each.__class__ is str else _shown(each, inner, quoted) for each in value]
        return f"[{inner}{f',{inner}'.join(parts)}{newline}]" if parts else "[]"
    if kind is str:
        return quoted[value]
    if value is None:
        return "null"
    return ("true" if value else "false") if kind is bool else str(value)
