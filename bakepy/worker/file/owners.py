"""Owners of what file ops make: numbers, or names looked up in a tree's passwd and group files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bakepy.errors import BuildError
from bakepy.llb.op import ChownOpt
from bakepy.snapshot.rootpath import read_text
from bakepy.worker.file.target import Owner

TreeOf = Callable[[int], Path]
"""The tree of an input, by number."""


def owner_of(chown: ChownOpt | None, tree_of: TreeOf) -> Owner | None:
    """Whom things shall belong to; None: to whom they belong.

    A user brings its primary group, a number the group of the same number. An unknown user is root, an unknown group
    leaves the group as it is. Raises BuildError for a name where there is no tree to look it up in.
    """
    if chown is None:
        return None
    uid = gid = 0
    if (user := chown.user) is not None:
        if user.id is not None:
            uid = gid = user.id
        else:
            uid, gid = _user(user.name, read_text(_tree(tree_of, user.input, user.name), "/etc/passwd", strict=True))
    if (group := chown.group) is not None:
        if group.id is not None:
            gid = group.id
        else:
            gid = _group(group.name, read_text(_tree(tree_of, group.input, group.name), "/etc/group", strict=True), gid)
    return Owner(uid, gid)


def _tree(tree_of: TreeOf, number: int, name: str) -> Path:
    if number < 0:
        raise BuildError(
            f"invalid user index: {number}",
            hint=f"there is no passwd or group file to look up '{name}' in; use a number",
        )
    return tree_of(number)


def _user(name: str, passwd: str) -> tuple[int, int]:
    for row in _rows(passwd):
        if row[0] == name:
            return _number(row, 2), _number(row, 3)
    return 0, 0


def _group(name: str, group: str, otherwise: int) -> int:
    for row in _rows(group):
        if row[0] == name:
            return _number(row, 2)
    return otherwise


def _rows(text: str) -> list[list[str]]:
    return [line.strip().split(":") for line in text.splitlines() if line.strip()]


def _number(row: list[str], place: int) -> int:
    text = row[place].strip() if len(row) > place else ""
    return int(text) if text.isascii() and text.isdigit() else 0
