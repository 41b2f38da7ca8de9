"""A real sshd on loopback, for the account of the caller. It is started for each connection: there is no port to race
for, and nothing to wait for."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def make_key(path: Path) -> str:
    """Makes a key pair at `path`; returns the public half."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


@dataclass(frozen=True)
class Sshd:
    """A server in `folder`; those who have one of its `authorized` keys may come in."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        """What addresses of its files begin with."""
        return f"ssh://{pwd.getpwuid(os.geteuid()).pw_name}@127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        """As ssh names it in a file of known hosts."""
        return f"[127.0.0.1]:{self.port}"

    @property
    def host_key(self) -> str:
        """Type and key, as a file of known hosts has them."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    def authorize(self, key: str) -> None:
        with (self.folder / "authorized_keys").open("a") as file:
            file.write(f"{key}\n")

    def new_host_key(self) -> None:
        """As if another machine had taken its place."""
        for path in self.folder.glob("host_key*"):
            path.unlink()
        make_key(self.folder / "host_key")


@contextmanager
def open_sshd(folder: Path) -> Iterator[Sshd]:
    folder.mkdir()
    make_key(folder / "host_key")
    (folder / "authorized_keys").touch()
    (folder / "config").write_text(
        f"HostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nLogLevel ERROR\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it, and only an init system makes it
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "openssh-server is not installed"
    command = [program, "-i", "-f", str(folder / "config"), "-E", str(folder / "log")]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running: list[subprocess.Popen[bytes]] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # it was shut down
                    return
                with connection:
                    running.append(
                        subprocess.Popen(command, stdin=connection.fileno(), stdout=connection.fileno(), cwd="/")
                    )

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Sshd(folder, listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for process in running:
                process.wait()


@contextmanager
def open_agent(folder: Path, *keys: Path, user: int | None = None) -> Iterator[Path]:
    """The socket of an agent that has these keys; it answers its `user` only."""
    socket_path = folder / "agent"
    start = ["ssh-agent", "-D", "-a", str(socket_path)]
    with subprocess.Popen(start, stdout=subprocess.PIPE, text=True, user=user) as agent:
        try:
            assert agent.stdout is not None
            agent.stdout.readline()  # it listens when it says so
            environment = {"PATH": os.environ["PATH"], "SSH_AUTH_SOCK": str(socket_path)}
            subprocess.run(["ssh-add", "-q", *map(str, keys)], env=environment, user=user, check=True)
            yield socket_path
        finally:
            agent.terminate()
