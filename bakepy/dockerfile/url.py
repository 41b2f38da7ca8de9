"""URLs as BuildKit reads them, which is how Go's `net/url` does: what is a URL at all, and its parts.

Texts that are no URL are not wrong in a Dockerfile, they just mean something else (a path, a file without a name), so
the border between the two matters.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from urllib.parse import quote, unquote_plus, unquote_to_bytes

from bakepy.model.value import dataclass

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(//.*)\Z", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BAD_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})")
_USER = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*\Z")
_HOST = re.compile(r"(?:[A-Za-z0-9._~!\"$&'()*+,;=:<>\[\]-]|[^\x00-\x7f]|%25|%[89a-fA-F][0-9a-fA-F])*\Z")
_PORT = re.compile(r"(?::[0-9]*)?\Z")
_ENCODED_PATH = re.compile(r"[A-Za-z0-9$&+,/:;=@_.~!'()*\[\]%-]*\Z")
_IN_PATH, _IN_USER, _IN_HOST = "$&+,/:;=@-_.~", "$&+,;=-_.~", "!\"$&'()*+,-.:;<=>[]_~"


@dataclass(frozen=True, slots=True)
class Url:
    """`SCHEME://AUTHORITY/PATH?QUERY#FRAGMENT`. The scheme is lower case; `user` and `authority` are as they are
    written in a URL, `host`, `path` and `fragment` decoded; `base` is all but query and fragment, written in one way.
    """

    scheme: str
    authority: str
    host: str
    path: str
    base: str
    query: str
    fragment: str

    @classmethod
    def parse(cls, text: str) -> Url | None:
        """None if it is no URL with an authority."""
        text, _, fragment = text.partition("#")
        match = _SCHEME.match(text)
        if not match or _CONTROL.search(text) or _BAD_PERCENT.search(fragment):
            return None
        scheme = match[1].lower()
        rest, mark, query = match[2].partition("?")
        slash = rest.find("/", 2)
        authority, path = (rest[2:], "") if slash < 0 else (rest[2:slash], rest[slash:])
        user, at, host = authority.rpartition("@")
        if not _is_host(scheme, host) or not _USER.match(user) or any(map(_BAD_PERCENT.search, (user, path))):
            return None
        host = decoded(host)
        authority = (_encoded_user(user) + at if at else "") + _encoded(host, _IN_HOST)
        written = path if _ENCODED_PATH.match(path) else _encoded(decoded(path), _IN_PATH)
        base = f"{scheme}:" + (f"//{authority}{written}" if authority or at or path else "")
        if mark and not query:
            base += "?"  # a question mark that asks nothing stays
        return cls(scheme, authority, host, decoded(path), base, query, decoded(fragment))


def decoded(text: str) -> str:
    """Without `%XX`; bytes that are not UTF-8 become surrogates."""
    return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def query_pairs(query: str) -> tuple[list[tuple[str, str]], bool]:
    """The pairs of a query, and whether there was anything else: what is no pair is left out."""
    pairs: list[tuple[str, str]] = []
    clean = True
    for part in query.split("&"):
        if ";" in part or _BAD_PERCENT.search(part):
            clean = False
        elif part:
            key, _, value = part.partition("=")
            pairs.append((unquote_plus(key), unquote_plus(value)))
    return pairs, clean


def _encoded(text: str, safe: str) -> str:
    return quote(text.encode("utf-8", "surrogateescape"), safe=safe)


def _encoded_user(text: str) -> str:
    name, colon, password = text.partition(":")
    return _encoded(decoded(name), _IN_USER) + colon + _encoded(decoded(password), _IN_USER)


def _is_host(scheme: str, text: str) -> bool:
    """Whether the text names a host, with a port perhaps."""
    if "[" in text:
        opened, closed = text.rindex("["), text.rfind("]")
        return opened == 0 and closed > 0 and bool(_PORT.match(text[closed + 1 :])) and _is_ipv6(text[1:closed])
    if ":" in text:
        colon = text.index(":") if scheme in ("http", "https") else text.rindex(":")
        if not _PORT.match(text[colon:]):
            return False
    return bool(_HOST.match(text))


def _is_ipv6(text: str) -> bool:
    address, _, zone = text.partition("%25")
    if "%25" in text and not zone:
        return False
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True
