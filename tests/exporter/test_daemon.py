"""`type=docker` without a file: loading into a Docker Engine, here a small one made of a socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import anyio
import anyio.to_thread
import pytest

from bakepy.errors import BuildError
from tests.support.results import House, files_of, result

pytestmark = pytest.mark.anyio


class Engine(ThreadingUnixStreamServer):
    """Takes `POST /images/load`; `answer` is what it says, `loaded` what it got."""

    daemon_threads = True

    def __init__(self, path: Path, status: int, answer: bytes) -> None:
        self.status = status
        self.answer = answer
        self.loaded: list[tuple[str, bytes]] = []
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Any
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = bytearray()
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        self.server.loaded.append((self.path, bytes(body)))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(self.server.answer)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def engine(folder: Path, status: int = 200, answer: bytes = b"") -> Iterator[Engine]:
    with Engine(folder / "docker.sock", status, answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


async def test_an_image_is_loaded(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", {"a": "1" * 3_000_000})
    with engine(tmp_path, answer=b'{"stream":"Loaded image: app:1\\n"}\r\n') as server:
        run = house.exporter(environ={"DOCKER_HOST": f"unix://{tmp_path / 'docker.sock'}"})
        exported = await run.export(result(top, "type=docker,compression=uncompressed", tags=("app:1",)))
    ((path, body),) = server.loaded
    assert path == "/images/load?quiet=1"
    assert json.loads(files_of(body)["manifest.json"])[0]["RepoTags"] == ["app:1"]
    assert exported.written == ("Loaded image: app:1",)


async def test_what_the_engine_refuses_is_an_error(house: House, tmp_path: Path) -> None:
    answer = b'{"stream":"x"}\n{"errorDetail":{"message":"no space"},"error":"no space left on device"}\n'
    with engine(tmp_path, answer=answer), pytest.raises(BuildError) as caught:
        run = house.exporter(environ={"DOCKER_HOST": f"unix://{tmp_path / 'docker.sock'}"})
        await run.export(result(None, "type=docker"))
    assert caught.value.what == (
        f"Docker Engine at unix://{tmp_path / 'docker.sock'} did not load the image: no space left on device"
    )


async def test_a_failing_status_is_an_error(house: House, tmp_path: Path) -> None:
    with engine(tmp_path, 500, b'{"message":"broken"}'), pytest.raises(BuildError) as caught:
        run = house.exporter(environ={"DOCKER_HOST": f"unix://{tmp_path / 'docker.sock'}"})
        await run.export(result(None, "type=docker"))
    assert caught.value.what.endswith("did not load the image: broken")


async def test_an_engine_that_never_answers_is_given_up_with_the_run(house: House, tmp_path: Path) -> None:
    taken, ended = threading.Event(), list[bytes | str]()

    def take_and_say_nothing() -> None:
        with listening.accept()[0] as connection:
            connection.settimeout(20)  # ends the test if nobody gives it up
            while not ended:
                try:
                    data = connection.recv(1 << 20)
                except TimeoutError:
                    data, ended[:] = b"", ["nobody has given it up"]
                if data.endswith(b"0\r\n\r\n"):
                    taken.set()
                elif not data and not ended:
                    ended.append("given up")

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "docker.sock"))
        listening.listen()
        thread = threading.Thread(target=take_and_say_nothing)
        thread.start()
        run = house.exporter(environ={"DOCKER_HOST": f"unix://{tmp_path / 'docker.sock'}"})
        async with anyio.create_task_group() as group:
            group.start_soon(run.export, result(None, "type=docker"))
            await anyio.to_thread.run_sync(taken.wait)
            group.cancel_scope.cancel()
        thread.join()
    assert ended == ["given up"]


async def test_without_an_engine_the_way_out_is_told(house: House, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        await house.exporter(environ={"DOCKER_HOST": f"unix://{tmp_path}/none"}).export(result(None, "type=docker"))
    assert caught.value.render() == (
        f"no Docker Engine at unix://{tmp_path}/none: No such file or directory\n"
        "hint: start a Docker Engine or set DOCKER_HOST; or write a file with dest=FILE and `docker load` it"
    )


async def test_a_host_that_can_not_be_spoken_to(house: House) -> None:
    with pytest.raises(BuildError) as caught:
        await house.exporter(environ={"DOCKER_HOST": "ssh://me@there"}).export(result(None, "type=docker"))
    assert caught.value.render() == (
        "can not load into a Docker Engine at 'ssh://me@there'\nhint: unix:// and tcp:// work"
    )
