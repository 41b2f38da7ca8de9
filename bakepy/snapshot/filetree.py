"""File trees in memory: what is where below a root, with the facts of stat, and paths resolved inside that root.

One form for contexts (scanned once, filtered) and for mounted snapshots (folders are read when somebody looks), so
that COPY's rules about symlinks, wildcards and digests exist once. A tree is a picture of one moment: nothing that
happens on disk afterwards shows in it, and whoever reads a file's content checks it against the facts here.
"""

# bytes paths and bare system calls: these trees have 100,000 files
# ruff: noqa: PTH115, PTH116

from __future__ import annotations

import os
import posixpath
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from bakepy.errors import BuildError

MAX_LINKS = 255
"""Symlinks followed for one path before it counts as a loop."""


class Node:
    """One name in a tree. `children` of a folder are by name, in byte order; None until they are read."""

    __slots__ = (
        "children",
        "ctime_ns",
        "device",
        "gid",
        "inode",
        "mode",
        "mtime_ns",
        "name",
        "nlink",
        "rdev",
        "sha256",
        "size",
        "target",
        "uid",
    )

    children: dict[bytes, Node] | None
    target: bytes | None
    """Of a symlink, once somebody asked."""
    sha256: bytes | None
    """Of a file's content, once somebody asked."""

    def __init__(self, name: bytes, facts: os.stat_result) -> None:
        self.name = name
        self.mode = facts.st_mode
        self.size = facts.st_size
        self.mtime_ns = facts.st_mtime_ns
        self.ctime_ns = facts.st_ctime_ns
        self.inode = facts.st_ino
        self.device = facts.st_dev
        self.nlink = facts.st_nlink
        self.uid = facts.st_uid
        self.gid = facts.st_gid
        self.rdev = facts.st_rdev
        self.children = None
        self.target = None
        self.sha256 = None

    @classmethod
    def unpacked(cls, packed: bytes) -> Node:
        """The node that `packed` made these bytes of."""
        node = cls.__new__(cls)
        node.name = packed[: -_FACTS.size - 1]
        (
            node.mode,
            node.inode,
            node.device,
            node.nlink,
            node.uid,
            node.gid,
            node.size,
            node.mtime_ns,
            node.ctime_ns,
            node.rdev,
        ) = _FACTS.unpack_from(packed, len(packed) - _FACTS.size)
        node.children = node.target = node.sha256 = None
        return node

    @property
    def facts(self) -> tuple[int, ...]:
        """All that stat said."""
        return (
            self.mode,
            self.inode,
            self.device,
            self.nlink,
            self.uid,
            self.gid,
            self.size,
            self.mtime_ns,
            self.ctime_ns,
            self.rdev,
        )

    @property
    def is_dir(self) -> bool:
        return self.mode & 0o170000 == 0o040000

    @property
    def is_file(self) -> bool:
        return self.mode & 0o170000 == 0o100000

    @property
    def is_symlink(self) -> bool:
        return self.mode & 0o170000 == 0o120000

    def same_content(self, facts: os.stat_result) -> bool:
        """Whether `facts`, taken later, are of the same file, not written to since."""
        return (
            facts.st_ino == self.inode
            and facts.st_size == self.size
            and facts.st_mtime_ns == self.mtime_ns
            and facts.st_ctime_ns == self.ctime_ns
            and facts.st_dev == self.device
        )


by_name = attrgetter("name")

_FACTS = struct.Struct("=IQQQIIqqqQ")
_pack = _FACTS.pack


def packed(name: bytes, facts: os.stat_result) -> bytes:
    """A name and the facts of a node as bytes, of which trees with many files are made more quickly than of nodes; in
    the order of their names. Raises struct.error for times outside of the years 1677 to 2262."""
    return b"%b\0%b" % (
        name,
        _pack(
            facts.st_mode,
            facts.st_ino,
            facts.st_dev,
            facts.st_nlink,
            facts.st_uid,
            facts.st_gid,
            facts.st_size,
            facts.st_mtime_ns,
            facts.st_ctime_ns,
            facts.st_rdev,
        ),
    )


