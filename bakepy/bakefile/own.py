"""The values of keys that are bakepy's own: how heavy a target is, what it may have again. buildx knows none of them;
in HCL and JSON files they stand in `x-bakepy`, which it skips.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bakepy.bakefile.conversion import convert
from bakepy.bakefile.entries import EntryError
from bakepy.bakefile.values import NUMBER, STRING, ConvertError, Value
from bakepy.errors import nearest
from bakepy.model.size import parse_size
from bakepy.model.target import EXIT, NETWORK, Retry

OWN: Final = "x-bakepy"
"""The attribute of HCL and JSON files that holds these keys, in a target and at the top."""
MOST_ATTEMPTS: Final = 100
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h)?\Z", re.ASCII)
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_KEYS: Final = ("attempts", "backoff", "on")


def memory_from(value: Value) -> int:
    """Bytes of `2g` or of a number. Raises EntryError."""
    text = _text(value, "a size")
    try:
        size = parse_size(text)
    except ValueError:
        raise EntryError(f"{text!r} is no size: such as 512m or 2g") from None
    if size < 1:
        raise EntryError("it must be more than nothing")
    return size


def retry_from(value: Value) -> Retry:
    """`3`, or `{ attempts = 3, backoff = "2s", on = ["network", 28] }`. Raises EntryError."""
    raw = value.raw
    if not isinstance(raw, Mapping):
        return Retry(_attempts(value))
    for name in raw:
        if name not in _KEYS:
            raise EntryError(f"there is no {name!r} here; {nearest(name, _KEYS) or 'expected ' + ', '.join(_KEYS)}")
    if "attempts" not in raw:
        raise EntryError("'attempts' is missing: how often it is tried in all")
    found: dict[str, Any] = {"attempts": _attempts(raw["attempts"])}
    if "backoff" in raw:
        found["backoff"] = _seconds(raw["backoff"])
    if "on" in raw:
        found["on"] = _reasons(raw["on"])
    return Retry(**found)


def slots_from(value: Value) -> int:
    """How many places a pool has. Raises EntryError."""
    return _whole(value, "the places of a pool", 1, 1 << 31)


def _attempts(value: Value) -> int:
    return _whole(value, "attempts", 1, MOST_ATTEMPTS)


def _reasons(value: Value) -> tuple[str | int, ...]:
    if not isinstance(value.raw, tuple):
        raise EntryError(f"'on' must be a list of {NETWORK!r}, {EXIT!r} and exit codes")
    found: list[str | int] = []
    for each in value.raw:
        text = _text(each, "a reason")
        if text in (NETWORK, EXIT):
            found.append(text)
        elif text.isascii() and text.isdecimal() and 0 < int(text) < 256:
            found.append(int(text))
        else:
            raise EntryError(f"{text!r} is no reason to try again: expected {NETWORK!r}, {EXIT!r} or an exit code")
    if not found:
        raise EntryError("'on' is empty: nothing would be tried again")
    return tuple(dict.fromkeys(found))


def _seconds(value: Value) -> float:
    text = _text(value, "a time")
    found = _DURATION.match(text)
    if not found:
        raise EntryError(f"{text!r} is no time: such as 500ms, 2s or 1m")
    return float(found[1]) * _UNITS[found[2]]


def _whole(value: Value, what: str, low: int, high: int) -> int:
    try:
        number = convert(value, NUMBER).raw
    except ConvertError:
        number = None
    if number is None or not number.fits(64) or not low <= number.truncated() <= high:
        raise EntryError(f"{what} must be a whole number from {low} to {high:,}")
    return int(number.truncated())


def _text(value: Value, what: str) -> str:
    try:
        text = convert(value, STRING).raw
    except ConvertError:
        text = None
    if text is None:
        raise EntryError(f"expected {what}")
    return str(text).strip()
