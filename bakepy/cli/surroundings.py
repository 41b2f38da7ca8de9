"""What a build takes from its surroundings, beyond what its file says: proxies of Docker's config.json become build
arguments, and with BUILDX_GIT_LABELS the repository is told in labels.

As buildx does it (`store/storeutil`, `build/opt.go`, `build/git.go`), so none of it shows in `--print`.
"""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bakepy.dockerfile.text import parse_bool
from bakepy.errors import UsageError
from bakepy.model.frozen import FrozenMap
from bakepy.model.target import BakeFile, Target
from bakepy.model.value import dataclass
from bakepy.planner.contexts import FolderContext, is_remote, parse_context
from bakepy.session.credentials import docker_config_path, read_docker_config

_PROXIES = {"httpProxy": "HTTP_PROXY", "httpsProxy": "HTTPS_PROXY", "noProxy": "NO_PROXY", "ftpProxy": "FTP_PROXY"}
"""Keys of config.json, and the arguments that they become; `allProxy` becomes none."""
_REVISION, _SOURCE = "org.opencontainers.image.revision", "org.opencontainers.image.source"
_ENTRY_POINT = "com.docker.image.source.entrypoint"
_PASSED = ("PATH", "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "SUDO_UID")
_UNBORN = ("unknown revision or path not in the working tree", "bad revision")
"""What git says where nothing is committed yet."""
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/@]*@")


def with_surroundings(
    bake_file: BakeFile, environment: Mapping[str, str], directory: Path
) -> tuple[BakeFile, tuple[str, ...]]:
    """The file with what counts besides it, and warnings for people. Blocks: reads a file, and may run git."""
    warnings: list[str] = []
    try:
        proxies = docker_proxies(read_docker_config(docker_config_path(environment)), environment)
    except UsageError as error:
        proxies = {}
        warnings.append(f"{error.what}; no proxies are taken from there")
    labels = _Labels.wanted(environment, directory)
    if not proxies and labels is None:
        return bake_file, tuple(warnings)
    targets = {}
    for name, target in bake_file.targets.items():
        given = {each.lower() for each, value in target.args.items() if value is not None}
        added = {each: value for each, value in proxies.items() if each.lower() not in given}
        told = labels.of(target) if labels is not None else {}
        targets[name] = replace(
            target, args=FrozenMap({**target.args, **added}), labels=FrozenMap({**target.labels, **told})
        )
    return replace(bake_file, targets=FrozenMap(targets)), (*warnings, *(labels.problems if labels else ()))


