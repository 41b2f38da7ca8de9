"""Bake files from texts, without a disk: a reader over a dict, and loading in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bakepy.bakefile import LoadOptions, load, render
from bakepy.bakefile.lookup import read_files
from bakepy.model.location import SourceFile
from bakepy.model.target import BakeFile, Target


class MemoryReader:
    """Files by path; `bakefile.Reader`. Names that end with `/` are folders."""

    def __init__(self, files: Mapping[str, str | bytes] | None = None) -> None:
        self.files = {name: data.encode() if isinstance(data, str) else data for name, data in (files or {}).items()}

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.files[path]

    def kind(self, path: str) -> str:
        if path in self.files:
            return "file"
        return "dir" if any(name.startswith(path.rstrip("/") + "/") for name in self.files) else ""


def load_text(
    text: str,
    *targets: str,
    name: str = "docker-bake.hcl",
    set: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    var: Mapping[str, str] | None = None,
    files: Mapping[str, str | bytes] | None = None,
) -> BakeFile:
    """One file's text, resolved for `targets`."""
    options = LoadOptions(
        targets=targets, overrides=set, environment=env or {}, variables=var or {}, reader=MemoryReader(files)
    )
    return load([SourceFile(name, text)], options)


def one_target(text: str, wanted: str = "default", /, **options: Any) -> Target:
    """The target called `wanted`."""
    return load_text(text, wanted, **options).targets[wanted]


def printed(text: str, *targets: str, **options: Any) -> Any:
    """What `--print` says, read back."""
    return json.loads(render(load_text(text, *targets, **options)))


def load_files(
    files: Mapping[str, str | bytes], *targets: str, names: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> BakeFile:
    """Files that are looked for as a run does it."""
    reader = MemoryReader(files)
    sources = read_files(names, env or {}, reader)
    return load(sources, LoadOptions(targets=targets, environment=env or {}, reader=reader))
