"""The state root: one folder, ours, writable."""

from __future__ import annotations

import os
from pathlib import Path

from bakepy.errors import EngineError

_HINT = "choose another with --root or BAKEPY_ROOT"


def open_root(root: Path) -> None:
    """Makes the folder if it is not there. Raises EngineError if it can not be used: not writable, not a folder, or
    begun by another user."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o755)
        state = root / "state.db"
        owner = state.stat().st_uid if state.exists() else os.geteuid()
    except OSError as error:
        raise EngineError(f"state root {root}: {(error.strerror or str(error)).lower()}", hint=_HINT) from error
    if owner != os.geteuid():
        raise EngineError(f"state root {root} belongs to user {owner}, this is user {os.geteuid()}", hint=_HINT)
    if not os.access(root, os.W_OK | os.X_OK):
        raise EngineError(f"state root {root} is not writable", hint=_HINT)
