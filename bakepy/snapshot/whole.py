"""Whole trees out of chains of layer directories, without overlayfs: what a mount would show, copied.

For snapshots that were made where overlays can be mounted and are read where they can not (or must not) be.
"""

# Names are bytes here, as the kernel has them; pathlib has none.
# ruff: noqa: PTH102, PTH116, PTH118

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from bakepy.content.patience import while_wanted
from bakepy.snapshot.overlay import opaque_xattr
from bakepy.snapshot.tree import copy_facts, copy_node, copy_tree, is_whiteout, remove_tree


def copy_chain(layers: Sequence[Path], target: Path) -> None:
    """Copies what the directories `layers` (topmost first, as for a mount) show together onto the empty folder
    `target`. The lowest may be a whole tree."""
    if not layers:
        return
    *upper, lowest = layers
    # nothing is below the lowest, so it deletes nothing
    copy_tree(lowest, target, whiteouts=False)
    layer = _Layer(opaque_xattr())
    for folder in reversed(upper):
        layer.links.clear()
        layer.lay(os.fsencode(folder), os.fsencode(target))


class _Layer:
    """Lays one directory over a tree. `links` has the names of files that have several."""

    def __init__(self, opaque: str) -> None:
        self._opaque = opaque
        self.links: dict[tuple[int, int], bytes] = {}

    def lay(self, source: bytes, target: bytes) -> None:
        with os.scandir(source) as entries:
            for entry in while_wanted(entries):
                path = os.path.join(target, entry.name)
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode):
                    self._lay_folder(entry.path, path)
                    continue
                _remove(path)
                if is_whiteout(facts):
                    continue
                if facts.st_nlink > 1:
                    first = self.links.setdefault((facts.st_dev, facts.st_ino), path)
                    if first != path:
                        os.link(first, path, follow_symlinks=False)
                        continue
                copy_node(entry.path, path, facts)
        copy_facts(source, target, os.stat(source, follow_symlinks=False))

    def _lay_folder(self, source: bytes, target: bytes) -> None:
        try:
            is_folder = stat.S_ISDIR(os.stat(target, follow_symlinks=False).st_mode)
        except FileNotFoundError:
            is_folder = False
        if not is_folder or self._hides(source):
            _remove(target)
            os.mkdir(target, 0o700)
        self.lay(source, target)

    def _hides(self, folder: bytes) -> bool:
        return self._opaque in os.listxattr(folder) and os.getxattr(folder, self._opaque) == b"y"


def _remove(path: bytes) -> None:
    remove_tree(Path(os.fsdecode(path)))
