"""Cache keys. A definition key says how a result is made, all the way down; an exact key says of what it is made now.

Keys are hexadecimal sha256 digests over fields joined by NUL, which occurs in none of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

_VERSION = "1"
"""Changes when results that were stored under old keys must not be found any more."""


def _digest(kind: str, fields: Iterable[str]) -> str:
    return hashlib.sha256("\0".join((kind, _VERSION, *fields)).encode("utf-8", "surrogateescape")).hexdigest()


def definition_key(op: str, inputs: Iterable[tuple[str, int, str]]) -> str:
    """From the op's key and each input's definition key, output number and selector: no input is evaluated."""
    return _digest(
        "definition", (op, *(part for key, index, selector in inputs for part in (key, str(index), selector)))
    )


def exact_key(op: str, parts: Iterable[str]) -> str:
    """From the op's key and what each input counts as (`content_part` or `result_part`)."""
    return _digest("exact", (op, *parts))


def content_part(digest: str) -> str:
    """An input counts by what is used of it."""
    return f"content:{digest}"


def result_part(id: str, selector: str) -> str:
    """An input counts by which result it is."""
    return f"result:{id}\0{selector}"


def fresh_id(key: str) -> str:
    """The identity of a result that was made anew although its key was known: nothing may be found by it."""
    return f"{key}.{os.urandom(16).hex()}"
