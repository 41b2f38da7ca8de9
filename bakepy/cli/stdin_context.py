"""`bakepy build -`: a context or a Dockerfile on standard input, as `docker buildx build -` takes them.

An archive is lent to the build at an address of this machine: it is then a context from the web like any other, with
its owners and times. What is no archive is the Dockerfile of an empty context.
"""

from __future__ import annotations

import http.server
import os
import secrets
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bakepy.errors import UsageError
from bakepy.source.archive import is_archive

_CHUNK = 1 << 20


@contextmanager
def context_from(stream: BinaryIO, *, file: str, empty: Path) -> Iterator[tuple[str, str | None]]:
    """The context to build instead of `-`, and the text of the Dockerfile if that is what `stream` gives.

    `file` is the flag `-f`: a path inside the archive; UsageError if `stream` is the Dockerfile itself, or if it is
    empty. `empty` becomes the empty context. Nothing is left behind, not even by a process that is killed: the archive
    is in a file without a name.
    """
    with tempfile.TemporaryFile(prefix="bakepy-stdin-") as kept:
        shutil.copyfileobj(stream, kept, _CHUNK)
        kept.flush()
        if kept.tell() == 0:
            raise UsageError("the context '-': standard input is empty", hint="pipe an archive or a Dockerfile into it")
        if is_archive(Path(f"/proc/self/fd/{kept.fileno()}")):
            with _served(kept.fileno()) as address:
                yield address, None
            return
        if file:
            raise UsageError(
                "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles",
                hint="without -f, the Dockerfile is the one on standard input",
            )
        kept.seek(0)
        empty.mkdir(parents=True, exist_ok=True)
        yield str(empty), kept.read().decode(errors="surrogateescape")


@contextmanager
def _served(archive: int) -> Iterator[str]:
    """Serves one open file to whom knows its address."""
    place = f"/{secrets.token_hex(16)}/context"
    owner = os.getpid()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != place:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(os.fstat(archive).st_size))
            self.end_headers()
            at = 0
            while data := os.pread(archive, _CHUNK, at):
                self.wfile.write(data)
                at += len(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{place}"
    finally:
        if os.getpid() == owner:  # a process that was made meanwhile has no such thread
            server.shutdown()
        server.server_close()
