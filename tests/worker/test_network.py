"""The sandbox network: what steps in it see, and that nothing of it is left."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from bakepy.errors import BuildError, EngineError, UsageError
from bakepy.llb.op import NONE, CacheOpt, CacheSharing, Mount, MountType, NetMode
from bakepy.worker.context import NETWORK_HOST
from bakepy.worker.network import Sandboxes, lacking, sandbox_resolv
from tests.support.steps import Steps

pytestmark = [pytest.mark.anyio, pytest.mark.runtime]


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a service on the machine's loopback that greets everybody."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"hello")

        thread = threading.Thread(target=greet)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_the_machines_loopback_is_out_of_reach(steps: Steps, server: int) -> None:
    assert steps.context.sandboxes.usable
    command = f"nc -w 120 127.0.0.1 {server} </dev/null || nc -w 120 10.0.2.2 {server} </dev/null || echo none"
    assert (await steps.run(command)).out == "none\n"
    host = await steps.run(command, network=NetMode.HOST, entitlements=frozenset({NETWORK_HOST}))
    assert host.out == "hello"


async def test_interfaces(steps: Steps) -> None:
    command = "ls /sys/class/net; grep -c . /proc/net/route"
    assert (await steps.run(command)).out == "lo\ntap0\n3\n"
    assert (await steps.run(command, network=NetMode.NONE)).out == "lo\n1\n"


async def test_steps_at_a_time_do_not_meet_and_later_ones_get_the_same(steps: Steps) -> None:
    found: list[str] = []

    meeting = Mount("/c", NONE, output=NONE, type=MountType.CACHE, cache=CacheOpt("meeting", CacheSharing.SHARED))
    # the listener ends after the greeting, not at the end of its own input, which would end the connection
    listen = (
        "nc -l -p 7000 -e sh -c 'cat > /tmp/got' & "
        "until echo me | nc -w 120 127.0.0.1 7000; do true; done; wait; cat /tmp/got"
    )

    async def run(mine: str, other: str) -> None:
        command = f"touch /c/{mine}; until [ -e /c/{other} ]; do true; done; {listen}"
        found.append((await steps.run(command, mounts=(meeting,))).out)

    async with anyio.create_task_group() as group:
        group.start_soon(run, "a", "b")
        group.start_soon(run, "b", "a")
    assert found == ["me\n", "me\n"]
    folder = steps.context.volatile / "network"
    assert sorted(path.name for path in folder.iterdir()) == ["1", "1.log", "1.ready", "2", "2.log", "2.ready"]
    await steps.run("true")
    assert sorted(path.name for path in folder.iterdir()) == ["1", "1.log", "1.ready", "2", "2.log", "2.ready"]


@pytest.fixture
def pasta(steps: Steps, tmp_path: Path) -> Iterator[Steps]:
    """Steps on a machine that has pasta only."""
    program = shutil.which("pasta")
    assert program is not None, "passt is not installed"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/pasta").symlink_to(program)
    folder = tmp_path / "network"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bakepy.worker.network._ELSEWHERE", "")
        sandboxes = Sandboxes(folder, {"PATH": str(tmp_path / "bin"), "BAKEPY_NETWORK": "sandbox"})
    yield Steps(steps.machine, replace(steps.context, sandboxes=sandboxes), steps.lent)
    sandboxes.close()
    assert list(folder.iterdir()) == []


async def test_pasta_makes_the_same_network(pasta: Steps, steps: Steps, server: int) -> None:
    facts = "ls /sys/class/net; cut -f 1-3 /proc/net/route; cat /sys/class/net/tap0/mtu; cat /etc/resolv.conf"
    mine = (await pasta.run(facts)).out
    assert mine == (await steps.run(facts)).out
    assert mine.startswith("lo\ntap0\nIface\tDestination\tGateway \n")
    assert "tap0\t00000000\t0202000A\n" in mine
    # what is out of reach does not answer there: an answer would come at once
    command = f"for at in 127.0.0.1 10.0.2.2; do nc -w 3 $at {server} </dev/null; done; echo none"
    assert (await pasta.run(command)).out == "none\n"


async def test_steps_beside_pasta_reach_this_machine_by_its_address(pasta: Steps) -> None:
    class Greeter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer((outer_address(), 0), Greeter) as web:
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            address, port = web.server_address[:2]
            assert (await pasta.run(f"wget -q -O - http://{address!s}:{port}/")).out == "hello"
        finally:
            web.shutdown()
            thread.join()


def outer_address() -> str:
    """This machine's address on the way to others; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.99", 9))
        return str(probe.getsockname()[0])