def docker_proxies(config: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Build arguments: the proxies of the Docker Engine that is in use, else the default ones. Raises UsageError."""
    proxies = config.get("proxies")
    if not proxies:
        return {}
    from bakepy.exporter.daemon import DockerEngine  # brings an HTTP client

    try:
        host = DockerEngine.from_environment(environment).host
        entry = (proxies[host] if host in proxies else proxies.get("default")) or {}
        found = {argument: entry.get(key) or "" for key, argument in _PROXIES.items()}
    except (TypeError, AttributeError):
        found = {"": None}
    if not all(isinstance(value, str) for value in found.values()):
        raise UsageError(f"{docker_config_path(environment)}: proxies are not written as Docker writes them")
    return {argument: value for argument, value in found.items() if value}


class _NoGit(Exception):
    """git can not tell about a folder. The message is empty if that is no surprise."""


@dataclass(frozen=True, slots=True)
class _Repository:
    """`root`: of the work tree."""

    root: str
    labels: FrozenMap[str, str]


class _Labels:
    """The labels of targets, which git is asked about once for each folder."""

    def __init__(self, environment: Mapping[str, str], directory: Path) -> None:
        self.problems: dict[str, None] = {}
        self._environment = {
            **{name: environment[name] for name in _PASSED if name in environment},
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        self._dirty = _switched_on(environment, "BUILDX_GIT_CHECK_DIRTY")
        self._directory = os.path.realpath(directory)
        self._known: dict[str, _Repository | None] = {}

    @classmethod
    def wanted(cls, environment: Mapping[str, str], directory: Path) -> _Labels | None:
        """None unless they are asked for."""
        mode = environment.get("BUILDX_GIT_LABELS", "")
        if mode == "full" or _switched_on(environment, "BUILDX_GIT_LABELS"):
            return cls(environment, directory)
        return None

    def of(self, target: Target) -> dict[str, str]:
        """Those of one target; none if its context is no folder of a work tree."""
        context = parse_context(target.context) if not is_remote(target.context) else None
        if not isinstance(context, FolderContext):
            return {}
        folder = posixpath.join(self._directory, context.path)
        if folder not in self._known:
            try:
                self._known[folder] = self._repository(folder)
            except _NoGit as error:
                self._known[folder] = None
                if str(error):
                    self.problems[f"labels do not tell the commit: {error}"] = None
        repository = self._known[folder]
        if repository is None:
            return {}
        return {**repository.labels, **self._entry_point(target, repository.root, context.path)}

    def _entry_point(self, target: Target, root: str, context: str) -> dict[str, str]:
        """The Dockerfile as the repository names it, if it is in there."""
        written = target.dockerfile
        if is_remote(written):
            return {}
        near = written.removeprefix("cwd://") if written.startswith("cwd://") else posixpath.join(context, written)
        path = posixpath.relpath(posixpath.join(self._directory, near), root)
        return {} if path.startswith("..") else {_ENTRY_POINT: path}

    def _repository(self, folder: str) -> _Repository | None:
        broken = Path(folder, ".git").is_dir()  # so it should be a work tree
        try:
            inside = self._git(folder, "rev-parse", "--is-inside-work-tree")
        except _NoGit as error:
            raise _NoGit(str(error) if broken else "") from error
        if inside != "true":
            raise _NoGit(f"{folder} is no work tree" if broken else "")
        labels = {}
        try:
            commit = self._git(folder, "show", "--format=%H", "HEAD", "--quiet", "--")
        except _NoGit as error:
            if not any(each in str(error) for each in _UNBORN):
                raise
            commit = ""
        if commit:
            labels[_REVISION] = f"{commit}-dirty" if self._dirty and self._is_dirty(folder) else commit
        if address := self._remote(folder):
            labels[_SOURCE] = _USER.sub(r"\1", address)
        root = os.path.realpath(self._git(folder, "rev-parse", "--show-toplevel"))
        return _Repository(root, FrozenMap(labels))

    def _is_dirty(self, folder: str) -> bool:
        try:
            return self._git(folder, "status", "--porcelain", "--ignored") != ""
        except _NoGit:
            return True

    def _remote(self, folder: str) -> str:
        """Of the branch, else `origin`, else `upstream`."""
        names = ["origin", "upstream"]
        try:
            branch = self._git(folder, "symbolic-ref", "-q", "HEAD")
            names.insert(0, self._git(folder, "for-each-ref", "--format=%(upstream:remotename)", branch))
        except _NoGit:
            pass  # no branch is checked out
        for name in filter(None, names):
            try:
                if address := self._git(folder, "remote", "get-url", name):
                    return address
            except _NoGit:
                continue
        return ""

    def _git(self, folder: str, *arguments: str) -> str:
        """The first line that git writes."""
        command = ["git", "-c", "log.showSignature=false", "-c", "core.fsmonitor=false", *arguments]
        try:
            done = subprocess.run(command, cwd=folder, env=self._environment, capture_output=True, check=True)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode("utf-8", "replace").strip()
            raise _NoGit(said.splitlines()[0] if said else f"git {arguments[0]} failed") from error
        except OSError as error:
            raise _NoGit(f"git can not be run: {error.strerror}") from error
        return done.stdout.decode("utf-8", "surrogateescape").partition("\n")[0].replace("'", "")


def _switched_on(environment: Mapping[str, str], name: str) -> bool:
    """What is neither true nor false counts as not given."""
    return bool(parse_bool(environment.get(name, "")))
