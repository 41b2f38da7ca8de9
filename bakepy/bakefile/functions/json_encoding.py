"""Values of the language as JSON text."""

from __future__ import annotations

import re
from typing import Final

from bakepy.bakefile import values as v
from bakepy.bakefile.values import Value

_SPECIAL: Final = re.compile('["\\\\<>&\x00-\x1f\u2028\u2029\ud800-\udfff]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class JSONError(Exception):
    """A text is no JSON, or not of the type that is wanted; or a value has no JSON form."""


def quote(text: str) -> str:
    """A JSON string, with the characters escaped that mean something in HTML, as Go does. What is no UTF-8 becomes the
    escape sequence of the character that stands for such."""
    if _SPECIAL.search(text) is None:
        return f'"{text}"'
    return f'"{_SPECIAL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    if character >= "\ud800":
        return "\\ufffd"
    return _SHORT.get(character) or f"\\u{ord(character):04x}"


def encode(value: Value) -> str:
    """Compact JSON. Raises JSONError for infinite numbers."""
    raw = value.raw
    if raw is None:
        return "null"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, str):
        return quote(raw)
    if isinstance(raw, tuple):
        return f"[{','.join(encode(each) for each in raw)}]"
    if isinstance(raw, dict):
        return "{" + ",".join(f"{quote(name)}:{encode(raw[name])}" for name in sorted(raw)) + "}"
    if raw.infinite:
        raise JSONError("infinity has no JSON form")
    try:
        return str(raw.text())
    except OverflowError as reason:
        raise JSONError(str(reason)) from None


def encode_with_type(value: Value) -> str:
    """The value beside its type, as values of open type are written."""
    return f'{{"value":{encode(value)},"type":{encode_type(value.type)}}}'


def encode_type(type: v.Type) -> str:
    """`"string"`, `["list","string"]`, `["object",{…}]`."""
    if isinstance(type, v.CollectionType):
        return f'["{type.name}",{encode_type(type.element)}]'
    if isinstance(type, v.TupleType):
        return f'["tuple",[{",".join(encode_type(each) for each in type.elements)}]]'
    if isinstance(type, v.ObjectType):
        inner = ",".join(f"{quote(name)}:{encode_type(type.attributes[name])}" for name in sorted(type.attributes))
        return f'["object",{{{inner}}}]'
    return '"dynamic"' if type is v.DYNAMIC else f'"{type.name}"'