class FileTree:
    """The tree below `root`, a folder. `foreign` trees belong to a user: their owners mean nothing here.

    Paths are bytes relative to the root, without `/` at either end; `b""` is the root itself.
    """

    foreign = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self._base = os.fsencode(root)
        self.top = Node(b"", os.stat(self._base))

    # reading

    def path(self, path: bytes) -> bytes:
        """Where `path`, which must come from this tree, is on disk."""
        return self._base + b"/" + path if path else self._base

    def children(self, path: bytes, node: Node) -> dict[bytes, Node]:
        """What is in the folder `node`, found at `path`; in byte order of names."""
        if node.children is None:
            node.children = self._read(path)
        return node.children

    def names_near(self, path: bytes) -> list[bytes]:
        """Names in the folder `path`, for hints only; none if there is no such folder."""
        where, node = self.resolve(path)
        return list(self.children(where, node)) if node is not None and node.is_dir else []

    def _read(self, path: bytes) -> dict[bytes, Node]:
        nodes = []
        try:
            with os.scandir(self.path(path)) as entries:
                for entry in entries:
                    # a deletion in a layer that is on something else than it was made on is listed, but not there
                    with suppress(FileNotFoundError):
                        nodes.append(Node(entry.name, entry.stat(follow_symlinks=False)))
        except OSError as error:
            raise unreadable(path, error) from error
        nodes.sort(key=by_name)
        return {node.name: node for node in nodes}

    def link(self, path: bytes, node: Node) -> bytes:
        """The target of the symlink `node`, found at `path`."""
        if node.target is None:
            try:
                node.target = os.readlink(self.path(path))
            except OSError as error:
                raise unreadable(path, error) from error
        return node.target

    # finding

    def find(self, path: bytes) -> Node | None:
        """The node at `path`, without following any symlink; None if there is none."""
        node: Node | None = self.top
        here = b""
        for name in path.split(b"/") if path else ():
            if node is None or not node.is_dir:
                return None
            node = self.children(here, node).get(name)
            here = here + b"/" + name if here else name
        return node

    def resolve(self, path: bytes, *, follow_last: bool = True, by_steps: bool = False) -> tuple[bytes, Node | None]:
        """Where `path` leads when symlinks are followed inside this root, and what is there.

        The path is first cleaned as text; what does not exist is kept as written. Raises BuildError for a loop.
        """
        return resolve_links(path, self._peek, follow_last=follow_last, by_steps=by_steps)

    def _peek(self, path: bytes) -> tuple[Node | None, bytes | None]:
        node = self.find(path)
        return node, self.link(path, node) if node is not None and node.is_symlink else None

    def walk(self, path: bytes, node: Node) -> Iterator[tuple[bytes, Node]]:
        """`node`, found at `path`, and all below it, folders before what is in them, in path order."""
        yield path, node
        if not node.is_dir:
            return
        stack = [iter(self._paths_in(path, node))]
        while stack:
            for below, child in stack[-1]:
                yield below, child
                if child.is_dir:
                    stack.append(iter(self._paths_in(below, child)))
                    break
            else:
                stack.pop()

    def _paths_in(self, path: bytes, node: Node) -> list[tuple[bytes, Node]]:
        prefix = path + b"/" if path else b""
        return [(prefix + name, child) for name, child in self.children(path, node).items()]


T = TypeVar("T")


class LinkLoop(BuildError):
    """Symlinks do not come to an end."""


def resolve_links(
    path: bytes,
    peek: Callable[[bytes], tuple[T | None, bytes | None]],
    *,
    follow_last: bool = True,
    by_steps: bool = False,
) -> tuple[bytes, T | None]:
    """Follows symlinks inside a root. `peek` says what is at a path whose parents are no symlinks: the thing, if any,
    and its target if it is a symlink; `b""` is the root. Absolute targets start there, and nothing climbs above it.
    `by_steps`: a symlink before a `..` in a target is followed first, as by the kernel.
    Raises LinkLoop for a loop."""
    rest = _components(path)[::-1]
    here = b""
    found = peek(here)[0]
    links = 0
    while rest:
        name = rest.pop()
        if name == b"..":
            here = here.rpartition(b"/")[0]
            found = peek(here)[0]
            continue
        there = here + b"/" + name if here else name
        found, target = peek(there)
        if target is None or (not rest and not follow_last):
            here = there
            continue
        links += 1
        if links > MAX_LINKS:
            raise LinkLoop(
                f"too many links: /{show(path)}", hint="symlinks lead round in a circle, or through more than 255"
            )
        if not target.startswith(b"/"):
            # a relative target is joined, as text, to the folder that the link is in
            target = b"/" + here + b"/" + target
            target = target if by_steps else posixpath.normpath(target)
        rest += reversed([step for step in target.split(b"/") if step not in (b"", b".")])
        here = b""
        found = peek(here)[0]
    return here, found


def _components(path: bytes) -> list[bytes]:
    cleaned = posixpath.normpath(b"/" + path).strip(b"/")
    return cleaned.split(b"/") if cleaned else []


def show(path: bytes) -> str:
    """A path for people, without the slash in front."""
    return path.lstrip(b"/").decode("utf-8", "replace")


def unreadable(path: bytes, error: OSError) -> BuildError:
    return BuildError(f"can not read /{show(path)}: {(error.strerror or str(error)).lower()}")


def kind(mode: int) -> str:
    """The kinds of layers: file, dir, symlink, char, block, fifo; and socket."""
    return _KINDS[stat.S_IFMT(mode)]


_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}
