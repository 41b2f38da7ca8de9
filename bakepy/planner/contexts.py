"""What a context says: a folder, another target, an image, an OCI layout, or something far away.

Forms: buildx `build/opt.go` (loadInputs), `util/ocilayout`, and `util/urlutil` for what counts as remote.
"""

from __future__ import annotations

import posixpath
import re

from bakepy.errors import DefinitionError
from bakepy.model.digest import Digest
from bakepy.model.value import dataclass


@dataclass(frozen=True, slots=True)
class FolderContext:
    """A folder; relative paths are meant from the directory of the command."""

    path: str


@dataclass(frozen=True, slots=True)
class TargetContext:
    """The result of another target."""

    target: str


@dataclass(frozen=True, slots=True)
class ImageContext:
    """An image from a registry, as written."""

    reference: str


@dataclass(frozen=True, slots=True)
class LayoutContext:
    """An image in an OCI layout folder: by digest, else by tag."""

    path: str
    tag: str
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class RemoteContext:
    """A git repository or something behind HTTP."""

    url: str


@dataclass(frozen=True, slots=True)
class StdinContext:
    """`-`: what comes on standard input."""


Context = FolderContext | TargetContext | ImageContext | LayoutContext | RemoteContext | StdinContext

_TAG = re.compile(r":(\w[\w.-]{0,127})\Z", re.ASCII)
_GIT = re.compile(r"(?:git|ssh|git\+ssh)://|git@|github\.com/")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:(?!//)")


def parse_context(text: str) -> Context:
    """Reads one context. Raises DefinitionError if it is malformed; whether anything is there is not looked at."""
    if text == "-":
        return StdinContext()
    if text.startswith("target:"):
        return TargetContext(text.removeprefix("target:"))
    if text.startswith("docker-image://"):
        return ImageContext(text.removeprefix("docker-image://"))
    if text.startswith("oci-layout://"):
        return _layout(text)
    if is_remote(text):
        return RemoteContext(text)
    if text.startswith("cwd://"):
        text = text.removeprefix("cwd://")
    return FolderContext(clean(text))


def is_remote(text: str) -> bool:
    """Whether it is an HTTP or git address."""
    return text.startswith(("http://", "https://")) or bool(_GIT.match(text) or _SCP.match(text))


def clean(path: str) -> str:
    """Go's `path.Clean`: no `.`, `..` and double slashes where they can be resolved; empty is `.`."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _layout(text: str) -> LayoutContext:
    path = text.removeprefix("oci-layout://")
    digest = None
    before, at, after = path.rpartition("@")
    if at and after.partition(":")[0] in ("sha256", "sha384", "sha512"):
        try:
            digest = Digest.parse(after)
        except Exception as error:
            raise DefinitionError(f"invalid OCI layout '{text}': bad digest") from error
        path = before
    tag = ""
    if found := _TAG.search(path):
        path, tag = path[: found.start()], found[1]
    if not path:
        raise DefinitionError(f"invalid OCI layout '{text}': no folder", hint="as in oci-layout://./image:latest")
    return LayoutContext(clean(path), tag or ("" if digest else "latest"), digest)
