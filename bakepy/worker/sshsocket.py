"""A socket that passes on to an SSH agent, with the owner and mode that the step asks for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import ByteStream, SocketStream

from bakepy.llb.op import SecretOpt


@asynccontextmanager
async def serve_agent(agent: Path, path: Path, option: SecretOpt) -> AsyncIterator[None]:
    """Listens at `path` for as long as the context lasts; each connection becomes one to `agent`."""

    async def handle(client: SocketStream) -> None:
        async with client, await anyio.connect_unix(agent) as upstream, anyio.create_task_group() as both:
            both.start_soon(_pass_on, client, upstream)
            both.start_soon(_pass_on, upstream, client)

    # a socket's path has at most 107 bytes: the folder goes by descriptor
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = await anyio.create_unix_listener(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    try:
        os.chown(path, option.uid, option.gid)
        path.chmod(option.mode & 0o777)  # noqa: ASYNC240
        async with anyio.create_task_group() as group, listener:
            group.start_soon(listener.serve, handle)
            yield
            group.cancel_scope.cancel()
    finally:
        path.unlink(missing_ok=True)  # noqa: ASYNC240


async def _pass_on(source: ByteStream, target: ByteStream) -> None:
    try:
        async for data in source:
            await target.send(data)
        await target.send_eof()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return  # one side has hung up: there is nobody left to tell
