"""Loading an image archive into a Docker Engine (`type=docker` without `dest`), over its HTTP API.

Endpoint: `POST /images/load`, Docker Engine API; the engine is found as the docker command does it by `DOCKER_HOST`.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from bakepy.errors import BuildError
from bakepy.model.value import dataclass

_DEFAULT = "unix:///var/run/docker.sock"
_CONNECT_SECONDS = 10.0
_SILENT_SECONDS = 600.0
"""How long the engine may neither take nor send a byte."""
_CHUNK = 1 << 20
_HINT = "start a Docker Engine or set DOCKER_HOST; or write a file with dest=FILE and `docker load` it"


class Connection:
    """A connection that another thread may give up: whoever waits for it is woken, and fails."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self._socket: socket.socket | None = None

    def is_open(self, connected: socket.socket) -> None:
        with self._lock:
            self._socket = connected
            if self._given_up:
                _shut(connected)

    def give_up(self) -> None:
        """May be called again, and when it is closed."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                _shut(self._socket)


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed, by one side or the other
        connected.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """Where a Docker Engine listens: `unix:///path` or `tcp://host:port` (without TLS)."""

    host: str

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> DockerEngine:
        return cls(environ.get("DOCKER_HOST") or _DEFAULT)

    def load(self, write: Callable[[BinaryIO], None], used: Connection | None = None) -> tuple[str, ...]:
        """Sends the archive that `write` writes; returns the engine's messages.

        Blocks; another thread can give up the connection, `used`. BuildError if there is no engine, or if it refuses
        the image.
        """
        connection = self._connect()
        if used is not None:
            used.is_open(connection.sock)
        try:
            connection.putrequest("POST", "/images/load?quiet=1")
            connection.putheader("Content-Type", "application/x-tar")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            broken: OSError | None = None
            try:
                body = _Chunked(connection.sock)
                with io.BufferedWriter(body, _CHUNK) as out:
                    write(out)
            except (BrokenPipeError, ConnectionResetError) as error:
                broken = error  # the answer, if there is one, tells why
            try:
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise BuildError(f"Docker Engine at {self.host} broke off: {broken or error}") from error
            return self._messages(response.status, answer)
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.host)
        connection = http.client.HTTPConnection(parts.hostname or "localhost", timeout=_CONNECT_SECONDS)
        try:
            if parts.scheme == "unix":
                connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connected.settimeout(_CONNECT_SECONDS)
                connection.sock = connected
                connected.connect(parts.path)
            elif parts.scheme == "tcp" and parts.hostname:
                connection.sock = socket.create_connection((parts.hostname, parts.port or 2375), _CONNECT_SECONDS)
            else:
                raise BuildError(f"can not load into a Docker Engine at '{self.host}'", hint="unix:// and tcp:// work")
        except OSError as error:
            connection.close()
            raise BuildError(f"no Docker Engine at {self.host}: {error.strerror or error}", hint=_HINT) from error
        connection.sock.settimeout(_SILENT_SECONDS)
        return connection

    def _messages(self, status: int, body: bytes) -> tuple[str, ...]:
        """The engine answers with one JSON object on each line; `error` in any of them is a failure."""
        messages = []
        failure = ""
        for line in body.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                value = {"stream": line.decode(errors="replace")}
            if isinstance(value, dict):
                failure = failure or str(value.get("error") or (value.get("message") if status >= 400 else "") or "")
                if text := str(value.get("stream") or "").strip():
                    messages.append(text)
        if status >= 400 or failure:
            raise BuildError(f"Docker Engine at {self.host} did not load the image: {failure or f'status {status}'}")
        return tuple(messages)


class _Chunked(io.RawIOBase):
    """A request body in HTTP's chunked coding. It has no file descriptor: nothing may be written past it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if view.nbytes:
            self._connection.sendall(b"%x\r\n" % view.nbytes)
            self._connection.sendall(view)
            self._connection.sendall(b"\r\n")
        return view.nbytes

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._connection.sendall(b"0\r\n\r\n")
