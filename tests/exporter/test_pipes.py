"""Outputs that go through a pipe, whose reader may take its time or never come."""

from __future__ import annotations

import fcntl
import io
import os
import select
import threading
import time
from pathlib import Path
from typing import BinaryIO

import anyio
import anyio.to_thread
import pytest

from tests.support.results import House, result, tar_of

pytestmark = pytest.mark.anyio

_DATA = {"large": "a" * 3_000_000, "small": "b"}
_GIVE_UP_SECONDS = 20.0


class Reader:
    """The reading end of a pipe. If the writer is not done with it in time, the test has failed and it is closed."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.in_time = True
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, 4096)
        self._timer = threading.Timer(_GIVE_UP_SECONDS, self._give_up)
        self._timer.start()

    def _give_up(self) -> None:
        self.in_time = False
        os.close(self.fd)

    def close(self) -> None:
        self._timer.cancel()
        self._timer.join()
        if self.in_time:
            os.close(self.fd)


def _wait_until_full(writing: int) -> None:
    poll = select.poll()
    poll.register(writing, select.POLLOUT)
    while poll.poll(0):
        time.sleep(0.001)


@pytest.fixture(params=["oci", "tar"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _stdout(fd: int) -> BinaryIO:
    return os.fdopen(fd, "wb")


async def test_all_arrives(house: House, kind: str) -> None:
    top = await house.snapshot("s1", _DATA)
    reading, writing = os.pipe()
    found = io.BytesIO()

    def read() -> None:
        with os.fdopen(reading, "rb") as file:
            found.write(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    with _stdout(writing) as out:
        exported = await house.exporter(stdout=out).export(result(top, f"type={kind},dest=-"))
        assert os.get_blocking(writing)
    thread.join()
    names = tar_of(found.getvalue())
    assert ("index.json" if kind == "oci" else "large") in names
    assert exported.written[0].endswith(" stdout")


async def test_nobody_waits_for_who_does_not_read(house: House, kind: str) -> None:
    top = await house.snapshot("s1", _DATA)
    reading, writing = os.pipe()
    reader = Reader(reading)
    with _stdout(writing) as out:
        async with anyio.create_task_group() as group:
            group.start_soon(house.exporter(stdout=out).export, result(top, f"type={kind},dest=-{_uncompressed(kind)}"))
            await anyio.to_thread.run_sync(_wait_until_full, writing)
            group.cancel_scope.cancel()
    reader.close()
    assert reader.in_time


async def test_nobody_waits_for_a_reader_that_does_not_come(house: House, tmp_path: Path, kind: str) -> None:
    top = await house.snapshot("s1", _DATA)
    os.mkfifo(tmp_path / "pipe")
    late: list[str] = []

    def come_late() -> None:
        late.append("came")
        with (tmp_path / "pipe").open("rb") as file:
            file.read()

    timer = threading.Timer(_GIVE_UP_SECONDS, come_late)
    timer.start()
    started = anyio.Event()

    async def export() -> None:
        started.set()
        await house.exporter().export(result(top, f"type={kind},dest={tmp_path / 'pipe'}{_uncompressed(kind)}"))

    async with anyio.create_task_group() as group:
        group.start_soon(export)
        await started.wait()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    timer.cancel()
    timer.join()
    assert late == []


async def test_a_reader_that_comes_later_gets_all(house: House, tmp_path: Path) -> None:
    top = await house.snapshot("s1", _DATA)
    os.mkfifo(tmp_path / "pipe")
    async with anyio.create_task_group() as group:
        group.start_soon(house.exporter().export, result(top, f"type=tar,dest={tmp_path / 'pipe'}"))
        data = await anyio.to_thread.run_sync((tmp_path / "pipe").read_bytes)
    assert set(tar_of(data)) == {"large", "small"}


def _uncompressed(kind: str) -> str:
    return ",compression=uncompressed" if kind == "oci" else ""
