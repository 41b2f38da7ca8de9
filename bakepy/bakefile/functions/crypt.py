"""bcrypt by the C library, and the decryption of RSA PKCS #1 v1.5 (RFC 8017) with a key in PEM."""

from __future__ import annotations

import base64
import binascii
import ctypes
import ctypes.util
from typing import Final

_ALPHABET: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def blowfish_hash(password: bytes, salt: bytes, cost: int) -> str | None:
    """`$2a$…`, or None where the C library can not do it. `salt` has 16 bytes."""
    name = ctypes.util.find_library("crypt")
    if name is None:
        return None
    function = ctypes.CDLL(name).crypt
    function.restype = ctypes.c_char_p
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    number = int.from_bytes(salt, "big") << 4
    encoded = "".join(_ALPHABET[(number >> shift) & 63] for shift in range(126, -1, -6))
    found: bytes | None = function(password, f"$2a${cost:02d}${encoded}".encode())
    if found is None or not found.startswith(b"$2a$"):
        return None
    return found.decode("ascii")


class KeyProblem(Exception):
    """A key can not be used, or the text was not encrypted for it."""


def rsa_decrypt(data: bytes, pem: str) -> bytes:
    """Raises KeyProblem."""
    modulus, exponent = _key(pem)
    size = (modulus.bit_length() + 7) // 8
    if len(data) != size or int.from_bytes(data, "big") >= modulus:
        raise KeyProblem("the text was not encrypted for this key")
    plain = pow(int.from_bytes(data, "big"), exponent, modulus).to_bytes(size, "big")
    end = plain.find(b"\0", 2)
    if plain[:2] != b"\0\x02" or end < 10:
        raise KeyProblem("the text was not encrypted for this key")
    return plain[end + 1 :]


def _key(pem: str) -> tuple[int, int]:
    """Modulus and private exponent of a PKCS #1 key."""
    start = pem.find("-----BEGIN ")
    head, _, rest = pem[start + 11 :].partition("-----")
    body, end, _ = rest.partition(f"-----END {head}-----")
    if start < 0 or not end:
        raise KeyProblem("there is no key in PEM form")
    if "4,ENCRYPTED" in body:
        raise KeyProblem("the key is protected by a passphrase")
    try:
        raw = base64.b64decode("".join(body.split()), validate=True)
        numbers = _integers(raw)
    except (binascii.Error, ValueError, IndexError):
        raise KeyProblem("this is no RSA key in PKCS #1 form") from None
    if len(numbers) < 9 or numbers[0] != 0 or numbers[1] <= 0:
        raise KeyProblem("this is no RSA key in PKCS #1 form")
    return numbers[1], numbers[3]


def _integers(raw: bytes) -> list[int]:
    """The integers of a DER sequence."""
    tag, content, after = _element(raw, 0)
    if tag != 0x30 or after != len(raw):
        raise ValueError("no sequence")
    found: list[int] = []
    position = 0
    while position < len(content):
        tag, number, position = _element(content, position)
        if tag != 0x02:
            raise ValueError("no integer")
        found.append(int.from_bytes(number, "big", signed=True))
    return found


def _element(raw: bytes, position: int) -> tuple[int, bytes, int]:
    tag, length, begin = raw[position], raw[position + 1], position + 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(raw[begin : begin + count], "big")
        begin += count
    if begin + length > len(raw):
        raise ValueError("too short")
    return tag, raw[begin : begin + length], begin + length
