"""What disks do to files: other bytes, the same size."""

from __future__ import annotations

from pathlib import Path


def damage(path: Path) -> None:
    """Turns one bit around in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(data)


def damage_blobs(root: Path) -> int:
    """Damages every blob below a state root; returns how many."""
    blobs = [path for path in sorted((root / "blobs").rglob("*")) if path.is_file()]
    for path in blobs:
        damage(path)
    return len(blobs)
