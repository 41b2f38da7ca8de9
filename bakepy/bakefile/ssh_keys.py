"""Whether a file is a private key that an SSH agent could hold. The key is parsed no further than that."""

from __future__ import annotations

import base64
import binascii
from typing import Final

_KINDS: Final = ("RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY")


def key_problem(data: bytes) -> str:
    """Why it is no usable key; empty if it is one. Keys with a passphrase can not be used."""
    text = data.decode("utf-8", "replace")
    start = text.find("-----BEGIN ")
    if start < 0:
        return "it has no PEM block"
    head, _, rest = text[start + 11 :].partition("-----")
    body, end, _ = rest.partition(f"-----END {head}-----")
    if not end:
        return "its PEM block does not end"
    if "ENCRYPTED" in body or "ENCRYPTED" in head:
        return "it is protected by a passphrase"
    if head not in _KINDS:
        return f"{head!r} is no kind of private key"
    try:
        raw = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        return "its PEM block is damaged"
    if head == "OPENSSH PRIVATE KEY":
        return _openssh_problem(raw)
    return "" if raw[:1] == b"\x30" else "it is damaged"


def _openssh_problem(raw: bytes) -> str:
    magic = b"openssh-key-v1\0"
    if not raw.startswith(magic):
        return "it is damaged"
    length = int.from_bytes(raw[len(magic) : len(magic) + 4], "big")
    cipher = raw[len(magic) + 4 : len(magic) + 4 + length]
    return "" if cipher == b"none" else "it is protected by a passphrase"
