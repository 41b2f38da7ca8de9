"""Which files a run reads, and in what order. The disk is reached through the `Reader` protocol only."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Final

from bakepy.bakefile import expression as tree
from bakepy.bakefile.body import Schema
from bakepy.bakefile.node import Node
from bakepy.bakefile.reader import Reader
from bakepy.bakefile.source import Span, Text
from bakepy.errors import DefinitionError, UsageError
from bakepy.model.location import SourceFile

OWN_NAME: Final = "bake.toml"
"""If it is there, it alone is read; what else it needs, it includes."""

DEFAULT_NAMES: Final = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)
"""Else all of these that exist are read, in this order."""

_INCLUDE: Final = re.compile(r"^[ \t]*[\"']?include[\"']?[ \t]*=", re.MULTILINE)


def read_files(
    names: Sequence[str], environment: Mapping[str, str], reader: Reader, stdin: bytes = b""
) -> list[SourceFile]:
    """The files of a run: those named, else those of `BUILDX_BAKE_FILE`, else the default ones that exist.

    A file that a TOML file includes comes before it, once. Empty files count as missing. Raises UsageError for what
    can not be read, DefinitionError for includes that are no list of names or lead back to themselves.
    """
    found: list[SourceFile] = []
    for name in chosen_names(names, environment, reader):
        if name == "-":
            found.append(SourceFile("-", _decoded(stdin)))
        else:
            _add(name, reader, found, [], None)
    return found


def chosen_names(names: Sequence[str], environment: Mapping[str, str], reader: Reader) -> list[str]:
    """What `read_files` begins with, without what is included: `-` or paths. Raises UsageError if `BUILDX_BAKE_FILE`
    names what is not there."""
    chosen = [name.removeprefix("cwd://") for name in names]
    if not chosen:
        chosen = names_from_environment(environment)
        for name in chosen:
            if name != "-" and not reader.kind(name.removeprefix("cwd://")):
                raise UsageError(f"stat {name}: there is no such file; BUILDX_BAKE_FILE names it")
        chosen = [name.removeprefix("cwd://") for name in chosen]
    if not chosen:
        chosen = [OWN_NAME] if reader.kind(OWN_NAME) else [each for each in DEFAULT_NAMES if reader.kind(each)]
    return chosen


def names_from_environment(environment: Mapping[str, str]) -> list[str]:
    """What `BUILDX_BAKE_FILE` names, parted by `BUILDX_BAKE_PATH_SEPARATOR`."""
    separator = environment.get("BUILDX_BAKE_PATH_SEPARATOR") or ":"
    names = environment.get("BUILDX_BAKE_FILE", "").split(separator)
    return [each.strip() for each in names if each.strip()]


def _decoded(data: bytes) -> str:
    """Text; bytes that are no UTF-8 become surrogates, which are reported with their place."""
    return data.decode("utf-8", "surrogateescape")


def _add(name: str, reader: Reader, found: list[SourceFile], path: list[str], by: Span | None) -> None:
    try:
        data = reader.read(name)
    except OSError as error:
        what = f"open {name}: {(error.strerror or str(error)).lower()}"
        raise (by.error(what) if by is not None else UsageError(what)) from None
    if not data:
        return
    file = SourceFile(name, _decoded(data))
    if name.lower().endswith(".toml") and _INCLUDE.search(file.text):
        for included, span in _includes(Text(file)):
            if included in (*path, name):
                cycle = " -> ".join([*path, name, included])
                raise span.error(f"files include each other: {cycle}")
            if all(each.name != included for each in found):
                _add(included, reader, found, [*path, name], span)
    found.append(file)


def _includes(text: Text) -> list[tuple[str, Span]]:
    """The files that a TOML file includes, from the folder of the command. A broken file is reported later."""
    from bakepy.bakefile.toml_reader import read_toml

    body, errors = read_toml(text)
    if errors:
        return []
    attribute = body.content(Schema(frozenset({"include"}))).attributes.get("include")
    if attribute is None:
        return []
    node = attribute.node
    if not isinstance(node, tree.Tuple):
        raise node.error("expected a list of file names")
    folder = posixpath.dirname(text.name)
    return [(_included(each, folder), each.span) for each in node.items]


def _included(node: Node, folder: str) -> str:
    if not isinstance(node, tree.Literal) or not isinstance(node.literal.raw, str) or not node.literal.raw:
        raise _no_name(node)
    name = node.literal.raw
    if "://" in folder or "://" in name:
        from urllib.parse import urljoin

        return urljoin(f"{folder}/", name)
    return posixpath.normpath(posixpath.join(folder, name)) if folder else posixpath.normpath(name)


def _no_name(node: Node) -> DefinitionError:
    return node.error("expected a file name without variables")
