"""Encodings, hashes, identifiers and paths."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
from typing import Final
from urllib.parse import quote_plus

from bakepy.bakefile import values as v
from bakepy.bakefile.functions.declare import FunctionError, declare, whole
from bakepy.bakefile.functions.json_decoding import decode
from bakepy.bakefile.functions.json_encoding import JSONError, encode
from bakepy.bakefile.node import Function, Scope
from bakepy.bakefile.source import octets
from bakepy.bakefile.values import Value


def _decode_base64(text: str) -> bytes:
    """Standard base64 with padding; ends of lines are passed over."""
    return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)


def _base64decode(value: Value) -> Value:
    try:
        return v.string(_decode_base64(value.raw).decode())
    except UnicodeDecodeError:
        raise FunctionError("the result is no UTF-8 text", 0) from None
    except (binascii.Error, ValueError):
        raise FunctionError("this is no base64", 0) from None


def _base64encode(value: Value) -> Value:
    return v.string(base64.b64encode(octets(value.raw)).decode())


def _basename(value: Value) -> Value:
    path: str = value.raw
    if not path:
        return v.string(".")
    return v.string(posixpath.basename(path.rstrip("/")) or "/")


def _dirname(value: Value) -> Value:
    path: str = value.raw
    folder = path[: path.rfind("/") + 1]
    return v.string(_clean(folder))


def _clean(path: str) -> str:
    if not path:
        return "."
    cleaned = posixpath.normpath(path)
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def _hash(name: str) -> Function:
    return declare(
        name, lambda value: v.string(hashlib.new(name, octets(value.raw), usedforsecurity=False).hexdigest()), v.STRING
    )


def _jsondecode(value: Value) -> Value:
    try:
        return decode(value.raw)
    except JSONError as error:
        raise FunctionError(str(error), 0) from None


def _jsonencode(value: Value) -> Value:
    try:
        return v.string(encode(value))
    except JSONError as error:
        raise FunctionError(str(error), 0) from None


def _urlencode(value: Value) -> Value:
    return v.string(quote_plus(octets(value.raw), safe="-_.~"))


# -- CSV


def _csv_rows(text: str) -> list[list[str]]:
    """RFC 4180: quoted fields may hold commas, quotes and ends of lines; empty lines are passed over."""
    rows: list[list[str]] = []
    position = 0
    text = text.replace("\r\n", "\n")
    while position < len(text):
        if text[position] == "\n":
            position += 1
            continue
        row: list[str] = []
        while True:
            field, position = _csv_field(text, position, len(rows) + 1)
            row.append(field)
            if position >= len(text) or text[position] == "\n":
                position += 1
                break
            position += 1
        rows.append(row)
    return rows


def _csv_field(text: str, position: int, line: int) -> tuple[str, int]:
    if text[position : position + 1] != '"':
        end = position
        while end < len(text) and text[end] not in ",\n":
            end += 1
        field = text[position:end]
        if '"' in field:
            raise FunctionError(f"line {line}: a quote in the middle of a field", 0)
        return field, end
    pieces = []
    position += 1
    while True:
        end = text.find('"', position)
        if end < 0:
            raise FunctionError(f"line {line}: a quote is not closed", 0)
        pieces.append(text[position:end])
        if text[end + 1 : end + 2] == '"':
            pieces.append('"')
            position = end + 2
            continue
        if text[end + 1 : end + 2] not in ("", ",", "\n"):
            raise FunctionError(f"line {line}: something follows a quoted field", 0)
        return "".join(pieces), end + 1


def _csvdecode(value: Value) -> Value:
    rows = _csv_rows(value.raw)
    if not rows:
        raise FunctionError("there is no line with the names of the columns", 0)
    names = rows[0]
    if len(set(names)) < len(names):
        raise FunctionError("two columns have the same name", 0)
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise FunctionError(f"line {number} has {len(row)} fields, not {len(names)}", 0)
    kind = v.ObjectType(dict.fromkeys(names, v.STRING))
    return v.list_of(
        [v.object_of({name: v.string(each) for name, each in zip(names, row, strict=True)}) for row in rows[1:]], kind
    )


# -- secrets


_COSTLIEST: Final = 15
"""About two seconds; each step more doubles the time."""


def _bcrypt(scope: Scope, value: Value, *cost: Value) -> Value:
    if len(cost) > 1:
        raise FunctionError(f"it takes 1 or 2 arguments, not {len(cost) + 1}")
    rounds = whole(cost[0], 1) if cost else 10
    if rounds > 31:
        raise FunctionError(f"the cost must be between 4 and 31, not {rounds}", 1)
    if rounds > _COSTLIEST:
        raise FunctionError(f"a cost of {rounds} takes too long; at most {_COSTLIEST} is allowed", 1)
    scope.globals.spend(8 << max(rounds, 4))
    password = octets(value.raw)
    if len(password) > 72:
        raise FunctionError("the text is longer than 72 bytes", 0)
    from bakepy.bakefile.functions.crypt import blowfish_hash

    hashed = blowfish_hash(password, scope.globals.random(16), 10 if rounds < 4 else rounds)
    if hashed is None:
        raise FunctionError("the C library of this system has no bcrypt")
    return v.string(hashed)


def _rsadecrypt(cipher: Value, key: Value) -> Value:
    from bakepy.bakefile.functions.crypt import KeyProblem, rsa_decrypt

    try:
        data = _decode_base64(cipher.raw)
    except (binascii.Error, ValueError):
        raise FunctionError("the text to decrypt is no base64", 0) from None
    try:
        return v.string(rsa_decrypt(data, key.raw).decode("utf-8", "replace"))
    except KeyProblem as problem:
        raise FunctionError(str(problem), 1) from None


# -- identifiers

_NAMESPACES: Final = {
    "dns": "6ba7b8109dad11d180b400c04fd430c8",
    "url": "6ba7b8119dad11d180b400c04fd430c8",
    "oid": "6ba7b8129dad11d180b400c04fd430c8",
    "x500": "6ba7b8149dad11d180b400c04fd430c8",
}


def _uuid(data: bytes, version: int) -> Value:
    raw = bytearray(data[:16])
    raw[6] = (raw[6] & 0x0F) | version << 4
    raw[8] = (raw[8] & 0x3F) | 0x80
    digits = raw.hex()
    return v.string(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")


def _uuidv5(namespace: Value, name: Value) -> Value:
    text: str = namespace.raw
    digits = _NAMESPACES.get(text)
    if digits is None:
        plain = text.lower().removeprefix("urn:uuid:").removeprefix("{").removesuffix("}")
        dashed = len(plain) == 36 and [at for at, each in enumerate(plain) if each == "-"] == [8, 13, 18, 23]
        digits = plain.replace("-", "") if dashed else plain
        if len(digits) != 32 or not all(each in "0123456789abcdef" for each in digits):
            raise FunctionError(f"{text!r} is no namespace: expected dns, url, oid, x500 or a UUID", 0)
    return _uuid(hashlib.sha1(bytes.fromhex(digits) + octets(name.raw), usedforsecurity=False).digest(), 5)


def _no_bytes(*_: Value) -> Value:
    raise FunctionError("bytes are required, which nothing in the language makes", 0)


_S, _N, _D = v.STRING, v.NUMBER, v.DYNAMIC

FUNCTIONS: Final[dict[str, Function]] = {
    "base64decode": declare("base64decode", _base64decode, _S),
    "base64encode": declare("base64encode", _base64encode, _S),
    "basename": declare("basename", _basename, _S),
    "bcrypt": declare("bcrypt", _bcrypt, _S, rest=_N, scoped=True),
    "byteslen": declare("byteslen", _no_bytes, _D),
    "bytesslice": declare("bytesslice", _no_bytes, _D, _N, _N),
    "csvdecode": declare("csvdecode", _csvdecode, _S),
    "dirname": declare("dirname", _dirname, _S),
    "homedir": declare("homedir", lambda scope: v.string(scope.globals.home()), scoped=True),
    "jsondecode": declare("jsondecode", _jsondecode, _S),
    "jsonencode": declare("jsonencode", _jsonencode, _D, nulls=True),
    "md5": _hash("md5"),
    "rsadecrypt": declare("rsadecrypt", _rsadecrypt, _S, _S),
    "sha1": _hash("sha1"),
    "sha256": _hash("sha256"),
    "sha512": _hash("sha512"),
    "urlencode": declare("urlencode", _urlencode, _S),
    "uuidv4": declare("uuidv4", lambda scope: _uuid(scope.globals.random(16), 4), scoped=True),
    "uuidv5": declare("uuidv5", _uuidv5, _S, _S),
}
