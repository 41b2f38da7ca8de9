"""Sizes as people write them (docker/go-units): `64m`, `1.5g`, `1048576`; powers of 1024."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?\Z", re.IGNORECASE | re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_size(text: str) -> int:
    """Bytes. Raises ValueError."""
    found = _SIZE.match(text.strip())
    if not found:
        raise ValueError(f"invalid size: '{text}'")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])
