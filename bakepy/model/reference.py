"""Image references: `[domain/]path[:tag][@digest]`, in familiar and in normalised form.

Grammar and normalisation: distribution/reference (`docker.io/library/` is implied).
"""

from __future__ import annotations

import re
from dataclasses import replace

from bakepy.errors import DefinitionError
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z")
_PATH = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*\Z")
_TAG = re.compile(r"\w[\w.-]{0,127}\Z", re.ASCII)
_HEX_NAME = re.compile(r"[a-f0-9]{64}\Z")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A normalised reference. `domain` is never empty; `tag` and `digest` may be."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Reads familiar or full form; raises DefinitionError if `text` is no reference."""
        rest, _, digest_text = text.partition("@")
        if _HEX_NAME.match(text):
            raise DefinitionError(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
        domain, slash, remainder = rest.partition("/")
        if not slash or (not any(c in domain for c in ".:") and domain != "localhost" and domain == domain.lower()):
            domain, remainder = "docker.io", rest
        path, colon, tag = remainder.partition(":")
        if domain == "index.docker.io":
            domain = "docker.io"
        if domain == "docker.io" and "/" not in path:
            path = f"library/{path}"
        if not _DOMAIN.match(domain) or not _PATH.match(path) or len(path) > 255:
            reason = f"repository name ({path}) must be lowercase" if path != path.lower() else f"'{text}'"
            raise DefinitionError(f"invalid reference format: {reason}")
        if colon and not _TAG.match(tag):
            raise DefinitionError(f"invalid reference format: '{text}': bad tag '{tag}'")
        digest = None
        if "@" in text:
            try:
                digest = Digest.parse(digest_text)
            except Exception as error:
                raise DefinitionError(f"invalid reference format: '{text}': bad digest") from error
        return cls(domain, path, tag, digest)

    @property
    def repository(self) -> str:
        """`domain/path`, without tag and digest."""
        return f"{self.domain}/{self.path}"

    def with_default_tag(self) -> ImageReference:
        """With `latest` if there is neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag="latest")

    def with_digest(self, digest: Digest) -> ImageReference:
        return replace(self, digest=digest)

    def __str__(self) -> str:
        """The full form, as in `docker.io/library/alpine:latest@sha256:…`."""
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def familiar(self) -> str:
        """The shortest form that reads back as this reference: `alpine:latest`."""
        text = str(self)
        if self.domain != "docker.io":
            return text
        text = text.removeprefix("docker.io/")
        short = text.removeprefix("library/") if self.path.count("/") == 1 else text
        if short != text and not _HEX_NAME.match(short):
            return short
        host = self.path.partition("/")[0]
        return f"docker.io/{text}" if "." in host or host == "localhost" else text
