"""What a step gives to the next: a file tree, by the id of the result and where the tree is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bakepy.model.value import dataclass

if TYPE_CHECKING:
    from bakepy.source.local import LocalTree


@dataclass(frozen=True, slots=True)
class TreeRef:
    """A tree of the snapshot store. `id` is the result's identity for those that depend on it; `snapshot` is where
    its files are, None for the empty tree."""

    id: str
    snapshot: str | None


@dataclass(frozen=True, slots=True)
class LocalRef:
    """A folder of the user, read in place."""

    id: str
    tree: LocalTree


Ref = TreeRef | LocalRef
