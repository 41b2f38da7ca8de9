"""Durations as Go writes and reads them (`1h2m3.5s`), in nanoseconds; sizes with binary suffixes."""

from __future__ import annotations

import re

from bakepy.dockerfile.text import quote

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
_AMOUNT = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\Z", re.ASCII)
_SUFFIX = re.compile(r"(?:(b)|([kmgtp])(?:i?b)?)?\Z")


def parse_duration(text: str) -> int:
    """Nanoseconds. Raises ValueError."""
    rest = text.lstrip("+-") if text[:1] in ("+", "-") else text
    sign = -1 if text.startswith("-") else 1
    if rest == "0":
        return 0
    total, position = 0, 0
    while match := _PART.match(rest, position):
        whole, fraction = match[1], match[2] or ""
        if not whole and not fraction:
            break
        if len(whole) > 19:
            break
        unit = _UNITS[match[3]]
        total += int(whole or 0) * unit + int(fraction[:18] or 0) * unit // 10 ** len(fraction[:18])
        position = match.end()
    if not rest or position != len(rest) or len(text) - len(rest) > 1 or total >= 1 << 63:
        raise ValueError(_fault(text))
    return sign * total


def _fault(text: str) -> str:
    """What is wrong with a duration that could not be read."""
    position = 1 if text[:1] in ("+", "-") else 0
    while match := _AMOUNT.match(text, position):
        if not match[1]:
            return f"missing unit in duration {quote(text)}"
        if match[1] not in _UNITS:
            return f"unknown unit {quote(match[1])} in duration {quote(text)}"
        position = match.end()
    return f"invalid duration {quote(text)}"


def format_duration(value: int) -> str:
    """As Go prints it: `1h0m0s`, `1.5s`, `100ms`, `0s`."""
    if value < 0:
        return "-" + format_duration(-value)
    if value == 0:
        return "0s"
    if value < 10**9:
        for unit, scale in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
            if value < scale * 1000:
                return _decimal(value, scale) + unit
    minutes, rest = divmod(value, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    seconds = _decimal(rest, 10**9) + "s"
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    digits = str(rest).rjust(len(str(scale)) - 1, "0").rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


def parse_size(text: str) -> int:
    """Bytes of `512`, `64k`, `1.5GiB` (powers of 1024, reckoned in floating point). Raises ValueError."""
    cut = max(text.rfind(char) for char in "0123456789. ") + 1
    digits, suffix = text[:cut].removesuffix(" "), text[cut:].lower()
    match = _SUFFIX.match(suffix)
    if not _NUMBER.match(digits) or not match:
        raise ValueError(f"invalid size '{text}'")
    size = float(digits) * 1024.0 ** "bkmgtp".index(match[2] or "b")
    if not 0 <= size < 1 << 63:
        raise ValueError(f"invalid size '{text}'")
    return int(size)
