"""Followed paths: what a context must hold so that these paths, symlinks on the way included, lead somewhere.

BuildKit's client sends only what a Dockerfile copies (`followpaths`); the result here is the list of include patterns
for the same set: every symlink met on the way, and every path that remains when all are replaced by their targets.
"""

# bytes paths and bare system calls, as in source/local.py
# ruff: noqa: PTH115

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from bakepy.model.patterns import BadPattern, clean, go_match, has_wildcards


def followed_paths(root: Path, paths: Iterable[str]) -> list[str]:
    """Include patterns for `paths` (relative to `root`, perhaps with wildcards); empty if everything is included."""
    base = os.fsencode(root)
    found: set[str] = set()
    todo = [clean("./" + path) for path in reversed(list(paths))]
    while todo:
        components = clean("/" + todo.pop()).strip("/").split("/")
        here = "."
        for index, component in enumerate(components):
            here = clean(f"{here}/{component}")
            targets = _targets(base, here)
            rest = "/".join(components[index + 1 :])
            if (targets or not rest) and here in found:
                break
            if targets:
                found.add(here)
                todo += [clean(f"{target}/{rest}") for target in reversed(targets)]
                break
            if not rest:
                found.add(here)
    return without_nested(sorted(found))


def without_nested(paths: Sequence[str]) -> list[str]:
    """Sorted paths without those below the one before; empty, which means everything, if the root is among them."""
    out: list[str] = []
    for path in paths:
        if path == ".":
            return []
        if not out or not path.startswith(out[-1] + "/"):
            out.append(path)
    return out


def _targets(base: bytes, path: str) -> list[str]:
    """Where the symlinks lead that `path`, whose last component may be a wildcard, names; absolute in the root."""
    folder, _, name = path.rpartition("/")
    if not has_wildcards(name):
        return _target(base, path)
    try:
        names = sorted(os.listdir(os.path.join(base, os.fsencode(folder))))  # noqa: PTH118, PTH208
    except OSError:
        # a folder that is not there holds no symlinks; the copy will say that it is missing
        return []
    out: list[str] = []
    for entry in names:
        text = entry.decode("utf-8", "surrogateescape")
        try:
            if go_match(name, text):
                out += _target(base, f"{folder}/{text}" if folder else text)
        except BadPattern:
            return []
    return out


def _target(base: bytes, path: str) -> list[str]:
    real = base + b"/" + path.encode("utf-8", "surrogateescape")
    try:
        if not stat.S_ISLNK(os.lstat(real).st_mode):
            return []
        target = os.readlink(real).decode("utf-8", "surrogateescape")
    except OSError:
        return []
    if target.startswith("/"):
        return [clean(target)]
    return [clean(f"/{path.rpartition('/')[0]}/{target}")]
