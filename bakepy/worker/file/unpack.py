"""ADD of archives."""

from __future__ import annotations

import threading

from bakepy.snapshot.contenthash import Match
from bakepy.snapshot.filetree import FileTree
from bakepy.worker.file.target import Owner, Target


def unpack_archive(
    target: Target,
    dest: str,
    source: FileTree,
    match: Match,
    owner: Owner | None,
    time_ns: int | None,
    stop: threading.Event,
) -> bool:
    return False
