"""Registry credentials from Docker's configuration: `auths`, `credHelpers` and `credsStore` of config.json.

The protocol of the helper programs is that of docker-credential-helpers: `docker-credential-NAME get`, the server on
stdin, JSON on stdout.
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from bakepy.errors import UsageError
from bakepy.model.value import dataclass

DOCKER_HUB = "docker.io"
_DOCKER_HUB_SERVER = "https://index.docker.io/v1/"
_HELPER_TIMEOUT = 60.0
# what helpers print when they have nothing for a server
_NOT_FOUND = ("credentials not found in native keychain", "no credentials server URL", "no credentials username")


@dataclass(frozen=True, slots=True)
class Credential:
    """A user and password, or a token that stands for them. The values show in no representation."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    """To be exchanged for access tokens (OAuth 2 refresh token)."""
    registry_token: str = field(default="", repr=False)
    """To be sent as it is."""


ANONYMOUS = Credential()

RunHelper = Callable[[str, str], str]
"""(helper name, server) to what the helper printed; raises LookupError if it knows nothing."""


class Credentials:
    """Looks up credentials by registry host. Methods block (files, helper programs)."""

    def __init__(
        self, config: Mapping[str, Any] | Callable[[], Mapping[str, Any]], run_helper: RunHelper | None = None
    ) -> None:
        """`config` is the content of config.json, or reads it when the first credential is looked up."""
        self._config = config
        self._run_helper = run_helper or run_credential_helper

    @classmethod
    def load(cls, environment: Mapping[str, str], start: Callable[[], Sequence[str]] = tuple) -> Credentials:
        """From `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; none if there is no such file.

        The file is read when the first credential is looked up: runs that ask no registry need no sound file.
        `start` gives what comes before the name of a helper program.
        """
        path = docker_config_path(environment)
        return cls(
            lambda: read_docker_config(path), lambda helper, server: run_credential_helper(helper, server, start())
        )

    def find(self, host: str) -> Credential:
        """For the registry `host` (`docker.io`, `ghcr.io`, `localhost:5000`); ANONYMOUS if nothing is known.

        A helper of that host comes before the common one, and that before `auths`. UsageError if a helper fails, or
        the file can not be read.
        """
        if callable(self._config):
            self._config = self._config()
        server = _DOCKER_HUB_SERVER if host == DOCKER_HUB else host
        helpers = self._config.get("credHelpers") or {}
        helper = helpers.get(host) or helpers.get(server) or self._config.get("credsStore")
        if helper and (found := self._from_helper(str(helper), server)):
            return found
        return _from_auths(self._config.get("auths") or {}, host)

    def _from_helper(self, helper: str, server: str) -> Credential | None:
        try:
            text = self._run_helper(helper, server)
        except LookupError:
            return None
        try:
            answer = json.loads(text)
            username, secret = str(answer["Username"]), str(answer["Secret"])
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(f"docker-credential-{helper} gave no usable answer for {server}") from error
        return Credential(identity_token=secret) if username == "<token>" else Credential(username, secret)


def docker_config_path(environment: Mapping[str, str]) -> Path:
    """Where Docker's config.json is, if there is one."""
    folder = environment.get("DOCKER_CONFIG") or str(Path(environment.get("HOME") or "/") / ".docker")
    return Path(folder) / "config.json"


def read_docker_config(path: Path) -> Mapping[str, Any]:
    """The content of Docker's config.json; empty if there is no such file. UsageError if it can not be read."""
    hint = "DOCKER_CONFIG names its folder"
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"can not read {path}: {error}", hint=hint) from error
    if not isinstance(config, dict) or not all(isinstance(config.get(key) or {}, dict) for key in _SECTIONS):
        raise UsageError(f"can not read {path}: not a Docker configuration", hint=hint)
    return config


def _from_auths(auths: Mapping[str, Any], host: str) -> Credential:
    names = ("index.docker.io", "docker.io", "registry-1.docker.io") if host == DOCKER_HUB else (host,)
    for key, entry in auths.items():
        if isinstance(entry, dict) and _host_of(key) in names and (found := _from_entry(entry)) != ANONYMOUS:
            return found
    return ANONYMOUS


_SECTIONS = ("auths", "credHelpers")


def _host_of(key: str) -> str:
    """The host of a key of `auths`, which may be a whole URL (`https://index.docker.io/v1/`)."""
    return key.partition("://")[2].partition("/")[0] if "://" in key else key.partition("/")[0]


def _from_entry(entry: Mapping[str, Any]) -> Credential:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            username, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (binascii.Error, ValueError, TypeError) as error:
            raise UsageError(
                "Docker's config.json has a malformed 'auth'", hint="docker login writes it anew"
            ) from error
        password = password.rstrip("\0")
    identity, registry = str(entry.get("identitytoken") or ""), str(entry.get("registrytoken") or "")
    return Credential(username, password, identity, registry)


def run_credential_helper(helper: str, server: str, start: Sequence[str] = ()) -> str:
    """Runs `docker-credential-HELPER get`, after `start`. LookupError if it has nothing, UsageError if it fails."""
    import shutil  # late: few runs ask for a credential

    program = f"docker-credential-{helper}"
    try:
        if shutil.which(program) is None:
            raise FileNotFoundError(program)
        done = subprocess.run(
            [*start, program, "get"],
            input=server,
            capture_output=True,
            text=True,
            timeout=_HELPER_TIMEOUT,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError(
            f"the credential helper {program} is not installed", hint="Docker's config.json asks for it"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"the credential helper {program} failed: {error}") from error
    if done.returncode:
        said = (done.stdout or done.stderr).strip()
        if any(text in said for text in _NOT_FOUND):
            raise LookupError(server)
        raise UsageError(f"the credential helper {program} failed for {server}", detail=said.splitlines()[:5])
    return done.stdout
