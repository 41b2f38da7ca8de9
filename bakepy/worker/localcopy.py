"""Contexts as trees of files that steps can mount: copies that show what the filters left, owned by root.

A folder of the user is never mounted itself: a mount would show files that the ignore file hides, owners that mean
nothing in the image, and whatever is written to it during the step.
"""

# ruff: noqa: PTH101, PTH102, PTH116, PTH118, PTH211

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from bakepy.errors import BuildError
from bakepy.snapshot.tree import copy_data

if TYPE_CHECKING:
    from bakepy.snapshot.filetree import FileTree, Node


def copy_local(tree: FileTree, target: Path) -> None:
    """Copies a context into the empty folder `target`: modes, times, hard links and fifos as they are, owners 0:0,
    no xattrs, sockets as empty files. BuildError if a file changed since the context was scanned."""
    base = os.fsencode(target)
    links: dict[tuple[int, int], bytes] = {}
    folders: list[tuple[bytes, Node]] = []
    for path, node in tree.walk(b"", tree.top):
        here = os.path.join(base, path) if path else base
        if node.is_dir:
            if path:
                os.mkdir(here, 0o700)
            folders.append((here, node))
            continue
        if node.nlink > 1:
            first = links.setdefault((node.device, node.inode), here)
            if first != here:
                os.link(first, here, follow_symlinks=False)
                continue
        _copy_node(tree, path, node, here)
    for here, node in reversed(folders):
        os.chmod(here, stat.S_IMODE(node.mode))
        os.utime(here, ns=(node.mtime_ns, node.mtime_ns))


def _copy_node(tree: FileTree, path: bytes, node: Node, here: bytes) -> None:
    if node.is_symlink:
        os.symlink(tree.link(path, node), here)
        os.utime(here, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)
        return
    if node.is_file:
        try:
            copy_data(tree.path(path), here)
            unchanged = node.same_content(os.stat(tree.path(path), follow_symlinks=False))
        except FileNotFoundError:
            unchanged = False
        if not unchanged:
            raise BuildError(
                f"{path.decode(errors='replace')} changed while it was read",
                hint="let nothing write to the context while it is built",
            )
    elif stat.S_ISSOCK(node.mode):
        os.mknod(here, 0o600 | stat.S_IFREG)
    else:
        os.mknod(here, node.mode, node.rdev)
    os.chmod(here, stat.S_IMODE(node.mode))
    os.utime(here, ns=(node.mtime_ns, node.mtime_ns))
