"""What a registry answers, whichever client asked, and how failures of the two clients are told."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from bakepy.errors import RegistryError
from bakepy.registry.retry import Temporary

MAX_ANSWER = 1 << 20
_MAX_COMPLAINT = 1 << 16
_LONGEST_SAID = 300


class Headers(Protocol):
    """Header fields; names are the same in upper and lower case."""

    def get(self, name: str, default: str, /) -> str: ...

    def getall(self, name: str, default: Sequence[str], /) -> Sequence[str]: ...


class Answer(Protocol):
    """The begin of an answer, and its body as it comes."""

    @property
    def status(self) -> int: ...

    @property
    def reason(self) -> str: ...

    @property
    def headers(self) -> Headers: ...

    def pieces(self) -> AsyncIterator[bytes]: ...


async def read_bounded(answer: Answer, limit: int = MAX_ANSWER) -> bytes:
    """The body. Temporary if it is longer than `limit` bytes."""
    body = bytearray()
    async for piece in answer.pieces():
        body += piece
        if len(body) > limit:
            raise Temporary(f"the answer is longer than {limit} bytes")
    return bytes(body)


async def read_complaint(answer: Answer) -> bytes:
    """The begin of the body of an error answer; more than that is not worth waiting for."""
    body = bytearray()
    async for piece in answer.pieces():
        body += piece
        if len(body) > _MAX_COMPLAINT:
            break
    return bytes(body)


def printable(text: str) -> str:
    """What a registry said, made fit for a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_SAID]


def insecure(domain: str, error: BaseException) -> RegistryError:
    """The error of a TLS handshake that went wrong."""
    return RegistryError(f"{domain}: no secure connection: {error}", hint="is its certificate known here?")


def malformed(place: str) -> RegistryError:
    """The error of an address that no request can go to."""
    return RegistryError(f"{place}: the registry leads to a malformed address")


def broken(error: BaseException) -> Temporary:
    """A connection that did not come about, or did not last. The reason is the system's where it gave one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        # event loops' own texts tell the address twice
        if isinstance(cause, OSError) and cause.errno:
            said = os.strerror(cause.errno).lower() if cause.errno > 0 else str(cause.strerror)
            return Temporary(f"connection failed: {said}")
        cause = cause.__cause__ or cause.__context__
    return Temporary(f"connection failed: {error or type(error).__name__}")
