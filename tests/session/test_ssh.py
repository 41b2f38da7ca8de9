"""SSH: sockets of agents that run, and agents for key files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from bakepy.errors import UsageError
from bakepy.model.target import SSHEntry
from bakepy.session.ssh import AgentProvider

ENVIRONMENT = {"PATH": os.environ["PATH"]}

needs_ssh = pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="needs openssh-client")


def key(path: Path, passphrase: str = "") -> str:
    """Makes a key; returns its public half."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", path.name, "-f", str(path)]
    subprocess.run(command, check=True)
    return path.with_suffix(".pub").read_text().strip()


def listed(agent: Path) -> list[str]:
    """The public keys of an agent."""
    done = subprocess.run(["ssh-add", "-L"], env={"SSH_AUTH_SOCK": str(agent)}, capture_output=True, text=True)
    return done.stdout.splitlines()


def refusal(paths: tuple[str, ...], directory: Path) -> str:
    with pytest.raises(UsageError) as caught:
        AgentProvider([SSHEntry("x", paths)], {}, directory)
    return caught.value.what


@needs_ssh
def test_keys_are_lent_by_an_agent_that_ends_with_the_provider(tmp_path: Path) -> None:
    one, two = key(tmp_path / "one"), key(tmp_path / "two")
    with AgentProvider(
        [SSHEntry("default", ("one", "two")), SSHEntry("second", ("two",))], ENVIRONMENT, tmp_path
    ) as it:
        first, second = it.socket("default"), it.socket("second")
        assert first is not None and second is not None
        assert (listed(first), listed(second), it.socket("default")) == ([one, two], [two], first)
        assert it.socket("none") is None
    assert (first.parent.exists(), second.parent.exists()) == (False, False)


@needs_ssh
def test_no_agent_is_started_for_keys_that_nobody_asks_for(tmp_path: Path) -> None:
    key(tmp_path / "one")
    lent = AgentProvider([SSHEntry("default", ("one",))], {"PATH": str(tmp_path)}, tmp_path)
    with lent as provider, pytest.raises(UsageError) as caught:
        provider.socket("default")
    assert caught.value.render() == (
        "ssh default: keys need the programs ssh-agent and ssh-add\nhint: install openssh-client"
    )


@needs_ssh
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: key(path, "secret"), ""),
        (lambda path: path.touch(0o600), 'Error loading key "{path}": error in libcrypto'),
    ],
    ids=["passphrase", "no key"],
)
def test_key_that_can_not_be_used_is_told(tmp_path: Path, make: object, said: str) -> None:
    path = tmp_path / "it"
    make(path)  # type: ignore[operator]
    lent = AgentProvider([SSHEntry("default", ("it",))], ENVIRONMENT, tmp_path)
    with lent as provider, pytest.raises(UsageError) as caught:
        provider.socket("default")
    assert caught.value.what.startswith(f"ssh default: the key {path} can not be used")
    assert said.format(path=path) in caught.value.what
    assert caught.value.hint == "keys with a passphrase must be lent by an agent that has them open"


@needs_ssh
def test_a_key_that_takes_for_ever_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakepy.session.ssh._SECONDS", 0.01)
    (tmp_path / "ssh-add").write_text("#!/bin/sh\nexec sleep 600\n")
    (tmp_path / "ssh-add").chmod(0o755)
    (tmp_path / "it").touch()
    lent = AgentProvider([SSHEntry("default", ("it",))], {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, tmp_path)
    with lent as provider, pytest.raises(UsageError) as caught:
        provider.socket("default")
    assert caught.value.what == f"ssh default: the key {tmp_path}/it can not be used: ssh-add did not end in time"


def test_what_is_no_key_and_no_socket_is_refused_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert [refusal(paths, tmp_path) for paths in (("none",), (".",), ("s", "file"), ())] == [
            f"ssh x: can not read {tmp_path}/none: No such file or directory",
            f"ssh x: {tmp_path} is neither the socket of an agent nor a key",
            "ssh x: only a single socket is allowed, and no keys beside it",
            "ssh x: invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set",
        ]
