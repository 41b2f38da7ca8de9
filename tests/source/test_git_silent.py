"""Git servers that take a request and never answer it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bakepy.errors import BuildError
from bakepy.registry.retry import Patience
from bakepy.source.git import GitSource
from bakepy.source.gitrequest import GitRequest

pytestmark = pytest.mark.anyio


async def test_a_silent_web_server_is_given_up(state_root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/r.git"
        source = GitSource(state_root, {"PATH": "/usr/bin:/bin"}, patience=Patience(silent=1))
        with pytest.raises(BuildError) as raised:
            await source.resolve(GitRequest(url))
    assert raised.value.what == (
        f"failed to fetch remote {url}: fatal: unable to access '{url}/':"
        " Operation too slow. Less than 1 bytes/sec transferred the last 1 seconds"
    )
