"""SSH agents that the caller lends, by id: the socket of one that runs already, or key files, for which an agent of
their own is started when they are first asked for."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

from bakepy.errors import UsageError
from bakepy.model.target import SSHEntry

_SECONDS = 60.0
"""For adding a key: only a file that can not be read, on a share that is away, takes long."""


class AgentProvider:
    """The agents of one target. A context manager: what was started for keys ends with it."""

    def __init__(self, entries: Iterable[SSHEntry], environment: Mapping[str, str], directory: Path) -> None:
        """An entry without a path means the agent of `SSH_AUTH_SOCK`; relative paths start at `directory`. UsageError
        for a path that is neither a socket nor a file, and for a socket beside other paths."""
        self._sockets: dict[str, Path] = {}
        self._keys: dict[str, tuple[Path, ...]] = {}
        self._path = environment.get("PATH")
        self._started = ExitStack()
        self._lock = Lock()
        for entry in entries:
            name = entry.id or "default"
            paths = [path for path in entry.paths if path] or [environment.get("SSH_AUTH_SOCK", "")]
            if paths == [""]:
                what = f"ssh {name}: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"
                raise UsageError(what, hint="start an agent, or name its socket or a key")
            found = tuple(directory / path for path in paths)
            sockets = [path for path in found if _is_socket(name, path)]
            self._sockets.pop(name, None)
            self._keys.pop(name, None)
            if not sockets:
                self._keys[name] = found
            elif len(found) == 1:
                self._sockets[name] = found[0]
            else:
                raise UsageError(f"ssh {name}: only a single socket is allowed, and no keys beside it")

    def __enter__(self) -> AgentProvider:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the agents that were started. Whoever lends keys must call it; it may be called more than once."""
        self._started.close()

    def socket(self, id: str) -> Path | None:
        """The socket of the agent lent as `id`; None if none is. Starts an agent for keys, which takes some
        milliseconds; UsageError if that fails, or if a key can not be used."""
        with self._lock:
            if id not in self._sockets and id in self._keys:
                self._sockets[id] = self._start(id, self._keys[id])
            return self._sockets.get(id)

    def _start(self, id: str, keys: tuple[Path, ...]) -> Path:
        import shutil  # late, both: start-up time
        import tempfile

        programs = [shutil.which(name, path=self._path) for name in ("ssh-agent", "ssh-add")]
        if None in programs:
            raise UsageError(f"ssh {id}: keys need the programs ssh-agent and ssh-add", hint="install openssh-client")
        agent, add = (str(program) for program in programs)
        folder = Path(self._started.enter_context(tempfile.TemporaryDirectory(prefix="bakepy-ssh-")))
        socket = folder / "agent"
        process = subprocess.Popen(
            [agent, "-D", "-a", str(socket)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt of the run is not for it
        )
        self._started.callback(_end, process)
        assert process.stdout is not None
        process.stdout.readline()  # it listens when it says so
        for key in keys:
            # without a terminal and a program to ask with, a passphrase is a failure and no question
            try:
                added = subprocess.run(
                    [add, "-q", str(key)],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=_SECONDS,
                    start_new_session=True,
                    env={"SSH_AUTH_SOCK": str(socket), "SSH_ASKPASS_REQUIRE": "never"},
                )
            except subprocess.TimeoutExpired as error:
                raise UsageError(f"ssh {id}: the key {key} can not be used: ssh-add did not end in time") from error
            if added.returncode != 0:
                said = " ".join(line.strip(" @") for line in added.stderr.splitlines() if line.strip(" @"))
                raise UsageError(
                    f"ssh {id}: the key {key} can not be used{f': {said}' if said else ''}",
                    hint="keys with a passphrase must be lent by an agent that has them open",
                )
        return socket


def _is_socket(name: str, path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(f"ssh {name}: can not read {path}: {error.strerror}") from error
    if stat.S_ISSOCK(mode):
        return True
    if not stat.S_ISREG(mode):
        raise UsageError(f"ssh {name}: {path} is neither the socket of an agent nor a key")
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    if process.stdout is not None:
        process.stdout.close()
    process.wait()
