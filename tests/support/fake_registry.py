"""A small registry that misbehaves on request: on loopback, everything in memory, every request remembered.

It does what a client needs (manifests, blobs with Range, uploads in one piece, mounts, Basic and token
authentication). `fail` makes the next requests that match go wrong, one fault each, in order.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

from bakepy.model.digest import Digest
from tests.support.server import Server


@dataclass(frozen=True)
class Answer:
    """Answers with this instead of doing what was asked."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Reset:
    """Sends the first `after` bytes of the body, then resets the connection; None: before any answer."""

    after: int | None = None


@dataclass(frozen=True)
class Truncated:
    """Sends only the first `size` bytes of the body, as if that were all."""

    size: int


@dataclass(frozen=True)
class Instead:
    """Serves other content under the name that was asked for."""

    data: bytes


@dataclass(frozen=True)
class IgnoreRange:
    """Serves everything though a part was asked for."""


@dataclass(frozen=True)
class Stall:
    """Falls silent for good: takes nothing of an upload, sends only the first `after` bytes of a body (None: no
    answer at all)."""

    after: int | None = None


Fault = Answer | Reset | Truncated | Instead | IgnoreRange | Stall


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    queries: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def query(self) -> Mapping[str, str]:
        """The first value of each name."""
        return {key: values[0] for key, values in self.queries.items()}

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class FakeRegistry:
    """Use as a context manager. `host` is `127.0.0.1:PORT`."""

    def __init__(self) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.requests: list[Request] = []
        self.can_mount = True
        self.basic: tuple[str, str] | None = None
        """User and password, if Basic authentication is wanted."""
        self.tokens: dict[str, str] | None = None
        """Who may get which token, if tokens are wanted: `anonymous`, `user:password` or an identity token."""
        self.valid_tokens: set[str] = set()
        self._faults: list[tuple[re.Pattern[str], Fault]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": self}))
        # little is taken before somebody reads: what `Stall` does not read stays with the client
        self._server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeRegistry:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put_blob(self, repository: str, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.blobs[repository, digest] = data
        return digest

    def put_manifest(self, repository: str, data: bytes, media_type: str, tag: str = "") -> Digest:
        digest = Digest.of(data)
        for name in (digest, tag):
            if name:
                self.manifests[repository, name] = (media_type, data)
        return digest

    def fail(self, pattern: str, *faults: Fault) -> None:
        """The next requests whose `METHOD /path` matches the regular expression go wrong, one after the other."""
        self._faults += [(re.compile(pattern), fault) for fault in faults]

    def asked(self, pattern: str = "") -> list[str]:
        """`METHOD /path` of the requests that match, in order."""
        return [str(request) for request in self.requests if re.search(pattern, str(request))]

    def _next_fault(self, request: str) -> Fault | None:
        with self._lock:
            for entry in self._faults:
                if entry[0].search(request):
                    self._faults.remove(entry)
                    return entry[1]
        return None


class _Handler(BaseHTTPRequestHandler):
    fake: FakeRegistry
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        request = Request(self.command, unquote(parts.path), parse_qs(parts.query), dict(self.headers.items()))
        fault = self.fake._next_fault(str(request))
        if isinstance(fault, Stall) and (fault.after is None or self.command == "PUT"):
            self.fake.requests.append(request)
            return self._stall()
        request = replace(request, body=self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        self.fake.requests.append(request)
        if isinstance(fault, Answer):
            return self._answer(fault)
        if isinstance(fault, Reset) and fault.after is None:
            return self._reset()
        if isinstance(fault, IgnoreRange):
            request = replace(request, headers={key: value for key, value in request.headers.items() if key != "Range"})
        answer = self._token(request) if request.path == "/token" else self._authorized(request)
        return self._answer(answer, fault)

    def _answer(self, answer: Answer, fault: Fault | None = None) -> None:
        body = answer.body
        if isinstance(fault, Instead):
            body = fault.data
        if isinstance(fault, Truncated):
            body = body[: fault.size]
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if isinstance(fault, Stall):
            self.wfile.write(body[: fault.after])
            self._stall()
        elif isinstance(fault, Reset):
            self.wfile.write(body[: fault.after])
            self._reset()
        else:
            self.wfile.write(body)

    def _reset(self) -> None:
        self.wfile.flush()
        # closing with unsent data forgotten makes the kernel send RST
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _stall(self) -> None:
        self.close_connection = True
        self.fake._closing.wait()

    def _token(self, request: Request) -> Answer:
        form = {key: values[0] for key, values in parse_qs(request.body.decode()).items()}
        who = form.get("refresh_token", "anonymous")
        if (sent := request.headers.get("Authorization", "")).startswith("Basic "):
            who = base64.b64decode(sent.removeprefix("Basic ")).decode()
        token = (self.fake.tokens or {}).get(who)
        if token is None:
            return Answer(401, body=b'{"errors": [{"code": "UNAUTHORIZED", "message": "incorrect credentials"}]}')
        self.fake.valid_tokens.add(token)
        name = "access_token" if form else "token"
        return Answer(200, {"Content-Type": "application/json"}, json.dumps({name: token, "expires_in": 300}).encode())

    def _authorized(self, request: Request) -> Answer:
        sent = request.headers.get("Authorization", "")
        if self.fake.basic and sent != "Basic " + base64.b64encode(":".join(self.fake.basic).encode()).decode():
            return Answer(401, {"WWW-Authenticate": 'Basic realm="fake"'})
        if self.fake.tokens is not None and sent.removeprefix("Bearer ") not in self.fake.valid_tokens:
            challenge = f'Bearer realm="http://{self.fake.host}/token",service="fake"'
            return Answer(401, {"WWW-Authenticate": challenge})
        return self._registry(request)

    def _registry(self, request: Request) -> Answer:
        found = re.fullmatch(r"/v2/(.+)/(manifests|blobs)/(.+)", request.path)
        uploads = re.fullmatch(r"/v2/(.+)/blobs/uploads/(\w*)", request.path)
        if uploads:
            return self._upload(request, uploads[1])
        if not found:
            return Answer(200 if request.path == "/v2/" else 404)
        repository, kind, name = found.groups()
        if kind == "manifests":
            return self._manifest(request, repository, name)
        data = self.fake.blobs.get((repository, name))
        return _blob(data, request) if data is not None else _unknown("BLOB_UNKNOWN", "blob unknown to registry")

    def _manifest(self, request: Request, repository: str, name: str) -> Answer:
        if request.method == "PUT":
            self.fake.put_manifest(repository, request.body, request.headers["Content-Type"], name)
            return Answer(201, {"Docker-Content-Digest": Digest.of(request.body)})
        if (repository, name) not in self.fake.manifests:
            return _unknown("MANIFEST_UNKNOWN", "manifest unknown")
        media_type, data = self.fake.manifests[repository, name]
        headers = {"Content-Type": media_type, "Docker-Content-Digest": Digest.of(data)}
        return Answer(200, {**headers, "Content-Length": str(len(data))} if request.method == "HEAD" else headers, data)

    def _upload(self, request: Request, repository: str) -> Answer:
        if request.method == "POST":
            mounted = self.fake.blobs.get((request.query.get("from", ""), request.query.get("mount", "")))
            if mounted is not None and self.fake.can_mount:
                self.fake.blobs[repository, request.query["mount"]] = mounted
                return Answer(201)
            # state with characters that must come back as they are
            return Answer(202, {"Location": f"/v2/{repository}/blobs/uploads/1?_state=a%2Bb%3D"})
        if Digest.of(request.body) != request.query["digest"] or request.query["_state"] != "a+b=":
            return Answer(400, body=b'{"errors": [{"code": "DIGEST_INVALID", "message": "digest invalid"}]}')
        self.fake.blobs[repository, request.query["digest"]] = request.body
        return Answer(201)


def _blob(data: bytes, request: Request) -> Answer:
    if request.method == "HEAD":
        return Answer(200, {"Content-Length": str(len(data))})
    if found := re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", "")):
        start = int(found[1])
        return Answer(206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, data[start:])
    return Answer(200, body=data)


def _unknown(code: str, message: str) -> Answer:
    return Answer(404, body=json.dumps({"errors": [{"code": code, "message": message}]}).encode())
