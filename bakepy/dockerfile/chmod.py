"""Symbolic modes of `--chmod`, as chmod(1) reads them: `u=rwX,go-w`. Here they are only checked."""

from __future__ import annotations

import re

from bakepy.dockerfile.errors import DockerfileError

_CLAUSE = re.compile(r"[ugoa]*(?:[-+=][rwxXstugo]*)+\Z")


def check_mode(text: str) -> None:
    """Raises DockerfileError."""
    if not text or not all(_CLAUSE.match(clause) for clause in text.split(",")):
        raise DockerfileError(f"invalid mode '{text}' of --chmod", hint="as in 0755 or u=rwx,go=rx")
