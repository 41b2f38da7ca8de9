"""Images that `type=image` keeps in the state root, by name: what a later build may take instead of pulling."""

from __future__ import annotations

from bakepy.content.database import Database
from bakepy.model.digest import Digest
from bakepy.model.oci import Descriptor
from bakepy.model.value import dataclass

_TABLE = """CREATE TABLE IF NOT EXISTS exporter_images (
    name TEXT PRIMARY KEY, media_type TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID"""


@dataclass(frozen=True, slots=True)
class KeptImages:
    """Names to descriptors of manifests or image indexes. An image without a name is kept as `@DIGEST`.

    Methods block for a moment. The blobs are in the content store, except for layers of base images that were never
    downloaded.
    """

    database: Database

    @classmethod
    def open(cls, database: Database) -> KeptImages:
        database.create(_TABLE)
        return cls(database)

    def put(self, names: tuple[str, ...], descriptor: Descriptor) -> None:
        """Names `descriptor`; what had a name before loses it. Nothing is written if all is so already."""
        kept = Descriptor(descriptor.media_type, descriptor.digest, descriptor.size)
        changed = [name for name in names or (f"@{kept.digest}",) if self.find(name) != kept]
        if changed:
            self.database.execute_many(
                "INSERT OR REPLACE INTO exporter_images VALUES (?, ?, ?, ?)",
                [(name, kept.media_type, str(kept.digest), kept.size) for name in changed],
            )

    def find(self, name: str) -> Descriptor | None:
        """`name` in full: `docker.io/library/app:latest`."""
        rows = self.database.query("SELECT media_type, digest, size FROM exporter_images WHERE name = ?", name)
        return Descriptor(rows[0][0], Digest.parse(rows[0][1]), rows[0][2]) if rows else None

    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(name for (name,) in self.database.query("SELECT name FROM exporter_images ORDER BY name"))
