"""A web server on loopback: pages, and git repositories over both of git's protocols."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from tests.support.server import Server


@dataclass(frozen=True)
class Page:
    """What is answered. With `validates` conditional requests are granted, as far as `headers` has what they need, and
    so are requests for the rest of a body. With `cut` the connection ends after so many bytes."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    validates: bool = True
    cut: int | None = None

    def answer(self, asked: Message) -> tuple[int, Mapping[str, str], bytes]:
        if self.is_same(asked):
            return 304, {}, b""
        if self.validates and asked["Range"] and asked["If-Range"] == self.headers.get("ETag"):
            start = int(asked["Range"].removeprefix("bytes=").removesuffix("-"))
            part = {"Content-Range": f"bytes {start}-{len(self.body) - 1}/{len(self.body)}", **self.headers}
            return 206, part, self.body[start:]
        return self.status, self.headers, self.body

    def is_same(self, asked: Message) -> bool:
        """Whether the client has this already."""
        if not self.validates:
            return False
        etag, modified = self.headers.get("ETag"), self.headers.get("Last-Modified")
        return (etag is not None and asked["If-None-Match"] == etag.removeprefix("W/")) or (
            modified is not None and asked["If-Modified-Since"] == modified
        )


@dataclass(frozen=True)
class Request:
    """What was asked, and the status of the answer."""

    path: str
    headers: Message
    status: int


class Web:
    """`pages` by path; a list is answered one after the other, the last for ever. Below `/git/` are the repositories in
    `repositories` (smart protocol), below `/dumb/` their files. `authorization` is what `/git/` wants to see."""

    def __init__(self, repositories: Path | None = None) -> None:
        self.pages: dict[str, Page | list[Page]] = {}
        self.requests: list[Request] = []
        self.repositories = repositories
        self.authorization = ""
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self._body())

            def _body(self) -> bytes:
                if self.headers["Transfer-Encoding"] != "chunked":
                    return self.rfile.read(int(self.headers["Content-Length"] or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _answer(self, body: bytes) -> None:
                status, headers, data, cut = web.answer(self.command, self.path, self.headers, body)
                web.requests.append(Request(self.path, self.headers, status))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if status != 304:
                    self.wfile.write(data[:cut])
                self.close_connection |= cut is not None

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def statuses(self) -> list[int]:
        return [request.status for request in self.requests]

    def answer(
        self, method: str, path: str, headers: Message, body: bytes
    ) -> tuple[int, Mapping[str, str], bytes, int | None]:
        """Status, headers, body, and after how many bytes of that the connection ends."""
        if path.startswith("/git/"):
            if self.authorization and headers["Authorization"] != self.authorization:
                return 401, {"WWW-Authenticate": 'Basic realm="git"'}, b"", None
            return *self._backend(method, path, headers, body), None
        if path.startswith("/dumb/") and self.repositories is not None:
            file = self.repositories / urlsplit(path).path.removeprefix("/dumb/")
            return (200, {}, file.read_bytes(), None) if file.is_file() else (404, {}, b"", None)
        page = self.pages.get(path, Page(b"not found\n", 404))
        if isinstance(page, list):
            page = page.pop(0) if len(page) > 1 else page[0]
        return *page.answer(headers), page.cut

    def _backend(self, method: str, path: str, headers: Message, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "REQUEST_METHOD": method,
            "PATH_INFO": parts.path.removeprefix("/git"),
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": headers["Content-Type"] or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": headers["Content-Encoding"] or "",
            "GIT_PROTOCOL": headers["Git-Protocol"] or "",
        }
        out = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, data = out.stdout.partition(b"\r\n\r\n")
        answered = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return int(answered.pop("Status", "200").split()[0]), answered, data
