"""SSH agents that the caller lends, by id: the socket of an agent that runs already."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from bakepy.errors import UsageError
from bakepy.model.target import SSHEntry


class AgentProvider:
    """The agents of one target."""

    def __init__(self, entries: Iterable[SSHEntry], environment: Mapping[str, str], directory: Path) -> None:
        """An entry without a path means the agent of `SSH_AUTH_SOCK`. UsageError for anything but a socket: keys would
        need an agent of bakepy's own, which there is not yet."""
        self._sockets: dict[str, Path] = {}
        for entry in entries:
            name = entry.id or "default"
            path = entry.paths[0] if entry.paths else environment.get("SSH_AUTH_SOCK", "")
            if not path:
                what = f"ssh {name}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
                raise UsageError(what, hint="start an agent, or name its socket")
            socket = directory / path
            try:
                mode = socket.stat().st_mode
            except OSError as error:
                raise UsageError(f"ssh {name}: can not read {socket}: {error.strerror}") from error
            if not stat.S_ISSOCK(mode) or len(entry.paths) > 1:
                raise UsageError(
                    f"ssh {name}: keys are not supported yet", hint="add them to an agent, and name its socket"
                )
            self._sockets[name] = socket

    def socket(self, id: str) -> Path | None:
        """The socket of the agent lent as `id`; None if none is."""
        return self._sockets.get(id)
