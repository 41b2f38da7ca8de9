"""What a step gives to the next: a file tree, by the id of the result and where the tree is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bakepy.model.value import dataclass

if TYPE_CHECKING:
    from bakepy.snapshot.store import SnapshotStore
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


class RefStore:
    """Refs as text in cache records. A local folder is not kept: it is looked at in every run."""

    def __init__(self, snapshots: SnapshotStore) -> None:
        self._snapshots = snapshots

    def dump(self, result: Ref) -> str | None:
        return json.dumps([result.id, result.snapshot]) if isinstance(result, TreeRef) else None

    def load(self, text: str) -> Ref | None:
        """None if the snapshot has been removed, or its files have been lost."""
        id, snapshot = json.loads(text)
        if snapshot is not None and not self._snapshots.present(snapshot):
            return None
        return TreeRef(id, snapshot)
