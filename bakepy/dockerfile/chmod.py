"""Symbolic modes of `--chmod`, as chmod(1) reads them: `u=rwX,go-w`. Here they are only checked."""

from __future__ import annotations

import re

from bakepy.dockerfile.errors import DockerfileError

_HINT = "as in 0755 or u=rwx,go=rx"
_CLAUSE = re.compile(r"[ugoa]*(?:[-+=][rwxXstugo]*)+\Z")


def check_mode(text: str) -> None:
    """Raises DockerfileError."""
    if not text or not all(_CLAUSE.match(clause) for clause in text.split(",")):
        if text[:1].isdigit():
            raise wrong_number(text)
        raise DockerfileError(f"invalid mode '{text}' of --chmod: invalid syntax", hint=_HINT)


def wrong_number(text: str) -> DockerfileError:
    """For modes that look like a number."""
    what = f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
    return DockerfileError(what, hint=_HINT)
