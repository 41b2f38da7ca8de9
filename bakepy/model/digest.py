"""Content digests (`sha256:<hex>`), as the OCI image specification writes them."""

from __future__ import annotations

import re
from hashlib import sha256

from bakepy.errors import BakeError

_FORM = re.compile(r"(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")


class Digest(str):
    """A well-formed digest `algorithm:hex`. It is a string, so it serialises and sorts as one."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Checks `text`; raises BakeError if it is no digest of a registered algorithm."""
        if not _FORM.match(text):
            raise BakeError(f"not a digest: '{text}'")
        return cls(text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The sha256 digest of `data`."""
        return cls("sha256:" + sha256(data).hexdigest())

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first twelve hex digits, for people."""
        return self.hex[:12]
