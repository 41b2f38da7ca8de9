"""Paths in compose files: which are meant from where (compose-go: `paths`, `loader/include`, `loader/extends`)."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any, Final

_FAR: Final = ("https://", "http://", "git://", "ssh://", "github.com/", "git@", "service:")
_DRIVE: Final = re.compile(r"[a-zA-Z]:[\\/]|\\\\")
Move = Callable[[Any], Any]


def joined(folder: str, name: str) -> str:
    """A path below `folder`, if it is not absolute; nothing below nothing is nothing."""
    path = posixpath.join(folder, name)
    return posixpath.normpath(path) if path else ""


def directory_of(folder: str, name: str, kind: Callable[[str], str]) -> str:
    """The folder of a file, or of a folder itself, as it is called from `folder`, which both are meant from. `kind`:
    what there is at a path."""
    path = joined(folder, name)
    if kind(path) != "dir":
        path = joined(folder, posixpath.dirname(name)) or "."
    if posixpath.isabs(path) != posixpath.isabs(folder):
        return path
    return posixpath.relpath(path, folder or ".")


def move_path(folder: str, path: Any, home: str = "") -> Any:
    """A context that is meant from `folder`, from the folder of the command."""
    if not isinstance(path, str) or not path or "://" in path or path.startswith(_FAR):
        return path
    return _moved(folder, path, home)


def move_file(folder: str, path: Any, home: str = "") -> Any:
    """The path of a file that is meant from `folder`, from the folder of the command."""
    return path if not isinstance(path, str) or _DRIVE.match(path) else _moved(folder, path, home)


def _moved(folder: str, path: str, home: str) -> str:
    if path.startswith("~") and home:
        return posixpath.normpath(f"{home}/{path[1:]}")
    return path if path.startswith("/") else joined(folder, path)


def move_paths(model: dict[str, Any], move: Move, move_file: Move, *, whole: bool = True) -> None:
    """Paths of services and secrets that are meant from another folder become paths from the folder of the command.

    `whole`: services are no parts of others, so that one without a context has that folder.
    """
    services = model.get("services")
    for service in services.values() if isinstance(services, dict) else ():
        if isinstance(service, dict):
            _move_service(service, move, move_file, whole)
    secrets = model.get("secrets")
    for secret in secrets.values() if isinstance(secrets, dict) else ():
        if isinstance(secret, dict) and "file" in secret:
            secret["file"] = move_file(secret["file"])


def _move_service(service: dict[str, Any], move: Move, move_file: Move, whole: bool) -> None:
    build = service.get("build")
    if isinstance(build, str):
        service["build"] = move(build)
    elif isinstance(build, dict):
        if whole or build.get("context") is not None:
            context = build.get("context")
            build["context"] = move("." if context is None else context)
        contexts, keys = build.get("additional_contexts"), build.get("ssh")
        if isinstance(contexts, dict):
            build["additional_contexts"] = {name: move(each) for name, each in contexts.items()}
        elif isinstance(contexts, list):
            build["additional_contexts"] = [_moved_pair(move, each) for each in contexts]
        if isinstance(keys, dict):
            build["ssh"] = {name: move_file(each) for name, each in keys.items()}
    files = service.get("env_file")
    if files is not None:
        service["env_file"] = [
            {**each, "path": _moved_name(move_file, each.get("path"))}
            if isinstance(each, dict)
            else _moved_name(move_file, each)
            for each in (files if isinstance(files, list) else [files])
        ]
    extends = service.get("extends")
    if isinstance(extends, dict) and "file" in extends:
        service["extends"] = {**extends, "file": _moved_name(move_file, extends["file"])}


def _moved_name(move_file: Move, name: Any) -> Any:
    return move_file(name) if name else name


def _moved_pair(move: Move, pair: Any) -> Any:
    if not isinstance(pair, str):
        return pair
    name, equals, path = pair.partition("=")
    return f"{name}={move(path)}" if equals else pair
