"""Addresses fit to be shown or kept."""

from __future__ import annotations

import re

_WITH_USER = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/@'\"]+@")


def redacted(url: str) -> str:
    """A URL without its password, or the token in its place."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if not separator or not at or (scheme == "ssh" and ":" not in user):
        return url
    name, colon, _ = user.partition(":")
    return f"{scheme}://{name}:xxxxx@{host}{slash}{path}" if colon else f"{scheme}://xxxxx@{host}{slash}{path}"


def redacted_text(text: str) -> str:
    """A text in which each URL is without its password."""
    if "://" not in text:
        return text
    return _WITH_USER.sub(lambda found: redacted(found[0]), text)