async def test_without_the_program_the_machines_network_is_used(steps: Steps, tmp_path: Path) -> None:
    plain = Sandboxes(tmp_path, {"PATH": str(tmp_path), "BAKEPY_NETWORK": "host"})
    shared = Steps(steps.machine, replace(steps.context, sandboxes=plain), steps.lent)
    interfaces = sorted(name for _, name in socket.if_nameindex())
    assert (await shared.run("ls /sys/class/net")).out.split() == interfaces


async def test_a_program_that_fails(steps: Steps, tmp_path: Path) -> None:
    program = tmp_path / "slirp4netns"
    program.write_text("#!/bin/sh\necho no luck today >&2\nexit 1\n")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    failing = Sandboxes(tmp_path, {"PATH": path})
    shared = Steps(steps.machine, replace(steps.context, sandboxes=failing), steps.lent)
    ran = await shared.run("ls /sys/class/net")
    assert "tap0" not in ran.out
    assert ran.err == "bakepy: no sandbox network (no luck today): the machine's is used\n"
    assert not failing.usable
    forced = Sandboxes(tmp_path, {"PATH": path, "BAKEPY_NETWORK": "sandbox"})
    with pytest.raises(EngineError) as caught:
        await Steps(steps.machine, replace(steps.context, sandboxes=forced), steps.lent).run("true")
    assert caught.value.what == "no sandbox network: no luck today"
    assert list(tmp_path.glob("[0-9]*")) == []  # noqa: ASYNC240


async def test_host_network_needs_its_right(steps: Steps) -> None:
    with pytest.raises(BuildError, match=r"^network\.host is not allowed\n"):
        await steps.run("true", network=NetMode.HOST)


def test_what_is_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakepy.worker.network._ELSEWHERE", "")
    assert lacking(str(tmp_path)) == "neither slirp4netns nor pasta is installed"
    with pytest.raises(EngineError) as caught:
        Sandboxes(tmp_path, {"PATH": str(tmp_path), "BAKEPY_NETWORK": "sandbox"})
    assert caught.value.what == "steps can not have a sandbox network: neither slirp4netns nor pasta is installed"
    assert caught.value.hint == "apt-get install slirp4netns"
    with pytest.raises(UsageError) as usage:
        Sandboxes(tmp_path, {"BAKEPY_NETWORK": "hots"})
    assert usage.value.what == "unknown network 'hots' in BAKEPY_NETWORK, must be one of auto, sandbox, host"
    assert usage.value.hint == "did you mean 'host'?"


@pytest.mark.parametrize(
    ("machine", "sandbox"),
    [
        ("nameserver 9.9.9.9\nsearch a b\n", "nameserver 9.9.9.9\nsearch a b\n"),
        ("# x\nnameserver 127.0.0.53\noptions edns0\n", "nameserver 10.0.2.3\n# x\noptions edns0\n"),
        ("nameserver ::1\nnameserver fe80::1%eth0\n", "nameserver fe80::1%eth0\n"),
        ("", "nameserver 10.0.2.3\n"),
    ],
)
def test_name_servers(machine: str, sandbox: str) -> None:
    assert sandbox_resolv(machine) == sandbox
