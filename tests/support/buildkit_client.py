"""Enough of a BuildKit client to have a definition solved by the BuildKit in a Docker Engine.

The engine hands a connection over to BuildKit's gRPC after an HTTP upgrade: `POST /grpc` is BuildKit's `Control`
service; on `POST /session` the roles are turned round, and BuildKit calls the services that the client lends it. gRPC
libraries connect to addresses, so each such connection gets a UNIX socket and two threads that copy bytes. Messages:
BuildKit `api/services/control/control.proto`, fsutil `types/wire.proto` and `types/stat.proto`.
"""

from __future__ import annotations

import importlib
import socket
import stat
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from bakepy.llb import wire

_STAT, _REQUEST, _DATA, _FIN = 0, 1, 2, 3
_GO_DIRECTORY, _GO_SYMLINK = 1 << 31, 1 << 27
_CHUNK = 32 * 1024
_SECONDS = 120.0


def solve(api: Path, definition: bytes, folders: Mapping[str, Path], scratch: Path) -> None:
    """Solves a marshalled definition; `folders` are lent by name. Raises grpc.RpcError with what BuildKit says."""
    grpc: Any = importlib.import_module("grpc")  # it has no types
    session = uuid.uuid4().hex
    with ExitStack() as stack:
        lent = scratch / "lent.sock"
        stack.enter_context(_serving(grpc, lent, folders))
        headers = {
            "X-Docker-Expose-Session-Uuid": session,
            "X-Docker-Expose-Session-Name": "bakepy-test",
            "X-Docker-Expose-Session-Grpc-Method": "/moby.filesync.v1.FileSync/DiffCopy",
        }
        daemon = stack.enter_context(_upgraded(api, "/session", headers))
        stack.enter_context(_joined(daemon, stack.enter_context(_connected(lent))))
        control = scratch / "control.sock"
        stack.enter_context(_tunnel(control, lambda: _upgraded(api, "/grpc", {})))
        options = [("grpc.default_authority", "localhost")]  # else the path of the socket, which Go refuses
        channel = stack.enter_context(grpc.insecure_channel(f"unix:{control}", options))
        request = wire.text(1, uuid.uuid4().hex) + wire.message(2, definition) + wire.text(5, session)
        channel.unary_unary("/moby.buildkit.v1.Control/Solve")(request, timeout=_SECONDS)


# -- connections


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(str(path))
        connection.settimeout(None)
        yield connection


@contextmanager
def _upgraded(api: Path, path: str, headers: Mapping[str, str]) -> Iterator[socket.socket]:
    """A connection on which HTTP/2 follows."""
    with _connected(api) as connection:
        lines = [f"POST {path} HTTP/1.1", "Host: docker", "Connection: Upgrade", "Upgrade: h2c"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join((*lines, "", "")).encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)  # not one more: what follows belongs to HTTP/2
            if not byte:
                break
            answer += byte
        if b" 101 " not in answer.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"{path} was not upgraded: {answer.decode(errors='replace')}")
        yield connection


@contextmanager
def _joined(one: socket.socket, other: socket.socket) -> Iterator[None]:
    """Copies bytes both ways until the end of the block."""
    threads = [threading.Thread(target=_copy, args=pair) for pair in ((one, other), (other, one))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for connection in (one, other):
            _shut(connection)
        for thread in threads:
            thread.join()


def _copy(source: socket.socket, goal: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            goal.sendall(data)
    except OSError:
        pass  # the other side has gone
    _shut(goal)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it may be shut already
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _tunnel(path: Path, dial: Callable[[], Any]) -> Iterator[None]:
    """Listens on `path` and joins the one connection that comes with what `dial` opens."""
    over = threading.Event()

    def accept() -> None:
        try:
            near, _ = listener.accept()
        except OSError:
            return  # nobody came
        with near, dial() as far, _joined(near, far):
            over.wait()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            over.set()
            _shut(listener)
            thread.join()


# -- what is lent


@contextmanager
def _serving(grpc: Any, path: Path, folders: Mapping[str, Path]) -> Iterator[None]:
    """A gRPC server on `path` with the services of a session: files, and the health check that keeps it open."""

    def diff_copy(packets: Iterator[bytes], context: Any) -> Iterator[bytes]:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        yield from _send_folder(folders[metadata["dir-name"]], packets)

    def health(request: bytes, context: Any) -> bytes:
        return wire.number(1, 1)  # serving

    server = grpc.server(ThreadPoolExecutor(8))
    files = {"DiffCopy": grpc.stream_stream_rpc_method_handler(diff_copy)}
    checks = {"Check": grpc.unary_unary_rpc_method_handler(health)}
    server.add_generic_rpc_handlers((
        grpc.method_handlers_generic_handler("moby.filesync.v1.FileSync", files),
        grpc.method_handlers_generic_handler("grpc.health.v1.Health", checks),
    ))  # fmt: skip
    server.add_insecure_port(f"unix:{path}")
    server.start()
    try:
        yield
    finally:
        server.stop(grace=None).wait()


def _send_folder(folder: Path, packets: Iterator[bytes]) -> Iterator[bytes]:
    """The sending side of fsutil: a stat for each file in path order and an empty one as the end, then the content of
    the files that are asked for by their number, each closed by an empty packet. Owners are not sent, as by buildx."""
    paths = sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts)
    for path in paths:
        yield _packet(_STAT, wire.message(2, _stat(folder, path)))
    yield _packet(_STAT)
    for packet in packets:
        fields = dict(_fields(packet))
        kind = fields.get(1, _STAT)
        if kind == _FIN:
            yield _packet(_FIN)
            return
        assert kind == _REQUEST, f"unexpected packet: {packet!r}"
        number = fields.get(3, 0)
        assert isinstance(number, int)
        data = paths[number].read_bytes()
        for start in range(0, len(data), _CHUNK):
            yield _packet(_DATA, wire.number(3, number) + wire.message(4, data[start : start + _CHUNK]))
        yield _packet(_DATA, wire.number(3, number))


def _packet(kind: int, rest: bytes = b"") -> bytes:
    return wire.number(1, kind) + rest


def _stat(folder: Path, path: Path) -> bytes:
    facts = path.lstat()
    mode = stat.S_IMODE(facts.st_mode)
    link = ""
    if stat.S_ISDIR(facts.st_mode):
        mode |= _GO_DIRECTORY
    elif stat.S_ISLNK(facts.st_mode):
        mode |= _GO_SYMLINK
        link = str(path.readlink())
    size = facts.st_size if stat.S_ISREG(facts.st_mode) else 0
    name = path.relative_to(folder).as_posix()
    return (
        wire.text(1, name) + wire.number(2, mode) + wire.number(5, size) + wire.number(6, facts.st_mtime_ns)
        + wire.text(7, link)
    )  # fmt: skip


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message: numbers, and what is delimited by a length."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while position < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        else:
            assert tag & 7 == 2, f"wire type {tag & 7}"
            length = varint()
            yield tag >> 3, data[position : position + length]
            position += length
