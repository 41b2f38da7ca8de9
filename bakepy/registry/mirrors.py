"""Where else images of a registry are pulled from: containerd's `hosts.toml` folders and Docker's `registry-mirrors`.

Format and places: containerd `docs/hosts.md` and nerdctl's `--hosts-dir`; `dockerd`'s daemon.json. A host that asks for
more than bakepy does with registries (own certificates, headers, paths that are no `/v2/…`) is passed over, as a host
that is down: what mirrors do not give comes from the registry itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bakepy.errors import UsageError
from bakepy.model.reference import ImageReference
from bakepy.model.value import dataclass

_FOLDERS = ("/etc/containerd/certs.d", "/etc/docker/certs.d")
_DAEMON = "/etc/docker/daemon.json"
_DEMANDING = frozenset({"ca", "client", "header", "skip_verify"})


@dataclass(frozen=True, slots=True)
class Mirror:
    """A host to ask first. `plain`: over http. `prefix` comes before the path of repositories. A host that does not
    resolve is asked for content by digest only."""

    host: str
    plain: bool = False
    prefix: str = ""
    resolves: bool = True
    pulls: bool = True

    def of(self, ref: ImageReference) -> ImageReference:
        """Where this host has what `ref` means."""
        # one mirror may serve several registries: it is told which is meant, as containerd and BuildKit do
        namespace = "" if (ref.domain, self.host) == ("docker.io", "registry-1.docker.io") else ref.domain
        return MirroredReference(self.host, f"{self.prefix}{ref.path}", ref.tag, ref.digest, namespace)


@dataclass(frozen=True, slots=True)
class MirroredReference(ImageReference):
    """A reference at a mirror; `namespace` is the registry that it is of."""

    namespace: str = ""


def namespace_query(ref: ImageReference) -> str:
    """What a request for content of `ref` has behind its path: `?ns=docker.io` at a mirror, else nothing."""
    namespace = ref.namespace if isinstance(ref, MirroredReference) else ""
    return f"?ns={quote(namespace, safe='')}" if namespace else ""


class Mirrors:
    """The mirrors of this machine, read when a registry is first asked for."""

    def __init__(self, folders: tuple[Path, ...] = (), daemon: Path | None = None) -> None:
        """`folders` hold `DOMAIN/hosts.toml`; the first that has one for a registry counts. `daemon` is Docker's
        configuration, for docker.io."""
        self._folders = folders
        self._daemon = daemon
        self.known: dict[str, tuple[Mirror, ...]] = {}
        """What has been read, by registry."""

    @classmethod
    def of_machine(cls, environment: Mapping[str, str]) -> Mirrors:
        """Those of `BAKEPY_HOSTS_DIR`, or else the user's and the machine's."""
        if named := environment.get("BAKEPY_HOSTS_DIR"):
            return cls((Path(named),))
        home = environment.get("HOME")
        config = environment.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
        own = (f"{config}/containerd/certs.d", f"{config}/docker/certs.d") if config else ()
        return cls(tuple(Path(folder) for folder in (*own, *_FOLDERS)), Path(_DAEMON))

    def of(self, domain: str) -> tuple[Mirror, ...]:
        """The mirrors of a registry in the order in which they are asked. UsageError for a file that can not be
        read. Blocks."""
        if domain not in self.known:
            self.known[domain] = tuple(self._read(domain))
        return self.known[domain]

    def _read(self, domain: str) -> Iterator[Mirror]:
        host, _, port = domain.partition(":")
        names = dict.fromkeys((domain, f"{host}_{port}_" if port else domain, "_default"))
        for path in (folder / name / "hosts.toml" for folder in self._folders for name in names):
            if (text := _text(path)) is not None:
                yield from _hosts(path, text, domain)
                return
        if domain == "docker.io" and self._daemon is not None and (text := _text(self._daemon)) is not None:
            yield from _docker(self._daemon, text)


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: can not be read: {error}") from error


def _hosts(path: Path, text: str, domain: str) -> Iterator[Mirror]:
    import tomli  # late: most machines have no mirrors

    try:
        content = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from error
    hosts: Any = content.get("host", {})
    if not isinstance(hosts, dict) or not all(isinstance(entry, dict) for entry in hosts.values()):
        raise UsageError(f'{path}: host: expected tables [host."https://…"]')
    entries: list[tuple[str, dict[str, Any]]] = list(hosts.items())
    if isinstance(server := content.get("server"), str) and server not in hosts:
        entries.append((server, content))
    for address, entry in entries:
        capabilities = entry.get("capabilities", ["pull", "resolve"])
        mirror = _mirror(address, whole=entry.get("override_path") is True)
        if mirror is not None and mirror.host != domain and not _DEMANDING & entry.keys():
            yield replace(mirror, resolves="resolve" in capabilities, pulls="pull" in capabilities)


def _docker(path: Path, text: str) -> Iterator[Mirror]:
    try:
        content = json.loads(text or "{}")
        addresses = content.get("registry-mirrors", [])
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path}: {error}") from error
    for address in addresses:
        if (mirror := _mirror(str(address))) is not None:
            yield mirror


def _mirror(address: str, *, whole: bool = False) -> Mirror | None:
    """`whole`: the path of the address stands for `/v2` and may go on behind it."""
    parts = urlsplit(address if "://" in address else f"https://{address}")
    path = parts.path.strip("/")
    if whole:
        first, _, path = path.partition("/")
        if first != "v2":
            return None
    elif path:
        return None
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.username is not None:
        return None
    return Mirror(parts.netloc, parts.scheme == "http", f"{path}/" if path else "")
